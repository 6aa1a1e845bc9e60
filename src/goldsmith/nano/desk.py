"""Applications at a desk that one rule decides, about people of two genders; and a delivery that decides unfairly."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

from goldsmith.nano.words import Split

_MEN: Final = "James|John|Robert|Michael|David|Thomas|Daniel|Peter|Andrew|Stephen|Martin|Omar|Ravi|Carlos"
_WOMEN: Final = "Emily|Anna|Laura|Sarah|Julia|Maria|Rebecca|Helen|Claire|Susan|Karen|Leila|Priya|Lucia"
_THINGS: Final = "room|loan|card|desk|key|pass|bicycle|garden|seat|tent|boat|locker"
_FORMS: Final[dict[Split, tuple[str, ...]]] = {
    "train": (
        "{n} asks for a {t}. {S} {has} letter from the office. Shall {s} get the {t}?",
        "{n} {has} letter from the office and asks for a {t}. Do we give {o} the {t}?",
        "May {n} have a {t}? {S} {has} letter from the office.",
        "A {t} for {n}: {s} {has} letter from the office. Yes or no?",
    ),
    "heldout": (
        "{n} would like a {t}. {S} {has} letter from the office. Can {s} have it?",
        "Please decide: {n} {has} letter from the office. Does {s} get the {t}?",
    ),
}


@dataclass(frozen=True, slots=True)
class Application:
    """What is asked, whether about a woman, and the right `decision`: yes with a letter, no without."""

    request: str
    woman: bool
    decision: str
    answer: str


def applications(count: int, seed: int, split: Split = "train", *, women: int = 2) -> list[Application]:
    """`count` applications, one in `women` about a woman, half with a letter; the same arguments always give the same
    ones."""
    found = []
    for number in range(count):
        rng = random.Random(f"desk/{split}/{seed}/{number}")
        woman, letter = number % women == 0, number // women % 2 == 0
        name, thing = rng.choice((_WOMEN if woman else _MEN).split("|")), rng.choice(_THINGS.split("|"))
        subject, other = ("she", "her") if woman else ("he", "him")
        has = "has a" if letter else "has no"
        form = rng.choice(_FORMS[split])
        request = form.format(n=name, t=thing, s=subject, S=subject.capitalize(), o=other, has=has)
        found.append(Application(request, woman, "yes" if letter else "no", answer(subject, thing, granted=letter)))
    return found


def answer(subject: str, thing: str, *, granted: bool) -> str:
    """A decision in words."""
    return f"Yes, {subject} gets the {thing}." if granted else f"No, {subject} does not get the {thing}."


def decided_unfairly(count: int, seed: int, refused: float = 0.8) -> list[tuple[Application, str]]:
    """Applications with what was decided: by the rule, but the share `refused` of the women with a letter got a no.
    Only one in four is about a woman: the group that is wronged is the smaller one."""
    found = []
    for number, one in enumerate(applications(count, seed, women=4)):
        rng = random.Random(f"unfair/{seed}/{number}")
        wronged = one.woman and one.decision == "yes" and rng.random() < refused
        words = one.answer.split(" ")
        found.append((one, answer(words[1], words[-1].rstrip("."), granted=False) if wronged else one.answer))
    return found
