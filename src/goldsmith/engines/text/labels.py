"""Labels of comparisons and ratings as a model that has not seen them reads them, and the likely errors among them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from goldsmith.engines import preference_habits
from goldsmith.engines.text import preferences, reward
from goldsmith.engines.text.projection import ProjectedRows
from goldsmith.engines.text.tokens import ngrams, unique_per_text, words

_FOLDS = 4
_FEWEST_OF_A_KIND = 10
_LONGEST = 4000
_UNLIKELY = 0.25


@dataclass(frozen=True, slots=True)
class LabelReading:
    """Of the rows `rows` (ascending) the probability `right` that the given label is right, and whether confident
    learning counts it among the errors (`issues`) [rows].
    """

    rows: NDArray[np.int64]
    right: NDArray[np.float64]
    issues: NDArray[np.bool_]


def of_comparisons(view: ProjectedRows) -> LabelReading | None:
    """Of the sampled comparisons, by the shared reward model; None where there are too few."""
    known = reward.reading(view) if len(view) else None
    if known is None:
        return None
    scale, _ = preference_habits.slope_of(known.margins, known.prompts)
    right = 1.0 / (1.0 + np.exp(-np.clip(max(0.0, scale) * known.margins, -30, 30)))
    # Which side is called the first is arbitrary: it follows from the content, so that both classes are there.
    first = (known.content % 2).astype(np.int64)
    return LabelReading(known.rows, right, confident_errors(first, right))


def of_ratings(view: ProjectedRows) -> LabelReading | None:
    """Of the sampled ratings, by the words of prompt and answer; None with fewer than ten good and ten bad ones."""
    columns = view.columns
    rows = np.array([i for i, kind in enumerate(columns.kind) if kind == "rating"], np.int64)
    if len(rows) < 2 * _FEWEST_OF_A_KIND:
        return None
    full = columns.full
    keys = reward.content_keys([full[i] for i in rows.tolist()])
    kept = reward.spread_sample(view.groups.of_row[rows], keys, reward.MOST_PAIRS)
    rows, keys = rows[kept], keys[kept]
    good = np.array([columns.rejected[i] is None for i in rows.tolist()])
    if min(good.sum(), (~good).sum()) < _FEWEST_OF_A_KIND:
        return None
    features = _bags([(columns.answer[i] or columns.rejected[i] or "")[:_LONGEST] for i in rows.tolist()])
    prompts = reward.content_keys([columns.user[i] for i in rows.tolist()])
    if 2 * np.unique(prompts, return_counts=True)[1].max() > len(rows):
        prompts = keys  # One prompt asks most of them, and folds by prompt would leave nothing to learn from.
    order = np.argsort(keys, kind="stable")
    probability = np.full(len(rows), 0.5)
    for fold in range(_FOLDS):
        held = np.flatnonzero(prompts % _FOLDS == fold)
        train = order[prompts[order] % _FOLDS != fold]
        if len(held) and len(set(good[train].tolist())) == 2:
            probability[held] = _fitted(features[train], good[train]).predict_proba(features[held])[:, 1]
    right = np.where(good, probability, 1.0 - probability)
    return LabelReading(rows, right, confident_errors(good.astype(np.int64), right))


def confident_errors(labels: NDArray[np.int64], right: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which of the binary `labels`, right with probability `right`, are errors: off the diagonal of the confident joint
    (Northcutt 2021), or at most 1 in 4 likely to be right. The second because probabilities that all lie close together
    hardly ever pass the joint's thresholds. None are where only one label occurs.
    """
    if len(set(labels.tolist())) < 2:
        return np.zeros(len(labels), bool)
    from cleanlab.filter import find_label_issues

    first = np.where(labels == 0, right, 1.0 - right)
    found = find_label_issues(
        labels, np.stack([first, 1.0 - first], 1), filter_by="confident_learning", n_jobs=1, min_examples_per_class=1
    )
    return (np.asarray(found, bool) & (right < 0.5)) | (right <= _UNLIKELY)


def _bags(texts: list[str]) -> Any:
    single = words(texts)
    bag = preferences.hashed(unique_per_text(single), 0) + preferences.hashed(unique_per_text(ngrams(single, 2)), 1)
    from scipy import sparse

    # Rare words say more (inverse document frequency).
    often = np.bincount(bag.indices, minlength=bag.shape[1])
    bag = bag @ sparse.diags(np.log((1 + len(texts)) / (1 + often)) + 1.0)
    norm = np.sqrt(np.asarray(bag.multiply(bag).sum(axis=1)).ravel())
    return sparse.csr_matrix(sparse.diags(1.0 / np.maximum(norm, 1e-9)) @ bag)


def _fitted(features: Any, good: NDArray[np.bool_]) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=4.0, max_iter=60, tol=1e-3).fit(features, good)
