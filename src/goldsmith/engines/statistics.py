"""Intervals and tests for eval scores: every figure that is shown has one, and says by which method.

Scores within 0..1 get Wilson's interval; values without bounds (losses, gaps) get a bootstrap or t interval;
shares that are no means of scores (an area under a curve) get one on the logit scale, from influence values;
two models on the same items get a paired interval. Items that belong together (turns of one conversation) are
clusters, and clusters are what is counted as independent.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from goldsmith.types.errors import Inconclusive

Floats = NDArray[np.float64]
_RESAMPLES = 2000
_SMALLEST_BOOTSTRAP = 20
_NO_SPREAD = 1e-12


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its two-sided interval; `method` names how the interval was made."""

    mean: float
    low: float
    high: float
    method: str


def _z(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1, not {confidence}")
    return NormalDist().inv_cdf(0.5 + confidence / 2)


def wilson(successes: float, n: float, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval for a share (Wilson 1927, without continuity correction).

    `successes` and `n` may be fractional: for scores between 0 and 1 the sum of scores takes the place of the
    count (conservative, because no variable within 0..1 varies more than a coin of the same mean), and an
    effective sample size takes the place of `n`.
    """
    if n <= 0 or not 0 <= successes <= n:
        raise ValueError(f"need 0 <= successes <= n and n > 0, not {successes} of {n}")
    z2 = _z(confidence) ** 2
    p = successes / n
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2) / (1 + z2 / n) * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return low, high


def clustered_standard_error(values: Sequence[float], clusters: Sequence[str]) -> float:
    """Standard error of the mean when items of one cluster may move together (Miller 2024, arXiv 2411.00640,
    eq. 4), with the small-sample factor G / (G - 1) for G clusters. Needs at least two clusters."""
    residuals = np.asarray(values, dtype=np.float64)
    residuals = residuals - residuals.mean()
    sums = _cluster_sums(residuals, clusters)
    groups = len(sums)
    if groups < 2:
        raise Inconclusive("a clustered standard error needs at least two clusters", found=groups)
    return math.sqrt(float(sums @ sums) * groups / (groups - 1)) / len(residuals)


def _cluster_sums(values: Floats, clusters: Sequence[str]) -> Floats:
    _, index = np.unique(np.asarray(clusters, dtype=str), return_inverse=True)
    return np.bincount(index, weights=values).astype(np.float64)


def effective_n(values: Sequence[float], clusters: Sequence[str] | None) -> float:
    """How many independent items the clustered items are worth; never more than the items, never less than
    one.

    Kish's design effect from the clustered and the plain variance of the mean. Where the values do not vary
    there is nothing to estimate it from: then every cluster counts once.
    """
    n = len(values)
    groups = len(set(clusters)) if clusters is not None else n
    if clusters is None or groups == n:
        return float(n)
    if groups == 1:
        return 1.0
    plain = float(np.var(np.asarray(values, dtype=np.float64), ddof=1)) / n
    if plain <= 0:
        return float(groups)
    design_effect = clustered_standard_error(values, clusters) ** 2 / plain
    return n / max(1.0, design_effect)


def mean_interval(
    values: Sequence[float],
    *,
    bounded: bool,
    clusters: Sequence[str] | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """The mean of `values` with its interval.

    `bounded`: all values lie within 0..1 by their nature; then Wilson's interval, else a BCa bootstrap over
    items (a t interval below 20 items, or over clusters where items share one). Raises `Inconclusive` for no
    values.
    """
    x = _checked(values, bounded)
    mean = float(x.mean())
    clustered = clusters is not None and len(set(clusters)) < len(x)
    if bounded:
        n = effective_n(values, clusters)
        low, high = wilson(min(mean, 1.0) * n, n, confidence)
        kind = "Wilson" if bool(np.isin(x, (0.0, 1.0)).all()) else "Wilson, on the mean of shares"
        return Estimate(mean, min(low, mean), max(high, mean), kind + (", clustered" if clustered else ""))
    if len(x) == 1:
        return Estimate(mean, mean, mean, "none: one item")
    if clusters is not None and clustered:
        groups = len(set(clusters))
        if groups < 2:
            return Estimate(mean, mean, mean, "none: one cluster")
        half = _t_quantile(confidence, groups - 1) * clustered_standard_error(values, clusters)
        return Estimate(mean, mean - half, mean + half, "t, clustered")
    if len(x) < _SMALLEST_BOOTSTRAP:
        half = _t_quantile(confidence, len(x) - 1) * float(x.std(ddof=1)) / math.sqrt(len(x))
        return Estimate(mean, mean - half, mean + half, "t")
    low, high = bca_interval(x, confidence=confidence, seed=seed)
    return Estimate(mean, low, high, "bootstrap BCa")


def influence_interval(
    values: Sequence[float], *, clusters: Sequence[str] | None = None, confidence: float = 0.95
) -> Estimate:
    """A share that is the mean of influence values, with its interval, which stays within 0..1.

    A t interval on the logit scale by the delta method, as is usual for an area under the ROC curve (Pepe 2003, section
    5.2.3). At 0 or 1, or where nothing varies, that has no spread: then Wilson's interval, each cluster counting once.
    Raises `Inconclusive` for no values.
    """
    x = _checked(values, bounded=False)
    names = [str(i) for i in range(len(x))] if clusters is None else clusters
    groups, mean = len(set(names)), min(1.0, max(0.0, float(x.mean())))
    error = clustered_standard_error(values, names) if groups > 1 else 0.0
    clustered = ", clustered" if groups < len(x) else ""
    if error < _NO_SPREAD or not _NO_SPREAD < mean < 1 - _NO_SPREAD:
        low, high = wilson(mean * groups, groups, confidence)
        return Estimate(mean, min(low, mean), max(high, mean), "Wilson, nothing varies" + clustered)
    middle = math.log(mean / (1 - mean))
    half = _t_quantile(confidence, groups - 1) * error / (mean * (1 - mean))
    return Estimate(mean, _share_of(middle - half), _share_of(middle + half), "t on the logit scale" + clustered)


def _share_of(logit: float) -> float:
    """The inverse of the logit, for any number."""
    return 0.5 * (1 + math.tanh(logit / 2))


def _checked(values: Sequence[float], bounded: bool) -> Floats:
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or len(x) == 0:
        raise Inconclusive("there is nothing to take the mean of", found=f"{x.size} values")
    if not bool(np.isfinite(x).all()):
        raise ValueError("scores must be finite")
    if bounded and (x.min() < 0 or x.max() > 1):
        raise ValueError(f"bounded scores must lie within 0..1, found {x.min()} to {x.max()}")
    return x


def _t_quantile(confidence: float, degrees: int) -> float:
    from scipy.stats import t

    return float(t.ppf(0.5 + confidence / 2, degrees))


def bca_interval(
    values: Sequence[float] | Floats, *, confidence: float = 0.95, seed: int = 0, resamples: int = _RESAMPLES
) -> tuple[float, float]:
    """Bias-corrected and accelerated bootstrap interval of the mean (Efron 1987); the same seed gives the
    same interval."""
    x = np.asarray(values, dtype=np.float64)
    n = len(x)
    if n < 2:
        raise Inconclusive("a bootstrap needs at least two values", found=n)
    mean = float(x.mean())
    if float(np.ptp(x)) == 0.0:
        return mean, mean
    rng = np.random.default_rng(seed)
    rows = max(1, min(resamples, 4_000_000 // n))
    parts = []
    for start in range(0, resamples, rows):
        draws = rng.integers(0, n, size=(min(rows, resamples - start), n))
        parts.append(x[draws].mean(axis=1))
    means = np.sort(np.concatenate(parts))
    normal = NormalDist()
    below = (np.count_nonzero(means < mean) + np.count_nonzero(means <= mean)) / (2 * resamples)
    bias = normal.inv_cdf(min(max(below, 0.5 / resamples), 1 - 0.5 / resamples))
    # Leaving x_i out moves the mean by (mean - x_i) / (n - 1): the jackknife needs no loop.
    moved = (x - mean) / (n - 1)
    acceleration = float((moved**3).sum()) / (6 * float((moved**2).sum()) ** 1.5)
    limits = []
    for tail in ((1 - confidence) / 2, (1 + confidence) / 2):
        shifted = bias + normal.inv_cdf(tail)
        limits.append(float(np.quantile(means, normal.cdf(bias + shifted / (1 - acceleration * shifted)))))
    return limits[0], limits[1]


def paired_difference(
    first: Sequence[float],
    second: Sequence[float],
    *,
    bounded: bool,
    clusters: Sequence[str] | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """Mean of `first` minus mean of `second` on the same items.

    Scores within 0..1: Newcombe's square-and-add interval for paired proportions (Newcombe 1998, method 10),
    which joins the two Wilson intervals by the correlation of the pairs; for fractional scores the same
    formula with their moments. Other values: `mean_interval` of the differences.
    """
    a, b = _checked(first, bounded), _checked(second, bounded)
    if len(a) != len(b):
        raise ValueError(f"pairs need equal lengths, not {len(a)} and {len(b)}")
    if not bounded:
        estimate = mean_interval(list(a - b), bounded=False, clusters=clusters, confidence=confidence, seed=seed)
        return Estimate(estimate.mean, estimate.low, estimate.high, "paired " + estimate.method)
    mean_a, mean_b = float(a.mean()), float(b.mean())
    n = effective_n(list(a - b), clusters)
    low_a, high_a = wilson(mean_a * n, n, confidence)
    low_b, high_b = wilson(mean_b * n, n, confidence)
    phi = _corrected_correlation(a, b)
    difference = mean_a - mean_b
    down, up = (mean_a - low_a, high_b - mean_b), (high_a - mean_a, mean_b - low_b)
    low = difference - math.sqrt(max(0.0, down[0] ** 2 - 2 * phi * down[0] * down[1] + down[1] ** 2))
    high = difference + math.sqrt(max(0.0, up[0] ** 2 - 2 * phi * up[0] * up[1] + up[1] ** 2))
    clustered = clusters is not None and len(set(clusters)) < len(a)
    return Estimate(
        difference, max(-1.0, low), min(1.0, high), "paired Newcombe" + (", clustered" if clustered else "")
    )


def _corrected_correlation(a: Floats, b: Floats) -> float:
    """Correlation of the pairs with Newcombe's continuity correction when positive; 0 where either does not
    vary."""
    n = len(a)
    spread = math.sqrt((n * float(a @ a) - float(a.sum()) ** 2) * (n * float(b @ b) - float(b.sum()) ** 2))
    if spread <= 1e-12:
        return 0.0
    joint = n * float(a @ b) - float(a.sum()) * float(b.sum())
    if joint > 0:
        joint = max(0.0, joint - n / 2)
    return min(1.0, max(-1.0, joint / spread))


def mcnemar_exact(first_only: int, second_only: int) -> float:
    """Two-sided exact p-value that two models differ, from the pairs where only one of them was right
    (McNemar 1947; binomial with probability one half)."""
    if first_only < 0 or second_only < 0:
        raise ValueError("counts cannot be negative")
    n = first_only + second_only
    tail = sum(math.comb(n, k) for k in range(min(first_only, second_only) + 1))
    return min(1.0, (2 * tail) / (1 << n))


def minimum_n(half_width: float, *, share: float = 0.5, confidence: float = 0.95) -> int:
    """The fewest items for which Wilson's interval around `share` is no wider than plus or minus
    `half_width`."""
    if not 0 < half_width < 0.5 or not 0 <= share <= 1:
        raise ValueError("half_width must be within 0..0.5 and share within 0..1")

    def wide(n: int) -> bool:
        low, high = wilson(share * n, n, confidence)
        return (high - low) / 2 > half_width

    low, high = 0, 1
    while wide(high):
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if wide(middle) else (low, middle)
    return high


def minimum_pairs(difference: float, *, discordant: float, significance: float = 0.05, power: float = 0.8) -> int:
    """Items needed for McNemar's test to find a true `difference` when a share `discordant` of items is
    answered differently by the two models (Connor 1987)."""
    if not 0 < abs(difference) <= discordant <= 1:
        raise ValueError("need 0 < |difference| <= discordant <= 1")
    z_a, z_b = NormalDist().inv_cdf(1 - significance / 2), NormalDist().inv_cdf(power)
    root = z_a * math.sqrt(discordant) + z_b * math.sqrt(discordant - difference**2)
    return math.ceil((root / difference) ** 2)
