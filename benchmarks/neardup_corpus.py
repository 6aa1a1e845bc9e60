"""The near-duplicate benchmark's corpus: real public texts, planted edits, and the truth by an independent method.

Texts: every string of 20 words or more in the shared data sets; further copies of them in a rotated alphabet (another
"language" with the same structure, so that natural near duplicates stay and copies do not meet). A tenth are edits of
others: words changed, dropped or put in (exact Jaccard recorded), and case, spacing and punctuation changed.
Truth: an exact set-similarity join (prefix filter over an inverted index, Bayardo et al. 2007, "Scaling up all pairs
similarity search"); no MinHash, no bands, and its own tokeniser.
"""

import gzip
import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

_WORD = re.compile(r"[^\W_]+")
_LEAST_WORDS, _MOST_CHARACTERS = 20, 20_000
_ALPHABET = "abcdefghijklmnopqrstuvwxyz"


def base_texts(data: Path) -> list[str]:
    """Distinct texts of the shared data, in a fixed order."""
    found: dict[str, None] = {}
    for path in sorted([*data.glob("*/*.jsonl"), *data.glob("*/*.jsonl.gz"), *data.glob("*/*.json")]):
        for text in _strings_of(path):
            if len(text) <= _MOST_CHARACTERS and text.isascii() and len(_WORD.findall(text)) >= _LEAST_WORDS:
                found[text] = None
    return list(found)


def _strings_of(path: Path) -> Iterator[str]:
    reader = gzip.open if path.suffix == ".gz" else open
    with reader(path, "rt", encoding="utf-8") as stream:
        try:
            values = [json.load(stream)] if path.suffix == ".json" else map(json.loads, stream)
            for value in values:
                yield from _leaves(value)
        except ValueError:
            return


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _leaves(item)


def corpus(data: Path, count: int, seed: int = 7) -> tuple[list[str], NDArray[np.int64]]:
    """`count` texts in random order, and for each the text it was edited from (-1: none)."""
    rng = random.Random(seed)
    base = base_texts(data)
    rng.shuffle(base)
    texts: list[str] = []
    wanted = count - count // 10
    turn = 0
    while len(texts) < wanted:
        shifted = _ALPHABET[turn:] + _ALPHABET[:turn]
        table = str.maketrans(_ALPHABET + _ALPHABET.upper(), shifted + shifted.upper())
        texts += [text.translate(table) if turn else text for text in base[: wanted - len(texts)]]
        turn += 3
    origin = [-1] * len(texts)
    vocabulary = sorted({word for text in base[:2000] for word in text.split()})
    while len(texts) < count:
        source = rng.randrange(wanted)
        texts.append(_edited(texts[source], vocabulary, rng))
        origin.append(source)
    order = list(range(count))
    rng.shuffle(order)
    place = {old: new for new, old in enumerate(order)}
    moved = np.array([place[origin[old]] if origin[old] >= 0 else -1 for old in order], np.int64)
    return [texts[old] for old in order], moved


def _edited(text: str, vocabulary: list[str], rng: random.Random) -> str:
    if rng.random() < 0.2:
        return re.sub(r"[ \n]+", lambda _: rng.choice(["  ", "\n", " - "]), rng.choice([text.upper(), text.lower()]))
    words = text.split(" ")
    for _ in range(max(1, round(len(words) * rng.choice([0.005, 0.01, 0.02, 0.03, 0.05])))):
        place = rng.randrange(len(words))
        words[place : place + 1] = rng.choice([[], [rng.choice(vocabulary)], [words[place], rng.choice(vocabulary)]])
        words = words or [""]
    return " ".join(words)


def shingle_ids(texts: list[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Each text's set of lower-cased word 5-grams as numbers, rarest first, and where each text's begin.

    Numbers are given out exactly (pairs of words, pairs of pairs, one more word), without hashing. Every text must have
    five words at least.
    """
    known: dict[str, int] = {}
    words = [[known.setdefault(word, len(known)) for word in _WORD.findall(text.lower())] for text in texts]
    sizes = np.array([len(one) for one in words], np.int64)
    flat = np.fromiter((word for one in words for word in one), np.int64, int(sizes.sum()))
    two = _numbered(flat[:-1], flat[1:])
    four = _numbered(two[:-2], two[2:])
    five = _numbered(four[:-1], flat[4:])
    owner = np.repeat(np.arange(len(texts)), sizes)
    inside = owner[: len(five)] == owner[4:]
    often = np.bincount(five[inside])
    rank = np.empty(len(often), np.int64)
    rank[np.lexsort((np.arange(len(often)), often))] = np.arange(len(often))
    both = np.unique(owner[: len(five)][inside] * len(often) + rank[five[inside]])
    starts = np.searchsorted(both, np.arange(len(texts) + 1) * len(often))
    return both % len(often), starts.astype(np.int64)


def _numbered(first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int64]:
    """A number for each distinct pair."""
    return np.unique(first * (int(second.max()) + 1) + second, return_inverse=True)[1].astype(np.int64)


def true_pairs(texts: list[str], threshold: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """All pairs (earlier, later) with exact Jaccard of at least `threshold`, [pairs, 2], and their Jaccard."""
    flat, starts = shingle_ids(texts)
    sizes = np.diff(starts)
    order = np.argsort(sizes, kind="stable").astype(np.int64)
    pairs, values = _join(flat, starts, order, threshold, int(flat.max()) + 1 if len(flat) else 0)
    pairs.sort(axis=1)
    return pairs, values


@njit(cache=True)
def _join(flat, starts, order, threshold, vocabulary):  # type: ignore[no-untyped-def]
    head = np.full(vocabulary, -1, np.int64)  # the posting list of each gram, as a linked list
    entries = np.int64(0)
    for text in order:
        size = starts[text + 1] - starts[text]
        entries += size - np.int64(np.ceil(threshold * size - 1e-9)) + 1
    following, owner = np.empty(entries, np.int64), np.empty(entries, np.int64)
    used = 0
    seen = np.full(len(order), -1, np.int64)
    pairs, values, found = np.empty((1024, 2), np.int64), np.empty(1024, np.float64), 0
    for text in order:
        first, size = starts[text], starts[text + 1] - starts[text]
        if size == 0:
            continue
        prefix = size - np.int64(np.ceil(threshold * size - 1e-9)) + 1
        for k in range(first, first + prefix):
            at = head[flat[k]]
            while at >= 0:
                other = owner[at]
                at = following[at]
                if seen[other] == text:
                    continue
                seen[other] = text
                own = starts[other + 1] - starts[other]
                if own < threshold * size - 1e-9:
                    continue
                both, i, j = 0, first, starts[other]
                while i < first + size and j < starts[other + 1]:
                    if flat[i] == flat[j]:
                        both, i, j = both + 1, i + 1, j + 1
                    elif flat[i] < flat[j]:
                        i += 1
                    else:
                        j += 1
                value = both / (size + own - both)
                if value >= threshold - 1e-12:
                    if found == len(values):
                        grown, more = np.empty((2 * found, 2), np.int64), np.empty(2 * found, np.float64)
                        grown[:found], more[:found] = pairs, values
                        pairs, values = grown, more
                    pairs[found, 0], pairs[found, 1], values[found] = text, other, value
                    found += 1
        for k in range(first, first + prefix):
            following[used], owner[used] = head[flat[k]], text
            head[flat[k]] = used
            used += 1
    return pairs[:found], values[:found]
