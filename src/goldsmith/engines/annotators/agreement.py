"""Agreement: Krippendorff's alpha, Gwet's AC1 and AC2, Cohen's and Fleiss' kappa, raw agreement.

All work on a table of counts [items, labels]: how many annotators gave each item each label. Items with fewer than two
votes say nothing about agreement. Prevalence paradox: where one label is rare, kappa and alpha are low although nearly
all votes agree (AC1 is not); so the raw share, alpha and AC1 are shown together.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from goldsmith.types.errors import Inconclusive

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Scale = Literal["nominal", "ordinal", "interval"]
_PIECE = 2_000_000


@dataclass(frozen=True, slots=True)
class Agreement:
    """A coefficient with its two-sided bootstrap interval over items; `items` had two votes or more."""

    value: float
    low: float
    high: float
    items: int


def pairable(counts: Ints) -> Ints:
    """The rows of items with two votes or more. Errors: Inconclusive where agreement cannot be told."""
    usable: Ints = counts[counts.sum(axis=1) >= 2]
    if len(usable) == 0:
        raise Inconclusive("no item has two votes or more", found=f"{len(counts)} items")
    return usable


def raw_agreement(counts: Ints) -> float:
    """The share of pairs of votes on one item that are the same, each item weighing the same."""
    n = pairable(counts)
    sizes = n.sum(axis=1)
    return float(((n * (n - 1)).sum(axis=1) / (sizes * (sizes - 1))).mean())


def krippendorff_alpha(counts: Ints, scale: Scale = "nominal", values: Floats | None = None) -> float:
    """Krippendorff's alpha (Krippendorff 2004, chapter 11; Hayes and Krippendorff 2007), with missing votes.

    `values`: the labels as numbers, for the interval scale (default: their ranks 0, 1, 2, ...). Errors: Inconclusive
    where all votes have one label, or no item has two.
    """
    n = pairable(counts)
    weights = 1.0 / (n.sum(axis=1) - 1.0)
    observed = (n * weights[:, None]).T @ n - np.diag((n * weights[:, None]).sum(axis=0))
    return _alpha(observed, scale, values)


def _alpha(coincidences: Floats, scale: Scale, values: Floats | None) -> float:
    """Alpha of a coincidence matrix [labels, labels]."""
    totals = coincidences.sum(axis=1)
    whole = float(totals.sum())
    distance = _distances(totals, scale, values)
    expected = float(totals @ distance @ totals - (totals * np.diag(distance)).sum()) / (whole - 1.0)
    if expected <= 0:
        raise Inconclusive("all votes have the same label, so agreement says nothing")
    return 1.0 - float((coincidences * distance).sum()) / expected


def _distances(totals: Floats, scale: Scale, values: Floats | None) -> Floats:
    """Squared differences between labels [labels, labels]; on the ordinal scale they depend on the labels' counts."""
    size = len(totals)
    if scale == "nominal":
        return 1.0 - np.eye(size)
    if scale == "interval":
        at = np.arange(size, dtype=np.float64) if values is None else np.asarray(values, np.float64)
        return np.asarray((at[:, None] - at[None, :]) ** 2, np.float64)
    middle = np.cumsum(totals) - totals / 2.0
    return np.asarray((middle[:, None] - middle[None, :]) ** 2, np.float64)


