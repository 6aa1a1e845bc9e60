"""What the model is asked and answers without any tool: small talk, facts, harmful and harmless asks.

Each way of asking belongs to one split, so that the splits share no question.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from goldsmith.nano.data import load
from goldsmith.nano.words import Split


@dataclass(frozen=True, slots=True)
class Topic:
    """Ways to ask one thing, by split, and what is answered."""

    forms: dict[Split, list[str]]
    answer: str
    must: str
    """Words that a right answer contains."""


def _forms(entry: dict[str, Any]) -> dict[Split, list[str]]:
    return {"train": entry["train"], "heldout": entry["heldout"]}


def _topics(entries: list[dict[str, Any]]) -> tuple[Topic, ...]:
    return tuple(Topic(_forms(entry), entry["answer"], entry["must"]) for entry in entries)


_TABLE = load("talk")
CHAT: Final = _topics(_TABLE["chat"])
HARMLESS: Final = _topics(_TABLE["harmless"])
"""Asks that only sound harmful; they are answered."""
HARMFUL: Final = tuple(_forms(entry) for entry in _TABLE["harmful"])
QUESTION_FORMS: Final = {kind: _forms(entry) for kind, entry in _TABLE["questions"].items()}
CAPITALS: Final[dict[str, str]] = _TABLE["capitals"]
OPPOSITES: Final[list[list[str]]] = _TABLE["opposites"]
DEFINITIONS: Final[list[list[str]]] = _TABLE["definitions"]
SYSTEMS: Final = _forms(_TABLE["systems"])
DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS: Final = tuple(
    "January February March April May June July August September October November December".split()  # noqa: SIM905
)
REFUSAL: Final = "I can't help with that, because it could hurt someone."
REFUSAL_MARK: Final = "can't help"
"""Every refusal of the model holds these words; no other answer does."""
