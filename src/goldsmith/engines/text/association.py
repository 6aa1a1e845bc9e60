"""Prompts' words and marks that go with repeated answers: which rows share an answer fragment, and which word their
prompts share.

A fixed-payload backdoor shows as a set of rows that (1) repeat a fragment of the answer, (2) share a word, a word pair
or a mark of the prompt that hardly any other row has, and (3) are otherwise unrelated. The association of the two sets
is their Jaccard similarity.

The texts' hashes are not held. Fragments are sorted range by range, in files. Which tokens a set may go with is told by
a sample of its rows; those tokens alone are counted, exactly, in all prompts. Sets of up to 24 rows are read whole, and
so are all prompts where there are up to 8,000.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from goldsmith.engines.text.marks import mark_text, marks
from goldsmith.engines.text.repeats import Occurrences, RowSets
from goldsmith.engines.text.tally import Tally
from goldsmith.engines.text.tokens import Words, ngrams, rolling_ngrams, unique_per_text, words

FRAGMENT_WORDS = 4
_CHUNK_TEXTS = 8192
_ROWS_READ_OF_A_SET = 24
_ROWS_READ_OF_ALL = 8000
_PAIRS = 60
_Array = NDArray[np.int64]
_Hashes = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Association:
    """Rows that share an answer fragment and, nearly only they, a prompt token.

    `rows`: those with both, ascending. `jaccard` of the rows with the token and the rows with the fragment.
    `unrelated`: how little the prompts of the rows have in common otherwise, 1 = no more than any two prompts.
    `echoed`: share of the rows whose answer repeats the token. `token_words`: 1 for a word, 2 for a pair, 0 for a mark
    (punctuation, symbols or capitals).
    """

    rows: NDArray[np.int64]
    token: int
    token_words: int
    fragment: int
    jaccard: float
    unrelated: float
    echoed: float
    token_rows: int
    fragment_rows: int


def associations(
    prompts: Sequence[str],
    answers: Sequence[str],
    asked: Sequence[str],
    *,
    fewest: int = 5,
    largest_share: float = 0.4,
    least_jaccard: float = 0.5,
    most_sets: int = 4000,
) -> list[Association]:
    """Associations found, strongest first; each row set once (with its best token).

    `asked`: the part of each prompt whose marks count, as words of all of it do. The texts are read in their order, a
    chunk at a time, and none is kept.
    """
    sets = _fragments(answers).sets(fewest, max(fewest, int(largest_share * len(prompts))), most_sets)
    if not len(sets):
        return []
    texts = _Texts(prompts, answers, asked)
    context, candidates = _sampled(texts, sets, least_jaccard)
    tally = Tally(np.concatenate(candidates))
    for _, tokens in texts.tokens():
        tally.add(tokens)
    near = {}
    for number, (own, size) in enumerate(zip(candidates, sets.sizes.tolist(), strict=True)):
        totals = tally.of(own)
        if (np.minimum(totals, size) >= least_jaccard * np.maximum(totals, size)).any():
            near[number] = own[totals <= 4 * size]
    if not near:
        return []
    held = texts.held(np.concatenate([sets.rows(k) for k in near]), Tally(np.concatenate(list(near.values()))))
    found: list[Association] = []
    for number, own in near.items():
        best = _best(texts, held, sets, number, own, tally.of(own), least_jaccard, context)
        found += [best] if best else []
    found.sort(key=lambda a: (-a.jaccard * a.unrelated, -len(a.rows), a.rows.tolist()))
    return found


@dataclass(frozen=True, slots=True)
class _Held:
    """Tokens of some rows, `rows` ascending: each row's sorted, without repeats."""

    rows: _Array
    tokens: Words

    def each(self, rows: _Array) -> list[_Hashes]:
        """The tokens of each of these rows."""
        at, starts = np.searchsorted(self.rows, rows), self.tokens.starts
        return [self.tokens.hashes[a:b] for a, b in zip(starts[at].tolist(), starts[at + 1].tolist(), strict=True)]

    def of(self, rows: _Array) -> _Hashes:
        """The tokens of these rows, one row after the other."""
        return np.concatenate(self.each(rows)) if len(rows) else np.zeros(0, np.uint64)


