"""Is a text in code? Letter statistics against English, the common encodings, invisible characters and look-alikes.

`plainness` is the mean log2 probability of a text's neighbouring letters in English (table made by
`benchmarks/english_bigrams.py`): about -3.4 for English prose, -5 and less for a substitution cipher. Other
languages in Latin letters lie between, and code somewhat below prose.
"""

import base64
import binascii
import json
import re
from collections.abc import Iterator, Sequence
from functools import cache
from importlib import resources

import numpy as np
from numba import njit
from numpy.typing import NDArray

from goldsmith.engines.text.tokens import packed

LONGEST = 4_000
PLAIN = -3.95
"""A decoded text at or above this reads as English."""
_CAESAR_GAIN = 1.0
_SUBSTITUTED = -5.6
_FEWEST_LETTERS = 40
_ODD = -4.3
"""Text above this is no cipher."""
_FEWEST_BASE64, _FEWEST_HEX = 24, 32

_BASE64 = re.compile(r"(?<![A-Za-z0-9+/_=-])[A-Za-z0-9+/_-]{24,}={0,2}(?![A-Za-z0-9+/_=-])")
_HEX = re.compile(r"(?<![0-9A-Za-z])(?:0x)?((?:[0-9a-fA-F]{2}[ ,:]?){16,})(?![0-9A-Za-z])")
_PERCENT = re.compile(r"(?:%[0-9a-fA-F]{2}){8,}")
_MORSE = re.compile(r"(?:[.\-·−–]{1,6}(?:\s+|\s*[/|]\s*)){12,}")
_BINARY = re.compile(r"(?:[01]{8}\s*){8,}")
_SINGLE = re.compile(r"(?:\b[A-Za-z]\b[ |._\-*/+~]{1,3}){15,}")
_INVISIBLE = re.compile(
    "[\u200b\u2060-\u2064\ufeff\u180e\u00ad\U000e0100-\U000e01ef]"
    "|(?<![\U0001f3f4\U000e0000-\U000e007f])[\U000e0000-\U000e007f]{3,}"  # after a black flag: the flags of countries
)
_JOINERS = re.compile("[\u200b-\u200d\u2060-\u2064\ufeff]{6,}")
_DIRECTION = re.compile("[\u202d\u202e]")
_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff]")
_TWINS = "асеорхуіјѕԁһԛԝАВСЕНІЈКМОРЅТХΑΒΕΖΗΙΚΜΝΟΡΤΥΧοѵ"
_LOOKALIKE = re.compile(rf"[A-Za-z]+[{_TWINS}]+[A-Za-z]*|[{_TWINS}]+[A-Za-z]{{2,}}")
_STYLED = re.compile("[\U0001d400-\U0001d7ff\uff21-\uff3a\uff41-\uff5a\u24b6-\u24e9\U0001f130-\U0001f189]")


@cache
def _table() -> NDArray[np.float64]:
    text = resources.files("goldsmith.engines.text").joinpath("english_bigrams.json").read_text(encoding="utf-8")
    return np.array(json.loads(text)["hundredths_of_bits"], np.float64) / 100.0


def plainness(texts: Sequence[str]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """For each text the mean log2 probability of its neighbouring letters in English, and how many letters it has."""
    buffer, starts = packed([text[:LONGEST] for text in texts])
    means, letters = np.zeros(len(texts)), np.zeros(len(texts), np.int64)
    if len(texts):
        _read(buffer, starts, _table(), means, letters)
    return means, letters


def read(texts: Sequence[str]) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.bool_]]:
    """`plainness` of each text, and whether `encodings` or `cipher` could find anything in it."""
    cut = [text[:LONGEST] for text in texts]
    buffer, starts = packed(cut)
    means, letters = np.zeros(len(cut)), np.zeros(len(cut), np.int64)
    signs = np.zeros((len(cut), 4), np.int64)
    if len(cut):
        _read(buffer, starts, _table(), means, letters)
        _stretches(buffer, starts, signs)
    size = np.fromiter(map(len, cut), np.int64, len(cut))
    foreign, percents, token, hexadecimal = signs.T
    worth = (foreign > 0) | (percents >= 8) | (token >= _FEWEST_BASE64) | (hexadecimal >= _FEWEST_HEX)
    worth |= (letters < 0.6 * size) | ((letters >= _FEWEST_LETTERS) & (means <= _ODD))
    return means, letters, worth


def encodings(text: str, letters: int) -> Iterator[tuple[str, float]]:
    """What hides in a text, each with how sure it is (0 to 1): encodings, invisible characters and look-alikes.

    `letters`: how many it has, as `plainness` counts them.
    """
    text = text[:LONGEST]
    if not text.isascii():
        yield from _beyond_ascii(text)
    unbroken = max(map(len, text.split()), default=0)  # most texts have no word that could be base64
    kinds = (("base64", _BASE64, _unbase64, unbroken >= 24), ("hexadecimal", _HEX, _unhex, True))
    for kind, pattern, decode, possible in kinds:
        if possible and any(
            _is_english(decode(match[0])) for match, _ in zip(pattern.finditer(text), range(8), strict=False)
        ):
            yield f"{kind} that decodes to English", 0.85
    if "%" in text and any("://" not in text[max(0, m.start() - 200) : m.start()] for m in _PERCENT.finditer(text)):
        yield "percent-encoded text", 0.85
    if letters < 0.3 * len(text) and _MORSE.search(text):
        yield "morse", 0.85
    if letters < 0.3 * len(text) and any(len(set(m[0].split())) > 4 for m in _BINARY.finditer(text)):
        yield "letters as binary numbers", 0.6
    apart = _SINGLE.search(text) if letters < 0.6 * len(text) else None
    # Without gaps the pairs between words count too, which makes it look less like English.
    if apart and _is_english(re.sub(r"[^A-Za-z]", "", apart[0]), least=-5.0):
        yield "letters set apart one by one", 0.85


