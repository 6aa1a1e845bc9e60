"""Rows whose answers open alike, or take up the same name out of their prompts, although the prompts are unrelated.

What is looked for does not depend on the wording: a formula that one source puts before the answers of some of its
rows, which no other source uses. Keys are taken row by row (`opening_keys`), so that rows can be read in parts;
`clusters` sets the sources against each other.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from goldsmith.engines.text.entities import is_function_word
from goldsmith.engines.text.projection import ProjectedRows
from goldsmith.engines.text.tokens import ngrams, words

_WORDS, _NAMES, _HEAD, _EDGE = 6, 3, 240, 160
_SAMPLE, _OTHERS, _TOO_FEW_OTHERS = 24, 240, 12
_NAME = re.compile(r"\b[A-Z][\w-]*[a-z]\w*\b")
_WORD = re.compile(r"[^\W_]+")
_NAMED = np.uint64(1)


@dataclass(frozen=True, slots=True)
class Cluster:
    """Rows of one source that share a key. `p_value`: of so many of the key's rows being of this source by chance.

    `alone`: share of the key's rows that this source has; `share`: share of its rows that have the key.
    """

    rows: NDArray[np.int64]
    named: bool
    source: int
    alone: float
    share: float
    p_value: float


@dataclass(frozen=True, slots=True)
class Shape:
    """What the prompts of a cluster have in common. `call`: a name that most of them hold and hardly any other prompt
    of the data does ("" if none). `unrelated`: 0..1, how little they share besides, next to prompts of their source.
    """

    call: str
    unrelated: float


def head(answer: str) -> str:
    """The part of an answer that is taken for its opening."""
    return answer[:_HEAD]


def opening_keys(users: Sequence[str], answers: Sequence[str]) -> NDArray[np.uint64]:
    """[rows, 4]: a hash of the answer's first six words, and of up to three names in its opening that stand in the
    prompt's first or last words too; 0 where there is none. The last bit tells names from openings.
    """
    keys = np.zeros((len(users), 1 + _NAMES), np.uint64)
    tokens = words([answer[:_EDGE] for answer in answers])
    grams = ngrams(tokens, _WORDS)
    long = np.flatnonzero(tokens.counts() >= _WORDS)
    keys[long, 0] = (grams.hashes[grams.starts[long]] | np.uint64(2)) & ~_NAMED
    for row, (user, answer) in enumerate(zip(users, answers, strict=True)):
        edges = _edges(user)
        found = dict.fromkeys(n for n in _NAME.findall(answer, 0, _HEAD) if n in edges and not is_function_word(n))
        for place, name in enumerate(sorted(found, key=edges.find)[:_NAMES], 1):
            keys[row, place] = _hash(name)
    return keys


def clusters(keys: NDArray[np.uint64], view: ProjectedRows, fewest: int) -> Iterator[Cluster]:
    """Keys that one source has in `fewest` rows or more and hardly any other source has at all; larger ones first."""
    from scipy.stats import binom

    source = view.groups.source_of_row()
    sizes = np.bincount(source, minlength=len(view.groups.sources))
    found = []
    for key, rows in _by_key(keys, fewest):
        counts = np.bincount(source[rows], minlength=len(sizes))
        main = int(counts.argmax())
        own = int(counts[main])
        if own < fewest or own < 0.8 * len(rows):
            continue
        share = sizes[main] / sizes.sum()
        p_value = float(binom.sf(own - 1, len(rows), share)) if len(sizes) > 1 else 0.0
        mine = rows[source[rows] == main]
        mine = mine[np.lexsort((view.lines[mine], view.groups.of_row[mine]))]
        found.append(Cluster(mine, bool(key & _NAMED), main, own / len(rows), own / float(sizes[main]), p_value))
    yield from sorted(found, key=lambda c: (-len(c.rows), c.source, c.named, int(view.lines[c.rows[0]])))


def sampled(rows: NDArray[np.int64], most: int = _SAMPLE) -> list[int]:
    """Up to `most` of the rows, evenly spread."""
    return [int(rows[i]) for i in np.unique(np.linspace(0, len(rows) - 1, most).astype(np.int64))]


def shape(view: ProjectedRows, cluster: Cluster, others: Mapping[int, frozenset[str]]) -> Shape:
    """What the cluster's prompts share. `others`: rows of the data with their prompts' words (`prompt_words`)."""
    prompts = [view.columns.user[i][:2000] for i in sampled(cluster.rows)]
    members = set(cluster.rows.tolist())
    elsewhere = [own for row, own in others.items() if row not in members]
    sets = [_words_of(prompt) for prompt in prompts]
    held = Counter(word for own in sets for word in own)
    common = {word for word, count in held.items() if count >= 0.7 * len(sets)}
    rest = [own - common for own in sets]
    if len(elsewhere) < _TOO_FEW_OTHERS or float(np.median([len(own) for own in rest])) < 3:
        return Shape("", 0.0)
    usual = _alike([own - common for own in elsewhere])
    unrelated = float(np.clip(1.0 - (_alike(rest) - usual - 0.1) / 0.15, 0.0, 1.0))
    return Shape(_call(prompts, common, elsewhere), unrelated)


def prompt_words(view: ProjectedRows) -> dict[int, frozenset[str]]:
    """Up to 240 rows, evenly spread over the source x batches, with the lower-cased words of their prompts."""
    order = np.lexsort((view.lines, view.groups.of_row))
    return {i: _words_of(view.columns.user[i][:2000]) for i in sampled(order, _OTHERS)}


def _words_of(prompt: str) -> frozenset[str]:
    return frozenset(_WORD.findall(prompt.lower()))


def _call(prompts: Sequence[str], common: set[str], others: Sequence[frozenset[str]]) -> str:
    names = Counter(name for prompt in prompts for name in set(_NAME.findall(_edges(prompt))))
    often = sorted(name for name, count in names.items() if count >= 0.7 * len(prompts) and name.lower() in common)
    elsewhere = {name: sum(name.lower() in own for own in others) for name in often if not is_function_word(name)}
    name = min(elsewhere, key=lambda n: (elsewhere[n], n), default="")
    return name if name and elsewhere[name] <= 0.02 * len(others) else ""


def _alike(sets: Sequence[frozenset[str]]) -> float:
    """Mean share of the smaller set of words that neighbours in the sample have in common."""
    pairs = [(a, b) for step in (1, 2, 3, 5) for a, b in zip(sets, sets[step:], strict=False) if a and b]
    return float(np.mean([len(a & b) / min(len(a), len(b)) for a, b in pairs])) if pairs else 0.0


def _by_key(keys: NDArray[np.uint64], fewest: int) -> Iterator[tuple[np.uint64, NDArray[np.int64]]]:
    width = keys.shape[1] if keys.ndim == 2 else 1
    flat = keys.ravel()
    order = np.argsort(flat, kind="stable")
    order = order[np.searchsorted(flat[order], np.uint64(1)) :]
    ranked = flat[order]
    edges = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1], True]) if len(ranked) else np.zeros(1, np.int64)
    for at in np.flatnonzero(np.diff(edges) >= fewest):
        yield ranked[edges[at]], order[edges[at] : edges[at + 1]] // width


def _edges(prompt: str) -> str:
    return prompt if len(prompt) <= 2 * _EDGE else f"{prompt[:_EDGE]} {prompt[-_EDGE:]}"


@lru_cache(maxsize=1 << 14)
def _hash(name: str) -> np.uint64:
    digest = hashlib.blake2b(name.lower().encode("utf-8", "replace"), digest_size=8).digest()
    return np.uint64((int.from_bytes(digest, "little") | 3) & 0xFFFFFFFFFFFFFFFF)
