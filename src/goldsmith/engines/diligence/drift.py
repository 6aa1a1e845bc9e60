"""Drift between batches and sources: how well a classifier tells their texts apart, and how their lengths moved."""

import math
import re
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from goldsmith.engines.diligence.measures import rounded
from goldsmith.engines.diligence.sample import Sample
from goldsmith.types.diligence import Drift

LEAST = 30
"""Records on both sides below which nothing is said."""
ALIKE, APART = 0.6, 0.85
_FOLDS, _BINS, _UNITS = 5, 10, 200


def drifts(sample: Sample, names: Sequence[tuple[str, str]]) -> list[tuple[Drift, ...]]:
    """For each source x batch: against the batch before it of the same source, and against the other sources."""
    before = predecessors(names)
    found = []
    for unit, (source, _) in enumerate(names):
        own = sample.unit == unit
        told = []
        if before[unit] is not None:
            place = before[unit]
            assert place is not None
            told.append(_compare(sample, own, sample.unit == place, "the batch before", names[place][1]))
        others = np.array([name[0] != source for name in names])
        if others.any() and unit < _UNITS:
            told.append(_compare(sample, own, others[sample.unit], "the other sources", "all others"))
        found.append(tuple(told))
    return found


def predecessors(names: Sequence[tuple[str, str]]) -> list[int | None]:
    """For each unit the place of its source's batch before it; batches are ordered by the numbers in their names."""
    order = sorted(range(len(names)), key=lambda i: (names[i][0], natural(names[i][1])))
    before: list[int | None] = [None] * len(names)
    for earlier, later in pairwise(order):
        if names[earlier][0] == names[later][0]:
            before[later] = earlier
    return before


def natural(name: str) -> tuple[tuple[int, str], ...]:
    """A sort key in which batch-10 comes after batch-9."""
    return tuple((int(digits or 0), text) for text, digits in re.findall(r"(\D*)(\d{0,18})", name))


def _compare(sample: Sample, here: NDArray[np.bool_], there: NDArray[np.bool_], versus: str, against: str) -> Drift:
    sizes = int(here.sum()), int(there.sum())
    common = {"versus": versus, "against": against, "here": sizes[0], "there": sizes[1]}
    if min(sizes) < LEAST:
        told = f"not measured: {sizes[0]} and {sizes[1]} sampled records, {LEAST} on both sides are needed"
        return Drift.model_validate({**common, "told": told})
    rows = np.concatenate([np.flatnonzero(here), np.flatnonzero(there)])
    labels = np.concatenate([np.ones(sizes[0]), np.zeros(sizes[1])])
    auc = told_apart(sample.vectors[rows].astype(np.float64), labels)
    half = 1.96 * hanley_mcneil(auc, *sizes)
    low, high = max(0.0, auc - half), min(1.0, auc + half)
    word = "alike" if low <= ALIKE else "told apart at once" if low > APART else "told apart"
    return Drift.model_validate(
        {
            **common, "told": word, "auc": rounded(auc), "low": rounded(low), "high": rounded(high),
            "length_psi": rounded(stability_index(sample.lengths[there], sample.lengths[here])),
        }
    )  # fmt: skip


def told_apart(vectors: NDArray[np.float64], labels: NDArray[np.float64]) -> float:
    """Cross-fitted AUC of a ridge classifier (classifier two-sample test, Lopez-Paz and Oquab 2017): 0.5 is chance.

    Rows go to folds by place in the order given, label by label, so that every fold has both.
    """
    fold = np.empty(len(labels), np.int64)
    for label in (0.0, 1.0):
        members = np.flatnonzero(labels == label)
        fold[members] = np.arange(len(members)) % _FOLDS
    scores = np.empty(len(labels))
    inputs = np.hstack([vectors, np.ones((len(vectors), 1))])
    for number in range(_FOLDS):
        held = fold == number
        weights = np.where(
            labels[~held] == 1, 0.5 / max(1.0, labels[~held].sum()), 0.5 / max(1.0, (1 - labels[~held]).sum())
        )
        x, y = inputs[~held], 2 * labels[~held] - 1
        gram = (x * weights[:, None]).T @ x + 1e-3 * np.eye(x.shape[1]) / x.shape[1]
        scores[held] = inputs[held] @ np.linalg.solve(gram, (x * weights[:, None]).T @ y)
    return area(np.round(scores, 9), labels)


def area(scores: NDArray[np.float64], labels: NDArray[np.float64]) -> float:
    """Area under the ROC curve by ranks, ties counted half."""
    from scipy.stats import rankdata

    ones = labels == 1
    n, m = int(ones.sum()), int((~ones).sum())
    return float((rankdata(scores)[ones].sum() - n * (n + 1) / 2) / (n * m))


def hanley_mcneil(auc: float, n: int, m: int) -> float:
    """Standard error of an AUC of n against m (Hanley and McNeil 1982)."""
    q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = (auc * (1 - auc) + (n - 1) * (q1 - auc**2) + (m - 1) * (q2 - auc**2)) / (n * m)
    return math.sqrt(max(0.0, variance))


def stability_index(expected: NDArray[np.float64], found: NDArray[np.float64]) -> float:
    """Population stability index over the tenths of `expected`; half a count a bin keeps empty ones finite. By custom
    0.1 is worth watching and 0.25 worth acting on."""
    edges = np.unique(np.quantile(expected, np.linspace(0, 1, _BINS + 1)[1:-1]))
    bins = len(edges) + 1
    was = np.bincount(np.searchsorted(edges, expected, side="right"), minlength=bins) + 0.5
    now = np.bincount(np.searchsorted(edges, found, side="right"), minlength=bins) + 0.5
    was, now = was / was.sum(), now / now.sum()
    return float(((now - was) * np.log(now / was)).sum())