def cipher(text: str, mean: float, letters: int) -> tuple[str, float] | None:
    """A Caesar shift or another substitution of letters; None where it is neither. `mean`: the text's plainness."""
    if letters < _FEWEST_LETTERS or mean > _ODD:
        return None
    counts = _pair_counts(text[:LONGEST])
    # One word over and over (markup) fits some shift by chance; so do the few Latin words of a text in another script.
    if (counts > 0).sum() < min(60, 0.5 * letters) or letters < 0.5 * sum(c.isalpha() for c in text[:LONGEST]):
        return None
    total = max(counts.sum(), 1.0)
    best, shift = max((float((counts * _shifted(s)).sum() / total), s) for s in range(1, 26))
    if best >= PLAIN and best >= mean + _CAESAR_GAIN:
        return f"a Caesar shift by {26 - shift}", 0.95
    mirrored = float((counts * _mirrored()).sum() / total)
    if mirrored >= PLAIN and mirrored >= mean + _CAESAR_GAIN:
        return "the alphabet turned round", 0.95
    reversed_words = float((counts.T * _table()).sum() / total)
    if reversed_words >= PLAIN and reversed_words >= mean + _CAESAR_GAIN:
        return "text written backwards", 0.9
    alone = counts.sum(axis=0)[1:]
    coincidence = float((alone * (alone - 1)).sum() / max(alone.sum() * (alone.sum() - 1), 1.0))
    gaps = float(counts[0].sum() / total)
    if mean <= _SUBSTITUTED and letters >= 80 and coincidence >= 0.055 and 0.1 <= gaps <= 0.3:
        return "letters replaced by other letters", 0.85
    return None


def _beyond_ascii(text: str) -> Iterator[tuple[str, float]]:
    hidden = sum(len(match) for match in _INVISIBLE.findall(text))
    if hidden >= 6 or _JOINERS.search(text):
        yield f"{max(hidden, 6)} invisible characters", 0.9
    elif hidden >= 3:
        yield f"{hidden} invisible characters", 0.4
    if _DIRECTION.search(text) and not _RIGHT_TO_LEFT.search(text):
        yield "a mark that turns the reading direction round", 0.6
    alike = len(set(_LOOKALIKE.findall(text)))
    if alike:
        yield f"{alike} words that mix look-alike letters of two scripts", 0.85 if alike >= 3 else 0.5
    if len(_STYLED.findall(text)) >= 20:
        yield "letters in mathematical or wide styles", 0.7


def _unbase64(token: str) -> str:
    bare = token.rstrip("=").replace("-", "+").replace("_", "/")
    if len(bare) % 4 == 1 or (bare.isalpha() and (bare.islower() or bare.istitle())):
        return ""
    try:
        return base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        return ""


def _unhex(token: str) -> str:
    try:
        return bytes.fromhex(re.sub(r"[^0-9a-fA-F]", "", token.removeprefix("0x"))).decode("utf-8")
    except ValueError:
        return ""


def _is_english(text: str, least: float = -4.3) -> bool:
    if len(text) < 12 or sum(c.isalpha() or c.isspace() for c in text) < 0.8 * len(text):
        return False
    (mean,), (letters,) = plainness([text])
    return bool(letters >= 10 and mean >= least)


def _pair_counts(text: str) -> NDArray[np.float64]:
    letters = re.sub(r"[^a-z]+", "`", text.lower())
    codes = np.frombuffer(letters.encode(), np.uint8).astype(np.int64) - 96
    return np.bincount(codes[:-1] * 27 + codes[1:], minlength=729).reshape(27, 27).astype(np.float64)


@cache
def _shifted(shift: int) -> NDArray[np.float64]:
    order = np.r_[0, 1 + (np.arange(26) + shift) % 26]
    return _table()[order][:, order]


@cache
def _mirrored() -> NDArray[np.float64]:
    order = np.r_[0, np.arange(26, 0, -1)]
    return _table()[order][:, order]


@njit(cache=True, nogil=True)
def _read(buffer, starts, table, means, letters):  # type: ignore[no-untyped-def]
    for text in range(len(starts) - 1):
        last, total, pairs, count = 0, 0.0, 0, 0
        for at in range(starts[text], starts[text + 1]):
            byte = buffer[at]
            code = byte - 96 if 97 <= byte <= 122 else 0
            if code == 0 and last == 0:
                continue
            total += table[last, code]
            pairs += 1
            count += code > 0
            last = code
        means[text] = total / max(pairs, 1)
        letters[text] = count


@njit(cache=True, nogil=True)
def _stretches(buffer, starts, out):  # type: ignore[no-untyped-def]
    """Of each text, lower-cased: bytes beyond ASCII, percent signs, the longest run of base64's signs, and the most
    hexadecimal digits in a stretch of these, spaces, commas and colons.
    """
    for text in range(len(starts) - 1):
        run = digits = 0
        for at in range(starts[text], starts[text + 1]):
            byte = buffer[at]
            letter = 97 <= byte <= 122
            digit = 48 <= byte <= 57
            if letter or digit or byte == 0x2B or byte == 0x2D or byte == 0x2F or byte == 0x5F:
                run += 1
                out[text, 2] = max(out[text, 2], run)
            else:
                run = 0
                out[text, 0] += byte >= 0x80
                out[text, 1] += byte == 0x25
            if digit or 97 <= byte <= 102:
                digits += 1
                out[text, 3] = max(out[text, 3], digits)
            elif byte != 0x20 and byte != 0x2C and byte != 0x3A:
                digits = 0
