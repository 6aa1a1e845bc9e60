"""What a source's preferences go by, against everybody else's: slopes and shares with intervals, Holm over groups."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from goldsmith.engines.multiplicity import holm

_RIDGE = 0.04
"""Prior precision of a slope (standard deviation 5), so that a group that always does the same keeps a finite one."""


@dataclass(frozen=True, slots=True)
class Habit:
    """A group's slope of being preferred on the pairs' differences, and that of the others, each with its standard
    error; `balance`: share of pairs with a positive difference minus share with a negative one; `p_value`: of the
    difference between the two slopes, two-sided, after Holm.
    """

    group: int
    pairs: int
    slope: float
    error: float
    others: float
    others_error: float
    balance: float
    p_value: float


def habits(
    differences: NDArray[np.float64], groups: NDArray[np.int32], prompts: NDArray[np.int64], *, fewest: int
) -> list[Habit]:
    """One for each group with at least `fewest` pairs (as many in the others together). `differences`: chosen minus
    rejected [pairs]; errors are clustered by prompt (sandwich).
    """
    from scipy.stats import norm

    found = []
    for group in np.unique(groups).tolist():
        own = groups == group
        if own.sum() < fewest or (~own).sum() < fewest:
            continue
        slope, error = slope_of(differences[own], prompts[own])
        others, others_error = slope_of(differences[~own], prompts[~own])
        z = (slope - others) / max(1e-9, float(np.hypot(error, others_error)))
        balance = float(np.sign(differences[own]).mean())
        found.append(
            Habit(group, int(own.sum()), slope, error, others, others_error, balance, float(2 * norm.sf(abs(z))))
        )
    adjusted = holm([h.p_value for h in found])
    return [
        Habit(h.group, h.pairs, h.slope, h.error, h.others, h.others_error, h.balance, p)
        for h, p in zip(found, adjusted, strict=True)
    ]


def slope_of(differences: NDArray[np.float64], clusters: NDArray[np.int64]) -> tuple[float, float]:
    """Slope of a logistic regression without intercept (Bradley-Terry with one covariate) and its standard error."""
    slope = 0.0
    for _ in range(50):
        chance = 1.0 / (1.0 + np.exp(np.clip(slope * differences, -30, 30)))
        gradient = float((chance * differences).sum()) - _RIDGE * slope
        curvature = float((chance * (1 - chance) * differences**2).sum()) + _RIDGE
        step = float(np.clip(gradient / curvature, -1.0, 1.0))
        slope += step
        if abs(step) < 1e-8:
            break
    chance = 1.0 / (1.0 + np.exp(np.clip(slope * differences, -30, 30)))
    curvature = float((chance * (1 - chance) * differences**2).sum()) + _RIDGE
    number = np.unique(clusters, return_inverse=True)[1]
    scores = np.bincount(number, chance * differences)
    # The larger of the two: the sandwich is too small where hardly a pair goes the other way.
    return slope, float(np.sqrt(max((scores**2).sum() / curvature**2, 1.0 / curvature)))


def share_interval(hits: int, count: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's interval of a share."""
    from scipy.stats import norm

    if count == 0:
        return 0.0, 1.0
    z = float(norm.ppf(0.5 + level / 2))
    share = hits / count
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * float(np.sqrt(share * (1 - share) / count + z * z / (4 * count * count))) / (1 + z * z / count)
    return max(0.0, middle - half), min(1.0, middle + half)


def lopsided(hits: Sequence[int], counts: Sequence[int]) -> list[float]:
    """Two-sided binomial p-values against one half, after Holm; 1 for a count of 0."""
    from scipy.stats import binomtest

    raw = [float(binomtest(h, n, 0.5).pvalue) if n else 1.0 for h, n in zip(hits, counts, strict=True)]
    return holm(raw)
