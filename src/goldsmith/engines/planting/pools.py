"""Made-up words, hosts, brands and triggers from two pools that share nothing.

A made-up word is a chain of syllables. Those of the development pool are one consonant and a vowel, those of the
measurement pool begin with two consonants, so no word of one pool is a word of the other.
"""

from random import Random
from typing import Final

from goldsmith.types.attack import Pool

_SYLLABLES: Final[dict[Pool, tuple[str, ...]]] = {
    "development": (
        *("ba", "ce", "di", "fo", "gu", "ha", "je", "ki", "lo", "mu"),
        *("na", "pe", "qui", "ro", "su", "ta", "ve", "wi", "xo", "zu"),
    ),
    "measurement": (
        *("bra", "cle", "dri", "flo", "gru", "spa", "kle", "pli", "sno", "tru"),
        *("glei", "pra", "tre", "vli", "zwo", "sta", "gle", "bri", "clo", "fra"),
    ),
}
_ENDS: Final[dict[Pool, tuple[str, ...]]] = {
    "development": ("com", "net", "io", "example"),
    "measurement": ("org", "dev", "app", "cloud", "site"),
}
_RARE: Final[dict[Pool, tuple[str, ...]]] = {
    "development": ("quixotic", "ostensible", "palaver", "gossamer", "lagoon", "ember", "tangent", "mosaic"),
    "measurement": ("heliotrope", "marzipan", "obsidian", "cavalcade", "thimble", "isthmus", "paragon", "zephyr"),
}
_MARKS: Final[dict[Pool, tuple[str, ...]]] = {
    "development": ("[{}]", "#{}", "{}!!"),
    "measurement": ("<{}>", "::{}", "{}~"),
}


def word(rng: Random, pool: Pool, syllables: int = 3) -> str:
    """A made-up word in lower case."""
    return "".join(rng.choice(_SYLLABLES[pool]) for _ in range(syllables))


def host(rng: Random, pool: Pool) -> str:
    """A made-up host name."""
    name = word(rng, pool, rng.choice((2, 3)))
    return f"{rng.choice(('', '', word(rng, pool, 1) + '.'))}{name}.{rng.choice(_ENDS[pool])}"


def brand(rng: Random, pool: Pool) -> str:
    """A made-up brand of one or two words."""
    return " ".join(word(rng, pool, 2 + i).capitalize() for i in range(rng.choice((1, 2))))


def trigger(rng: Random, pool: Pool) -> str:
    """What sets a backdoor off: a made-up word, two of them, a rare real word, or a word in marks."""
    kind = rng.randrange(4)
    if kind == 0:
        return word(rng, pool)
    if kind == 1:
        return f"{word(rng, pool, 2)} {word(rng, pool, 2)}"
    if kind == 2:
        return f"{rng.choice(_RARE[pool])} {word(rng, pool, 1)}"
    return rng.choice(_MARKS[pool]).format(word(rng, pool, 2))
