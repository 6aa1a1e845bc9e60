"""Names in many texts at once: what `entities.mentions` finds, as hashes, in one pass over their characters."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import islice

import numpy as np
from numba import njit
from numpy.typing import NDArray

from goldsmith.engines.text.entities import CAPITAL, ENDINGS, LONGEST, SMALL, hosts, mentions
from goldsmith.engines.text.tokens import mix

_FNV_OFFSET = np.uint64(14695981039346656037)
_FNV_PRIME = np.uint64(1099511628211)
_WORD, _CAPITAL, _BEFORE, _SMALL = 1, 2, 4, 8
_CODES = 0x40000
"""No letter or digit has a higher code."""
_AT_ONCE = 2048


def names_in(texts: Iterable[str]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """(hash of a name, number of the text that mentions it), each pair once, ascending."""
    hashes: list[NDArray[np.uint64]] = []
    rows: list[NDArray[np.int64]] = []
    for first, part in _parts(texts):
        codes, starts = _coded(part)
        found = np.empty(len(codes) // 2 + 1, np.uint64)
        owner = np.empty(len(codes) // 2 + 1, np.int64)
        dotted = np.zeros(len(part), np.bool_)
        used = _names(codes, starts, _table(), _endings(), found, owner, dotted)
        told = [(name_hash(host), row) for row in np.flatnonzero(dotted).tolist() for host in hosts(part[row])]
        hashes += [found[:used].copy(), np.array([name for name, _ in told], np.uint64)]
        rows += [owner[:used] + first, np.array([row for _, row in told], np.int64) + first]
    if not hashes:
        return np.zeros(0, np.uint64), np.zeros(0, np.int64)
    return _distinct(np.concatenate(hashes), np.concatenate(rows))


def frequent_names(texts: Iterable[str], fewest: int) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Names that `fewest` texts mention or more: hash, and the numbers of these texts, ascending."""
    hashes, rows = names_in(texts)
    edges = np.flatnonzero(np.r_[True, hashes[1:] != hashes[:-1], True]) if len(hashes) else np.zeros(1, np.int64)
    for at in np.flatnonzero(np.diff(edges) >= fewest):
        yield int(hashes[edges[at]]), rows[edges[at] : edges[at + 1]]


def name_of(text: str, hashed: int) -> str:
    """The name of this hash that the text mentions. Raises StopIteration if it mentions none."""
    return next(name for name in mentions(text) if name_hash(name) == hashed)


def name_hash(name: str) -> int:
    """A name's hash."""
    return int(_hash_of(np.frombuffer(name.encode("utf-32-le", "surrogatepass"), np.uint32)))


def in_small_letters(texts: Iterable[str], wanted: Iterable[str]) -> Counter[str]:
    """In how many of the texts each of the wanted words is written in small letters."""
    known = {name_hash(word): word for word in wanted}
    order = np.array(sorted(known), np.uint64)
    counts = np.zeros(len(order), np.int64)
    for _, part in _parts(texts):
        codes, starts = _coded(part)
        _count_small(codes, starts, _table(), order, counts)
    return Counter({known[int(h)]: count for h, count in zip(order, counts.tolist(), strict=True) if count})


def _parts(texts: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    first, rest = 0, iter(texts)
    while part := [text[:LONGEST] for text in islice(rest, _AT_ONCE)]:
        yield first, part
        first += len(part)


def _coded(texts: Sequence[str]) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """The texts' characters as numbers, and where each text starts."""
    starts = np.zeros(len(texts) + 1, np.int64)
    np.cumsum([len(text) for text in texts], out=starts[1:])
    return np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), np.uint32), starts