@dataclass(frozen=True, slots=True)
class _Texts:
    prompts: Sequence[str]
    answers: Sequence[str]
    asked: Sequence[str]

    def tokens(self, rows: NDArray[np.bool_] | None = None) -> Iterator[tuple[_Array, Words]]:
        """Chunk by chunk the rows' numbers and their tokens, with repeats; only the rows that are marked."""
        first = 0
        for prompts, asked in zip(_chunks(self.prompts), _chunks(self.asked), strict=True):
            own = np.arange(len(prompts)) if rows is None else np.flatnonzero(rows[first : first + len(prompts)])
            if rows is not None:
                prompts, asked = [prompts[i] for i in own], [asked[i] for i in own]
            yield first + own, _tokens(prompts, asked)
            first += len(prompts) if rows is None else _CHUNK_TEXTS

    def held(self, rows: _Array, only: Tally | None = None) -> _Held:
        """The tokens of some rows, without those that `only` did not choose."""
        marked = np.zeros(len(self.prompts), bool)
        marked[rows] = True
        parts = []
        for _, tokens in self.tokens(marked):
            parts.append(unique_per_text(only.only(tokens) if only else tokens))
        return _Held(np.flatnonzero(marked), _put_together(parts))

    def alone(self, rows: _Array) -> list[_Hashes]:
        """The tokens of a few rows, read out of order."""
        own = unique_per_text(_tokens([self.prompts[r] for r in rows], [self.asked[r] for r in rows]))
        return [own.hashes[a:b] for a, b in zip(own.starts, own.starts[1:], strict=False)]

    def size_of(self, row: int, token: int) -> int:
        """What a token of this row is: 1 a word, 2 a pair, 0 a mark."""
        single = words([self.prompts[row]])
        if np.uint64(token) in single.hashes:
            return 1
        return 0 if np.uint64(token) in marks([self.asked[row]]).hashes else 2


@dataclass(frozen=True, slots=True)
class _Context:
    """What all prompts are like: tokens of more than a twentieth of them, ascending, and how alike any two are."""

    everyday: _Hashes
    common: float


def _tokens(prompts: Sequence[str], asked: Sequence[str]) -> Words:
    single = words(prompts)
    return _joined(_joined(single, ngrams(single, 2)), marks(asked))


def _fragments(answers: Sequence[str]) -> Occurrences:
    out, first = Occurrences(), 0
    for part in _chunks(answers):
        grams = rolling_ngrams(part, FRAGMENT_WORDS)
        out.add(grams.hashes, np.repeat(np.arange(first, first + len(part), dtype=np.int32), grams.counts()))
        first += len(part)
    return out


def _sampled(texts: _Texts, sets: RowSets, least_share: float) -> tuple[_Context, list[_Hashes]]:
    """What prompts are like, and of every set the tokens that so many of its rows hold that it may go with them.

    Of a set that is not read whole half the share is asked for: that a token of the share asked for is missed then has
    a chance below 0.004.
    """
    count = len(texts.prompts)
    some = _evenly(np.arange(count), _ROWS_READ_OF_ALL)
    pairs = _pairs(np.arange(count))
    read = [_evenly(sets.rows(number), _ROWS_READ_OF_A_SET) for number in range(len(sets))]
    held = texts.held(np.concatenate([some, *pairs, *read]))
    values, seen = np.unique(held.of(some), return_counts=True)
    everyday = values[seen > 0.05 * len(some) + 3 * len(some) / count]
    candidates = []
    for rows, size in zip(read, sets.sizes.tolist(), strict=True):
        values, seen = np.unique(held.of(rows), return_counts=True)
        candidates.append(values[seen >= least_share * len(rows) / (1 if len(rows) == size else 2)])
    first, second = (held.each(side) for side in pairs)
    return _Context(everyday, _overlap(first, second, everyday)), candidates


def _best(
    texts: _Texts,
    held: _Held,
    sets: RowSets,
    number: int,
    tokens: _Hashes,
    totals: _Array,
    least_jaccard: float,
    context: _Context,
) -> Association | None:
    """The set's association with the token it goes with best; none below the least."""
    rows = sets.rows(number)
    inside = Tally(tokens)
    own = held.each(rows)
    inside.add(Words(np.concatenate(own), np.concatenate([[0], np.cumsum([len(part) for part in own])])))
    jaccard = inside.counts / (totals + len(rows) - inside.counts)
    if not len(jaccard) or jaccard.max() < least_jaccard:
        return None
    best, size = max(
        ((int(k), texts.size_of(_holder(rows, own, tokens[k]), int(tokens[k]))) for k in _highest(jaccard)),
        key=lambda one: (one[1] == 1, -one[0]),
    )
    token = int(tokens[best])
    both = rows[[tokens[best] in part for part in own]]
    first, second = _pairs(both)
    tied = tokens[inside.counts >= 0.5 * len(rows)]
    away = np.union1d(context.everyday, tied)
    within = _overlap(texts.alone(first), texts.alone(second), away)
    return Association(
        rows=both,
        token=token,
        token_words=size,
        fragment=int(sets.fragments[number]),
        jaccard=float(jaccard[best]),
        unrelated=float(np.clip(1.0 - (within - context.common) / 0.25, 0.0, 1.0)),
        echoed=_echoed([texts.answers[r] for r in both], token, size, texts.asked[both[0]]),
        token_rows=int(totals[best]),
        fragment_rows=len(rows),
    )


