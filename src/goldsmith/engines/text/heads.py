"""The first words and the first clause of texts as keys, and whether they may take up a name: one pass over bytes."""

from collections.abc import Iterable, Sequence

import numpy as np
from numba import njit
from numpy.typing import NDArray

from goldsmith.engines.text.tokens import character_class, code_point, mix

_FNV_OFFSET = np.uint64(14695981039346656037)
_FNV_PRIME = np.uint64(1099511628211)
_LONGEST_CLAUSE = 12
_STOPS = np.array([ord(sign) for sign in ".!?:;\n"], np.int64)
_SPACES = np.array([code for code in range(0x3001) if chr(code).isspace()], np.int64)


def clause_keys(texts: Sequence[str], longest: int) -> NDArray[np.uint64]:
    """[texts, 3]: hashes of the first six and the first three words of a text's first `longest` characters, and of the
    words before its first stop (up to twelve) where it goes on after it; 0 where there are not so many. The last bit
    is not set.
    """
    out = np.zeros((len(texts), 3), np.uint64)
    buffer, starts = _joined(text[:longest].lower() for text in texts)
    _clauses(buffer, starts, _STOPS, _SPACES, out)
    return out


def may_share_names(texts: Sequence[str], others: Sequence[str], common: Iterable[str]) -> NDArray[np.bool_]:
    """Of which texts a word that begins with A to Z, and is not one of the `common` ones (in any case), may stand in
    the other text too. Of texts beyond ASCII: all.
    """
    plain = np.array([text.isascii() for text in texts], bool)
    buffer, starts = _joined(text if is_plain else "" for text, is_plain in zip(texts, plain.tolist(), strict=True))
    found = np.zeros(len(texts), np.bool_)
    known = np.unique(np.array([_hash(word) for word in common], np.uint64))
    _share_names(buffer, starts, *_joined(others), known, found)
    np.logical_or(found, ~plain, out=found)
    return found


def _joined(texts: Iterable[str]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The texts as one UTF-8 buffer, lone surrogates as they are, and the offsets of each."""
    pieces = [text.encode("utf-8", "surrogatepass") for text in texts]
    starts = np.zeros(len(pieces) + 1, np.int64)
    np.cumsum([len(part) for part in pieces], out=starts[1:])
    return np.frombuffer(b"".join(pieces), np.uint8), starts


def _hash(word: str) -> int:
    value = int(_FNV_OFFSET)
    for byte in word.lower().encode():
        value = (value ^ byte) * int(_FNV_PRIME) & 0xFFFFFFFFFFFFFFFF
    return value


@njit(cache=True, nogil=True)
def _clauses(buffer, starts, stops, spaces, out):  # type: ignore[no-untyped-def]
    hashes = np.zeros(_LONGEST_CLAUSE + 1, np.uint64)
    for text in range(len(starts) - 1):
        at, end = starts[text], starts[text + 1]
        hashed, inside = _FNV_OFFSET, False
        count, clause, stopped = 0, 0, False
        while at < end and count <= _LONGEST_CLAUSE and not (stopped and count >= 6):
            code, size = code_point(buffer, at)
            at += size
            kind = 0 if 0xD800 <= code < 0xE000 else character_class(code)
            if inside and kind != 1:
                hashes[count] = mix(hashed)
                count += 1
                hashed, inside = _FNV_OFFSET, False
                if count > _LONGEST_CLAUSE:
                    break
            if kind != 0:
                hashed = (hashed ^ np.uint64(code)) * _FNV_PRIME
                inside = True
            if kind == 2:
                hashes[count] = mix(hashed)
                count += 1
                hashed, inside = _FNV_OFFSET, False
            if not stopped and code in stops:
                if at == end:
                    stopped = True
                else:
                    following, size = code_point(buffer, at)
                    if following in spaces:
                        stopped = True
                        clause = count if at + size < end else 0
        if inside and count <= _LONGEST_CLAUSE:
            hashes[count] = mix(hashed)
            count += 1
        for place, length in enumerate((6, 3)):
            if count >= length:
                out[text, place] = _run(hashes, length) & ~np.uint64(1) | np.uint64(2)
        if 0 < clause <= _LONGEST_CLAUSE:
            out[text, 2] = ~_run(hashes, clause) & ~np.uint64(1) | np.uint64(2)


@njit(cache=True, nogil=True)
def _run(hashes, length):  # type: ignore[no-untyped-def]
    value = np.uint64(length)
    for k in range(length):
        value = mix(value * _FNV_PRIME + hashes[k])
    return value


@njit(cache=True, nogil=True)
def _is_word(byte):  # type: ignore[no-untyped-def]
    return 48 <= byte <= 57 or 65 <= byte <= 90 or 97 <= byte <= 122 or byte == 95


@njit(cache=True, nogil=True)
def _share_names(buffer, starts, others, other_starts, common, found):  # type: ignore[no-untyped-def]
    for text in range(len(starts) - 1):
        at, end = starts[text], starts[text + 1]
        first, last = other_starts[text], other_starts[text + 1]
        while at < end and not found[text]:
            begin = at
            hashed, small = _FNV_OFFSET, False
            while at < end and _is_word(buffer[at]):
                byte = buffer[at]
                small = small or (byte >= 97 and at > begin)
                hashed = (hashed ^ np.uint64(byte + 32 if 65 <= byte <= 90 else byte)) * _FNV_PRIME
                at += 1
            size = at - begin
            if size == 0:
                at += 1
                continue
            if not 65 <= buffer[begin] <= 90:
                continue
            if not (at < end and buffer[at] == 45):  # a hyphen: the name may go on
                place = np.searchsorted(common, hashed)
                if not small or (place < len(common) and common[place] == hashed):
                    continue
            for other in range(first, last - size + 1):
                k = 0
                while k < size and others[other + k] == buffer[begin + k]:
                    k += 1
                if k == size:
                    found[text] = True
                    break