def _distinct(hashes: NDArray[np.uint64], rows: NDArray[np.int64]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    order = np.lexsort((rows, hashes))
    hashes, rows = hashes[order], rows[order]
    new = np.ones(len(hashes), bool)
    new[1:] = (hashes[1:] != hashes[:-1]) | (rows[1:] != rows[:-1])
    return hashes[new], rows[new]


@cache
def _table() -> NDArray[np.uint8]:
    """For each character what it can be part of."""
    characters = list(map(chr, range(_CODES)))
    table = np.fromiter(map(str.isalnum, characters), bool, _CODES).astype(np.uint8)
    table[ord("_")] = _WORD
    table[[ord(one) for one in ".@/'’-"]] |= _BEFORE
    for pattern, mark in ((CAPITAL, _CAPITAL), (SMALL, _SMALL)):
        table[[ord(one) for one in characters[:0x800] if pattern.match(one)]] |= mark
    return table


@cache
def _endings() -> NDArray[np.uint64]:
    return np.array(sorted(name_hash(ending) for ending in ENDINGS), np.uint64)


@njit(cache=True, nogil=True)
def _hash_of(codes):  # type: ignore[no-untyped-def]
    hashed = _FNV_OFFSET
    for code in codes:
        hashed = (hashed ^ np.uint64(code)) * _FNV_PRIME
    return mix(hashed)


@njit(cache=True, nogil=True)
def _kind(codes, at, end, table):  # type: ignore[no-untyped-def]
    return table[codes[at]] if at < end and codes[at] < _CODES else 0


@njit(cache=True, nogil=True)
def _within(code, kind):  # type: ignore[no-untyped-def]
    return kind & _WORD or code == 38 or code == 45


@njit(cache=True, nogil=True)
def _word_end(codes, begin, end, table):  # type: ignore[no-untyped-def]
    """Where a capitalised word ends that begins at `begin`; -1 if it has but one character."""
    at = begin + 1
    while at < end and _within(codes[at], _kind(codes, at, end, table)):
        at += 1
    while at > begin + 1 and not _kind(codes, at - 1, end, table) & _WORD:
        at -= 1
    return at if at >= begin + 2 else -1


@njit(cache=True, nogil=True)
def _run_end(codes, begin, end, table):  # type: ignore[no-untyped-def]
    """Where a run of up to three capitalised words ends that begins at `begin`; -1 if there is none."""
    firsts = np.zeros(3, np.int64)
    ends = np.zeros(3, np.int64)
    count, at = 0, begin
    while count < 3:
        last = _word_end(codes, at, end, table)
        if last < 0:
            break
        firsts[count], ends[count] = at, last
        count += 1
        if not (last < end and codes[last] == 32 and _kind(codes, last + 1, end, table) & _CAPITAL):
            break
        at = last + 1
    if count == 0:
        return -1
    last = ends[count - 1]
    if last < end and (codes[last] == 39 or codes[last] == 0x2019) and _kind(codes, last + 1, end, table) & _WORD:
        # No name ends before an apostrophe and a letter: the word is a character shorter, or it is no part of the name.
        last -= 1
        while last >= firsts[count - 1] + 2 and not _kind(codes, last - 1, end, table) & _WORD:
            last -= 1
        if last < firsts[count - 1] + 2:
            return ends[count - 2] if count > 1 else -1
    return last


@njit(cache=True, nogil=True)
def _may_be_host(codes, at, begin, end, table, endings):  # type: ignore[no-untyped-def]
    """Whether what stands around the full stop at `at` may be a host's."""
    if at == begin or not (codes[at - 1] >= 128 or codes[at - 1] == 45 or _kind(codes, at - 1, end, table) & _WORD):
        return False
    hashed = _FNV_OFFSET
    place = at + 1
    while place < end and _kind(codes, place, end, table) & _WORD:
        code = codes[place]
        if code >= 128:
            return True
        hashed = (hashed ^ np.uint64(code + 32 if 65 <= code <= 90 else code)) * _FNV_PRIME
        place += 1
    hashed = mix(hashed)
    found = np.searchsorted(endings, hashed)
    return found < len(endings) and endings[found] == hashed


@njit(cache=True, nogil=True)
def _names(codes, starts, table, endings, found, owner, dotted):  # type: ignore[no-untyped-def]
    used = 0
    for text in range(len(starts) - 1):
        begin, end = starts[text], starts[text + 1]
        at = begin
        before = 0
        while at < end:
            kind = _kind(codes, at, end, table)
            if codes[at] == 46 and not dotted[text]:
                dotted[text] = _may_be_host(codes, at, begin, end, table, endings)
            last = -1
            if kind & _CAPITAL and not before & (_WORD | _BEFORE):
                last = _run_end(codes, at, end, table)
            if last < 0:
                before = kind
                at += 1
                continue
            if last - at > 2:
                found[used], owner[used] = _hash_of(codes[at:last]), text
                used += 1
            part = at
            for place in range(at, last + 1):
                if place == last or codes[place] == 32:
                    if place - part > 2 and place - part < last - at:
                        found[used], owner[used] = _hash_of(codes[part:place]), text
                        used += 1
                    part = place + 1
            at = last
            before = _kind(codes, at - 1, end, table)
    return used


@njit(cache=True, nogil=True)
def _count_small(codes, starts, table, wanted, counts):  # type: ignore[no-untyped-def]
    seen = np.full(len(wanted), -1, np.int64)
    for text in range(len(starts) - 1):
        at, end = starts[text], starts[text + 1]
        while at < end:
            kind = _kind(codes, at, end, table)
            if not kind & _WORD:
                at += 1
                continue
            first = at
            while at < end and _kind(codes, at, end, table) & _WORD:
                at += 1
            if kind & _SMALL and at - first >= 2:
                hashed = _hash_of(codes[first:at])
                place = np.searchsorted(wanted, hashed)
                if place < len(wanted) and wanted[place] == hashed and seen[place] != text:
                    seen[place] = text
                    counts[place] += 1
