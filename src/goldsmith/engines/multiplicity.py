"""Many tests at once: family-wise error control."""

from bisect import bisect_right
from collections.abc import Sequence


def holm(p_values: Sequence[float], family: int | None = None) -> list[float]:
    """Holm's step-down adjusted p-values, in the order given: at most `alpha` false alarms in the family (Holm
    1979). `family`: how many hypotheses were tested, where those that came to nothing are not in `p_values`.
    """
    count = max(len(p_values), family or 0)
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted = [1.0] * len(p_values)
    worst = 0.0
    for rank, i in enumerate(order):
        worst = max(worst, min(1.0, p_values[i] * (count - rank)))
        adjusted[i] = worst
    return adjusted


def highest_rejectable(p_values: Sequence[float], alpha: float) -> float:
    """The p-value above which `holm` adjusts none of these below `alpha`, even where it is given only some of them
    (with the whole `family`): tests above it need not be looked at any further. -1 where none is within reach.
    """
    ordered = sorted(p_values)
    count = len(ordered)
    # At best every test with a p-value as low as this one comes before it.
    within = [p for p in ordered if p * (count - bisect_right(ordered, p) + 1) < alpha]
    return within[-1] if within else -1.0
