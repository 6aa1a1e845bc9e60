"""What a text holds beside its words: runs of punctuation and symbols, and capitals where none belong.

A mark is one of: a run of two or more punctuation characters or symbols (as it stands, without a leading sentence mark,
and each repetition of one character in it), a single rarer symbol that stands outside a word, the first and the last
run of a text once more for standing there, a word with a capital beyond its first letter, two such words in a row,
such a word, whichever, as the first one of a text, and a text in which nearly every letter is a capital. Marks are
64-bit hashes unlike those of words.
"""

from collections.abc import Sequence

import numpy as np
from numba import njit
from numpy.typing import NDArray

from goldsmith.engines.text.tokens import Words, character_class, code_point, mix

_FNV_OFFSET = np.uint64(14695981039346656037)
_FNV_PRIME = np.uint64(1099511628211)
_RUN, _FIRST, _LAST, _CAPITALS, _PAIR = (np.uint64(0x5EED0000 + k) for k in range(5))
_ALL_CAPITALS = np.uint64(0x5EED0000C0FFEE00)
_CAPITALS_FIRST = np.uint64(0x5EED0001C0FFEE00)
_FEWEST_LETTERS = 12
_CASED_CODES = 0x600
_LONGEST_RUN = 64


def _cased() -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    characters = [chr(code) for code in range(_CASED_CODES)]
    return np.array([c.isupper() for c in characters]), np.array([c.islower() for c in characters])


_UPPER, _LOWER = _cased()
_SENTENCE = np.zeros(128, bool)
_SENTENCE[[ord(c) for c in ".,?!'\"-:;()/"]] = True
"""Single characters that every text is full of: no marks."""


def marks(texts: Sequence[str]) -> Words:
    """The marks of each text, repeats and all."""
    pieces = [text.encode("utf-8", "replace") for text in texts]
    starts = np.zeros(len(pieces) + 1, np.int64)
    np.cumsum([len(piece) for piece in pieces], out=starts[1:])
    out = np.empty(int(starts[-1]) + 4 * len(pieces) + 1, np.uint64)
    mark_starts = np.zeros(len(pieces) + 1, np.int64)
    used = _marks(np.frombuffer(b"".join(pieces), np.uint8), starts, out, mark_starts) if len(pieces) else 0
    return Words(out[:used].copy(), mark_starts)


def mark_text(text: str, mark: int) -> str:
    """The piece of `text` that gives `mark`, for evidence; empty if none does."""
    if mark == int(_ALL_CAPITALS):
        return text.strip() if np.uint64(mark) in marks([text]).hashes else ""
    pieces = text.split()
    for size in (1, 2):
        for first in range(len(pieces) - size + 1):
            piece = " ".join(pieces[first : first + size])
            if np.uint64(mark) in marks([piece]).hashes:
                return piece if mark == int(_CAPITALS_FIRST) else _narrowed(piece, mark)
    return ""


def _narrowed(piece: str, mark: int) -> str:
    """Without the letters, or the punctuation, around what gives the mark."""
    for start in range(len(piece)):
        if np.uint64(mark) not in marks([piece[start + 1 :]]).hashes:
            piece = piece[start:]
            break
    for end in range(len(piece), 0, -1):
        if np.uint64(mark) not in marks([piece[: end - 1]]).hashes:
            return piece[:end]
    return piece


@njit(cache=True, nogil=True)
def _kind(code):  # type: ignore[no-untyped-def]
    """0 space or invisible, 1 part of a word, 2 punctuation or symbol."""
    if code < 0x80:
        if character_class(code) == 1:
            return 1
        return 2 if 32 < code < 127 else 0
    if code in (0xA0, 0xAD, 0x3000, 0xFEFF) or 0x2000 <= code <= 0x200F or 0x2028 <= code <= 0x202F:
        return 0
    if 0x80 <= code < 0xA0 or 0x2060 <= code < 0x2070 or 0xE000 <= code < 0xF900:
        return 0
    if code >= 0x1F000:
        return 2 if code < 0x20000 else 1
    return 2 if character_class(code) == 0 else 1


@njit(cache=True, nogil=True)
def _counts(codes, size):  # type: ignore[no-untyped-def]
    """Whether the run is more than a single mark of a sentence."""
    return size > 1 or codes[0] >= 0x80 or not _SENTENCE[codes[0]]


@njit(cache=True, nogil=True)
def _begins_with_sentence_mark(codes, size):  # type: ignore[no-untyped-def]
    """Whether a sentence's own mark stands before what may have been put behind it ("?~~")."""
    return size > 2 and codes[0] < 0x80 and _SENTENCE[codes[0]] and codes[0] != codes[1]


