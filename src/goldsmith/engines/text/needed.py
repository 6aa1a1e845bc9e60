"""What a text must hold before slow patterns can match it, read off the patterns themselves.

Every alternative of a pattern holds words that are written out (`obey`, `no longer`). A text without them cannot match,
and one pass over its bytes tells which it holds (`signs.Literals`). Nothing is written twice: change a pattern, and
what it needs follows. What cannot be read off is taken to match, so that `if may: pattern.search(text)` finds what the
pattern alone would find.
"""

import re
from collections.abc import Iterable, Sequence
from itertools import product
from re import _constants as ops  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from goldsmith.engines.text.signs import Encoded, Literals

Literal = frozenset[str]
"""Texts of which one at least must be there."""
_MOST, _SHORTEST = 32, 2
_UNUSUAL = ("ı", "ſ", "\u0307")
"""What `re.IGNORECASE` takes for i and s but `str.lower` does not turn into them (the last is left of a dotted I)."""
_ROWS = 4096


class Needed:
    """The literals that each of these case-insensitive patterns needs, looked for together with some `extra` ones."""

    def __init__(self, patterns: Sequence[re.Pattern[str]], extra: Sequence[str] = ()) -> None:
        needs = [_alternatives(pattern) for pattern in patterns]
        groups = sorted({one for own in needs for alternative in own for one in alternative}, key=sorted)
        words = sorted({*_UNUSUAL, *extra, *(word for group in groups for word in group)})
        self._literals = Literals(words)
        place, number = {word: k for k, word in enumerate(words)}, {group: k for k, group in enumerate(groups)}
        self._extra = np.array([place[word] for word in extra], np.int64)
        self._unusual = np.array([place[word] for word in _UNUSUAL], np.int64)
        self._members = np.array([place[word] for group in groups for word in sorted(group)], np.int64)
        self._starts = np.zeros(len(groups) + 1, np.int64)
        np.cumsum([len(group) for group in groups], out=self._starts[1:])
        self._needs = [[[number[one] for one in alternative] for alternative in own] for own in needs]

    def __call__(self, texts: Sequence[str]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Of each text in whatever case: whether each pattern may match [texts, patterns], and which of the `extra`
        literals it holds once it is lower-cased [texts, extra].
        """
        may = np.zeros((len(texts), len(self._needs)), np.bool_)
        extra = np.zeros((len(texts), len(self._extra)), np.bool_)
        for first in range(0, len(texts), _ROWS):
            part = slice(first, first + _ROWS)
            held = self._literals.held(_lowered(texts[part]))
            extra[part] = held[:, self._extra]
            groups: NDArray[np.bool_] = _any_of(held, self._members, self._starts)
            for pattern, own in enumerate(self._needs):
                for alternative in own:
                    may[part, pattern] |= groups[:, alternative].all(axis=1)
            unusual = np.asarray(held[:, self._unusual].any(axis=1))
            may[part] |= unusual[:, None]
        return may, extra


@njit(cache=True, nogil=True)
def _any_of(held, members, starts):  # type: ignore[no-untyped-def]
    out = np.zeros((len(held), len(starts) - 1), np.bool_)
    for text in range(len(held)):
        for group in range(len(starts) - 1):
            for k in range(starts[group], starts[group + 1]):
                if held[text, members[k]]:
                    out[text, group] = True
                    break
    return out


def _lowered(texts: Sequence[str]) -> Encoded:
    pieces = [text.lower().encode("utf-8", "replace") for text in texts]
    starts = np.zeros(len(pieces) + 1, np.int64)
    np.cumsum([len(part) for part in pieces], out=starts[1:])
    return Encoded(np.frombuffer(b"".join(pieces), np.uint8), starts)


def _alternatives(pattern: re.Pattern[str]) -> list[list[Literal]]:
    """For each alternative of the pattern what it needs; [[]] where that cannot be told. Capitals as small letters."""
    tree: Any = list(parser.parse(pattern.pattern, pattern.flags & ~re.UNICODE))
    rest = [item for item in tree if item[0] is not ops.AT]
    if len(rest) == 1 and rest[0][0] is ops.BRANCH:
        return [_needs(branch) for branch in rest[0][1][1]]
    return [_needs(tree)]


def _needs(items: Iterable[Any]) -> list[Literal]:
    """What a sequence needs: of each of these sets one text at least."""
    found: list[Literal] = []
    run: set[str] = {""}

    def close() -> None:
        if min(len(text.encode()) for text in run) >= _SHORTEST:
            found.append(_fewest(run))

    for item in items:
        texts = _texts(item)
        if texts is not None and len(run) * len(texts) <= _MOST:
            run = {a + b for a, b in product(run, texts)}
            continue
        close()
        run = {""} if texts is None or len(texts) > _MOST else set(texts)
        if texts is None:
            found += _inside(item)
    close()
    return found


def _inside(item: Any) -> list[Literal]:
    """What one item of a sequence needs that is not just one of a few texts."""
    op, told = item
    if op is ops.SUBPATTERN:
        return _needs(told[3])
    if op in (ops.MAX_REPEAT, ops.MIN_REPEAT) and told[0] > 0:
        return _needs(told[2])
    if op is ops.BRANCH:
        each = [_needs(branch) for branch in told[1]]
        if all(each):
            united = _fewest({text for own in each for text in _best(own)})
            return [united] if len(united) <= 2 * _MOST else []
    return []


def _best(needs: Sequence[Literal]) -> Literal:
    return max(needs, key=lambda one: (min(map(len, one)), -len(one), sorted(one)))


def _fewest(texts: set[str]) -> Literal:
    """Without the texts that hold another one."""
    return frozenset(a for a in texts if not any(b != a and b in a for b in texts))


def _texts(item: Any) -> set[str] | None:
    """All that an item can match, where that is a few texts."""
    op, told = item
    if op in (ops.AT, ops.ASSERT, ops.ASSERT_NOT):
        return {""}
    if op is ops.LITERAL:
        return _cases([told])
    if op is ops.IN and all(kind is ops.LITERAL for kind, _ in told):
        return _cases([code for _, code in told])
    if op is ops.SUBPATTERN:
        return _joined(told[3])
    if op is ops.BRANCH:
        each = [_joined(branch) for branch in told[1]]
        return None if any(one is None for one in each) else _few(set().union(*(one or set() for one in each)))
    if op in (ops.MAX_REPEAT, ops.MIN_REPEAT) and told[1] == 1:
        once = _joined(told[2])
        return None if once is None else once | ({""} if told[0] == 0 else set())
    return None


def _cases(codes: Sequence[int]) -> set[str] | None:
    """Characters in small letters; letters beyond ASCII may be written in more ways than that."""
    texts = {chr(code).lower() for code in codes}
    return texts if all(text.isascii() or text == text.upper() for text in texts) else None


def _joined(items: Iterable[Any]) -> set[str] | None:
    run: set[str] | None = {""}
    for item in items:
        texts = _texts(item)
        run = None if run is None or texts is None else _few({a + b for a, b in product(run, texts)})
        if run is None:
            return None
    return run


def _few(texts: set[str]) -> set[str] | None:
    return texts if len(texts) <= _MOST else None
