"""Which candidates nothing beats on quality, memory and time together."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Point:
    """A candidate. `scores`: by rung, lower is better; it reached `len(scores)` rungs. `memory` in bytes, `seconds` of
    a whole run."""

    scores: tuple[float, ...]
    memory: float
    seconds: float


def coarse(value: float) -> float:
    """The value to two significant digits: what was measured does not tell more apart."""
    if value == 0 or not math.isfinite(value):
        return value
    return round(value, 1 - math.floor(math.log10(abs(value))))


def dominates(one: Point, other: Point) -> bool:
    """Whether `one` is nowhere worse and somewhere better.

    Only a candidate that went at least as far can beat another; quality is compared at the last rung of the other,
    where both were measured after the same steps. Memory and time count to two significant digits.
    """
    if not other.scores or len(one.scores) < len(other.scores):
        return False
    at = len(other.scores) - 1
    mine = (one.scores[at], coarse(one.memory), coarse(one.seconds))
    theirs = (other.scores[at], coarse(other.memory), coarse(other.seconds))
    no_worse = all(a <= b for a, b in zip(mine, theirs, strict=True))
    return no_worse and mine != theirs


def front(points: Sequence[Point]) -> list[int]:
    """The positions of those that no other dominates, in order; candidates without a score are not among them."""
    scored = [n for n, one in enumerate(points) if one.scores]
    return [n for n in scored if not any(dominates(points[m], points[n]) for m in scored if m != n)]
