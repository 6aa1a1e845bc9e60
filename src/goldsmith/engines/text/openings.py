"""Rows whose answers open alike, or take up the same name out of their prompts, although the prompts are unrelated.

What is looked for does not depend on the wording: a formula that one source puts before the answers of some of its
rows, which no other source uses. Keys are taken row by row (`opening_keys`), so that rows can be read in parts;
`clusters` sets the sources against each other.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from goldsmith.engines.text.entities import function_words, is_function_word
from goldsmith.engines.text.heads import clause_keys, may_share_names
from goldsmith.engines.text.needed import Needed
from goldsmith.engines.text.projection import ProjectedRows

_OPENINGS, _NAMES, _HEAD, _EDGE = 3, 3, 240, 160
_CALLS, _AROUND = 3, 8
_SAMPLE, _OTHERS, _USUAL, _TOO_FEW_OTHERS = 24, 240, 80, 12
_NAME = re.compile(r"\b[A-Z][\w-]*[a-z]\w*\b")
_WORD = re.compile(r"[^\W_]+")
_AT_ONCE = 4096
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
    """What the prompts of a cluster have in common. `calls`: names that most of them hold, in the same words, and
    hardly any other prompt of the data does. `unrelated`: 0..1, how little the prompts share besides, next to others.
    """

    calls: tuple[str, ...]
    unrelated: float


def head(answer: str) -> str:
    """The part of an answer that is taken for its opening."""
    return answer[:_HEAD]


def opening_keys(users: Sequence[str], answers: Sequence[str]) -> NDArray[np.uint64]:
    """[rows, 6]: hashes of the answer's first six and first three words and of its first clause, and of up to three
    names in its opening that stand in the prompt's first or last words too; 0 where there is none. The last bit tells
    names from openings.
    """
    keys = np.zeros((len(users), _OPENINGS + _NAMES), np.uint64)
    keys[:, :_OPENINGS] = clause_keys(answers, _EDGE)
    edges = [_edges(user) for user in users]
    for row in np.flatnonzero(may_share_names([head(answer) for answer in answers], edges, function_words())).tolist():
        own = edges[row]
        found = dict.fromkeys(n for n in _NAME.findall(head(answers[row])) if n in own and not is_function_word(n))
        for place, name in enumerate(sorted(found, key=own.find)[:_NAMES], _OPENINGS):
            keys[row, place] = _hash(name)
    return keys


def clusters(keys: NDArray[np.uint64], view: ProjectedRows, fewest: int) -> Iterator[Cluster]:
    """Keys that one source has in `fewest` rows or more and hardly any other source has at all; larger ones first."""
    from scipy.stats import binom

    source = view.groups.source_of_row()
    sizes = np.bincount(source, minlength=len(view.groups.sources))
    chosen = []
    for key, rows in _by_key(keys, fewest):
        counts = np.bincount(source[rows], minlength=len(sizes))
        main = int(counts.argmax())
        own = int(counts[main])
        if own < fewest or own < 0.8 * len(rows):
            continue
        chosen.append((key, rows, main, own))
    counted = np.array([(own, len(rows), sizes[main]) for _, rows, main, own in chosen], np.int64).reshape(-1, 3)
    shares = counted[:, 2] / sizes.sum()
    p_values = binom.sf(counted[:, 0] - 1, counted[:, 1], shares) if len(sizes) > 1 else np.zeros(len(chosen))
    found = []
    for (key, rows, main, own), p_value in zip(chosen, p_values.tolist(), strict=True):
        mine = rows[source[rows] == main]
        mine = mine[np.lexsort((view.lines[mine], view.groups.of_row[mine]))]
        found.append(Cluster(mine, bool(key & _NAMED), main, own / len(rows), own / float(sizes[main]), p_value))
    yield from sorted(found, key=lambda c: (-len(c.rows), c.source, c.named, int(view.lines[c.rows[0]])))


def sampled(rows: NDArray[np.int64], most: int = _SAMPLE) -> list[int]:
    """Up to `most` of the rows, evenly spread."""
    found: list[int] = rows[_spread(len(rows), most)].tolist()
    return found


@lru_cache(maxsize=1 << 12)
def _spread(count: int, most: int) -> NDArray[np.int64]:
    return np.unique(np.linspace(0, count - 1, most).astype(np.int64))


def shape(
    view: ProjectedRows, cluster: Cluster, others: Mapping[int, frozenset[str]], *, uncalled: bool
) -> Shape | None:
    """What the cluster's prompts share; None if they are alike, or call nobody unless `uncalled` is wanted too.
    `others`: rows of the data with their prompts' words (`prompt_words`).
    """
    prompts = [view.columns.user[i][:2000] for i in sampled(cluster.rows)]
    members = set(cluster.rows.tolist())
    elsewhere = [own for row, own in others.items() if row not in members]
    sets = [_words_of(prompt) for prompt in prompts]
    held = Counter(word for own in sets for word in own)
    common = {word for word, count in held.items() if count >= 0.7 * len(sets)}
    rest = [own - common for own in sets]
    if len(elsewhere) < _TOO_FEW_OTHERS or float(np.median([len(own) for own in rest])) < 3:
        return None
    calls = _calls(prompts, common, elsewhere)
    if not calls and not uncalled:
        return None
    usual = _alike([own - common for own in elsewhere[:: max(1, len(elsewhere) // _USUAL)]])
    unrelated = float(np.clip(1.0 - (_alike(rest) - usual - 0.15) / 0.2, 0.0, 1.0))
    return Shape(calls, unrelated) if unrelated > 0.0 else None


def may_call(view: ProjectedRows, cluster: Cluster) -> bool:
    """Whether the prompts of at least two of three of the cluster's rows hold the same name: a quick look."""
    held = Counter(n for i in sampled(cluster.rows, 3) for n in set(_NAME.findall(_edges(view.columns.user[i]))))
    return any(count >= 2 and not is_function_word(name) for name, count in held.items())


