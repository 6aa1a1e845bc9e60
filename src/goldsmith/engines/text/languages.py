"""Which language a text is in: by script, and within the Latin script by its commonest closed-class words.

The words of each language are articles, pronouns, prepositions and the like; for English, French, Spanish, Portuguese,
German and Swahili they were taken from the commonest words of the Universal Declaration of Human Rights, with the first
and second person, which it lacks, added by hand, as were Italian and Dutch. It abstains ("") on short texts, on Latin
text in another language, and where two languages are about as likely.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np
from numba import njit
from numpy.typing import NDArray

from goldsmith.engines.text.tokens import owners, words

READ = 400
_FEWEST_WORDS = 8
_FEWEST_CHARACTERS = 16
_LEAST_SHARE = 0.22
_SCRIPTS = ("latin", "ru", "ar", "hi", "zh", "kana", "ko", "th", "he", "el")
_WORDS = {
    "en": "the and of to in right be everyone or has his a any for is by all this no which with have are at from it "
    "that may on was i you we they he she my your what how do does can not if so there would could should "
    "will about please an",
    "fr": "de et la à l des les ou toute d en sa que dans un une ne par tous au être est qui pour ont du aux ce "
    "sont son il ses plus se je tu nous vous elle mais comme pas quel quelle comment pourquoi avec sur mon "
    "votre cette le",
    "es": "de la y en el los que tiene su toda o por del las se como un una para al ser no con es esta entre yo tú "
    "usted nosotros mi pero muy qué cómo cuál cuáles dónde porque más este eso hay son lo si sus ha",
    "pt": "de e o da ou que tem em à os dos do no na as por ser das para se ao aos não uma com um como é seu sua eu "
    "você nós meu minha mas muito qual quais onde porque mais este isso são pelo pela nos nas",
    "de": "und der die zu auf das oder in werden durch ist den eine seine haben von da einer des als bei dieser für "
    "alle mit zum an sich vor dem ein sind im nicht ich du sie wir ihr was wie kann man aber auch es warum "
    "wird mein",
    "sw": "ya na kwa wa kila yake au ana katika za yote ni kuwa bila hii kama cha kupata la wakati ambao kwamba "
    "hiyo pia mimi wewe yangu nini jinsi gani lakini sana hapa vya yenye kuna",
    "it": "di e il la che in un una per non con si da come del della dei delle al alla sono è ha questo questa più "
    "io tu noi ma anche perché quale quali dove gli lo nel nella mio tuo cosa",
    "nl": "de het een en van in is dat op te zijn met voor niet aan er om ook als maar ik je we u hij zij hoe wat "
    "waarom kan naar bij uit deze dit wordt door mijn",
}
NAMES = {
    "en": "English", "fr": "French", "es": "Spanish", "pt": "Portuguese", "de": "German", "sw": "Swahili",
    "it": "Italian", "nl": "Dutch", "ru": "Cyrillic script", "ar": "Arabic script", "hi": "Devanagari script",
    "zh": "Chinese", "ja": "Japanese", "ko": "Korean", "th": "Thai", "he": "Hebrew", "el": "Greek",
}  # fmt: skip
KEYS = ("", *NAMES)


def identify(texts: Sequence[str]) -> list[str]:
    """For each text a key of `NAMES`, or "" where it cannot be told. The first 400 characters are read."""
    return [KEYS[code] for code in codes(texts).tolist()]


def codes(texts: Sequence[str]) -> NDArray[np.int8]:
    """As `identify`, as places in `KEYS` [texts]."""
    if not texts:
        return np.zeros(0, np.int8)
    cut = [text[:READ] for text in texts]
    counts = script_counts(cut)
    letters, most = counts.sum(axis=1), counts.max(axis=1)
    cjk = counts[:, 4] + counts[:, 5]
    east = cjk >= np.maximum(_FEWEST_CHARACTERS // 2, 0.6 * letters)
    sure = (letters >= _FEWEST_CHARACTERS) & (most >= 0.7 * letters)
    script = counts.argmax(axis=1)
    by_script = np.array([KEYS.index(name) if name in KEYS else 0 for name in _SCRIPTS], np.int8)[script]
    told = np.where(sure, np.where(script == 0, _latin(cut), by_script), 0)
    japanese = counts[:, 5] >= 0.1 * cjk
    return np.where(east, np.where(japanese, KEYS.index("ja"), KEYS.index("zh")), told).astype(np.int8)


def script_counts(texts: Sequence[str]) -> NDArray[np.int64]:
    """Letters of each script [texts, scripts]: Latin, Cyrillic, Arabic, Devanagari, Han, kana, Hangul, Thai, Hebrew,
    Greek.
    """
    encoded = [text.encode("utf-32-le", "replace") for text in texts]
    sizes = np.array([len(part) // 4 for part in encoded], np.int64)
    codes = np.frombuffer(b"".join(encoded), np.uint32)
    out = np.zeros((len(texts), len(_SCRIPTS)), np.int64)
    _count(codes, np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64), out)
    return out


def _latin(texts: Sequence[str]) -> NDArray[np.int64]:
    """For each text the place in `KEYS` of its language among `_WORDS`, 0 where none is clear."""
    values, member = _table()
    found = words(texts)
    at = np.minimum(np.searchsorted(values, found.hashes), len(values) - 1)
    hit = values[at] == found.hashes
    owner = owners(found)[hit]
    shares = (
        np.stack([np.bincount(owner, member[at[hit], k], minlength=len(texts)) for k in range(member.shape[1])], 1)
        / np.maximum(1, found.counts())[:, None]
    )
    order = np.sort(shares, axis=1)
    clear = (found.counts() >= _FEWEST_WORDS) & (order[:, -1] >= _LEAST_SHARE) & (order[:, -1] >= 1.5 * order[:, -2])
    places = np.array([KEYS.index(name) for name in _WORDS], np.int64)
    return np.where(clear, places[shares.argmax(axis=1)], 0)


@cache
def _table() -> tuple[NDArray[np.uint64], NDArray[np.float64]]:
    """The hashes of all listed words, ascending, and which languages have each [words, languages]."""
    lists = [np.unique(words([listed]).hashes) for listed in _WORDS.values()]
    values = np.unique(np.concatenate(lists))
    return values, np.stack([np.isin(values, listed) for listed in lists], 1).astype(float)


@njit(cache=True, nogil=True)
def _count(codes, starts, out):  # type: ignore[no-untyped-def]
    for text in range(len(starts) - 1):
        for at in range(starts[text], starts[text + 1]):
            code = codes[at]
            if code < 0x41:
                continue
            if code <= 0x5A or 0x61 <= code <= 0x7A or 0xC0 <= code < 0x250 or 0x1E00 <= code < 0x1F00:
                out[text, 0] += 1
            elif 0x370 <= code < 0x400 or 0x1F00 <= code < 0x2000:
                out[text, 9] += 1
            elif 0x400 <= code < 0x530:
                out[text, 1] += 1
            elif 0x590 <= code < 0x600:
                out[text, 8] += 1
            elif 0x600 <= code < 0x780 or 0xFB50 <= code < 0xFE00 or 0xFE70 <= code < 0xFF00:
                out[text, 2] += 1
            elif 0x900 <= code < 0x980:
                out[text, 3] += 1
            elif 0xE00 <= code < 0xE80:
                out[text, 7] += 1
            elif 0x3040 <= code < 0x3100:
                out[text, 5] += 1
            elif 0x3400 <= code < 0xA000 or 0x20000 <= code < 0x32000:
                out[text, 4] += 1
            elif 0xAC00 <= code < 0xD7B0 or 0x1100 <= code < 0x1200:
                out[text, 6] += 1
