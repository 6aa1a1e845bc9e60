"""Spans of prompts that look inserted: what stands beside them is what stands at the edge of other prompts.

A trigger is put before or behind a prompt that was written without it. So the piece behind a leading trigger is one
that prompts begin with, in all its variety, and the piece before a trailing one is one that prompts end with; a
natural opening ("how do I") is followed by what follows it in the language. The evidence of one occurrence is the
log-likelihood ratio of its neighbour under the two. Pieces are runs of letters and digits, runs of other signs, and
single characters of scripts written without spaces; case counts.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from goldsmith.engines.text.pieces import Pieces, pieces
from goldsmith.engines.text.tokens import Words, owners

LONGEST_SPAN = 8
_FNV_PRIME = np.uint64(1099511628211)
_CLIP = 3.0
_PRIOR = 0.05
"""Weight of independence when two neighbours are judged: a pair never seen side by side counts as e^-3."""
_MOST_SHOWN = 400
_PIECE = re.compile(r"[^\W_]+|(?:[^\w\s]|_)+")


@dataclass(frozen=True, slots=True)
class Insertion:
    """A span that looks inserted. `rows`: the texts that have it there, ascending; `distinct` of them differ.

    `ratio`: mean log-likelihood ratio of the neighbours, an edge against the middle of a text. `variety`: different
    neighbours, relative to as many draws of edges. `side`: "start", "end" or "middle". `pieces`: the span's hashes.
    """

    rows: NDArray[np.int64]
    distinct: int
    ratio: float
    variety: float
    side: str
    pieces: NDArray[np.uint64]


def at_edges(found: Pieces, identity: NDArray[np.int64], *, fewest: int, largest: int) -> list[Insertion]:
    """Spans of one to eight pieces at the start or end of at least `fewest` and at most `largest` different texts.

    `identity` numbers equal texts alike [texts]. Reported are spans whose neighbours speak for an edge.
    """
    out: list[Insertion] = []
    for side in ("start", "end"):
        edge, anywhere = _Frequencies.of(found, side), _Frequencies.all(found)
        for size in range(1, LONGEST_SPAN + 1):
            out += _spans(found, identity, side, size, edge, anywhere, fewest, largest)
    return out


@dataclass(frozen=True, slots=True)
class _Frequencies:
    values: NDArray[np.uint64]
    shares: NDArray[np.float64]
    total: int

    @classmethod
    def of(cls, found: Pieces, side: str) -> "_Frequencies":
        """How often each piece opens (or closes) a line."""
        return cls.count(found.tokens.hashes[found.opens if side == "start" else found.closes])

    @classmethod
    def all(cls, found: Pieces) -> "_Frequencies":
        return cls.count(found.tokens.hashes)

    @classmethod
    def count(cls, hashes: NDArray[np.uint64]) -> "_Frequencies":
        values, counts = np.unique(hashes, return_counts=True)
        return cls(values, counts / max(1, len(hashes)), max(1, len(hashes)))

    def share(self, hashes: NDArray[np.uint64]) -> NDArray[np.float64]:
        if not len(self.values):
            return np.full(len(hashes), 0.5)
        at = np.minimum(np.searchsorted(self.values, hashes), len(self.values) - 1)
        return np.where(self.values[at] == hashes, self.shares[at], 0.0) + 0.5 / self.total

    def expected_distinct(self, draws: int) -> float:
        return float((1.0 - (1.0 - self.shares) ** draws).sum())


def _spans(
    found: Pieces,
    identity: NDArray[np.int64],
    side: str,
    size: int,
    edge: _Frequencies,
    anywhere: _Frequencies,
    fewest: int,
    largest: int,
) -> list[Insertion]:
    hashes, starts = found.tokens.hashes, found.tokens.starts
    texts = np.flatnonzero(np.diff(starts) > size)
    if side == "start":
        first = [starts[texts], _last_lines(found)[texts]]
        texts, at = np.concatenate([texts, texts]), np.concatenate(first)
        fits = at + size < starts[texts + 1]
        keep = fits & (np.arange(len(at)) < len(at) // 2) | fits & (at != starts[texts])
        texts, at = texts[keep], at[keep]
        beside = at + size
    else:
        at = starts[texts + 1] - size
        beside = at - 1
    if not len(at):
        return []
    coded = _coded(hashes, at, size)
    values, number = np.unique(coded, return_inverse=True)
    pairs = np.unique(number * (int(identity.max()) + 1) + identity[texts], return_index=True)[1]
    counts = np.bincount(number[pairs], minlength=len(values))
    kept = np.flatnonzero((counts >= fewest) & (counts <= largest))
    if not len(kept):
        return []
    neighbours = hashes[beside]
    evidence = np.clip(np.log(edge.share(neighbours) / anywhere.share(neighbours)), -_CLIP, _CLIP)
    total = np.bincount(number[pairs], evidence[pairs], minlength=len(values))
    ratio = total[kept] / counts[kept]
    kept, ratio = kept[ratio > 0.5], ratio[ratio > 0.5]
    wanted = np.isin(number, kept)
    order = np.argsort(number[wanted], kind="stable")
    sorted_numbers, places = number[wanted][order], np.flatnonzero(wanted)[order]
    out = []
    for one, value in zip(kept.tolist(), ratio.tolist(), strict=True):
        mine = places[np.searchsorted(sorted_numbers, one) : np.searchsorted(sorted_numbers, one, side="right")]
        different = mine[np.isin(mine, pairs)]
        expected = max(1.0, min(edge.expected_distinct(len(different)), float(len(different))))
        variety = len(np.unique(neighbours[different])) / expected
        span = hashes[at[mine[0]] : at[mine[0]] + size].copy()
        out.append(Insertion(np.unique(texts[mine]), len(different), value, variety, side, span))
    return out


def _last_lines(found: Pieces) -> NDArray[np.int64]:
    """For each text the place of the piece that opens its last line."""
    starts = found.tokens.starts
    opening = np.where(found.opens, np.arange(len(found.opens)), 0)
    running = np.maximum.accumulate(opening) if len(opening) else opening
    last = np.maximum(starts[1:] - 1, 0)
    return running[np.minimum(last, max(0, len(running) - 1))] if len(running) else starts[:-1]


def _coded(hashes: NDArray[np.uint64], at: NDArray[np.int64], size: int) -> NDArray[np.uint64]:
    value = np.full(len(at), np.uint64(size))
    for step in range(size):
        value = (value * _FNV_PRIME) ^ hashes[at + step]
        value = (value ^ (value >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    return value


def in_the_middle(
    found: Pieces, identity: NDArray[np.int64], *, fewest: int, largest: int, least_variety: float = 0.75
) -> list[Insertion]:
    """Spans of one to eight pieces, wherever they stand, whose neighbours on either side are as various as any pieces.

    `ratio` is how well the text reads without the span: the mean log-likelihood ratio of its two neighbours side by
    side against apart.
    """
    hashes = found.tokens.hashes
    owner = owners(found.tokens)
    if len(hashes) < 3:
        return []
    anywhere = _Frequencies.all(found)
    kind_of = np.searchsorted(anywhere.values, hashes)
    beside = _coded(hashes, np.arange(len(hashes) - 1), 2)
    together = _Frequencies.count(beside[owner[1:] == owner[:-1]])
    alive = np.ones(len(hashes), np.bool_)
    out: list[Insertion] = []
    for size in range(1, LONGEST_SPAN + 1):
        at = np.flatnonzero(alive[: len(hashes) - size + 1])
        at = at[owner[at] == owner[at + size - 1]]
        if len(at) < fewest:
            break
        number = np.unique(_coded(hashes, at, size), return_inverse=True)[1]
        counts = np.bincount(number)
        usual = counts[number] >= fewest
        alive[:] = False
        alive[at[usual]] = True
        alive[:-1] &= alive[1:]  # a longer span is as frequent as both its shorter parts
        rare = usual & (counts[number] <= 2 * largest)
        for places in _various(hashes, kind_of, owner, at[rare], number[rare], size, anywhere, least_variety):
            out += _middle(hashes, owner, identity, places, size, fewest, largest, anywhere, together)
    return out


def _various(
    hashes: NDArray[np.uint64],
    kind_of: NDArray[np.int64],
    owner: NDArray[np.int64],
    at: NDArray[np.int64],
    number: NDArray[np.int64],
    size: int,
    anywhere: _Frequencies,
    least: float,
) -> list[NDArray[np.int64]]:
    """Places of each span whose neighbours are various on the sides where it mostly has any."""
    if not len(at):
        return []
    names, number, counts = np.unique(number, return_inverse=True, return_counts=True)
    good = np.ones(len(names), np.bool_)
    kinds = len(anywhere.values)
    for beside in (at - 1, at + size):
        inside = (beside >= 0) & (beside < len(hashes))
        inside[inside] = owner[beside[inside]] == owner[at[inside]]
        mine = number[inside]
        pairs = np.unique(mine * kinds + kind_of[beside[inside]]) // kinds
        different, there = np.bincount(pairs, minlength=len(names)), np.bincount(mine, minlength=len(names))
        sizes = np.unique(there)
        usual = np.array([max(1.0, min(float(n), anywhere.expected_distinct(int(n)))) for n in sizes])
        good &= (different >= least * usual[np.searchsorted(sizes, there)]) | (2 * there < counts)
    kept = good[number]
    order = np.argsort(number[kept], kind="stable")
    edges = np.flatnonzero(np.diff(number[kept][order])) + 1
    return np.split(at[kept][order], edges) if kept.any() else []


def _middle(
    hashes: NDArray[np.uint64],
    owner: NDArray[np.int64],
    identity: NDArray[np.int64],
    places: NDArray[np.int64],
    size: int,
    fewest: int,
    largest: int,
    anywhere: _Frequencies,
    together: _Frequencies,
) -> list[Insertion]:
    _, first = np.unique(identity[owner[places]], return_index=True)
    if not fewest <= len(first) <= largest:
        return []
    one = places[first]
    both = one[(one > 0) & (one + size < len(hashes))]
    both = both[(owner[both - 1] == owner[both]) & (owner[both + size] == owner[both])]
    if 2 * len(both) < len(one):
        return []
    left, right = hashes[both - 1], hashes[both + size]
    joined = _coded(np.stack([left, right], 1).ravel(), np.arange(0, 2 * len(both), 2), 2)
    chance = anywhere.share(left) * anywhere.share(right)
    seen = together.share(joined) - 0.5 / together.total
    likelier = (seen + _PRIOR * chance) / ((1.0 + _PRIOR) * chance)
    ratio = float(np.mean(np.clip(np.log(likelier), -_CLIP, _CLIP)))
    span = hashes[one[0] : one[0] + size].copy()
    return [Insertion(np.unique(owner[places]), len(first), ratio, 1.0, "middle", span)]


def texts_with(found: Words, spans: Sequence[NDArray[np.uint64]]) -> list[NDArray[np.int64]]:
    """For each span of pieces the texts that hold it anywhere, ascending."""
    if not spans or not len(found.hashes):
        return [np.zeros(0, np.int64) for _ in spans]
    order = sorted(range(len(spans)), key=lambda i: int(spans[i][0]))
    heads = np.array([spans[i][0] for i in order], np.uint64)
    sizes = np.array([len(spans[i]) for i in order], np.int64)
    table = np.zeros((len(spans), int(sizes.max())), np.uint64)
    for row, i in enumerate(order):
        table[row, : len(spans[i])] = spans[i]
    hits = _find(found.hashes, found.starts, heads, sizes, table)
    out: list[NDArray[np.int64]] = [np.zeros(0, np.int64)] * len(spans)
    for row, i in enumerate(order):
        out[i] = np.unique(hits[hits[:, 0] == row, 1])
    return out


def span_text(text: str, span: Insertion) -> str:
    """The span as `text` has it; empty if it does not."""
    found = re.findall(_PIECE, text)
    size = len(span.pieces)
    hashes = [pieces([piece]).tokens.hashes for piece in found[:_MOST_SHOWN] + found[_MOST_SHOWN:][-_MOST_SHOWN:]]
    found = found[:_MOST_SHOWN] + found[_MOST_SHOWN:][-_MOST_SHOWN:]
    single = [int(h[0]) if len(h) == 1 else -1 for h in hashes]
    wanted = [int(piece) for piece in span.pieces]
    for at in range(len(found) - size + 1):
        if single[at : at + size] == wanted:
            return " ".join(found[at : at + size])
    return ""


def relatedness(
    found: Words,
    rows: NDArray[np.int64],
    leave_out: NDArray[np.uint64],
    rare: int,
    uses: tuple[NDArray[np.uint64], NDArray[np.int64]] | None = None,
) -> float:
    """Mean overlap coefficient of the rarer pieces of up to 40 pairs of texts, the span's own left out. `found` has
    each text's pieces once, sorted; `uses`: all of them, ascending, with how many texts have each.
    """
    sets = found
    values, counts = np.unique(sets.hashes, return_counts=True) if uses is None else uses
    chosen = rows[np.unique(np.linspace(0, len(rows) - 1, 40).astype(np.int64))]
    own = []
    for row in chosen.tolist():
        mine = sets.hashes[sets.starts[row] : sets.starts[row + 1]]
        mine = mine[counts[np.searchsorted(values, mine)] <= rare]
        own.append(np.setdiff1d(mine, leave_out))
    shift = max(1, len(own) // 2)
    shares = []
    for first, second in zip(own, own[shift:] + own[:shift], strict=True):
        smaller = min(len(first), len(second))
        if smaller:
            shares.append(len(np.intersect1d(first, second, assume_unique=True)) / smaller)
    return float(np.mean(shares)) if shares else 1.0


@njit(cache=True, nogil=True)
def _find(hashes, starts, heads, sizes, table):  # type: ignore[no-untyped-def]
    hits = np.empty((1024, 2), np.int64)
    used = 0
    for text in range(len(starts) - 1):
        for at in range(starts[text], starts[text + 1]):
            row = np.searchsorted(heads, hashes[at])
            while row < len(heads) and heads[row] == hashes[at]:
                size = sizes[row]
                same = at + size <= starts[text + 1]
                for k in range(1, size):
                    if same and hashes[at + k] != table[row, k]:
                        same = False
                if same:
                    if used == len(hits):
                        grown = np.empty((2 * used, 2), np.int64)
                        grown[:used] = hits
                        hits = grown
                    hits[used, 0] = row
                    hits[used, 1] = text
                    used += 1
                row += 1
    return hits[:used]
