"""Ways of asking, by skill; the two splits of a skill share no template.

A template that begins in lower case is an order in the imperative and gets an opening such as
"Please" before it; one that begins in upper case stands alone.
"""

from __future__ import annotations

import random
from typing import Final

from goldsmith.nano.data import load
from goldsmith.nano.words import Split

_TABLE = load("phrases")
_OPENINGS: Final[dict[str, list[str]]] = _TABLE["openings"]
_QUESTIONS = ("Can", "Could", "Would", "Hey, could")
_OPEN_ENDS = (": {text}", "{url}", "{path}", "{address}", "{args}")
"""What a template may end with that takes no full stop: copied to the letter, a stop would belong to it."""


def request(templates: tuple[str, ...], rng: random.Random, split: Split, slots: dict[str, str]) -> str:
    """Fill a random template and put an opening and an end on it."""
    template = rng.choice(templates)
    text = template.format(**slots)
    if template[0].isupper():
        return text
    opening = rng.choice(_OPENINGS[split])
    if not opening:
        text = text[0].upper() + text[1:]
    end = "" if template.endswith(_OPEN_ENDS) else "?" if opening.startswith(_QUESTIONS) else rng.choice([".", ".", ""])
    return opening + text + end


def phrases(skill: str, split: Split) -> tuple[str, ...]:
    """The templates of a skill for a split."""
    return tuple(_TABLE["skills"][skill][split])
