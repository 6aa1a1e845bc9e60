"""Heaps of near-identical texts, found in time linear in the texts: a shared minimum of hashed words, then verified.

Two texts have the same minimum under a random order of words with the probability of their Jaccard similarity (Broder
1997), so that some minimum is shared by a good part of any heap. Within those who share one, the heap is who is close
to the most central text, by exact Jaccard similarity of words.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from numba import njit
from numpy.typing import NDArray

from goldsmith.engines.text.tokens import Words, mix

_ORDERS = 5
_PIECE = 4
_LOOKED_AT = 24
_LARGEST_GROUP = 1_000


@dataclass(frozen=True, slots=True)
class Heap:
    """Texts that say nearly the same: their rows, ascending, the most central of them, the mean similarity to it."""

    rows: NDArray[np.int64]
    centre: int
    tightness: float


def heaps(tokens: Words, *, alike: float, fewest: int, least_words: int) -> list[Heap]:
    """Heaps of at least `fewest` texts, each at least `alike` to the heap's centre, largest first, no row in two.

    `tokens`: each text's distinct words, ascending. Texts of under `least_words` words belong to no heap.
    """
    long_enough = np.flatnonzero(tokens.counts() >= least_words)
    taken = np.zeros(len(tokens), bool)
    found: list[Heap] = []
    for order in range(_ORDERS):
        rows = long_enough[~taken[long_enough]]
        first = _minima(tokens.hashes, tokens.starts, rows, np.uint64(2 * order + 1))
        second = _minima(tokens.hashes, tokens.starts, rows, np.uint64(2 * order + 2))
        for piece, group in _pieces(rows, first, second):
            piece, group = piece[~taken[piece]], group[~taken[group]]
            heap = _around_centre(tokens, piece, group, alike, fewest) if len(piece) >= _PIECE else None
            if heap is not None:
                taken[heap.rows] = True
                found.append(heap)
    found = _with_the_rest(tokens, found, long_enough[~taken[long_enough]], alike)
    return sorted(found, key=lambda h: (-len(h.rows), int(tokens.hashes[tokens.starts[h.rows[0]]])))


def _with_the_rest(tokens: Words, found: list[Heap], rows: NDArray[np.int64], alike: float) -> list[Heap]:
    """The heaps with those of the other `rows` that share any minimum with a heap's centre and are alike to it."""
    centres = np.array([heap.centre for heap in found], np.int64)
    late: list[list[int]] = [[] for _ in found]
    for order in range(2 * _ORDERS if len(centres) else 0):
        theirs = _minima(tokens.hashes, tokens.starts, centres, np.uint64(order + 1))
        mine = _minima(tokens.hashes, tokens.starts, rows, np.uint64(order + 1))
        ranked = np.argsort(theirs, kind="stable")
        place = np.minimum(np.searchsorted(theirs[ranked], mine), len(ranked) - 1)
        left = np.ones(len(rows), bool)
        for k in np.flatnonzero(theirs[ranked[place]] == mine).tolist():
            heap = int(ranked[place[k]])
            if _similar(tokens.hashes, tokens.starts, rows[k : k + 1], centres[heap : heap + 1], alike)[0, 0] >= alike:
                late[heap].append(int(rows[k]))
                left[k] = False
        rows = rows[left]
    return [
        Heap(np.sort(np.r_[heap.rows, np.array(more, np.int64)]), heap.centre, heap.tightness)
        for heap, more in zip(found, late, strict=True)
    ]


