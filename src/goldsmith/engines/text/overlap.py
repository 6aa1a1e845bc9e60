"""How much of known texts (eval items) reappears in other texts, whatever their case, spacing, punctuation and markup.

Texts are freed of markup and reduced to their letters and digits, lower-cased and compatibility-normalised; runs of 32
of those (7 to 8 words of English) are hashed. A known text counts by the share of its own runs that reappear, so a long
conversation cannot dilute it and a shared phrase does not make it. Where the runs are broken up (answer options in
another order, labels between the parts), the share of its word pairs counts instead.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from goldsmith.engines.text.markup import plain
from goldsmith.engines.text.tokens import character_class, mix, ngrams, packed, unique_per_text, words

WINDOW_LETTERS = 32
MINIMUM_WINDOWS = 8
OPENING_LETTERS = 24
_CHUNK_TEXTS = 4096
_LEAST_PAIRS = 12
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_NOT_LETTERS = re.compile(r"[\W_]+")


def letters_only(text: str) -> str:
    """Letters and digits of a text, compatibility-normalised and case-folded."""
    return _NOT_LETTERS.sub("", _normal(text).casefold())


@dataclass(frozen=True, slots=True)
class Overlap:
    """Text `text` holds the share `containment` (0 to 1) of the runs of known text `known`, `windows` runs in all."""

    text: int
    known: int
    containment: float
    windows: int


@dataclass(frozen=True, slots=True)
class Index:
    """Hashed runs of `window` letters of the known texts. `keys` is sorted; run k belongs to
    `known_of[starts[k]:starts[k + 1]]`.
    """

    keys: NDArray[np.uint64]
    starts: NDArray[np.int64]
    known_of: NDArray[np.int64]
    windows_of: NDArray[np.int64]
    bloom: NDArray[np.uint8]
    too_short: tuple[int, ...]
    window: int


def index(known: Sequence[str], *, common_share: float = 0.02) -> Index:
    """Index of known texts. Runs that more than `common_share` of them (and more than 5) have are boilerplate and
    left out.

    `too_short` names the texts with fewer than 8 runs left; they are not in the index.
    """
    hashes, starts = _windows([plain(text) for text in known])
    owner = np.repeat(np.arange(len(known), dtype=np.int64), np.diff(starts))
    order = np.lexsort((owner, hashes))
    hashes, owner = hashes[order], owner[order]
    first = np.ones(len(hashes), bool)
    first[1:] = (hashes[1:] != hashes[:-1]) | (owner[1:] != owner[:-1])
    hashes, owner = hashes[first], owner[first]
    keys, counts = np.unique(hashes, return_counts=True)
    rare = counts <= max(5, int(common_share * len(known)))
    keep = np.repeat(rare, counts)
    owner, keys, counts = owner[keep], keys[rare], counts[rare]
    windows = np.bincount(owner, minlength=len(known))
    short = tuple(np.flatnonzero(windows < MINIMUM_WINDOWS).tolist())
    bloom = _bloom(keys)
    return Index(keys, np.concatenate([[0], np.cumsum(counts)]), owner, windows, bloom, short, WINDOW_LETTERS)


def openings(known: Sequence[str], which: Sequence[int]) -> Index:
    """Index of the first `OPENING_LETTERS` letters of the known texts named by `which` (those that have so many)."""
    hashes, starts = _windows([plain(known[i]) for i in which], OPENING_LETTERS)
    some = np.flatnonzero(np.diff(starts) > 0)
    first, owner = hashes[starts[:-1][some]], np.asarray(which, np.int64)[some]
    order = np.lexsort((owner, first))
    keys, counts = np.unique(first, return_counts=True)
    places = np.concatenate([[0], np.cumsum(counts)])
    every = np.zeros(len(known), np.int64)
    every[owner] = MINIMUM_WINDOWS
    return Index(keys, places, owner[order], every, _bloom(keys), (), OPENING_LETTERS)


def wholly_held(texts: Sequence[str], known: Sequence[str], opened: Index) -> list[tuple[int, int]]:
    """(text, known text) for the known texts of `openings` all of whose letters stand in a text in one run."""
    letters: dict[int, str] = {}
    found = []
    for hit in overlaps(texts, opened, least=0.0):
        if hit.text not in letters:
            letters = {hit.text: letters_only(plain(texts[hit.text]))}
        if letters_only(plain(known[hit.known])) in letters[hit.text]:
            found.append((hit.text, hit.known))
    return found


def _bloom(keys: NDArray[np.uint64]) -> NDArray[np.uint8]:
    bits = 1 << max(13, int(np.ceil(np.log2(16 * max(1, len(keys))))))
    bloom = np.zeros(bits // 8, np.uint8)
    _fill(keys, bloom)
    return bloom


def overlaps(texts: Sequence[str], known: Index, *, least: float = 0.2) -> list[Overlap]:
    """Which texts hold at least the share `least` of which known texts, by (text, known)."""
    found: list[Overlap] = []
    if not len(known.keys):
        return found
    for first in range(0, len(texts), _CHUNK_TEXTS):
        buffer, starts = packed([plain(text) for text in texts[first : first + _CHUNK_TEXTS]])
        hits = _hits(buffer, starts, known.window, known.keys, known.bloom)
        hits = np.unique(hits[:, 0] * len(known.keys) + hits[:, 1])
        owner, key = hits // len(known.keys), hits % len(known.keys)
        fan = known.starts[key + 1] - known.starts[key]
        pair_text = np.repeat(owner, fan)
        offset = np.arange(int(fan.sum())) - np.repeat(np.cumsum(fan) - fan, fan)
        pair_known = known.known_of[np.repeat(known.starts[key], fan) + offset]
        pairs, counts = np.unique(pair_text * len(known.windows_of) + pair_known, return_counts=True)
        for pair, count in zip(pairs.tolist(), counts.tolist(), strict=True):
            text, item = divmod(pair, len(known.windows_of))
            windows = int(known.windows_of[item])
            if windows >= MINIMUM_WINDOWS and count / windows >= least:
                found.append(Overlap(first + text, item, count / windows, windows))
    return found


def word_pairs_held(texts: Sequence[str], known: Sequence[str]) -> list[float]:
    """For each text and its known text, the share of the known text's distinct word pairs that the text has.

    0 for known texts of fewer than 12 pairs.
    """
    held = unique_per_text(ngrams(words([plain(text) for text in texts]), 2))
    wanted = unique_per_text(ngrams(words([plain(text) for text in known]), 2))
    shares = []
    for i in range(len(texts)):
        own = wanted.hashes[wanted.starts[i] : wanted.starts[i + 1]]
        some = np.isin(own, held.hashes[held.starts[i] : held.starts[i + 1]], assume_unique=True)
        shares.append(float(some.mean()) if len(own) >= _LEAST_PAIRS else 0.0)
    return shares


def _normal(text: str) -> str:
    return text if text.isascii() else unicodedata.normalize("NFKC", text)


def _windows(texts: Sequence[str], window: int = WINDOW_LETTERS) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    buffer, starts = packed(texts)
    out = np.empty(len(buffer) + 1, np.uint64)
    out_starts = np.zeros(len(texts) + 1, np.int64)
    used = _window_hashes(buffer, starts, window, out, out_starts)
    return out[:used].copy(), out_starts


@njit(cache=True, nogil=True)
def _next(buffer, at):  # type: ignore[no-untyped-def]
    byte = buffer[at]
    if byte < 0x80:
        return np.int64(byte), at + 1
    if byte < 0xE0:
        code, size = np.int64(byte) & 0x1F, 2
    elif byte < 0xF0:
        code, size = np.int64(byte) & 0x0F, 3
    else:
        code, size = np.int64(byte) & 0x07, 4
    for k in range(1, size):
        code = (code << 6) | (np.int64(buffer[at + k]) & 0x3F)
    return code, at + size


@njit(cache=True, nogil=True)
def _leaving_factor(window):  # type: ignore[no-untyped-def]
    factor = np.uint64(1)
    for _ in range(window):
        factor = factor * _MULTIPLIER
    return factor


@njit(cache=True, nogil=True)
def _window_hashes(buffer, starts, window, out, out_starts):  # type: ignore[no-untyped-def]
    ring = np.zeros(window, np.uint64)
    leaving = _leaving_factor(window)
    used = 0
    for text in range(len(starts) - 1):
        at, seen, rolling = starts[text], 0, np.uint64(0)
        ring[:] = 0
        while at < starts[text + 1]:
            code, at = _next(buffer, at)
            if character_class(code) == 0:
                continue
            slot = seen % window
            value = np.uint64(code)
            rolling = rolling * _MULTIPLIER + value - ring[slot] * leaving
            ring[slot] = value
            seen += 1
            if seen >= window:
                out[used] = mix(rolling)
                used += 1
        out_starts[text + 1] = used
    return used


@njit(cache=True, nogil=True)
def _fill(keys, bloom):  # type: ignore[no-untyped-def]
    last = np.uint64(len(bloom) * 8 - 1)
    for key in keys:
        bit = key & last
        bloom[bit >> np.uint64(3)] |= np.uint8(1 << (bit & np.uint64(7)))


@njit(cache=True, nogil=True)
def _hits(buffer, starts, window, keys, bloom):  # type: ignore[no-untyped-def]
    last = np.uint64(len(bloom) * 8 - 1)
    ring = np.zeros(window, np.uint64)
    leaving = _leaving_factor(window)
    found = np.empty((1024, 2), np.int64)
    used = 0
    for text in range(len(starts) - 1):
        at, seen, rolling = starts[text], 0, np.uint64(0)
        ring[:] = 0
        while at < starts[text + 1]:
            code, at = _next(buffer, at)
            if character_class(code) == 0:
                continue
            slot = seen % window
            value = np.uint64(code)
            rolling = rolling * _MULTIPLIER + value - ring[slot] * leaving
            ring[slot] = value
            seen += 1
            if seen < window:
                continue
            key = mix(rolling)
            bit = key & last
            if bloom[bit >> np.uint64(3)] & np.uint8(1 << (bit & np.uint64(7))) == 0:
                continue
            place = np.searchsorted(keys, key)
            if place < len(keys) and keys[place] == key:
                if used == len(found):
                    grown = np.empty((2 * used, 2), np.int64)
                    grown[:used] = found
                    found = grown
                found[used, 0] = text
                found[used, 1] = place
                used += 1
    return found[:used]
