"""What the scores of an answer's steps come to: one number for the answer, and how well they tell right from wrong.

Pure functions. `right`: a step's probability of being right. Statistics that are no means of their items (an area, a
harmonic mean) are given as influence values: numbers, one for each item, whose mean is the statistic and whose spread
is its standard error.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Aggregate = Literal["min", "product", "mean", "last"]
Floats = NDArray[np.float64]


def of_answer(right: Sequence[float], aggregate: Aggregate) -> float:
    """One number for an answer of at least one step."""
    right_S = np.asarray(right, dtype=np.float64)
    ways = {"min": right_S.min(), "product": right_S.prod(), "mean": right_S.mean(), "last": right_S[-1]}
    return float(ways[aggregate])


def first_wrong(
    right: Sequence[float], labels: Sequence[bool | None], threshold: float
) -> tuple[int | None, int | None]:
    """(labelled, found): the place of the first wrong step, None where there is none. Found is the first step below
    `threshold`; steps that nobody judged are passed over."""
    judged = [place for place, label in enumerate(labels) if label is not None]
    labelled = next((place for place in judged if not labels[place]), None)
    return labelled, next((place for place in judged if right[place] < threshold), None)


def auc_influences(scores: Sequence[float], labels: Sequence[bool]) -> Floats | None:
    """Influence values [N] of the area under the ROC curve, by DeLong et al. 1988: the chance that a right one scores
    above a wrong one, a tie counting half. None where all are right or all wrong."""
    from scipy.stats import rankdata

    scores_N, labels_N = np.asarray(scores, dtype=np.float64), np.asarray(labels, dtype=np.bool_)
    total, rights = len(labels_N), int(labels_N.sum())
    wrongs = total - rights
    if not rights or not wrongs:
        return None
    placements_N = np.empty(total)
    ranks_N = rankdata(scores_N)
    placements_N[labels_N] = (ranks_N[labels_N] - rankdata(scores_N[labels_N])) / wrongs
    placements_N[~labels_N] = 1 - (ranks_N[~labels_N] - rankdata(scores_N[~labels_N])) / rights
    area = float(placements_N[labels_N].mean())
    share_N = np.where(labels_N, total / rights, total / wrongs)
    return area + share_N * (placements_N - area)


def harmonic_influences(one: Sequence[float], other: Sequence[float]) -> tuple[Floats, Floats] | None:
    """Influence values of the harmonic mean of two means of different items, by the delta method: those of `one`, those
    of `other`. None where a side is empty. Where both means are 0, so is theirs, and no spread can be told."""
    if not len(one) or not len(other):
        return None
    one_N, other_M = np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)
    a, b, total = float(one_N.mean()), float(other_M.mean()), len(one_N) + len(other_M)
    if a + b == 0:
        return np.zeros(len(one_N)), np.zeros(len(other_M))
    harmonic = 2 * a * b / (a + b)
    slopes = 2 * b * b / (a + b) ** 2, 2 * a * a / (a + b) ** 2
    return (
        harmonic + slopes[0] * total / len(one_N) * (one_N - a),
        harmonic + slopes[1] * total / len(other_M) * (other_M - b),
    )