@njit(cache=True, nogil=True)
def _run(codes, size, inside_word, leads, out, used):  # type: ignore[no-untyped-def]
    """Marks of one run of `size` symbols; how many there are by now."""
    if not _counts(codes, size) or (size == 1 and inside_word):
        return used
    if leads:
        out[used] = mix(_hash_of(codes, 0, size) ^ _FIRST)
        used += 1
    whole = same = after = _FNV_OFFSET
    streak = 1
    for k in range(size):
        code = codes[k]
        whole = (whole ^ np.uint64(code)) * _FNV_PRIME
        if k:
            after = (after ^ np.uint64(code)) * _FNV_PRIME
        if k and code == codes[k - 1]:
            streak += 1
        else:
            streak, same = 1, _FNV_OFFSET
        same = (same ^ np.uint64(code)) * _FNV_PRIME
        if 1 < streak < size and (k + 1 == size or codes[k + 1] != code):
            out[used] = mix(same ^ _RUN)
            used += 1
    out[used] = mix(whole ^ _RUN)
    used += 1
    if _begins_with_sentence_mark(codes, size):
        out[used] = mix(after ^ _RUN)
        used += 1
    return used


@njit(cache=True, nogil=True)
def _hash_of(codes, first, size):  # type: ignore[no-untyped-def]
    value = _FNV_OFFSET
    for k in range(first, size):
        value = (value ^ np.uint64(codes[k])) * _FNV_PRIME
    return value


@njit(cache=True, nogil=True)
def _marks(buffer, starts, out, mark_starts):  # type: ignore[no-untyped-def]
    used = 0
    codes = np.empty(_LONGEST_RUN, np.int64)
    for text in range(len(starts) - 1):
        used = _marks_of(buffer, starts[text], starts[text + 1], codes, out, used)
        mark_starts[text + 1] = used
    return used


@njit(cache=True, nogil=True)
def _marks_of(buffer, at, end, codes, out, used):  # type: ignore[no-untyped-def]
    """Marks of one text, in one pass; how many there are by now. `codes` holds the run being read."""
    first = at
    size, state, letters, capitals = 0, 0, 0, 0  # state: the kind of what is being read
    word, last_word = _FNV_OFFSET, np.uint64(0)
    word_letters, late_capitals, word_size = 0, 0, 0
    began, any_word, before = False, False, 0  # before: the kind ahead of the run
    while at <= end:
        kind, code, step = 0, np.int64(0), 1
        if at < end:
            code, step = code_point(buffer, at)
            kind = _kind(code)
        if kind != state:
            if state == 2:
                earlier = used
                used = _run(codes, size, before == 1 and kind == 1, not (any_word or began), out, used)
                began = began or used > earlier
            elif state == 1:
                letters += word_letters
                odd = late_capitals > 0 and word_letters > 1
                if odd:
                    used = _capitals(word, last_word, any_word, out, used)
                last_word = word if odd else np.uint64(0)
                any_word = True
            if kind == 2:
                size = 0
            elif kind == 1:
                word, word_letters, late_capitals, word_size = _FNV_OFFSET, 0, 0, 0
            before, state = state, kind
        if kind == 2 and size < _LONGEST_RUN:
            codes[size] = code
            size += 1
        elif kind == 1:
            word = (word ^ np.uint64(code)) * _FNV_PRIME
            if code < _CASED_CODES:
                word_letters += _UPPER[code] or _LOWER[code]
                capitals += _UPPER[code]
                late_capitals += _UPPER[code] and word_size > 0
            word_size += 1
        at += step
    if size and _counts(codes, size) and _ends(buffer, first, end):
        out[used] = mix(_hash_of(codes, 1 if _begins_with_sentence_mark(codes, size) else 0, size) ^ _LAST)
        used += 1
    if letters >= _FEWEST_LETTERS and 10 * capitals >= 9 * letters:
        out[used] = _ALL_CAPITALS
        used += 1
    return used


@njit(cache=True, nogil=True)
def _capitals(word, last_word, any_word, out, used):  # type: ignore[no-untyped-def]
    """Marks of a word with capitals, `last_word` having them too unless it is 0; how many there are by now."""
    out[used] = mix(word ^ _CAPITALS)
    used += 1
    if last_word:
        out[used] = mix(last_word * _FNV_PRIME ^ word ^ _PAIR)
        used += 1
    if not any_word:
        out[used] = _CAPITALS_FIRST
        used += 1
    return used


@njit(cache=True, nogil=True)
def _ends(buffer, first, end):  # type: ignore[no-untyped-def]
    """Whether the last character that can be seen is punctuation or a symbol."""
    at = end
    while at > first:
        at -= 1
        while at > first and buffer[at] & 0xC0 == 0x80:
            at -= 1
        code, _ = code_point(buffer, at)
        kind = _kind(code)
        if kind:
            return kind == 2
    return False
