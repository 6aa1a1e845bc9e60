"""How far an annotator can be relied on: gold items with Beta bounds, and hidden repeats."""

from dataclasses import dataclass

import numpy as np

from goldsmith.engines.annotators.panel import Floats, Ints, Panel


@dataclass(frozen=True, slots=True)
class Bounds:
    """One-sided bounds [annotators] of an accuracy, each passed with the chance left: Beta(1 + hits, 1 + misses)."""

    hits: Ints
    asked: Ints
    low: Floats
    high: Floats


def gold_bounds(hits: Ints, asked: Ints, level: float = 0.95) -> Bounds:
    """Bounds of the accuracy behind `hits` of `asked`, with a flat prior; without gold items (1 - level, level)."""
    from scipy.stats import beta

    hits, asked = np.atleast_1d(hits).astype(np.int64), np.atleast_1d(asked).astype(np.int64)
    if bool((hits > asked).any()) or bool((hits < 0).any()):
        raise ValueError("hits must be between 0 and the number asked")
    low = beta.ppf(1 - level, 1 + hits, 1 + asked - hits)
    high = beta.ppf(level, 1 + hits, 1 + asked - hits)
    return Bounds(hits, asked, np.asarray(low, np.float64), np.asarray(high, np.float64))


def self_consistency(panel: Panel) -> Bounds:
    """How often an annotator gives a hidden repeat the answer it had the first time, with Beta bounds.

    Repeats are items whose votes name the item they show again (`repeat`), and items one annotator judged twice.
    """
    size = len(panel.annotator_names)
    given: dict[tuple[int, str], list[int]] = {}
    for vote, annotator, label in zip(panel.votes, panel.annotators.tolist(), panel.labels.tolist(), strict=True):
        given.setdefault((annotator, vote.repeat or vote.item), []).append(label)
    kept, asked = np.zeros(size, np.int64), np.zeros(size, np.int64)
    for (annotator, _), labels in given.items():
        if len(labels) > 1:
            asked[annotator] += len(labels) - 1
            kept[annotator] += sum(label == labels[0] for label in labels[1:])
    return gold_bounds(kept, asked)