def alpha_interval(
    counts: Ints,
    scale: Scale = "nominal",
    values: Floats | None = None,
    *,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Agreement:
    """Alpha with a percentile bootstrap over items (all votes of an item stay together).

    Errors: Inconclusive as `krippendorff_alpha`, or where fewer than ten items have two votes.
    """
    n = pairable(counts)
    weights = 1.0 / (n.sum(axis=1) - 1.0)
    size = n.shape[1]
    own = (n[:, :, None] * n[:, None, :]).astype(np.float64)
    own[:, np.arange(size), np.arange(size)] -= n
    own = (own * weights[:, None, None]).reshape(len(n), size * size)

    def value(coincidences: Floats) -> float:
        return _alpha(coincidences.reshape(size, size), scale, values)

    return _interval(own, value, confidence, resamples, seed)


def gwet_ac(counts: Ints, weights: Floats | None = None) -> float:
    """Gwet's AC1 (nominal), or AC2 with agreement `weights` [labels, labels] (Gwet 2014, chapters 2 to 4).

    The chance agreement takes every vote into account, also of items with one vote. Errors: Inconclusive where one
    label alone is known, or no item has two votes.
    """
    n = pairable(counts)
    size = n.shape[1]
    if size < 2:
        raise Inconclusive("all votes have the same label, so agreement says nothing")
    table = np.eye(size) if weights is None else weights
    alike = n @ table.T
    sizes = n.sum(axis=1)
    observed = float(((n * (alike - 1.0)).sum(axis=1) / (sizes * (sizes - 1.0))).mean())
    voted = counts[counts.sum(axis=1) >= 1]
    share = (voted / voted.sum(axis=1, keepdims=True)).mean(axis=0)
    chance = float(table.sum() / (size * (size - 1)) * (share * (1 - share)).sum())
    return (observed - chance) / (1.0 - chance)


def ac_interval(counts: Ints, *, confidence: float = 0.95, resamples: int = 1000, seed: int = 0) -> Agreement:
    """AC1 with a percentile bootstrap over items. Errors: Inconclusive as `gwet_ac`."""
    n = pairable(counts)
    if n.shape[1] < 2:
        raise Inconclusive("all votes have the same label, so agreement says nothing")
    sizes = n.sum(axis=1)
    agreed = (n * (n - 1.0)).sum(axis=1) / (sizes * (sizes - 1.0))
    own = np.concatenate([agreed[:, None], n / sizes[:, None], np.ones((len(n), 1))], axis=1)

    def value(sums: Floats) -> float:
        share = sums[1:-1] / sums[-1]
        chance = float((share * (1 - share)).sum()) / (len(share) - 1)
        return float(sums[0] / sums[-1] - chance) / (1.0 - chance)

    return _interval(own, value, confidence, resamples, seed)


def _interval(own: Floats, value, confidence: float, resamples: int, seed: int) -> Agreement:  # type: ignore[no-untyped-def]
    """Bootstrap of a function of sums over items: `own` [items, parts]. Resamples without a value are left out."""
    items = len(own)
    whole = value(own.sum(axis=0))
    if items < 10:
        raise Inconclusive("fewer than ten items have two votes or more", found=items)
    rng = np.random.default_rng(seed)
    found: list[float] = []
    rows = max(1, min(resamples, _PIECE // items))
    for start in range(0, resamples, rows):
        draws = rng.multinomial(items, np.full(items, 1.0 / items), size=min(rows, resamples - start))
        for sums in draws @ own:
            try:
                found.append(value(sums))
            except Inconclusive:
                continue
    if len(found) < resamples // 2:
        raise Inconclusive("in most resamples all votes have the same label, so agreement says nothing")
    low, high = np.quantile(found, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Agreement(whole, float(min(low, whole)), float(max(high, whole)), items)


def agreement_weights(
    size: int, kind: Literal["identity", "linear", "quadratic"], values: Floats | None = None
) -> Floats:
    """Agreement weights [labels, labels] for AC2 and Cohen's kappa: 1 on the diagonal, less the further apart."""
    if kind == "identity" or size < 2:
        return np.eye(size)
    at = np.arange(size, dtype=np.float64) if values is None else np.asarray(values, np.float64)
    apart = np.abs(at[:, None] - at[None, :]) / float(np.ptp(at))
    return np.asarray(1.0 - (apart if kind == "linear" else apart**2), np.float64)


def cohen_kappa(first: Ints, second: Ints, size: int, weights: Floats | None = None) -> float:
    """Cohen's kappa of two annotators on the same items; `weights` as `agreement_weights` (Cohen 1960, 1968).

    Errors: Inconclusive for no items, or where both gave one and the same label throughout.
    """
    if len(first) == 0 or len(first) != len(second):
        raise Inconclusive("the two annotators have no items in common", found=f"{len(first)} and {len(second)}")
    joint = np.bincount(first * size + second, minlength=size * size).reshape(size, size) / len(first)
    table = np.eye(size) if weights is None else weights
    chance = float(joint.sum(axis=1) @ table @ joint.sum(axis=0))
    if chance >= 1.0:
        raise Inconclusive("both gave the same label throughout, so agreement says nothing")
    return (float((joint * table).sum()) - chance) / (1.0 - chance)


def fleiss_kappa(counts: Ints) -> float:
    """Fleiss' kappa for a fixed number of votes per item (Fleiss 1971).

    Errors: Inconclusive where items have different numbers of votes, fewer than two, or one label alone was used.
    """
    sizes = np.unique(counts.sum(axis=1))
    if len(sizes) != 1 or sizes[0] < 2:
        allowed = "the same number of votes, two or more, for every item"
        raise Inconclusive("Fleiss' kappa needs a full panel", found=sizes.tolist()[:10], allowed=allowed)
    share = counts.sum(axis=0) / counts.sum()
    chance = float((share**2).sum())
    if chance >= 1.0:
        raise Inconclusive("all votes have the same label, so agreement says nothing")
    return (raw_agreement(counts) - chance) / (1.0 - chance)
