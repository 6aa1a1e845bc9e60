"""Successive halving: many candidates for a few steps, the best of them for more.

Jamieson & Talwalkar 2016 (arXiv:1502.07943). A candidate's steps are steps of one and the same run, whose schedule is
that of the whole run: what goes on to the next rung is resumed, not trained again.
"""

import math
from collections.abc import Mapping


def rungs(candidates: int, steps: int, min_steps: int, eta: int) -> list[int]:
    """The steps at which candidates are compared, rising, the last being `steps`.

    Each rung has `eta` times the steps of the one before; there are no more rungs than it takes to come down to one
    candidate, and none of fewer than `min_steps` (or `steps`, where that is less).
    """
    found = [steps]
    while eta ** len(found) <= steps and math.ceil(steps / eta ** len(found)) >= min_steps:
        if eta ** (len(found) - 1) >= candidates:
            break
        found.append(math.ceil(steps / eta ** len(found)))
    return sorted(set(found))


def survivors(scores: Mapping[int, float], eta: int) -> list[int]:
    """Of candidates by their number, the best `1 / eta` (lower is better), at least one; equal ones by number.

    What is not finite never goes on.
    """
    finite = sorted((score, number) for number, score in scores.items() if math.isfinite(score))
    return sorted(number for _, number in finite[: max(1, len(scores) // eta)])