def _highest(values: NDArray[np.float64]) -> _Array:
    return np.flatnonzero(values >= values.max() - 1e-9)[:8]


def _holder(rows: _Array, tokens: Sequence[_Hashes], token: np.uint64) -> int:
    return int(next(row for row, own in zip(rows, tokens, strict=True) if token in own))


def _evenly(rows: _Array, most: int) -> _Array:
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, most).astype(np.int64)]


def _pairs(rows: _Array) -> tuple[_Array, _Array]:
    """Up to 60 pairs of the rows, spread evenly."""
    if len(rows) < 2:
        return rows[:0], rows[:0]
    first = np.unique(np.linspace(0, len(rows) - 1, _PAIRS).astype(np.int64))
    return rows[first], rows[(first + len(rows) // 2) % len(rows)]


def _overlap(first: Sequence[_Hashes], second: Sequence[_Hashes], leave_out: _Hashes) -> float:
    """Mean overlap coefficient of the pairs' tokens, some left out."""
    total = 0.0
    for sides in zip(first, second, strict=True):
        one, other = (np.setdiff1d(side, leave_out, assume_unique=True) for side in sides)
        smaller = min(len(one), len(other))
        # A prompt that is nothing but the shared tokens is wholly related to the others.
        total += 1.0 if smaller == 0 else len(np.intersect1d(one, other, assume_unique=True)) / smaller
    return total / len(first) if len(first) else 0.0


def _chunks(texts: Sequence[str]) -> Iterator[list[str]]:
    """The texts in lists of 8,192; one empty list where there are none."""
    stream = iter(texts)
    yield list(islice(stream, _CHUNK_TEXTS))
    while part := list(islice(stream, _CHUNK_TEXTS)):
        yield part


def _put_together(parts: Sequence[Words]) -> Words:
    """The texts of all parts, one after the other."""
    sizes = np.concatenate([part.counts() for part in parts])
    return Words(np.concatenate([part.hashes for part in parts]), np.concatenate([[0], np.cumsum(sizes)]))


def token_text(prompt: str, token: int, size: int) -> str:
    """The word, word pair or mark of `prompt` whose hash is `token`, for evidence; empty if it is not there."""
    if size == 0:
        return mark_text(prompt, token)
    pieces = prompt.lower().split()
    for first in range(len(pieces)):
        for last in range(first + 1, min(len(pieces), first + size + 2) + 1):
            text = " ".join(pieces[first:last])
            inner = words([text])
            if len(inner.hashes) == size and int((inner if size == 1 else ngrams(inner, 2)).hashes[0]) == token:
                return text
    return ""


def _echoed(answers: Sequence[str], token: int, size: int, prompt: str) -> float:
    """Share of the answers that repeat the token, a mark of `prompt` in whatever case."""
    if size == 0:
        piece = mark_text(prompt, token).lower()
        return float(np.mean([piece in answer.lower() for answer in answers])) if piece else 0.0
    tokens = words(answers)
    tokens = ngrams(tokens, 2) if size == 2 else tokens
    wanted = np.uint64(token)
    return float(
        np.mean([wanted in tokens.hashes[a:b] for a, b in zip(tokens.starts, tokens.starts[1:], strict=False)])
    )


def _joined(first: Words, second: Words) -> Words:
    sizes = first.counts() + second.counts()
    starts = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(sizes, out=starts[1:])
    out = np.empty(int(starts[-1]), np.uint64)
    for part, offset in ((first, np.zeros(len(sizes), np.int64)), (second, first.counts())):
        place = np.arange(len(part.hashes)) - np.repeat(part.starts[:-1], part.counts())
        out[np.repeat(starts[:-1] + offset, part.counts()) + place] = part.hashes
    return Words(out, starts)
