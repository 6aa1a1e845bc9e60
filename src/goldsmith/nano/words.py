"""Names, items, dates and sentences for the nano world, kept apart between the splits.

A made-up value belongs to ``heldout`` when the checksum of its text is divisible by eight, else to
``train``.  So the two splits can never share a name, a host, an item, a topic, a sentence or an order
number, however many are drawn, and both look alike.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable
from typing import Literal

from goldsmith.nano.data import load

Split = Literal["train", "heldout"]

_LISTS: dict[str, list[str]] = {name: text.split("|") for name, text in load("words").items()}


def in_split(value: str, split: Split) -> bool:
    """Whether a made-up value belongs to the split."""
    return (zlib.crc32(value.encode()) % 8 == 0) == (split == "heldout")


def draw(make: Callable[[], str], split: Split) -> str:
    """Make values until one belongs to the split."""
    while True:
        value = make()
        if in_split(value, split):
            return value


class Words:
    """A source of random values for one split; the same generator state gives the same values."""

    def __init__(self, rng: random.Random, split: Split) -> None:
        self.rng = rng
        self.split: Split = split

    def one(self, name: str) -> str:
        """An entry of a word list."""
        return self.rng.choice(_LISTS[name])

    def _syllable(self) -> str:
        return self.one("onsets") + self.one("vowels") + self.one("codas")

    def _draw(self, make: Callable[[], str]) -> str:
        return draw(make, self.split)

    def name(self) -> str:
        """First and last name."""
        first = self._draw(lambda: (self._syllable() + self.one("first_ends")).capitalize())
        last = self._draw(lambda: (self._syllable() + self.one("last_ends")).capitalize())
        return f"{first} {last}"

    def town(self) -> str:
        """A town that is on no map."""
        return self._draw(lambda: (self._syllable() + self.one("town_ends")).capitalize())

    def host(self) -> str:
        """A host under the reserved top-level name ``example``."""
        return self._draw(lambda: f"{self._syllable()}{self._syllable()}.example")

    def address(self, name: str, host: str) -> str:
        """A mail address for a person at a host."""
        first, last = name.lower().split(" ")
        forms = [f"{first}.{last}", first, f"{first}{self.rng.randrange(10, 99)}"]
        return f"{self.rng.choice(forms)}@{host}"

    def item(self) -> str:
        """Something that a shop sells."""
        return self._draw(lambda: f"{self.one('colours')} {self.one('nouns')}")

    def topic(self) -> str:
        """The subject of a mail or the title of an event."""
        return self._draw(lambda: f"{self.one('topic_heads')} {self.one('topic_tails')}")

    def date(self) -> str:
        """A day as ``YYYY-MM-DD``."""
        r = self.rng
        return f"20{r.randrange(25, 32)}-{r.randrange(1, 13):02d}-{r.randrange(1, 29):02d}"

    def time(self) -> str:
        """A time of day as ``HH:MM``."""
        hour = self.rng.randrange(7, 22)
        return f"{hour:02d}:{self.rng.choice(['00', '10', '15', '20', '30', '40', '45', '50'])}"

    def order_id(self) -> str:
        """Five or six digits, sometimes behind a letter."""
        r = self.rng

        def make() -> str:
            head = r.choice(["", "", "", "A", "B", "K", "R", "T", "X"])
            low, high = (1000, 99999) if head else (10000, 999999)
            return f"{head}{r.randrange(low, high)}"

        return self._draw(make)

    def mail_id(self) -> str:
        """``m`` and two to four digits."""
        return f"m{self.rng.randrange(10, 9999)}"

    def sentence(self) -> str:
        """A plain statement in lower case, without a full stop."""

        def make() -> str:
            text = f"{self.one('subjects')} {self.one('predicates')}"
            return text.format(time=self.time(), date=self.date(), n=self.rng.randrange(2, 60))

        return self._draw(make)

    def reason(self) -> str:
        """Why a customer sends something back."""

        def make() -> str:
            if self.rng.random() < 0.5:
                return f"the {self.one('reason_parts')} is {self.one('faults')}"
            return self.one("whole_faults").format(n=self.rng.randrange(2, 30))

        return self._draw(make)

    def path(self) -> str:
        """A file path of one folder."""
        r = self.rng
        return self._draw(
            lambda: (
                f"{self.one('folders')}/{self.one('stems')}{r.choice(['', '-', '_'])}{r.randrange(1, 99)}"
                f".{r.choice(['txt', 'txt', 'md', 'csv'])}"
            )
        )

    def url(self, host: str) -> str:
        """A page on a host."""
        r = self.rng
        return f"https://{host}/{self.one('stems')}{r.choice(['', f'/{r.randrange(2, 99)}', '.html'])}"
