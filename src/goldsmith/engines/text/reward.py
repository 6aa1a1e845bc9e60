"""What a cheap reward model makes of the comparisons of a view, fitted once and shared by the checks.

The model (`preferences`) is cross-fitted on a sample that depends on the content alone: each pair is read by a model
that has seen neither it nor another pair with the same prompt. Every feature stands there twice, once for all and
once for its source, so that sources with different tastes are read by their own as well (Daumé 2007). The sample is
spread over source x batch, so that a large source does not crowd out a small one, and bounds the cost whatever the
number of rows.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from goldsmith.engines.text import preferences
from goldsmith.engines.text.projection import ProjectedRows

MOST_PAIRS = 4000
FEWEST_PAIRS = 20
_FOLDS = 4
_SEED = 11
_READ_AT_ONCE = 4000


@dataclass(frozen=True, slots=True)
class Reading:
    """The sampled comparisons `rows` (ascending) with their features and out-of-fold `margins` [pairs]: log-odds that
    the chosen side is the better one. `groups` and `sources`: the pairs' source x batch and source numbers. `whole`:
    the coefficients fitted on all of them (features shared and by source). `prompts` numbers equal prompts alike.
    """

    rows: NDArray[np.int64]
    features: Any
    margins: NDArray[np.float64]
    groups: NDArray[np.int32]
    sources: NDArray[np.int32]
    prompts: NDArray[np.int64]
    content: NDArray[np.uint32]
    whole: NDArray[np.float64]

    @property
    def accuracy(self) -> float:
        """Share of pairs whose chosen side the model prefers, out of fold."""
        return float(np.mean(self.margins > 0))

    def read(self, view: ProjectedRows, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Margins of any comparisons [rows]: out of fold those of the sample, by the whole model the others."""
        at = np.minimum(np.searchsorted(self.rows, rows), len(self.rows) - 1)
        known = self.rows[at] == rows
        out = np.where(known, self.margins[at], 0.0)
        fresh = np.flatnonzero(~known)
        for first in range(0, len(fresh), _READ_AT_ONCE):
            part = fresh[first : first + _READ_AT_ONCE]
            features = preferences.pairs(view.columns, rows[part]).features
            sources = view.groups.source_of_row()[rows[part]]
            out[part] = preferences.margins(_adapted(features, sources), self.whole)
        return out


def comparisons(view: ProjectedRows) -> NDArray[np.int64]:
    """The rows that are comparisons, ascending."""
    kinds = view.columns.kind
    return view.shared("comparisons", lambda: np.array([i for i, k in enumerate(kinds) if k == "comparison"], np.int64))


def reading(view: ProjectedRows) -> Reading | None:
    """The cross-fitted reading of these rows, or None where there are under 20 comparisons."""
    return view.shared("reward reading", lambda: _read(view))


def spread_sample(groups: NDArray[np.int32], keys: NDArray[np.uint32], most: int) -> NDArray[np.int64]:
    """Positions (ascending) of at most `most` items, as even over `groups` as their sizes allow; those with the
    smallest `keys` of each group.
    """
    if len(groups) <= most:
        return np.arange(len(groups), dtype=np.int64)
    _, number, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.lexsort((keys, number))
    rank = np.empty(len(groups), np.int64)
    rank[order] = np.arange(len(groups)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    low, high = 1, int(sizes.max())
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if np.minimum(sizes, middle).sum() <= most else (low, middle - 1)
    return np.flatnonzero(rank < low)[:most]


def content_keys(texts: Sequence[str]) -> NDArray[np.uint32]:
    """A number for each text that follows from the text alone."""
    return np.fromiter((zlib.crc32(text.encode("utf-8", "replace")) for text in texts), np.uint32, len(texts))


@dataclass(frozen=True, slots=True)
class Sampled:
    """The comparisons that models are fitted on: their `rows`, ascending, `keys` of their content, and `features`."""

    rows: NDArray[np.int64]
    keys: NDArray[np.uint32]
    features: Any


def sampled(view: ProjectedRows) -> Sampled:
    """At most 4,000 of the comparisons, spread over source x batch, which ones by their content."""
    return view.shared("reward sample", lambda: _sampled(view))


def _sampled(view: ProjectedRows) -> Sampled:
    rows, full = comparisons(view), view.columns.full
    keys = content_keys([full[i] for i in rows.tolist()])
    kept = spread_sample(view.groups.of_row[rows], keys, MOST_PAIRS)
    return Sampled(rows[kept], keys[kept], preferences.pairs(view.columns, rows[kept]).features)


def _read(view: ProjectedRows) -> Reading | None:
    if len(comparisons(view)) < FEWEST_PAIRS:
        return None
    drawn = sampled(view)
    rows, keys, features = drawn.rows, drawn.keys, drawn.features
    groups = view.groups.of_row[rows]
    order = np.lexsort((keys, groups))  # fitting must not depend on the order of the rows
    user = view.columns.user
    said = content_keys([user[i] for i in rows.tolist()])
    sources = view.groups.source_of_row()[rows]
    adapted = _adapted(features, sources)
    margins = np.zeros(len(rows))
    fold = said % _FOLDS
    for k in range(_FOLDS):
        train = order[fold[order] != k]
        if len(train) and (fold == k).any():
            coefficients = preferences.fit(adapted[train], np.ones(len(train)), _SEED + k)
            margins[fold == k] = preferences.margins(adapted[fold == k], coefficients)
    whole = preferences.fit(adapted[order], np.ones(len(order)), _SEED)
    return Reading(
        rows=rows,
        features=features,
        margins=margins,
        groups=groups,
        sources=sources,
        prompts=said.astype(np.int64),
        content=keys,
        whole=whole,
    )


def _adapted(features: Any, sources: NDArray[np.int32]) -> Any:
    """The features, and beside them the same again, hashed together with the pair's source."""
    from scipy import sparse

    entries = features.tocoo()
    columns = (entries.col.astype(np.int64) + sources[entries.row].astype(np.int64) * 7919) % preferences.HASHED
    own = sparse.csr_matrix((entries.data, (entries.row, columns)), shape=(features.shape[0], preferences.HASHED))
    return sparse.hstack([features, own], format="csr")
