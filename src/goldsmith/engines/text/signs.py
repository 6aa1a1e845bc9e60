"""What a text must hold before a slow pattern can match it: digits, tokens and literal words, counted in one pass.

Each count is exact for ASCII and never too low elsewhere, so that `if sign: pattern.finditer(text)` finds what the
pattern alone would find. A row with a decimal digit beyond ASCII gets the highest counts: `\\d` matches those too.
"""

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from goldsmith.engines.text.tokens import code_point

AT, CODED, POSTAL, DOUBLE_COLON, TOKEN = 1, 2, 4, 8, 16
"""Marks: an @; two capitals, perhaps a space, two digits; a digit and two capitals; `::`; 20 characters of
`A-Za-z0-9+/_.~=-` in a row with a digit among them (characters beyond ASCII count as such)."""
_MANY = 1 << 20
_TOKEN_LENGTH = 20
_PLAIN, _DIGIT, _CAPITAL, _TOKEN, _JOIN = 0, 1, 2, 4, 8


class Signs(NamedTuple):
    """Of one text. `digits` in all; `run`: the most in a row; `dotted`: full stops between two digits; `chain`: the
    most digits in a stretch of digits, spaces, brackets, full stops and hyphens; `colons`; `marks` (`AT` and so on).
    """

    digits: int
    run: int
    dotted: int
    chain: int
    colons: int
    marks: int


class Encoded(NamedTuple):
    """Texts as one UTF-8 buffer, case kept, and the offsets of each (one more than there are texts)."""

    buffer: NDArray[np.uint8]
    starts: NDArray[np.int64]


def encoded(texts: Sequence[str]) -> Encoded:
    """The texts' bytes; lone surrogates become question marks."""
    pieces = [text.encode("utf-8", "replace") for text in texts]
    starts = np.zeros(len(pieces) + 1, np.int64)
    np.cumsum([len(part) for part in pieces], out=starts[1:])
    return Encoded(np.frombuffer(b"".join(pieces), np.uint8), starts)


def signs_table(texts: Encoded) -> NDArray[np.int32]:
    """The signs of every text [texts, 6], in the order of `Signs`."""
    out = np.zeros((len(texts.starts) - 1, len(Signs._fields)), np.int32)
    _signs(texts.buffer, texts.starts, _classes(), _foreign_digits(), out)
    return out


def signs_of(text: str) -> Signs:
    """The signs of one text."""
    return Signs(*signs_table(encoded([text]))[0].tolist())


class Literals:
    """Words of two bytes or more that are looked for together, as they are written."""

    def __init__(self, words: Sequence[str]) -> None:
        raw = [word.encode() for word in words]
        assert all(len(word) > 1 for word in raw)
        self._bytes = np.frombuffer(b"".join(raw), np.uint8)
        self._starts = np.zeros(len(raw) + 1, np.int64)
        np.cumsum([len(word) for word in raw], out=self._starts[1:])
        self._heads = np.full(1 << 16, -1, np.int16)  # by first two bytes: the first word of a chain
        self._next = np.full(len(raw), -1, np.int16)
        for number, word in enumerate(raw):
            pair = word[0] << 8 | word[1]
            self._next[number], self._heads[pair] = self._heads[pair], number

    def held(self, texts: Encoded) -> NDArray[np.bool_]:
        """Which text holds which word [texts, words]."""
        out = np.zeros((len(texts.starts) - 1, len(self._next)), np.bool_)
        _literals(texts.buffer, texts.starts, self._bytes, self._starts, self._heads, self._next, out)
        return out


@cache
def _classes() -> NDArray[np.uint8]:
    """For each byte what it can be part of."""
    table = np.zeros(256, np.uint8)
    table[list(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ")] |= _CAPITAL | _TOKEN
    table[list(b"abcdefghijklmnopqrstuvwxyz+/_.~=-")] |= _TOKEN
    table[list(b"0123456789")] |= _DIGIT | _TOKEN | _JOIN
    table[list(b" ().-")] |= _JOIN
    table[128:] |= _TOKEN
    return table


@cache
def _foreign_digits() -> NDArray[np.bool_]:
    """Whether a code point is a decimal digit, to the last that is one."""
    return np.array([chr(code).isdecimal() for code in range(0x20000)], bool)


@njit(cache=True, nogil=True)
def _signs(buffer, starts, classes, foreign, out):  # type: ignore[no-untyped-def]
    for text in range(len(starts) - 1):
        first, end = starts[text], starts[text + 1]
        digits = run = longest = dotted = chain = most = colons = marks = token = token_digits = 0
        for at in range(first, end):
            byte = buffer[at]
            kind = classes[byte]
            if kind & _TOKEN:
                token += 1
            else:
                if token >= _TOKEN_LENGTH and token_digits:
                    marks |= TOKEN
                token = token_digits = 0
            if kind & _DIGIT:
                digits += 1
                run += 1
                chain += 1
                token_digits += 1
                longest, most = max(longest, run), max(most, chain)
                continue
            run = 0
            if not kind & _JOIN:
                chain = 0
            if kind & _CAPITAL and at > first and buffer[at - 1] < 0x80:
                before = classes[buffer[at - 1]]
                if before & _CAPITAL:
                    if at - 2 >= first and classes[buffer[at - 2]] & _DIGIT:
                        marks |= POSTAL
                    place = at + 2 if at + 1 < end and buffer[at + 1] == 0x20 else at + 1
                    if place + 1 < end and classes[buffer[place]] & classes[buffer[place + 1]] & _DIGIT:
                        marks |= CODED
            elif byte == 0x2E:
                if first < at < end - 1 and classes[buffer[at - 1]] & classes[buffer[at + 1]] & _DIGIT:
                    dotted += 1
            elif byte == 0x3A:
                colons += 1
                if at > first and buffer[at - 1] == 0x3A:
                    marks |= DOUBLE_COLON
            elif byte == 0x40:
                marks |= AT
            elif byte >= 0xC0:
                code, _ = code_point(buffer, at)
                if code < len(foreign) and foreign[code]:
                    digits = longest = dotted = most = _MANY
                    marks |= CODED | POSTAL | TOKEN
        if token >= _TOKEN_LENGTH and token_digits:
            marks |= TOKEN
        out[text, 0], out[text, 1], out[text, 2] = digits, longest, dotted
        out[text, 3], out[text, 4], out[text, 5] = most, colons, marks


@njit(cache=True, nogil=True)
def _literals(buffer, starts, words, word_starts, heads, following, out):  # type: ignore[no-untyped-def]
    for text in range(len(starts) - 1):
        end = starts[text + 1]
        for at in range(starts[text], end - 1):
            word = heads[np.int64(buffer[at]) << 8 | np.int64(buffer[at + 1])]
            while word >= 0:
                first, size = word_starts[word], word_starts[word + 1] - word_starts[word]
                if at + size <= end and not out[text, word]:
                    same = True
                    for k in range(2, size):
                        if buffer[at + k] != words[first + k]:
                            same = False
                            break
                    if same:
                        out[text, word] = True
                word = following[word]