def _pieces(
    rows: NDArray[np.int64], first: NDArray[np.uint64], second: NDArray[np.uint64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Rows that share two minima, those of more rows first, each with the rows that share the first of them."""
    order = np.lexsort((second, first))
    outer = np.flatnonzero(np.r_[True, np.diff(first[order]) != 0, True]) if len(rows) else np.zeros(1, np.int64)
    inner = np.flatnonzero(np.r_[True, (np.diff(first[order]) != 0) | (np.diff(second[order]) != 0), True])
    inner = inner if len(rows) else np.zeros(1, np.int64)
    sizes = np.diff(inner)
    for k in sorted(np.flatnonzero(sizes >= _PIECE).tolist(), key=lambda k: (-sizes[k], int(first[order[inner[k]]]))):
        piece = rows[order[inner[k] : inner[k + 1]]]
        place = int(np.searchsorted(outer, inner[k], side="right"))
        group = rows[order[outer[place - 1] : outer[place]]]
        yield piece, (group if len(group) <= _LARGEST_GROUP else piece)


def _around_centre(
    tokens: Words, piece: NDArray[np.int64], group: NDArray[np.int64], alike: float, fewest: int
) -> Heap | None:
    # Which rows are looked at must not depend on their order: they are ranked by what they say.
    centre = int(_central(tokens.hashes, tokens.starts, piece, _spread(len(piece)), alike, np.float32(alike)))
    similar = _similar(tokens.hashes, tokens.starts, group, np.array([centre]), alike)[:, 0]
    inside = similar >= alike
    if inside.sum() < fewest:
        return None
    return Heap(np.sort(group[inside]), centre, float(similar[inside].mean()))


@cache
def _spread(count: int) -> NDArray[np.int64]:
    """Which of `count` ranked rows are looked at."""
    return np.unique(np.linspace(0, count - 1, _LOOKED_AT).astype(np.int64))


@njit(cache=True, nogil=True)
def _minima(hashes, starts, rows, salt):  # type: ignore[no-untyped-def]
    out = np.empty(len(rows), np.uint64)
    for k in range(len(rows)):
        least = np.uint64(0xFFFFFFFFFFFFFFFF)
        for i in range(starts[rows[k]], starts[rows[k] + 1]):
            value = mix(hashes[i] ^ mix(salt))
            least = min(least, value)
        out[k] = least
    return out


@njit(cache=True, nogil=True)
def _identity(hashes, starts, rows):  # type: ignore[no-untyped-def]
    out = np.zeros(len(rows), np.uint64)
    for k in range(len(rows)):
        for i in range(starts[rows[k]], starts[rows[k] + 1]):
            out[k] += mix(hashes[i])
    return out


@njit(cache=True, nogil=True)
def _similar(hashes, starts, first, second, least):  # type: ignore[no-untyped-def]
    """Jaccard similarities [first, second] of sorted sets; 0 where it is under `least`."""
    out = np.zeros((len(first), len(second)), np.float32)
    for a in range(len(first)):
        for b in range(len(second)):
            i, i_end = starts[first[a]], starts[first[a] + 1]
            j, j_end = starts[second[b]], starts[second[b] + 1]
            size = i_end - i + j_end - j
            both = 0
            # As soon as too few words are left for `least`, the rest need not be read.
            needed = least * size / (1.0 + least)
            while i < i_end and j < j_end and both + min(i_end - i, j_end - j) >= needed:
                if hashes[i] == hashes[j]:
                    both += 1
                    i += 1
                    j += 1
                elif hashes[i] < hashes[j]:
                    i += 1
                else:
                    j += 1
            if both >= needed:
                out[a, b] = both / max(size - both, 1)
    return out


@njit(cache=True, nogil=True)
def _central(hashes, starts, piece, places, least, alike):  # type: ignore[no-untyped-def]
    """Of the rows at these places, ranked by what they say, the first of those with the most others alike to them."""
    looked_at = piece[np.argsort(_identity(hashes, starts, piece), kind="mergesort")][places]
    near = np.zeros(len(looked_at), np.int64)
    for a in range(len(looked_at)):
        similar = _similar(hashes, starts, looked_at[a : a + 1], looked_at[a:], least)[0]
        for b in range(len(similar)):
            if similar[b] >= alike:
                near[a] += 1
                near[a + b] += 1 if b else 0
    return looked_at[near.argmax()]
