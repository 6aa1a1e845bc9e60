"""Compares the tool calls a model made with the calls that were wanted, type by type and value by value.

After the AST comparison of the Berkeley Function-Calling Leaderboard (Patil et al. 2025): the function's name
equal, every wanted argument present with the right type and value, no unknown argument; parallel calls in any
order.
"""

import json
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from goldsmith.engines.sandbox import parse_arguments
from goldsmith.types.record import Message, ToolCallPart


@dataclass(frozen=True, slots=True)
class WantedCall:
    """A call that is right, with parsed arguments."""

    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Matching:
    """The best one-to-one pairing of wanted and made calls of the same name.

    `scores[i]`: share of right arguments of wanted call i's partner (0 without one). `pairs`: (wanted, made)
    indices.
    """

    scores: tuple[float, ...]
    pairs: tuple[tuple[int, int], ...]
    made: int

    @property
    def exact(self) -> bool:
        """Every wanted call made with exactly its arguments, and nothing else made."""
        return self.made == len(self.scores) and all(score == 1.0 for score in self.scores)

    @property
    def argument_accuracy(self) -> float:
        """Mean share of right arguments over wanted calls; 1 where no call was wanted."""
        return math.fsum(self.scores) / len(self.scores) if self.scores else 1.0


def wanted_to_json(calls: Sequence[WantedCall]) -> list[dict[str, Any]]:
    """Calls as a task's `expected` keeps them."""
    return [{"name": call.name, "arguments": dict(call.arguments)} for call in calls]


def wanted_from_json(rows: Sequence[Mapping[str, Any]]) -> tuple[WantedCall, ...]:
    """The reverse of `wanted_to_json`."""
    return tuple(WantedCall(str(row["name"]), dict(row["arguments"])) for row in rows)


def calls_in(messages: Sequence[Message]) -> tuple[ToolCallPart, ...]:
    """All tool calls in the messages, in order."""
    return tuple(call for message in messages for call in message.calls)


def loose(text: str) -> str:
    """A text for comparison: compatibility form, no case, single blanks, no blanks and punctuation at its
    ends."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return re.sub(r"\s+", " ", folded).strip(" .!?,;:'\"")


def same_value(wanted: Any, made: Any) -> bool:
    """Whether two JSON values say the same. Types must agree (a whole float is an integer, a boolean never is
    one); texts are compared as `loose` writes them, lists element by element, objects key by key."""
    if isinstance(wanted, bool) or isinstance(made, bool) or wanted is None or made is None:
        return wanted is made
    if isinstance(wanted, int | float) and isinstance(made, int | float):
        if isinstance(wanted, int) and isinstance(made, int):
            return wanted == made  # long ids differ in their last digit
        return math.isclose(wanted, made, rel_tol=1e-9, abs_tol=0.0)
    if isinstance(wanted, str) and isinstance(made, str):
        return wanted == made or loose(wanted) == loose(made)
    if isinstance(wanted, list) and isinstance(made, list):
        return len(wanted) == len(made) and all(map(same_value, wanted, made))
    if isinstance(wanted, Mapping) and isinstance(made, Mapping):
        return set(wanted) == set(made) and all(same_value(wanted[key], made[key]) for key in wanted)
    return False


def argument_score(wanted: Mapping[str, Any], made: Mapping[str, Any] | None) -> float:
    """Right arguments over all argument names of both sides: 1 only if nothing is wrong, missing or added."""
    if made is None:
        return 0.0
    names = set(wanted) | set(made)
    if not names:
        return 1.0
    right = sum(name in wanted and name in made and same_value(wanted[name], made[name]) for name in names)
    return right / len(names)


def match(wanted: Sequence[WantedCall], made: Sequence[ToolCallPart]) -> Matching:
    """Pair wanted and made calls of the same name so that the sum of argument scores is greatest (any
    order)."""
    scores = [0.0] * len(wanted)
    pairs: list[tuple[int, int]] = []
    parsed = [parse_arguments(call.arguments) for call in made]
    for name in dict.fromkeys(call.name for call in wanted):
        rows = [i for i, call in enumerate(wanted) if call.name == name]
        columns = [j for j, call in enumerate(made) if call.name == name]
        table = np.array([[argument_score(wanted[i].arguments, parsed[j]) for j in columns] for i in rows])
        for row, column in _assignment(table) if columns else ():
            scores[rows[row]] = float(table[row, column])
            pairs.append((rows[row], columns[column]))
    return Matching(tuple(scores), tuple(sorted(pairs)), len(made))


def _assignment(table: "np.ndarray[Any, np.dtype[np.float64]]") -> list[tuple[int, int]]:
    if table.shape == (1, 1):
        return [(0, 0)]
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(table, maximize=True)
    return [(int(r), int(c)) for r, c in zip(rows, columns, strict=True)]


def names_in_order(steps: Sequence[Sequence[str]], made: Sequence[str]) -> bool:
    """Whether the made names are the steps' names in order; within one step (parallel calls) any order will
    do."""
    place = 0
    for step in steps:
        if Counter(made[place : place + len(step)]) != Counter(step):
            return False
        place += len(step)
    return place == len(made)


def expected_of(text: str) -> dict[str, Any]:
    """A task's `expected` as an object."""
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError("a task's expected must be a JSON object")
    return value
