"""A small reward model for cross-examination: Bradley-Terry on what distinguishes the chosen from the rejected side.

Features of a pair are those of the chosen minus those of the rejected answer: hashed words and word pairs, the called
tools alone and crossed with the words said just before, and a few that look at the prompt: are the values of the
arguments in it, how much of the answer is, how long is it. The model is logistic regression without intercept:
turning a pair round turns its margin's sign.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.special import expit

from goldsmith.engines import destinations
from goldsmith.engines.text.calls import leaves_of
from goldsmith.engines.text.projection import Call, Columns
from goldsmith.engines.text.tokens import Words, ngrams, unique_per_text, words

HASHED = 1 << 15
LENGTH = HASHED
"""The column of the difference in length, the first behind the hashed ones."""
_DENSE = 7
_LONGEST = 4000
_MOST_TRAINED = 4000
_C = 2.0


@dataclass(frozen=True, slots=True)
class Pairs:
    """Difference features of comparisons, [pairs, features]; `rows` are their row numbers."""

    rows: NDArray[np.int64]
    features: Any


def pairs(columns: Columns, rows: NDArray[np.int64] | None = None) -> Pairs:
    """Features of these comparisons; of every row that is one, where none are named."""
    if rows is None:
        rows = np.array([i for i, kind in enumerate(columns.kind) if kind == "comparison"], np.int64)
    said = [_said(columns, i) for i in rows]
    sides = []
    dense = np.zeros((len(rows), _DENSE))
    for sign, texts, calls in (
        (1.0, [columns.answer[i] for i in rows], [columns.calls[i] for i in rows]),
        (-1.0, [columns.rejected[i] or "" for i in rows], [columns.rejected_calls[i] for i in rows]),
    ):
        own = words([_side(t, c, s) for t, c, s in zip(texts, calls, said, strict=True)])
        single = hashed(unique_per_text(own), 0)
        double = hashed(unique_per_text(ngrams(own, 2)), 1)
        sides.append(single + double)
        dense += sign * np.array([_dense(t, c, s) for t, c, s in zip(texts, calls, said, strict=True)]).reshape(
            len(rows), _DENSE
        )
    difference = (sides[0] - sides[1]).tocsr()
    difference.eliminate_zeros()
    norm = np.sqrt(np.asarray(difference.multiply(difference).sum(axis=1)).ravel())
    difference = sparse.diags(1.0 / np.maximum(norm, 1e-9)) @ difference
    return Pairs(rows, sparse.hstack([difference, sparse.csr_matrix(dense)], format="csr"))


def fit(features: Any, weights: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """Coefficients that prefer the chosen sides; at most 4,000 pairs are used, drawn by `seed`.

    Logistic regression without intercept (L2, C = 2), as scikit-learn's solver finds it (L-BFGS), over the features
    that occur: of the others nothing can be learnt.
    """
    from scipy.optimize import minimize

    use = np.flatnonzero(weights > 0)
    rng = np.random.default_rng(seed)
    if len(use) > _MOST_TRAINED:
        use = np.sort(rng.choice(use, _MOST_TRAINED, replace=False))
    coefficients = np.zeros(features.shape[1])
    if not len(use):
        return coefficients
    taught = features[use]
    occurs = np.zeros(features.shape[1], bool)
    occurs[taught.indices] = True
    occurring = np.flatnonzero(occurs)
    columns = (np.cumsum(occurs, dtype=np.int32) - 1)[taught.indices]
    taught = sparse.csr_matrix((taught.data, columns, taught.indptr), shape=(len(use), len(occurring)))
    turned = taught.T
    share = weights[use] / weights[use].sum()
    shrink = 1.0 / (_C * weights[use].sum())

    def loss(at: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        margin = taught @ at
        value = float(share @ np.logaddexp(0.0, -margin)) + 0.5 * shrink * float(at @ at)
        return value, turned @ (-share * expit(-margin)) + shrink * at

    options = {"maxiter": 60, "gtol": 1e-3, "ftol": 64 * np.finfo(float).eps, "maxls": 50}
    found = minimize(loss, np.zeros(len(occurring)), jac=True, method="L-BFGS-B", options=options)
    coefficients[occurring] = found.x
    return coefficients


def margins(features: Any, coefficients: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log-odds that the chosen side is the better one."""
    return np.asarray(features @ coefficients).ravel()


def occurrences(features: Any) -> Any:
    """1 where a pair has a hashed feature [pairs, HASHED], sparse."""
    own = features[:, :HASHED].tocsr()
    own.eliminate_zeros()
    own.data = np.ones_like(own.data)
    return own


def known_share(mine: Any, others: Any) -> float:
    """Mean share of the pairs' `occurrences` that at least two of the other pairs have as well."""
    seen = np.asarray(others.sum(axis=0)).ravel() >= 2
    sizes = np.diff(mine.indptr)
    return float(np.mean((mine @ seen.astype(float))[sizes > 0] / sizes[sizes > 0])) if (sizes > 0).any() else 0.0


def out_of_fold(features: Any, seed: int, folds: int = 3) -> NDArray[np.float64]:
    """Margins of pairs by models that have not seen them; all zero where there are fewer than 4 pairs a fold."""
    return out_of_fold_weighted(features, np.ones(features.shape[0]), seed, folds)


def out_of_fold_weighted(features: Any, weights: NDArray[np.float64], seed: int, folds: int = 3) -> NDArray[np.float64]:
    """As `out_of_fold`, with the pairs' weights in training."""
    count = features.shape[0]
    out = np.zeros(count)
    if count < 4 * folds:
        return out
    fold = np.random.default_rng(seed).permutation(count) % folds
    for k in range(folds):
        out[fold == k] = margins(features[fold == k], fit(features, weights * (fold != k), seed + k))
    return out


def _said(columns: Columns, index: int) -> str:
    results = columns.results[index]
    last = results[-1][1][:_LONGEST] if results else ""
    return f"{columns.user[index][-_LONGEST:]}\n{last}"


def _side(text: str, calls: Sequence[Call], said: str) -> str:
    parts = [text[:_LONGEST]]
    if calls:
        near = said[-300:].lower().split()
        for call in calls:
            name = "".join(c for c in call.name if c.isalnum())
            parts.append(f"called{name} {call.arguments[:1000]}")
            parts.append(" . ".join(f"{name}after{''.join(c for c in word if c.isalnum())}" for word in near[-30:]))
    return "\n".join(parts)


def _dense(text: str, calls: Sequence[Call], said: str) -> list[float]:
    low = said.lower()
    own = set(text[:_LONGEST].lower().split())
    values = [value.lower() for call in calls for value in leaves_of(call.arguments) if len(value) >= 3]
    known = sum(value in low for value in values)
    shared = sum(word in low for word in own)
    return [
        0.5 * np.log1p(len(text)),
        float(bool(calls)),
        float(len(calls)),
        2.0 * (len(values) - known) / max(1, len(values)) if values else 0.0,
        2.0 * known / max(1, len(values)) if values else 0.0,
        shared / max(1, len(own)) if own else 0.0,
        float(len(destinations.hosts_in("\n".join(values))) > 0) if values else 0.0,
    ]


def hashed(tokens: Words, salt: int) -> Any:
    """Counts of the texts' hashed tokens, sparse [texts, features]."""
    columns = ((tokens.hashes >> np.uint64(7 + salt)) % np.uint64(HASHED)).astype(np.int32)
    data = np.ones(len(columns), np.float64)
    matrix = sparse.csr_matrix((data, columns, tokens.starts), shape=(len(tokens), HASHED))
    matrix.sum_duplicates()
    return matrix
