"""Two samples, one question: do they come from one distribution? Pure functions, each with a p-value that holds.

`exact_p`: a statistic is computed on ten equal blocks of either sample; if both come from one distribution the twenty
values are exchangeable, so the share of all C(20, 10) = 184,756 ways to deal them that look as extreme is an exact
p-value, whatever the statistic and its distribution (Fisher 1935; Pitman 1937). The classifier test is that of
Lopez-Paz and Oquab (2017, arXiv 1610.06545) with the Mann-Whitney statistic on held-out rows.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
BLOCKS = 10
SMALLEST_P = 1 / 184_756
"""The least p-value that `exact_p` can give with ten blocks on either side."""


@cache
def _choices() -> tuple[Floats, ...]:
    """For k = 0 to 10 every way to choose k of ten [C(10, k), 10]."""
    numbers = np.arange(1 << BLOCKS, dtype=np.uint32)
    chosen = ((numbers[:, None] >> np.arange(BLOCKS, dtype=np.uint32)) & 1).astype(np.float64)
    return tuple(chosen[np.bitwise_count(numbers) == k] for k in range(BLOCKS + 1))


def exact_p(reference: Sequence[float] | Floats, other: Sequence[float] | Floats) -> float:
    """One-sided exact p-value that the ten values of `other` are larger than the ten of `reference`."""
    values = np.concatenate([np.asarray(other, np.float64), np.asarray(reference, np.float64)])
    if len(values) != 2 * BLOCKS or not bool(np.isfinite(values).all()):
        raise ValueError(f"exact_p needs {BLOCKS} finite values on either side, not {len(values)}")
    observed = float(values[:BLOCKS].sum())
    slack = 1e-9 * max(1.0, float(np.abs(values).sum()))
    # A deal chooses k of the first ten values and ten - k of the others: sums of both parts, one of them sorted.
    extreme = 0
    for k, ways in enumerate(_choices()):
        one, rest = np.sort(ways @ values[:BLOCKS]), _choices()[BLOCKS - k] @ values[BLOCKS:]
        extreme += int((len(one) - np.searchsorted(one, observed - slack - rest)).sum())
    return extreme / math.comb(2 * BLOCKS, BLOCKS)


def rank_auc(negatives: Floats, positives: Floats) -> tuple[float, float]:
    """AUC = P(positive > negative) + P(equal) / 2, and the one-sided Mann-Whitney p-value that it is above one half."""
    from scipy.stats import mannwhitneyu

    if not len(negatives) or not len(positives) or np.ptp(np.concatenate([negatives, positives])) == 0:
        return 0.5, 1.0
    result = mannwhitneyu(positives, negatives, alternative="greater", method="asymptotic")
    return float(result.statistic) / (len(negatives) * len(positives)), float(result.pvalue)


def classifier_auc(features: Any, is_other: NDArray[np.bool_], fold: NDArray[np.bool_]) -> tuple[float, float]:
    """How well a logistic classifier tells held-out rows of `other` from those of the reference: mean AUC of both
    folds, and twice the smaller one-sided p-value (Bonferroni: the folds share rows).

    `features` [rows, width] sparse; `fold`: rows that belong together (one prompt) lie in one fold.
    """
    from sklearn.linear_model import LogisticRegression

    aucs, p_values = [], []
    for test in (fold, ~fold):
        train = ~test
        if min(is_other[test].sum(), (~is_other[test]).sum(), is_other[train].sum(), (~is_other[train]).sum()) < 8:
            return 0.5, 1.0
        model = LogisticRegression(solver="liblinear", C=4.0, class_weight="balanced", tol=1e-2, max_iter=50)
        model.fit(features[train], is_other[train])
        margin = np.asarray(model.decision_function(features[test]))
        auc, p_value = rank_auc(margin[~is_other[test]], margin[is_other[test]])
        aucs.append(auc)
        p_values.append(p_value)
    return float(np.mean(aucs)), min(1.0, 2.0 * min(p_values))


@dataclass(frozen=True, slots=True)
class Shift:
    """How far one feature moved. `ks_p`: Kolmogorov-Smirnov p-value; `js`: Jensen-Shannon distance over the deciles
    (base 2); `wasserstein`: in standard deviations of the reference; `psi` over the deciles with `psi_p`.
    """

    ks_p: float
    js: float
    wasserstein: float
    psi: float
    psi_p: float


def shift(reference: Floats, other: Floats) -> Shift:
    """One feature of both samples compared."""
    from scipy.stats import ks_2samp, wasserstein_distance

    spread = float(reference.std())
    pooled = np.concatenate([reference, other])
    if float(np.ptp(pooled)) == 0:
        return Shift(1.0, 0.0, 0.0, 0.0, 1.0)
    edges = np.unique(np.quantile(pooled, np.linspace(0.1, 0.9, 9)))
    bins = len(edges) + 1
    a = np.bincount(np.searchsorted(edges, reference, side="right"), minlength=bins)
    b = np.bincount(np.searchsorted(edges, other, side="right"), minlength=bins)
    psi, psi_p = stability_index(a, b)
    return Shift(
        ks_p=float(ks_2samp(reference, other, method="asymp").pvalue),
        js=jensen_shannon(a, b),
        wasserstein=float(wasserstein_distance(reference, other)) / max(spread, 1e-9),
        psi=psi,
        psi_p=psi_p,
    )


def jensen_shannon(a: NDArray[np.int64], b: NDArray[np.int64]) -> float:
    """Jensen-Shannon distance (square root of the divergence, base 2) of two histograms."""
    p, q = a / max(1, a.sum()), b / max(1, b.sum())
    middle = (p + q) / 2

    def kl(x: Floats) -> float:
        some = x > 0
        return float(np.sum(x[some] * np.log2(x[some] / middle[some])))

    return float(np.sqrt(max(0.0, (kl(p) + kl(q)) / 2)))


def stability_index(a: NDArray[np.int64], b: NDArray[np.int64]) -> tuple[float, float]:
    """Population stability index of two histograms, and the p-value that both come from one distribution.

    The index is the symmetrised Kullback-Leibler divergence; under one distribution it is (1/n + 1/m) times a
    chi-square of bins - 1 degrees (Yurdakul 2018). Bins that both lack are left out; half a row is added to each.
    """
    from scipy.stats import chi2

    some = (a + b) > 0
    a, b = a[some], b[some]
    if len(a) < 2 or not a.sum() or not b.sum():
        return 0.0, 1.0
    p, q = (a + 0.5) / (a.sum() + 0.5 * len(a)), (b + 0.5) / (b.sum() + 0.5 * len(b))
    index = float(np.sum((p - q) * np.log(p / q)))
    scale = 1 / a.sum() + 1 / b.sum()
    return index, float(chi2.sf(index / scale, len(a) - 1))


def mean_discrepancies(reference: Floats, others: Sequence[Floats], width: float) -> list[float]:
    """Of each of the others, squared maximum mean discrepancy with a Gaussian kernel of this `width` (biased
    estimate; Gretton et al. 2012).
    """
    within = _kernel(reference, reference, width).mean()
    return [
        float(within + _kernel(other, other, width).mean() - 2 * _kernel(reference, other, width).mean())
        for other in others
    ]


def _kernel(a: Floats, b: Floats, width: float) -> Floats:
    distances = np.maximum(0.0, (a * a).sum(1)[:, None] + (b * b).sum(1)[None, :] - 2 * a @ b.T)
    kernel: Floats = np.exp(-distances / (2 * width * width))
    return kernel


def fisher(a_yes: int, a_no: int, b_yes: int, b_no: int, *, alternative: str = "two-sided") -> float:
    """Fisher's exact p-value of a two-by-two table; `greater`: the share of a is the larger one."""
    from scipy.stats import fisher_exact

    return float(fisher_exact([[a_yes, a_no], [b_yes, b_no]], alternative=alternative).pvalue)
