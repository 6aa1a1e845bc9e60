"""Figures with their intervals, or the reason why there is none."""

from collections.abc import Sequence

from goldsmith.engines.statistics import mean_interval, wilson
from goldsmith.types.diligence import Measure


def share(name: str, part: int, whole: int, told: str, *, missing: str = "there are no records") -> Measure:
    """`part` of `whole` with Wilson's 95 % interval; without a whole, `missing` is the reason."""
    if not whole:
        return unmeasured(name, missing)
    low, high = wilson(part, whole)
    return Measure(
        name=name, told=told, value=rounded(part / whole), low=rounded(low), high=rounded(high), part=part, whole=whole
    )


def mean_share(name: str, values: Sequence[float], clusters: Sequence[str], told: str, *, missing: str) -> Measure:
    """The mean of values in 0..1 whose clusters (votes on one item, gold of one annotator) may move together."""
    if not len(values):
        return unmeasured(name, missing)
    found = mean_interval(values, bounded=True, clusters=clusters)
    right = sum(values)
    whole = len(values) if right == int(right) else None
    return Measure(
        name=name, told=told, value=rounded(found.mean), low=rounded(found.low), high=rounded(found.high),
        part=None if whole is None else int(right), whole=whole,
    )  # fmt: skip


def counted(name: str, value: int, told: str) -> Measure:
    """A plain number."""
    return Measure(name=name, told=told, value=float(value), part=value)


def unmeasured(name: str, reason: str) -> Measure:
    """A figure that there is not, and why."""
    return Measure(name=name, told=f"not measured: {reason}")


def rounded(value: float) -> float:
    """Six places: enough for a reader, and the same on machines whose last digits differ."""
    return round(float(value), 6) + 0.0
