"""A sample of the records, the same in whatever order they come, and its vectors: drift, topics and map share it."""

import zlib
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from goldsmith.engines.text.embeddings import LONGEST_TEXT, Embedder, LatentSemantic, Vectors
from goldsmith.engines.text.projection import ProjectedRows

PER_UNIT, IN_ALL = 500, 12_000


@dataclass(frozen=True)
class Sample:
    """`rows`: positions in the view, ascending; `unit`: the group of each; `vectors`: unit vectors of the whole texts.
    `lengths`: characters of each whole text."""

    rows: NDArray[np.int64]
    unit: NDArray[np.int32]
    vectors: Vectors
    lengths: NDArray[np.float64]
    of: int

    def __len__(self) -> int:
        return len(self.rows)


def take(
    view: ProjectedRows, *, per_unit: int = PER_UNIT, in_all: int = IN_ALL, using: Embedder | None = None
) -> Sample:
    """Up to `per_unit` records of each source x batch, those of smallest hash, and `in_all` at most."""
    texts = view.columns.full
    hashes = np.fromiter(
        (zlib.crc32(text[:LONGEST_TEXT].encode("utf-8", "replace")) for text in texts), np.uint32, len(view)
    )
    units = view.groups.of_row
    most = max(20, min(per_unit, in_all // max(1, len(view.groups.names))))
    order = np.lexsort((view.lines, scrambled(hashes), units))
    starts = np.searchsorted(units[order], np.arange(len(view.groups.names) + 1))
    chosen = [order[first : min(last, first + most)] for first, last in pairwise(starts.tolist())]
    rows = np.sort(np.concatenate(chosen)) if chosen else np.zeros(0, np.int64)
    picked = [texts[int(i)] for i in rows]
    embed = (using or LatentSemantic()).fit(picked) if picked else None
    vectors = embed(picked) if embed else np.zeros((0, 1), np.float32)
    lengths = np.array([len(text) for text in picked], np.float64)
    return Sample(rows.astype(np.int64), units[rows], vectors, lengths, len(view))


def scrambled(hashes: NDArray[np.uint32]) -> NDArray[np.uint64]:
    """Hashes whose order has nothing to do with the texts (a checksum of short texts is nearly linear in them)."""
    mixed: NDArray[np.uint64] = (hashes.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)
    return mixed
