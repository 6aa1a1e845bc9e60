"""Words as 64-bit hashes, in one pass over UTF-8 bytes.

A word is a maximal run of letters and digits. Scripts written without spaces (Han, kana, Hangul, Thai, Lao, Khmer,
Burmese) give one word a character, so that word n-grams mean something in them. Texts are lower-cased first.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

_FNV_OFFSET = np.uint64(14695981039346656037)
_FNV_PRIME = np.uint64(1099511628211)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_SHIFT_30, _SHIFT_27, _SHIFT_31 = np.uint64(30), np.uint64(27), np.uint64(31)


@dataclass(frozen=True, slots=True)
class Words:
    """Word hashes of many texts: those of text i are `hashes[starts[i]:starts[i + 1]]`."""

    hashes: NDArray[np.uint64]
    starts: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.starts) - 1

    def counts(self) -> NDArray[np.int64]:
        """Number of words of each text."""
        return np.diff(self.starts)


def packed(texts: Sequence[str]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The lower-cased texts as one UTF-8 buffer and the offsets of each (one more than there are texts).

    Lone surrogates, which no UTF-8 can hold, become question marks.
    """
    encoded = [text.lower().encode("utf-8", "replace") for text in texts]
    starts = np.zeros(len(encoded) + 1, np.int64)
    np.cumsum([len(part) for part in encoded], out=starts[1:])
    return np.frombuffer(b"".join(encoded), np.uint8), starts


