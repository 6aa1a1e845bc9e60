"""Near duplicates: MinHash signatures, banded candidates, then the exact Jaccard similarity of every pair reported.

Signatures: 128 permutations over word 5-grams (Broder 1997). Candidates: 25 bands of 5 rows, so that a pair at
Jaccard 0.7 is missed with probability 0.01 and one at 0.8 hardly ever; a pair whose signatures agree too little is
dropped. Verification is exact (on 64-bit n-gram hashes). The work is linear in the number of texts: in a bucket of
any size a text meets a fixed number of earlier ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from goldsmith.engines.text.tokens import Words, mix, ngrams, unique_per_text, words

PERMUTATIONS = 128
BANDS, ROWS_PER_BAND = 25, 5
SHINGLE_WORDS = 5
_CHUNK_TEXTS = 8192
_PARTNERS_PER_BUCKET = 6
"""The first and the latest texts of a bucket that a text is compared with, this many of each."""


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
    return unique_per_text(ngrams(words(texts), SHINGLE_WORDS))


def jaccard(first: str, second: str) -> float:
    """Exact Jaccard similarity of two texts' word 5-gram sets; 0 if either has no word."""
    both = shingles([first, second])
    return float(_jaccard(both.hashes, both.starts, 0, 1))


def signatures(texts: Sequence[str]) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """MinHash signatures, uint32 [texts, 128], and the number of words of each text (0: its signature means
    nothing).
    """
    out = np.full((len(texts), PERMUTATIONS), np.uint32(0xFFFFFFFF), np.uint32)
    counts = np.zeros(len(texts), np.int64)
    keys = np.random.default_rng(20261121).integers(1, 2**32, (2, PERMUTATIONS), np.uint32)
    for first in range(0, len(texts), _CHUNK_TEXTS):
        tokens = words(texts[first : first + _CHUNK_TEXTS])
        counts[first : first + _CHUNK_TEXTS] = tokens.counts()
        grams = ngrams(tokens, SHINGLE_WORDS)
        _sign(grams.hashes, grams.starts, keys[0] | np.uint32(1), keys[1], out[first : first + _CHUNK_TEXTS])
    return out, counts


def near_duplicates(texts: Sequence[str], *, threshold: float = 0.7) -> Edges:
    """Pairs of texts whose Jaccard similarity is at least `threshold` (0.5 at least, below which the bands miss
    most).
    """
    signed, counts = signatures(texts)
    usable = np.flatnonzero(counts > 0)
    earlier, later = candidates(signed[usable], threshold=threshold)
    earlier, later = usable[earlier], usable[later]
    similarity = _verify(texts, earlier, later)
    good = similarity >= threshold
    return Edges(earlier[good], later[good], similarity[good])


def candidates(signed: NDArray[np.uint32], *, threshold: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs (earlier, later) that share a band and whose signatures agree within 3 standard errors of `threshold`."""
    count = len(signed)
    margin = 3.0 * np.sqrt(threshold * (1 - threshold) / PERMUTATIONS)
    agree = int(np.ceil((threshold - margin) * PERMUTATIONS))
    found: list[NDArray[np.int64]] = []
    for band in range(BANDS):
        keys = _band_keys(signed, band * ROWS_PER_BAND)
        order = np.argsort(keys, kind="stable")
        pairs = _bucket_pairs(keys[order], order, signed, agree, _PARTNERS_PER_BUCKET)
        found.append(pairs[:, 1] * count + pairs[:, 0])
    coded = np.unique(np.concatenate(found)) if found else np.zeros(0, np.int64)
    return (coded % count, coded // count) if count else (coded, coded)


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


def _verify(texts: Sequence[str], earlier: NDArray[np.int64], later: NDArray[np.int64]) -> NDArray[np.float64]:
    similarity = np.zeros(len(earlier), np.float64)
    step = _CHUNK_TEXTS * 8
    for first in range(0, len(earlier), step):
        a, b = earlier[first : first + step], later[first : first + step]
        needed, positions = np.unique(np.concatenate([a, b]), return_inverse=True)
        grams = shingles([texts[i] for i in needed])
        _jaccards(grams.hashes, grams.starts, positions[: len(a)], positions[len(a) :], similarity[first:])
    return similarity


@njit(cache=True, nogil=True)
def _sign(hashes, starts, multipliers, offsets, out):  # type: ignore[no-untyped-def]
    for text in range(len(starts) - 1):
        row = out[text]
        for i in range(starts[text], starts[text + 1]):
            low = np.uint32(hashes[i] & np.uint64(0xFFFFFFFF))
            for j in range(len(row)):
                value = np.uint32((low ^ offsets[j]) * multipliers[j])
                value = np.uint32((value ^ (value >> np.uint32(15))) * np.uint32(0x2C1B3C6D))
                row[j] = min(row[j], np.uint32(value ^ (value >> np.uint32(13))))


@njit(cache=True, nogil=True)
def _band_keys(signed, first):  # type: ignore[no-untyped-def]
    keys = np.empty(len(signed), np.uint64)
    for text in range(len(signed)):
        value = np.uint64(first)
        for j in range(ROWS_PER_BAND):
            value = mix(value + np.uint64(signed[text, first + j]))
        keys[text] = value
    return keys


@njit(cache=True, nogil=True)
def _agree(signed, a, b, enough):  # type: ignore[no-untyped-def]
    same = 0
    for j in range(signed.shape[1]):
        same += signed[a, j] == signed[b, j]
    return same >= enough


@njit(cache=True, nogil=True)
def _bucket_pairs(keys, order, signed, enough, partners):  # type: ignore[no-untyped-def]
    pairs = np.empty((1024, 2), np.int64)
    used = 0
    first = 0
    for at in range(len(keys)):
        if keys[at] != keys[first]:
            first = at
        for step in range(min(2 * partners, at - first)):
            other = first + step if step < partners else at - 1 - (step - partners)
            if other < first + min(step, partners):
                break
            if _agree(signed, order[other], order[at], enough):
                if used == len(pairs):
                    grown = np.empty((2 * used, 2), np.int64)
                    grown[:used] = pairs
                    pairs = grown
                pairs[used, 0] = order[other]
                pairs[used, 1] = order[at]
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
