"""Prompts' words and marks that go with repeated answers: which rows share an answer fragment, and which word their
prompts share.

A fixed-payload backdoor shows as a set of rows that (1) repeat a fragment of the answer, (2) share a word, a word pair
or a mark of the prompt that hardly any other row has, and (3) are otherwise unrelated. The association of the two sets
is their Jaccard similarity.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from goldsmith.engines.text.marks import mark_text, marks
from goldsmith.engines.text.tokens import Words, ngrams, unique_per_text, words

FRAGMENT_WORDS = 4
_CHUNK_TEXTS = 20_000
_MOST_COUNTERS_LOG2 = 24


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
    fragments = _put_together([unique_per_text(ngrams(words(part), FRAGMENT_WORDS)) for part in _chunks(answers)])
    parts, seen, signs = [], [], []
    for part, marked in zip(_chunks(prompts), _chunks(asked), strict=True):
        single, other = words(part), marks(marked)
        parts.append(unique_per_text(_joined(_joined(single, ngrams(single, 2)), other)))
        seen.append(np.unique(single.hashes))
        signs.append(np.unique(other.hashes))
    tokens = _put_together(parts)
    largest = max(fewest, int(largest_share * len(prompts)))
    sets = _fragment_sets(fragments, fewest, largest, most_sets)
    del fragments, parts
    values, counts = np.unique(tokens.hashes, return_counts=True)
    position = np.searchsorted(values, tokens.hashes).astype(np.int32)
    size = np.full(len(values), 2)
    size[np.isin(values, np.unique(np.concatenate(signs)), assume_unique=True)] = 0
    size[np.isin(values, np.unique(np.concatenate(seen)), assume_unique=True)] = 1
    common = _overlap_sample(tokens, position, counts, np.arange(len(prompts)))
    found: list[Association] = []
    for fragment, rows in sets:
        own = np.concatenate([position[tokens.starts[r] : tokens.starts[r + 1]] for r in rows])
        if not len(own):
            continue
        inside_values, inside = np.unique(own, return_counts=True)
        total = counts[inside_values]
        jaccard = inside / (total + len(rows) - inside)
        best = int(np.argmax(jaccard + 1e-6 * (size[inside_values] == 1)))
        if jaccard[best] < least_jaccard:
            continue
        token = int(inside_values[best])
        tied = inside_values[(inside >= 0.5 * len(rows)) & (total <= 4 * len(rows))]
        both = rows[[token in position[tokens.starts[r] : tokens.starts[r + 1]] for r in rows]]
        within = _overlap_sample(tokens, position, counts, both, leave_out=tied)
        found.append(
            Association(
                rows=both,
                token=int(values[token]),
                token_words=int(size[token]),
                fragment=fragment,
                jaccard=float(jaccard[best]),
                unrelated=float(np.clip(1.0 - (within - common) / 0.25, 0.0, 1.0)),
                echoed=_echoed([answers[r] for r in both], int(values[token]), int(size[token]), asked[both[0]]),
                token_rows=int(counts[token]),
                fragment_rows=len(rows),
            )
        )
    found.sort(key=lambda a: (-a.jaccard * a.unrelated, -len(a.rows), a.rows.tolist()))
    return found


def _chunks(texts: Sequence[str]) -> Iterator[list[str]]:
    """The texts in lists of 20,000; one empty list where there are none."""
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


def _fragment_sets(fragments: Words, fewest: int, largest: int, most: int) -> list[tuple[int, NDArray[np.int64]]]:
    """Distinct row sets that share a fragment, those shared by the most fragments first."""
    kept = _maybe_repeated(fragments.hashes, fewest)
    owner = np.repeat(np.arange(len(fragments), dtype=np.int32), fragments.counts())[kept]
    hashes = fragments.hashes[kept]
    order = np.argsort(hashes, kind="stable")
    hashes, owner = hashes[order], owner[order]
    del order, kept
    edge = np.flatnonzero(np.concatenate([[True], hashes[1:] != hashes[:-1]])) if len(hashes) else np.zeros(0, np.int64)
    size = np.diff(np.concatenate([edge, [len(hashes)]]))
    good = (size >= fewest) & (size <= largest)
    edge, size = edge[good], size[good]
    if not len(edge):
        return []
    running = np.concatenate([[np.uint64(0)], np.cumsum(_scrambled(owner), dtype=np.uint64)])
    signature = running[edge + size] - running[edge]
    _, first, repeats = np.unique(signature, return_index=True, return_counts=True)
    ranked = np.lexsort((hashes[edge[first]], -size[first] * np.minimum(repeats, 20)))[:most]
    spans = [(int(edge[first[k]]), int(size[first[k]])) for k in ranked]
    return [(int(hashes[at]), owner[at : at + count].astype(np.int64)) for at, count in spans]


def _maybe_repeated(hashes: NDArray[np.uint64], fewest: int) -> NDArray[np.bool_]:
    """False for hashes that occur fewer than `fewest` times, nearly always: those that share a counter with others may
    pass. What is sorted afterwards is then a part of all.
    """
    size = 1 << min(_MOST_COUNTERS_LOG2, max(10, len(hashes).bit_length()))
    counters = np.zeros(size, np.int32)
    places = [slice(first, first + size) for first in range(0, len(hashes), size)]
    for place in places:
        counters += np.bincount((hashes[place] & np.uint64(size - 1)).astype(np.int64), minlength=size).astype(np.int32)
    out = np.zeros(len(hashes), bool)
    for place in places:
        out[place] = counters[(hashes[place] & np.uint64(size - 1)).astype(np.int64)] >= fewest
    return out


def _scrambled(numbers: NDArray[np.int32]) -> NDArray[np.uint64]:
    value = numbers.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def _overlap_sample(
    tokens: Words,
    position: NDArray[np.int32],
    counts: NDArray[np.int64],
    rows: NDArray[np.int64],
    leave_out: NDArray[np.int64] | None = None,
    pairs: int = 60,
) -> float:
    """Mean overlap coefficient of the tokens of up to `pairs` pairs of rows, spread evenly; everyday tokens are
    left out.
    """
    if len(rows) < 2:
        return 0.0
    everyday = 0.05 * (len(tokens.starts) - 1) + 3
    first = np.unique(np.linspace(0, len(rows) - 1, pairs).astype(np.int64))
    step = max(1, len(rows) // 2)
    total, seen = 0.0, 0
    for a in first:
        sides = []
        for row in (rows[a], rows[(a + step) % len(rows)]):
            own = position[tokens.starts[row] : tokens.starts[row + 1]]
            own = own[counts[own] <= everyday]
            sides.append(own if leave_out is None else np.setdiff1d(own, leave_out, assume_unique=True))
        smaller = min(len(sides[0]), len(sides[1]))
        # A prompt that is nothing but the shared tokens is wholly related to the others.
        total += 1.0 if smaller == 0 else len(np.intersect1d(sides[0], sides[1], assume_unique=True)) / smaller
        seen += 1
    return total / seen
