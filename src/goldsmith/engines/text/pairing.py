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

LONGEST_PROMPT = 1_500
_LONGEST_ANSWER, _FEWEST_WORDS = 2_000, 3
_BUCKETS, _SHIFT = 1 << 20, np.uint64(44)
_RARE = 8


@dataclass(frozen=True, slots=True)
class Fits:
    """[rows] each: how far an answer fits its `own` prompt, and the `other` prompt of its source x batch that it fits
    best (0 if it shares no two rare words with any). NaN where prompt or answer say too little.
    """

    own: NDArray[np.float64]
    other: NDArray[np.float64]


def prompt_words(view: ProjectedRows) -> Words:
    """The distinct words of the first `LONGEST_PROMPT` characters of each prompt."""
    return unique_per_text(words([text[:LONGEST_PROMPT] for text in view.columns.user]))


def fits(view: ProjectedRows, asked: Words) -> Fits:
    """How far each row's answer fits its own prompt and the best other one. `asked`: the `prompt_words`."""
    told = unique_per_text(words([text[:_LONGEST_ANSWER] for text in view.columns.answer]))
    weight = _weights(asked, told)
    group = view.groups.of_row.astype(np.uint64)
    keys = _keys(asked.hashes, owners(asked), group)
    table, known, starts, entries = _index(keys, owners(asked))
    own, other = np.full(len(view), np.nan), np.full(len(view), np.nan)
    _judge(
        asked.hashes, asked.starts, told.hashes, told.starts, group, weight, table, known, starts, entries, own, other,
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
def _index(keys, owner):  # type: ignore[no-untyped-def]
    """Which rows have a key, where at most `_RARE` have it: a hash table to the number of a key, the keys, and where
    the rows of each start among the rows.
    """
    size = 16
    while size < 2 * len(keys):
        size *= 2
    table = np.full(size, -1, np.int32)
    known = np.empty(len(keys), np.uint64)
    counts = np.zeros(len(keys), np.int64)
    number = np.empty(len(keys), np.int32)
    used = 0
    for k in range(len(keys)):
        slot = np.int64(keys[k] & np.uint64(size - 1))
        while table[slot] >= 0 and known[table[slot]] != keys[k]:
            slot = (slot + 1) & (size - 1)
        if table[slot] < 0:
            table[slot], known[used] = used, keys[k]
            used += 1
        number[k] = table[slot]
        counts[number[k]] += 1
    starts = np.zeros(used + 1, np.int64)
    for k in range(used):
        starts[k + 1] = starts[k] + (counts[k] if counts[k] <= _RARE else 0)
    entries = np.empty(starts[used], np.int64)
    place = starts[:used].copy()
    for k in range(len(keys)):
        own = number[k]
        if counts[own] <= _RARE:
            entries[place[own]] = owner[k]
            place[own] += 1
    return table, known[:used].copy(), starts, entries


@njit(cache=True, nogil=True)
def _judge(
    asked: NDArray[np.uint64], asked_starts: NDArray[np.int64], told: NDArray[np.uint64],
    told_starts: NDArray[np.int64], group: NDArray[np.uint64], weight: NDArray[np.float64],
    table: NDArray[np.int32], known: NDArray[np.uint64], starts: NDArray[np.int64], entries: NDArray[np.int64],
    own: NDArray[np.float64], other: NDArray[np.float64],
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
            while table[slot] >= 0 and known[table[slot]] != key:
                slot = (slot + 1) & (len(table) - 1)
            found = table[slot]
            if found < 0:
                continue
            for entry in range(starts[found], starts[found + 1]):
                to = entries[entry]
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
