"""Near duplicates: MinHash sketches, banded candidates, then the exact Jaccard similarity of every pair reported.

Sketches: 125 permutations over word 5-grams (Broder 1997), of which a text keeps a 32-bit key for each of 25 bands of 5
(so that a pair at Jaccard 0.7 is missed with probability 0.01 and one at 0.8 hardly ever) and the low byte of each
minimum (b-bit minwise hashing, Li and König 2010): 225 bytes in place of 500. A pair that shares a band but agrees in
too few bytes is dropped; what is left is verified exactly (on 64-bit n-gram hashes). The work is linear in the number
of texts: in a bucket of any size a text meets a fixed number of earlier ones.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from goldsmith.engines.text.features import Features
from goldsmith.engines.text.tokens import Words, encoded, grams_of, leaving_factor, mix

BANDS, ROWS_PER_BAND = 25, 5
PERMUTATIONS = BANDS * ROWS_PER_BAND
SHINGLE_WORDS = 5
_CHUNK_TEXTS = 4096
_CHUNK_PAIRS = 16_384
_PARTNERS_PER_BUCKET = 6
"""The first and the latest texts of a bucket that a text is compared with, this many of each."""


@dataclass(frozen=True, slots=True)
class Sketches:
    """What bands and agreement need of each text. `keys` [texts, 25], `low` [texts, 125], `words` [texts] (a text
    without words is like no other).
    """

    keys: NDArray[np.uint32]
    low: NDArray[np.uint8]
    words: NDArray[np.int32]

    def bands(self) -> Iterator[NDArray[np.uint32]]:
        """The keys of all texts, band by band."""
        return (self.keys[:, band] for band in range(BANDS))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """As a check's features hold them."""
        return {"keys": self.keys, "low": self.low, "words": self.words}


@dataclass(frozen=True, slots=True)
class Edges:
    """Verified pairs of texts, `earlier < later` by position, with their exact Jaccard similarity; sorted by
    (later, earlier).
    """

    earlier: NDArray[np.int64]
    later: NDArray[np.int64]
    similarity: NDArray[np.float64]


