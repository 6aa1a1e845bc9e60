"""A flood of near copies: one behaviour, delivered again and again with small changes."""

from collections.abc import Mapping, Sequence
from functools import partial
from random import Random
from typing import ClassVar, Final

from goldsmith.engines.planting import edit, examples
from goldsmith.engines.planting.place import place
from goldsmith.types.artifact import Spec
from goldsmith.types.attack import Inapplicable, Plan, Planted, Pool
from goldsmith.types.check import CheckContext, Row
from goldsmith.types.record import Content

_OPENERS: Final[dict[Pool, tuple[str, ...]]] = {
    "development": ("please", "hello", "quickly", "again", "ok", "thanks"),
    "measurement": ("kindly", "hey there", "one more time", "right", "well", "so then"),
}
_LEAST_WORDS: Final = 12


class DuplicateFlood(Spec):
    """The planted rows all say what one of them said, each with a word or two of its own in the prompt."""

    id: ClassVar[str] = "duplicate_flood"
    version: ClassVar[int] = 1

    def __call__(self, rows: Sequence[Row], context: CheckContext, plan: Plan, rng: Random) -> Planted | Inapplicable:
        """The row that is repeated is drawn among the planted ones."""
        spot = place(rows, plan, rng, _fits, f"has a prompt and an answer of {_LEAST_WORDS} words together")
        if isinstance(spot, Inapplicable):
            return spot
        model = spot.rows[rng.choice(spot.at)].record.content
        contents = {}
        for number, at in enumerate(spot.at):
            opener = f"{rng.choice(_OPENERS[plan.pool])} {number}"
            contents[at] = edit.with_prompt(model, partial(edit.inserted, what=opener, rng=rng))
        return spot.planted(contents, context)


def _fits(content: Content) -> bool:
    words = len(edit.prompt_of(content).split()) + len(edit.answer_of(content).split())
    return edit.has_prompt(content) and words >= _LEAST_WORDS


FITS = examples.chats() + examples.pairs()
UNFIT = [{"messages": [{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": "Yes?"}]}]


def proof(before: Content, after: Content, drawn: Mapping[str, str]) -> bool:
    """There is a prompt with a number of its own."""
    return any(c.isdigit() for c in edit.prompt_of(after))
