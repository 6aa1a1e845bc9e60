"""Who is right: majority vote, Dawid-Skene, one-coin, GLAD and MACE, each as a typed function on codes.

The models are those of crowd-kit; nothing of its data frames leaves this file. Its traps, and what is done here:
Dawid-Skene's confusion matrices come back with unsorted rows and columns, and labels that an annotator never gave are
absent (both are put in the order of the codes); pandas is told once to keep its deprecation warnings; votes with one
label alone, or by one annotator, are `Inconclusive` instead of a fit that means nothing.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from goldsmith.types.errors import Inconclusive

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Truth:
    """`probabilities` [items, labels] of the right label; `skills` [annotators]: the chance to be right, NaN unknown.

    `confusion` [annotators, labels (right), labels (given)]: rows sum to 1; Dawid-Skene alone has it.
    """

    probabilities: Floats
    skills: Floats
    confusion: Floats | None = None

    @property
    def labels(self) -> Ints:
        """The likeliest label of each item; of equally likely ones the first. -1 for an item without votes."""
        best: Ints = self.probabilities.argmax(axis=1).astype(np.int64)
        best[self.probabilities.sum(axis=1) == 0] = -1
        return best


def _require(items: Ints, annotators: Ints, labels: Ints) -> None:
    if len(items) == 0:
        raise Inconclusive("there are no votes")
    if len(np.unique(annotators)) < 2:
        raise Inconclusive("one annotator alone cannot be compared with anybody")
    if len(np.unique(labels)) < 2:
        raise Inconclusive("all votes have the same label, so agreement says nothing")
    if len(np.unique(items)) == len(items):
        raise Inconclusive("no item has two votes or more, so annotators never overlap")


def majority_vote(items: Ints, annotators: Ints, labels: Ints, shape: tuple[int, int, int]) -> Truth:
    """The share of votes each label got; an annotator's skill is how often the others' majority is met.

    Ties are shared. Defined for one annotator and one label too (skills are then NaN).
    """
    size_i, size_a, size_l = shape
    counts = np.bincount(items * size_l + labels, minlength=size_i * size_l).reshape(size_i, size_l).astype(np.float64)
    sizes = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, sizes, out=np.zeros_like(counts), where=sizes > 0)
    others = counts[items]
    others[np.arange(len(items)), labels] -= 1
    top = others.max(axis=1)
    met = np.where(others[np.arange(len(items)), labels] == top, 1.0 / (others == top[:, None]).sum(axis=1), 0.0)
    known = top > 0
    votes = np.bincount(annotators[known], minlength=size_a)
    hits = np.bincount(annotators[known], weights=met[known], minlength=size_a)
    skills = np.divide(hits, votes, out=np.full(size_a, np.nan), where=votes > 0)
    return Truth(shares, skills)


def dawid_skene(
    items: Ints, annotators: Ints, labels: Ints, shape: tuple[int, int, int], gold: Ints | None = None
) -> Truth:
    """Dawid and Skene (1979): a confusion matrix per annotator. `gold` [items], -1 unknown, holds items to their label.

    Errors: Inconclusive for one annotator, one label, or no overlap.
    """
    _require(items, annotators, labels)

    def fit(frame: Any) -> Any:
        import pandas as pd
        from crowdkit.aggregation import DawidSkene

        known = None
        if gold is not None and bool((gold >= 0).any()):
            voted = np.intersect1d(np.flatnonzero(gold >= 0), items)
            known = pd.Series(gold[voted], index=pd.Index(voted, name="task"), name="agg_label")
        return DawidSkene(n_iter=100).fit(frame, true_labels=known)

    model = _fitted(items, annotators, labels, fit)
    size_i, size_a, size_l = shape
    probabilities = _table(model.probas_, size_i, size_l)
    confusion = np.full((size_a, size_l, size_l), np.nan)
    errors = model.errors_
    worker = errors.index.get_level_values(0).to_numpy(dtype=np.int64)
    given = errors.index.get_level_values(1).to_numpy(dtype=np.int64)
    right = errors.columns.to_numpy(dtype=np.int64)
    confusion[np.unique(annotators)] = 0.0
    confusion[worker[:, None], right[None, :], given[:, None]] = np.nan_to_num(errors.to_numpy(dtype=np.float64))
    sums = confusion.sum(axis=2, keepdims=True)
    confusion = np.divide(confusion, sums, out=np.full_like(confusion, np.nan), where=sums > 0)
    return Truth(probabilities, _accuracy(confusion, probabilities), confusion)


def one_coin(items: Ints, annotators: Ints, labels: Ints, shape: tuple[int, int, int]) -> Truth:
    """One accuracy per annotator (Zhang et al. 2014): for few votes each. Errors: as `dawid_skene`."""
    _require(items, annotators, labels)

    def fit(frame: Any) -> Any:
        from crowdkit.aggregation import OneCoinDawidSkene

        return OneCoinDawidSkene(n_iter=100).fit(frame)

    model = _fitted(items, annotators, labels, fit)
    probabilities = _table(model.probas_, shape[0], shape[2])
    return Truth(probabilities, _expected_accuracy(items, annotators, labels, probabilities, shape[1]))


def glad(items: Ints, annotators: Ints, labels: Ints, shape: tuple[int, int, int]) -> tuple[Truth, Floats]:
    """GLAD (Whitehill et al. 2009): abilities and item difficulty; also the items' ease [items] (higher is easier).

    Errors: as `dawid_skene`.
    """
    _require(items, annotators, labels)

    def fit(frame: Any) -> Any:
        from crowdkit.aggregation import GLAD

        return GLAD(n_iter=100).fit(frame)

    model = _fitted(items, annotators, labels, fit)
    probabilities = _table(model.probas_, shape[0], shape[2])
    ease = np.full(shape[0], np.nan)
    ease[model.betas_.index.to_numpy(dtype=np.int64)] = np.exp(model.betas_.to_numpy(dtype=np.float64))
    return Truth(probabilities, _expected_accuracy(items, annotators, labels, probabilities, shape[1])), ease


def mace(items: Ints, annotators: Ints, labels: Ints, shape: tuple[int, int, int], seed: int = 0) -> Truth:
    """MACE (Hovy et al. 2013): `skills` are the chances that an annotator is not spamming. Errors: as `dawid_skene`."""
    _require(items, annotators, labels)

    def fit(frame: Any) -> Any:
        from crowdkit.aggregation import MACE

        # Its restarts all begin at the same point (each uses the seed anew), so one is as good as ten.
        return MACE(n_restarts=1, random_state=seed).fit(frame)

    model = _fitted(items, annotators, labels, fit)
    # crowd-kit numbers annotators by first appearance in the frame; ours is sorted by annotator within items.
    order = list(dict.fromkeys(annotators[np.argsort(items, kind="stable")].tolist()))
    spamming = np.asarray(model.spamming_, np.float64)
    honest = spamming[:, 1] / np.maximum(spamming.sum(axis=1), 1e-12)
    skills = np.full(shape[1], np.nan)
    skills[np.array(order, np.int64)] = honest
    return Truth(_table(model.probas_, shape[0], shape[2]), skills)


def _fitted(items: Ints, annotators: Ints, labels: Ints, fit: Callable[[Any], Any]) -> Any:
    import pandas as pd

    order = np.argsort(items, kind="stable")
    frame = pd.DataFrame({"task": items[order], "worker": annotators[order], "label": labels[order]})
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return fit(frame)


def _table(frame: Any, rows: int, columns: int) -> Floats:
    """crowd-kit's probabilities in the order of the codes; zero for items without votes."""
    table = np.zeros((rows, columns))
    at = frame.index.to_numpy(dtype=np.int64), frame.columns.to_numpy(dtype=np.int64)
    table[at[0][:, None], at[1][None, :]] = np.nan_to_num(frame.to_numpy(dtype=np.float64))
    return table


def _expected_accuracy(items: Ints, annotators: Ints, labels: Ints, probabilities: Floats, size: int) -> Floats:
    votes = np.bincount(annotators, minlength=size)
    right = np.bincount(annotators, weights=probabilities[items, labels], minlength=size)
    return np.asarray(np.divide(right, votes, out=np.full(size, np.nan), where=votes > 0), np.float64)


def _accuracy(confusion: Floats, probabilities: Floats) -> Floats:
    """Accuracy at the labels' estimated shares; right labels an annotator never met are left out of the mean."""
    share = probabilities.sum(axis=0)
    diagonal = np.diagonal(confusion, axis1=1, axis2=2)
    weight = np.where(np.isnan(diagonal), 0.0, share[None, :])
    total = weight.sum(axis=1)
    right = (np.nan_to_num(diagonal) * weight).sum(axis=1)
    return np.asarray(np.divide(right, total, out=np.full(len(total), np.nan), where=total > 0), np.float64)
