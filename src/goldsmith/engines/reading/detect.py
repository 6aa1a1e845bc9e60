"""Which row format a row is of, by its content."""

from collections.abc import Mapping, Sequence
from typing import Any

from goldsmith.engines.reading.json_text import show
from goldsmith.types.errors import BadInput
from goldsmith.types.row_format import CLAIMED, MARGIN, RowFormat, RowProblem


class Ambiguous(RowProblem):
    """Two formats claim the row with about the same confidence."""


def choose(formats: Sequence[RowFormat], row: Mapping[str, Any]) -> RowFormat:
    """The format that claims the row most surely.

    Errors: RowProblem if none claims it, Ambiguous if two are within `MARGIN` of each other.
    """
    best, second, winner, runner = 0.0, 0.0, None, None
    for candidate in formats:
        score = candidate.confidence(row)
        if score > best:
            second, runner, best, winner = best, winner, score, candidate
        elif score > second:
            second, runner = score, candidate
    if winner is None or best < CLAIMED:
        allowed = ", ".join(f.id for f in formats)
        raise RowProblem("no row format fits this row", found=show(row), allowed=allowed)
    if runner is not None and best - second < MARGIN - 1e-9:
        raise Ambiguous(
            "this row could be of two formats", found=f"{winner.id} and {runner.id}", allowed="name the format"
        )
    return winner


def named(formats: Sequence[RowFormat], name: str) -> RowFormat:
    """The format called `name`. Errors: BadInput."""
    for candidate in formats:
        if candidate.id == name:
            return candidate
    raise BadInput(f"there is no row format {name!r} here", found=name, allowed=", ".join(f.id for f in formats))
