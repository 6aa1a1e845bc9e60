"""Many tests at once: family-wise error control."""

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
