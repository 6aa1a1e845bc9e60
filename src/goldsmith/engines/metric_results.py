"""What one metric of an eval comes to: means with intervals, and the model beside its base on the same items."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from goldsmith.engines.statistics import Estimate, influence_interval, mean_interval, paired_difference
from goldsmith.types.score import Eval, Measure, MetricResult, Score, Scored

Kind = Literal["share", "influence", "number"]
"""Items within 0..1; influence values, whose mean is a share; numbers of any size."""
_NOTHING = Estimate(0.0, 0.0, 1.0, "nothing scored")


@dataclass
class Column:
    """One metric of one eval: the score of every item, by model."""

    tuned: dict[str, Score] = field(default_factory=dict)
    base: dict[str, Score] = field(default_factory=dict)


def kind_of(each: Eval | Measure, metric: str) -> Kind:
    """As the eval declares its metric."""
    if metric in getattr(each, "influence_metrics", ()):
        return "influence"
    return "number" if metric in getattr(each, "unbounded_metrics", ()) else "share"


def result_of(name: str, metric: str, column: Column, kind: Kind, seed: int) -> MetricResult:
    """Means over the scored items of each model, the difference over the items scored for both."""
    tuned, base = _values(column.tuned), _values(column.base)
    estimate = _estimate(tuned, kind, seed)
    result: dict[str, Any] = {
        "eval": name,
        "metric": metric,
        "n": len(tuned),
        "unscored": len(column.tuned) - len(tuned),
        "mean": estimate.mean,
        "low": estimate.low,
        "high": estimate.high,
        "interval": estimate.method,
    }
    if base:
        on_base = _estimate(base, kind, seed)
        result |= {"base_mean": on_base.mean, "base_low": on_base.low, "base_high": on_base.high}
        both = [item for item in tuned if item in base]
        if both:
            difference = _difference([tuned[item] for item in both], [base[item] for item in both], both, kind, seed)
            result |= {
                "difference": difference.mean,
                "difference_low": difference.low,
                "difference_high": difference.high,
                "interval": f"{estimate.method}; difference: {difference.method}",
            }
    return MetricResult.model_validate(result)


def _values(column: dict[str, Score]) -> dict[str, float]:
    return {item: score.value for item, score in column.items() if isinstance(score, Scored)}


def _clusters(items: Sequence[str]) -> list[str]:
    return [item.rpartition("#")[0] or item for item in items]


def _estimate(values: dict[str, float], kind: Kind, seed: int) -> Estimate:
    if not values:
        return _NOTHING
    numbers, clusters = list(values.values()), _clusters(list(values))
    if kind == "influence":
        return influence_interval(numbers, clusters=clusters)
    return mean_interval(numbers, bounded=kind == "share", clusters=clusters, seed=seed)


def _difference(tuned: list[float], base: list[float], items: Sequence[str], kind: Kind, seed: int) -> Estimate:
    found = paired_difference(tuned, base, bounded=kind == "share", clusters=_clusters(items), seed=seed)
    if kind != "influence":
        return found
    return replace(found, low=max(-1.0, found.low), high=min(1.0, found.high))  # two shares are no farther apart
