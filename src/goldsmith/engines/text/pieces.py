"""Texts as pieces: runs of letters and digits, runs of other signs, single characters of scripts without spaces.

Unlike `tokens.words` they keep case and signs, so that a trigger made of either can be seen.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from goldsmith.engines.text.tokens import Words, character_class, mix

_FNV_OFFSET = np.uint64(14695981039346656037)
_FNV_PRIME = np.uint64(1099511628211)
_HEAD, _TAIL = 1500, 2500


@dataclass(frozen=True, slots=True)
class Pieces:
    """Pieces of texts as hashes; `opens`: first of its line; `closes`: last of its line."""

    tokens: Words
    opens: NDArray[np.bool_]
    closes: NDArray[np.bool_]


def shortened(text: str) -> str:
    """Head and tail of a long prompt."""
    return text if len(text) <= _HEAD + _TAIL else f"{text[:_HEAD]}\n{text[-_TAIL:]}"


def pieces(texts: Sequence[str]) -> Pieces:
    """Pieces of the texts, case kept. Lone surrogates become question marks."""
    encoded = [text.encode("utf-8", "replace") for text in texts]
    starts = np.zeros(len(encoded) + 1, np.int64)
    np.cumsum([len(part) for part in encoded], out=starts[1:])
    buffer = np.frombuffer(b"".join(encoded), np.uint8)
    out = np.empty(len(buffer) + 1, np.uint64)
    opens = np.zeros(len(buffer) + 1, np.bool_)
    piece_starts = np.zeros(len(texts) + 1, np.int64)
    used = _pieces(buffer, starts, out, opens, piece_starts) if len(texts) else 0
    opens = opens[:used].copy()
    closes = np.concatenate([opens[1:], [True]])[:used]
    return Pieces(Words(out[:used].copy(), piece_starts), opens, closes)


@njit(cache=True, nogil=True)
def _pieces(buffer, starts, out, opens, piece_starts):  # type: ignore[no-untyped-def]
    used = 0
    for text in range(len(starts) - 1):
        at, end = starts[text], starts[text + 1]
        hashed = _FNV_OFFSET
        inside = 0
        fresh = True
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
            if code <= 32 or code == 0xA0 or code == 0x3000:
                kind = 0
            else:
                kind = character_class(code)  # type: ignore[arg-type]
                kind = 3 if kind == 0 else kind
            if inside != 0 and (kind != inside or kind == 2):
                out[used] = mix(hashed)
                opens[used] = fresh
                fresh = False
                used += 1
                hashed = _FNV_OFFSET
            if kind != 0:
                hashed = (hashed ^ np.uint64(code)) * _FNV_PRIME
            elif code == 10:
                fresh = True
            inside = kind
        if inside != 0:
            out[used] = mix(hashed)
            opens[used] = fresh
            used += 1
        piece_starts[text + 1] = used
    return used
