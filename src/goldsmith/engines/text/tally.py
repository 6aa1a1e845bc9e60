"""Counting the rows that hold each of a few chosen hashes, in a stream of many."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from goldsmith.engines.text.tokens import Words


class Tally:
    """The chosen hashes, `values` ascending, and in how many rows added so far each is: `counts`."""

    def __init__(self, chosen: NDArray[np.uint64]) -> None:
        self.values = np.unique(chosen)
        self.counts = np.zeros(len(self.values), np.int64)
        self._last = np.full(len(self.values), -1, np.int64)
        self._slots = np.full(1 << (4 * len(self.values) + 4).bit_length(), -1, np.int32)
        self._rows = 0
        _place(self.values, self._slots)

    def add(self, tokens: Words) -> None:
        """More rows; a row counts once, however often it repeats a hash."""
        _count(tokens.hashes, tokens.starts, self.values, self._slots, self.counts, self._last, self._rows)
        self._rows += len(tokens)

    def only(self, tokens: Words) -> Words:
        """The rows' hashes without those that were not chosen."""
        kept = _chosen(tokens.hashes, self.values, self._slots)
        ends = np.concatenate([[0], np.cumsum(kept)])
        return Words(tokens.hashes[kept], ends[tokens.starts])

    def of(self, hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
        """The counts of these, which all were chosen."""
        found: NDArray[np.int64] = self.counts[np.searchsorted(self.values, hashes)]
        return found


@njit(cache=True, nogil=True)
def _place(values, slots):  # type: ignore[no-untyped-def]
    last = np.uint64(len(slots) - 1)
    for i in range(len(values)):
        at = values[i] & last
        while slots[np.int64(at)] >= 0:
            at = (at + np.uint64(1)) & last
        slots[np.int64(at)] = i


@njit(cache=True, nogil=True)
def _found(value, values, slots):  # type: ignore[no-untyped-def]
    """The number of `value` among the values, -1 if it is not there."""
    last = np.uint64(len(slots) - 1)
    at = value & last
    while True:
        own = slots[np.int64(at)]
        if own < 0 or values[own] == value:
            return own
        at = (at + np.uint64(1)) & last


@njit(cache=True, nogil=True)
def _count(hashes, starts, values, slots, counts, last, first_row):  # type: ignore[no-untyped-def]
    for text in range(len(starts) - 1):
        for k in range(starts[text], starts[text + 1]):
            own = _found(hashes[k], values, slots)
            if own >= 0 and last[own] != first_row + text:
                last[own] = first_row + text
                counts[own] += 1


@njit(cache=True, nogil=True)
def _chosen(hashes, values, slots):  # type: ignore[no-untyped-def]
    out = np.zeros(len(hashes), np.bool_)
    for k in range(len(hashes)):
        out[k] = _found(hashes[k], values, slots) >= 0
    return out
