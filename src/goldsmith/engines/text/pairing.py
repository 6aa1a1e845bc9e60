"""Whether answers fit their own prompts, or rather another prompt of their source x batch: shared words, weighed.

How far an answer fits a prompt: the length of what it repeats of the prompt's words, over the length of all of the
prompt's words, each word as long as its inverse document frequency. Linear in the rows: of other prompts only those
count that share a word with the answer which at most eight prompts of the batch hold.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from goldsmith.engines.text.projection import ProjectedRows
from goldsmith.engines.text.tokens import Words, mix, owners, unique_per_text, words

_LONGEST_PROMPT, _LONGEST_ANSWER, _FEWEST_WORDS = 1_500, 2_000, 3
_BUCKETS, _SHIFT = 1 << 20, np.uint64(44)
_RARE = 8


@dataclass(frozen=True, slots=True)
class Fits:
    """[rows] each: how far an answer fits its `own` prompt, and the `other` prompt of its source x batch that it fits
    best (0 if it shares no two rare words with any). NaN where prompt or answer say too little.
    """

    own: NDArray[np.float64]
    other: NDArray[np.float64]


def fits(view: ProjectedRows) -> Fits:
    """How far each row's answer fits its own prompt and the best other one."""
    asked = unique_per_text(words([text[:_LONGEST_PROMPT] for text in view.columns.user]))
    told = unique_per_text(words([text[:_LONGEST_ANSWER] for text in view.columns.answer]))
    weight = _weights(asked, told)
    group = view.groups.of_row.astype(np.uint64)
    keys = _keys(asked.hashes, owners(asked), group)
    order = np.argsort(keys, kind="stable")
    ranked, entry_rows = keys[order], owners(asked)[order]
    firsts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]]) if len(ranked) else np.zeros(0, np.int64)
    ends = np.append(firsts[1:], len(ranked)).astype(np.int64)
    table = _table(ranked[firsts])
    own, other = np.full(len(view), np.nan), np.full(len(view), np.nan)
    _judge(
        asked.hashes, asked.starts, told.hashes, told.starts, group, weight, ranked, firsts, ends, entry_rows, table,
        own, other,
    )  # fmt: skip
    return Fits(own, other)


def _weights(asked: Words, told: Words) -> NDArray[np.float64]:
    """Squared inverse document frequency of each bucket of hashed words."""
    counts = [np.bincount((t.hashes >> _SHIFT).astype(np.int64), minlength=_BUCKETS) for t in (asked, told)]
    most = np.maximum(np.maximum(counts[0], counts[1]), 1)
    found: NDArray[np.float64] = np.maximum(np.log(max(1, len(asked)) / most), 0.0) ** 2
    return found


@njit(cache=True, nogil=True)
def _keys(hashes: NDArray[np.uint64], owner: NDArray[np.int64], group: NDArray[np.uint64]) -> NDArray[np.uint64]:
    out = np.empty(len(hashes), np.uint64)
    for k in range(len(hashes)):
        out[k] = mix(hashes[k] ^ mix(group[owner[k]] + np.uint64(1)))
    return out


@njit(cache=True, nogil=True)
def _table(keys: NDArray[np.uint64]) -> NDArray[np.int64]:
    size = 16
    while size < 2 * len(keys):
        size *= 2
    table = np.full(size, -1, np.int64)
    for k in range(len(keys)):
        slot = np.int64(keys[k] & np.uint64(size - 1))
        while table[slot] >= 0:
            slot = (slot + 1) % size
        table[slot] = k
    return table


@njit(cache=True, nogil=True)
def _judge(
    asked: NDArray[np.uint64], asked_starts: NDArray[np.int64], told: NDArray[np.uint64],
    told_starts: NDArray[np.int64], group: NDArray[np.uint64], weight: NDArray[np.float64],
    ranked: NDArray[np.uint64], firsts: NDArray[np.int64], ends: NDArray[np.int64], entry_rows: NDArray[np.int64],
    table: NDArray[np.int64], own: NDArray[np.float64], other: NDArray[np.float64],
) -> None:  # fmt: skip
    count = len(asked_starts) - 1
    norm = np.zeros(count)
    for row in range(count):
        for k in range(asked_starts[row], asked_starts[row + 1]):
            norm[row] += weight[asked[k] >> np.uint64(44)]
    shared, number, touched = np.zeros(count), np.zeros(count, np.int64), np.empty(count, np.int64)
    for row in range(count):
        a, b = asked_starts[row], asked_starts[row + 1]
        first, last = told_starts[row], told_starts[row + 1]
        if b - a < _FEWEST_WORDS or last - first < _FEWEST_WORDS or norm[row] <= 0.0:
            continue
        salt = mix(group[row] + np.uint64(1))
        mine, used, at = 0.0, 0, a
        for k in range(first, last):
            word = told[k]
            gain = weight[word >> np.uint64(44)]
            while at < b and asked[at] < word:
                at += 1
            if at < b and asked[at] == word:
                mine += gain
            key = mix(word ^ salt)
            slot = np.int64(key & np.uint64(len(table) - 1))
            while table[slot] >= 0 and ranked[firsts[table[slot]]] != key:
                slot = (slot + 1) % len(table)
            found = table[slot]
            if found < 0 or ends[found] - firsts[found] > _RARE:
                continue
            for entry in range(firsts[found], ends[found]):
                to = entry_rows[entry]
                if to != row:
                    if number[to] == 0:
                        touched[used] = to
                        used += 1
                    number[to] += 1
                    shared[to] += gain
        best = 0.0
        for k in range(used):
            to = touched[k]
            if number[to] >= 2 and norm[to] > 0.0:
                best = max(best, shared[to] / norm[to])
            number[to] = 0
            shared[to] = 0.0
        own[row] = np.sqrt(mine / norm[row])
        other[row] = np.sqrt(best)