def shingles(texts: Sequence[str]) -> Words:
    """Sorted, distinct hashes of each text's lower-cased word 5-grams."""
    buffer, starts = encoded(texts)
    out = np.empty(int(np.diff(starts).sum()) // 2 + len(texts), np.uint64)
    gram_starts = np.zeros(len(texts) + 1, np.int64)
    used = _shingles(buffer, starts, out, gram_starts) if len(texts) else 0
    return Words(out[:used], gram_starts)


def jaccard(first: str, second: str) -> float:
    """Exact Jaccard similarity of two texts' word 5-gram sets; 0 if either has no word."""
    both = shingles([first, second])
    return float(_jaccard(both.hashes, both.starts, 0, 1))


def sketches(texts: Sequence[str]) -> Sketches:
    """The sketch of each text; that of a text does not depend on the others."""
    keys = np.empty((len(texts), BANDS), np.uint32)
    low = np.empty((len(texts), PERMUTATIONS), np.uint8)
    counts = np.zeros(len(texts), np.int32)
    random = np.random.default_rng(20261121).integers(1, 2**32, (2, PERMUTATIONS), np.uint32)
    for first in range(0, len(texts), _CHUNK_TEXTS):
        part = slice(first, first + _CHUNK_TEXTS)
        buffer, starts = encoded(texts[part])
        _sketch(buffer, starts, random[0] | np.uint32(1), random[1], keys[part], low[part], counts[part])
    return Sketches(keys, low, counts)


def near_duplicates(texts: Sequence[str], *, threshold: float = 0.7) -> Edges:
    """Pairs of texts whose Jaccard similarity is at least `threshold` (0.5 at least, below which the bands miss
    most).
    """
    made = sketches(texts)
    usable = np.flatnonzero(made.words > 0)
    earlier, later = candidates(made.bands(), made.low, usable, threshold=threshold)
    earlier, later = usable[earlier], usable[later]
    similarity = similarities(texts, earlier, later)
    good = similarity >= threshold
    return Edges(earlier[good], later[good], similarity[good])


def near_in_features(texts: Sequence[str], features: Features, order: NDArray[np.int64], *, threshold: float) -> Edges:
    """As `near_duplicates`, of the texts `order`, those first that shall count as earlier. Their sketches are in
    `features`, of which one band at a time is held. Sorted by (later, earlier) in this order.
    """
    order = order[features.array("words")[order] > 0] if len(order) else order
    bands = (features.array("keys", slice(band, band + 1))[:, 0] for band in range(BANDS))
    earlier, later = candidates(bands, features.array("low"), order, threshold=threshold)
    similarity = similarities(texts, order[earlier], order[later])
    good = similarity >= threshold
    return Edges(order[earlier[good]], order[later[good]], similarity[good])


def candidates(
    bands: Iterable[NDArray[np.uint32]], low: NDArray[np.uint8], order: NDArray[np.int64], *, threshold: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of texts that share a band and agree within 3 standard errors of `threshold`, sorted by (later, earlier).

    `bands`: the keys of all texts, band by band. `order`: the texts to compare, those that shall count as earlier
    first; positions are in this order.
    """
    count = len(order)
    margin = 3.0 * np.sqrt(threshold * (1 - threshold) / PERMUTATIONS)
    agree = int(np.ceil((threshold - margin) * PERMUTATIONS))
    place = np.arange(count, dtype=np.uint64)
    found: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]
    for keys in bands:
        ranked = (keys[order].astype(np.uint64) << np.uint64(32)) | place
        ranked.sort()
        pairs = _bucket_pairs(ranked, order, low, agree, _PARTNERS_PER_BUCKET)
        found.append(pairs[:, 1] * count + pairs[:, 0])
    coded = np.unique(np.concatenate(found))
    return (coded % count, coded // count) if count else (coded, coded)


def similarities(texts: Sequence[str], earlier: NDArray[np.int64], later: NDArray[np.int64]) -> NDArray[np.float64]:
    """The exact Jaccard similarity of each pair of texts."""
    similarity = np.zeros(len(earlier), np.float64)
    for first in range(0, len(earlier), _CHUNK_PAIRS):
        a, b = earlier[first : first + _CHUNK_PAIRS], later[first : first + _CHUNK_PAIRS]
        needed, positions = np.unique(np.concatenate([a, b]), return_inverse=True)
        grams = shingles([texts[i] for i in needed.tolist()])
        _jaccards(grams.hashes, grams.starts, positions[: len(a)], positions[len(a) :], similarity[first:])
    return similarity


def earliest_kept(edges: Edges, count: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """For each text the kept text it duplicates (-1: it is kept itself) and how similar they are.

    A text is kept unless it is joined to an earlier kept text, so every text that goes has a direct edge to one that
    stays.
    """
    kept = np.full(count, -1, np.int64)
    similarity = np.zeros(count, np.float64)
    for earlier, later, value in zip(
        edges.earlier.tolist(), edges.later.tolist(), edges.similarity.tolist(), strict=True
    ):
        if kept[earlier] == -1 and kept[later] == -1:
            kept[later] = earlier
            similarity[later] = value
    return kept, similarity


@njit(cache=True, nogil=True)
def _shingles(buffer, starts, out, gram_starts):  # type: ignore[no-untyped-def]
    leaving = leaving_factor(SHINGLE_WORDS)
    used = 0
    for text in range(len(starts) - 1):
        size, _ = grams_of(buffer, starts[text], starts[text + 1], SHINGLE_WORDS, leaving, out[used:])
        part = out[used : used + size]
        part.sort()
        kept = 0
        for i in range(size):
            if i == 0 or part[i] != part[kept - 1]:
                part[kept] = part[i]
                kept += 1
        used += kept
        gram_starts[text + 1] = used
    return used


@njit(cache=True, nogil=True)
def _sketch(buffer, starts, multipliers, offsets, keys, low, counts):  # type: ignore[no-untyped-def]
    leaving = leaving_factor(SHINGLE_WORDS)
    longest = 0
    for text in range(len(starts) - 1):
        longest = max(longest, starts[text + 1] - starts[text])
    grams = np.empty(longest // 2 + 1, np.uint64)
    least = np.empty(PERMUTATIONS, np.uint32)
    for text in range(len(starts) - 1):
        size, counts[text] = grams_of(buffer, starts[text], starts[text + 1], SHINGLE_WORDS, leaving, grams)
        least[:] = np.uint32(0xFFFFFFFF)
        for i in range(size):
            gram = np.uint32(grams[i] >> np.uint64(32))
            for j in range(PERMUTATIONS):
                least[j] = min(least[j], np.uint32(gram * multipliers[j] + offsets[j]))
        for band in range(BANDS):
            value = np.uint64(band)
            for j in range(band * ROWS_PER_BAND, (band + 1) * ROWS_PER_BAND):
                value = mix(value + np.uint64(least[j]))
            keys[text, band] = np.uint32(value >> np.uint64(32))
        for j in range(PERMUTATIONS):
            low[text, j] = np.uint8(least[j] * np.uint32(0x9E3779B1) >> np.uint32(24))


@njit(cache=True, nogil=True)
def _agree(low, a, b, enough):  # type: ignore[no-untyped-def]
    same = 0
    for j in range(PERMUTATIONS):
        same += low[a, j] == low[b, j]
    return same >= enough


@njit(cache=True, nogil=True)
def _bucket_pairs(ranked, order, low, enough, partners):  # type: ignore[no-untyped-def]
    pairs = np.empty((1024, 2), np.int64)
    used = 0
    first = 0
    for at in range(len(ranked)):
        if ranked[at] >> np.uint64(32) != ranked[first] >> np.uint64(32):
            first = at
        later = np.int64(ranked[at] & np.uint64(0xFFFFFFFF))
        for step in range(min(2 * partners, at - first)):
            other = first + step if step < partners else at - 1 - (step - partners)
            if other < first + min(step, partners):
                break
            earlier = np.int64(ranked[other] & np.uint64(0xFFFFFFFF))
            if _agree(low, order[earlier], order[later], enough):
                if used == len(pairs):
                    grown = np.empty((2 * used, 2), np.int64)
                    grown[:used] = pairs
                    pairs = grown
                pairs[used, 0] = earlier
                pairs[used, 1] = later
                used += 1
    return pairs[:used]


@njit(cache=True, nogil=True)
def _jaccard(hashes, starts, a, b):  # type: ignore[no-untyped-def]
    i, j = starts[a], starts[b]
    both = 0
    while i < starts[a + 1] and j < starts[b + 1]:
        if hashes[i] == hashes[j]:
            both += 1
            i += 1
            j += 1
        elif hashes[i] < hashes[j]:
            i += 1
        else:
            j += 1
    union = starts[a + 1] - starts[a] + starts[b + 1] - starts[b] - both
    return both / union if union > 0 else 0.0


@njit(cache=True, nogil=True)
def _jaccards(hashes, starts, firsts, seconds, out):  # type: ignore[no-untyped-def]
    for i in range(len(firsts)):
        out[i] = _jaccard(hashes, starts, firsts[i], seconds[i])