def encoded(texts: Sequence[str]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """As `packed`, but ASCII letters keep their case: for kernels that lower them on the way."""
    pieces = [text.encode() if text.isascii() else text.lower().encode("utf-8", "replace") for text in texts]
    starts = np.zeros(len(pieces) + 1, np.int64)
    np.cumsum([len(part) for part in pieces], out=starts[1:])
    return np.frombuffer(b"".join(pieces), np.uint8), starts


def words(texts: Sequence[str]) -> Words:
    """Word hashes of the texts."""
    return _words(*packed(texts))


def words_and_spaceless(texts: Sequence[str]) -> tuple[Words, NDArray[np.bool_]]:
    """Word hashes of the texts, and whether each text is mostly in a script written without spaces, whose words are
    single characters.
    """
    buffer, starts = packed(texts)
    tokens = _words(buffer, starts)
    return tokens, _spaceless(buffer, starts, tokens)


def _words(buffer: NDArray[np.uint8], starts: NDArray[np.int64]) -> Words:
    texts = len(starts) - 1
    out = np.empty(len(buffer) // 2 + texts + 1, np.uint64)
    word_starts = np.zeros(texts + 1, np.int64)
    used = _tokenise(buffer, starts, out, word_starts) if texts else 0
    return Words(out[:used].copy(), word_starts)


def _spaceless(buffer: NDArray[np.uint8], starts: NDArray[np.int64], tokens: Words) -> NDArray[np.bool_]:
    if not len(tokens):
        return np.zeros(0, bool)
    foreign = _foreign_bytes(buffer, starts)
    dense: NDArray[np.bool_] = (np.diff(starts) < 4.5 * np.maximum(tokens.counts(), 1)) & (foreign > tokens.counts())
    return dense


def ngrams(tokens: Words, n: int) -> Words:
    """Hashes of the runs of `n` words. A text with fewer (but some) words has one n-gram: all its words."""
    counts = tokens.counts()
    sizes = np.where(counts >= n, counts - n + 1, np.minimum(counts, 1))
    starts = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(sizes, out=starts[1:])
    out = np.empty(int(starts[-1]), np.uint64)
    _ngrams(tokens.hashes, tokens.starts, n, starts, out)
    return Words(out, starts)


def rolling_ngrams(texts: Sequence[str], n: int) -> Words:
    """As `ngrams` of `words`, in one pass and with other hashes."""
    buffer, starts = encoded(texts)
    out = np.empty(int(starts[-1]) // 2 + len(texts) + 1, np.uint64)
    gram_starts = np.zeros(len(texts) + 1, np.int64)
    used = _rolling(buffer, starts, n, out, gram_starts) if len(texts) else 0
    return Words(out[:used].copy(), gram_starts)


def unique_per_text(tokens: Words) -> Words:
    """Each text's hashes sorted, without repeats."""
    hashes = tokens.hashes.copy()
    sizes = np.zeros(len(tokens), np.int64)
    _sort_unique(hashes, tokens.starts, sizes)
    starts = np.zeros(len(tokens) + 1, np.int64)
    np.cumsum(sizes, out=starts[1:])
    out = np.empty(int(starts[-1]), np.uint64)
    _compact(hashes, tokens.starts, starts, out)
    return Words(out, starts)


def owners(tokens: Words) -> NDArray[np.int64]:
    """For each hash the number of the text it is in."""
    return np.repeat(np.arange(len(tokens), dtype=np.int64), tokens.counts())


@njit(cache=True, nogil=True)
def mix(value: np.uint64) -> np.uint64:
    """Scrambles 64 bits (SplitMix64's finaliser)."""
    value = (value ^ (value >> _SHIFT_30)) * _MIX_1
    value = (value ^ (value >> _SHIFT_27)) * _MIX_2
    return value ^ (value >> _SHIFT_31)


@njit(cache=True, nogil=True)
def character_class(code: int) -> int:
    """0 separator, 1 part of a word, 2 a word of its own."""
    if code < 0x80:
        return 1 if 48 <= code <= 57 or 65 <= code <= 90 or 97 <= code <= 122 else 0
    if code < 0xC0:
        return 1 if code in (0xAA, 0xB5, 0xBA) else 0
    if code in (0xD7, 0xF7):
        return 0
    if code < 0x0E00:
        return 1
    if code < 0x0F00 or 0x1000 <= code < 0x10A0 or 0x1780 <= code < 0x1800:
        return 2
    if code < 0x2000:
        return 1
    if code < 0x2C00 or (0x2E00 <= code < 0x3040 and code not in (0x3005, 0x3007)):
        return 0
    if code < 0x2E00:
        return 1
    if 0x3005 <= code < 0xA000:
        return 2
    if 0xAC00 <= code < 0xD7B0 or 0xF900 <= code < 0xFB00:
        return 2
    if 0xFE00 <= code < 0xFE70 or 0xFF00 <= code < 0xFF10 or 0xFF1A <= code < 0xFF21:
        return 0
    if 0xFF3B <= code < 0xFF41 or 0xFF5B <= code < 0xFF66 or 0xE000 <= code < 0xF900:
        return 0
    if 0xFF66 <= code < 0xFFA0 or code >= 0x1F000:
        return 2
    return 1


def _ascii_table() -> NDArray[np.uint8]:
    table = np.zeros(128, np.uint8)
    for code in range(128):
        character = chr(code)
        table[code] = ord(character.lower()) if character.isalnum() else 0
    return table


_ASCII_LETTERS = _ascii_table()
"""For each ASCII code its lower-case letter or digit, 0 for what separates words."""


@njit(cache=True, nogil=True)
def grams_of(buffer, first, last, n, leaving, out):  # type: ignore[no-untyped-def]
    """Hashes of the runs of `n` words in `buffer[first:last]` (of `encoded`) into `out`; (runs, words).

    `leaving` = `leaving_factor(n)`. A text with fewer (but some) words has one run: all its words. One pass: words are
    not kept, a run's hash rolls on from the last one's. `out` holds (last - first) // 2 + 1 at least.
    """
    ring = np.zeros(n, np.uint64)
    seen, at = 0, first
    rolling = np.uint64(0)
    hashed = _FNV_OFFSET
    inside = False
    while at <= last:
        kind = 0
        code = np.int64(0)
        size = 1
        if at < last:
            byte = buffer[at]
            if byte < 0x80:
                code = np.int64(_ASCII_LETTERS[byte])
                kind = 1 if code else 0
            else:
                code, size = code_point(buffer, at)
                kind = character_class(code)
        ends = inside and kind != 1
        if kind == 1:
            hashed = (hashed ^ np.uint64(code)) * _FNV_PRIME
            inside = True
        for _ in range((1 if ends else 0) + (1 if kind == 2 else 0)):
            if not ends:
                hashed = (_FNV_OFFSET ^ np.uint64(code)) * _FNV_PRIME
            word = mix(hashed)
            slot = seen % n
            rolling = rolling * _MIX_1 + word - ring[slot] * leaving
            ring[slot] = word
            seen += 1
            if seen >= n:
                out[seen - n] = mix(rolling)
            hashed = _FNV_OFFSET
            ends = inside = False
        at += size
    if 0 < seen < n:
        out[0] = mix(rolling + np.uint64(seen))
        return 1, seen
    return max(0, seen - n + 1), seen


@njit(cache=True, nogil=True)
def _rolling(buffer, starts, n, out, gram_starts):  # type: ignore[no-untyped-def]
    leaving, used = leaving_factor(n), 0
    for text in range(len(starts) - 1):
        runs, _ = grams_of(buffer, starts[text], starts[text + 1], n, leaving, out[used:])
        used += runs
        gram_starts[text + 1] = used
    return used


@njit(cache=True, nogil=True)
def leaving_factor(n):  # type: ignore[no-untyped-def]
    """What the oldest of `n` words weighs once it leaves the run."""
    factor = np.uint64(1)
    for _ in range(n):
        factor = factor * _MIX_1
    return factor


@njit(cache=True, nogil=True)
def code_point(buffer, at):  # type: ignore[no-untyped-def]
    """The UTF-8 character at `at`: its code and how many bytes it takes."""
    byte = buffer[at]
    if byte < 0x80:
        return np.int64(byte), 1
    if byte < 0xE0:
        code, size = np.int64(byte) & 0x1F, 2
    elif byte < 0xF0:
        code, size = np.int64(byte) & 0x0F, 3
    else:
        code, size = np.int64(byte) & 0x07, 4
    for k in range(1, size):
        code = (code << 6) | (np.int64(buffer[at + k]) & 0x3F)
    return code, size


@njit(cache=True, nogil=True)
def _tokenise(buffer, starts, out, word_starts):  # type: ignore[no-untyped-def]
    used = 0
    for text in range(len(starts) - 1):
        at, end = starts[text], starts[text + 1]
        hashed = _FNV_OFFSET
        inside = False
        while at < end:
            byte = buffer[at]
            if byte < 0x80:
                code, size = np.int64(byte), 1
            elif byte < 0xE0:
                code, size = np.int64(byte) & 0x1F, 2
            elif byte < 0xF0:
                code, size = np.int64(byte) & 0x0F, 3
            else:
                code, size = np.int64(byte) & 0x07, 4
            for k in range(1, size):
                code = (code << 6) | (np.int64(buffer[at + k]) & 0x3F)
            at += size
            kind = character_class(code)  # type: ignore[arg-type]
            if inside and kind != 1:
                out[used] = mix(hashed)
                used += 1
                hashed = _FNV_OFFSET
                inside = False
            if kind != 0:
                hashed = (hashed ^ np.uint64(code)) * _FNV_PRIME
                inside = True
            if kind == 2:
                out[used] = mix(hashed)
                used += 1
                hashed = _FNV_OFFSET
                inside = False
        if inside:
            out[used] = mix(hashed)
            used += 1
        word_starts[text + 1] = used
    return used


@njit(cache=True, nogil=True)
def _foreign_bytes(buffer, starts):  # type: ignore[no-untyped-def]
    out = np.zeros(len(starts) - 1, np.int64)
    for text in range(len(out)):
        count = 0
        for at in range(starts[text], starts[text + 1]):
            count += buffer[at] >> 7
        out[text] = count
    return out


@njit(cache=True, nogil=True)
def _ngrams(hashes, starts, n, out_starts, out):  # type: ignore[no-untyped-def]
    for text in range(len(starts) - 1):
        first = starts[text]
        size = min(n, starts[text + 1] - first)
        for k in range(out_starts[text + 1] - out_starts[text]):
            value = np.uint64(size)
            for j in range(size):
                value = mix(value * _FNV_PRIME + hashes[first + k + j])
            out[out_starts[text] + k] = value


@njit(cache=True, nogil=True)
def _sort_unique(hashes, starts, sizes):  # type: ignore[no-untyped-def]
    for text in range(len(starts) - 1):
        part = hashes[starts[text] : starts[text + 1]]
        part.sort()
        kept = 0
        for i in range(len(part)):
            if i == 0 or part[i] != part[kept - 1]:
                part[kept] = part[i]
                kept += 1
        sizes[text] = kept


@njit(cache=True, nogil=True)
def _compact(hashes, starts, out_starts, out):  # type: ignore[no-untyped-def]
    for text in range(len(starts) - 1):
        size = out_starts[text + 1] - out_starts[text]
        for k in range(size):
            out[out_starts[text] + k] = hashes[starts[text] + k]