def rows_holding(view: ProjectedRows, names: Iterable[str]) -> dict[str, frozenset[int]]:
    """For each of these names the rows whose prompts hold it as a word, in whatever case; one pass over the prompts."""
    found: dict[str, set[int]] = {name.lower(): set() for name in names}
    if found:
        look = Needed((), sorted(found))
        first, users = 0, iter(view.columns.user)
        while part := [user[:2000] for user in islice(users, _AT_ONCE)]:
            for place in np.flatnonzero(look(part)[1].any(axis=1)).tolist():
                for word in found.keys() & set(_WORD.findall(part[place].lower())):
                    found[word].add(first + place)
            first += len(part)
    return {word: frozenset(rows) for word, rows in found.items()}


def prompt_words(view: ProjectedRows) -> dict[int, frozenset[str]]:
    """Up to 240 rows, evenly spread over the source x batches, with the lower-cased words of their prompts."""
    order = np.lexsort((view.lines, view.groups.of_row))
    return {i: _words_of(view.columns.user[i][:2000]) for i in sampled(order, _OTHERS)}


def _words_of(prompt: str) -> frozenset[str]:
    return frozenset(_WORD.findall(prompt.lower()))


def _calls(prompts: Sequence[str], common: set[str], others: Sequence[frozenset[str]]) -> tuple[str, ...]:
    """Names that most of the prompts hold in the same words, and hardly any of the others hold; rarest first."""
    edges = [_edges(prompt) for prompt in prompts]
    names = Counter(name for text in edges for name in set(_NAME.findall(text)))
    often = [n for n, count in names.items() if count >= 0.7 * len(prompts) and n.lower() in common]
    elsewhere = {name: sum(name.lower() in own for own in others) for name in often if not is_function_word(name)}
    rare = [name for name, count in elsewhere.items() if count <= 0.02 * len(others)]
    called = [name for name in rare if _same_words_around(edges, name)]
    return tuple(sorted(called, key=lambda n: (elsewhere[n], n))[:_CALLS])


def _same_words_around(texts: Sequence[str], name: str) -> bool:
    """Whether what stands right before the name, or right after it, is the same in most of the texts, as in a call."""
    sides: tuple[Counter[str], Counter[str]] = Counter(), Counter()
    for text in texts:
        at = text.find(name)
        if at >= 0:
            sides[0][text[max(0, at - _AROUND) : at] or "^"] += 1
            sides[1][text[at + len(name) : at + len(name) + _AROUND] or "$"] += 1
    return any(side.most_common(1)[0][1] >= 0.7 * len(texts) for side in sides if side)


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
