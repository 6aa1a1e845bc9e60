"""Text that learns from text: a word-level Markov chain, and what is left after several generations of it.

A chain of order two, fitted on texts, writes new ones; a chain fitted on those writes the next generation, and so
on: the recursion of Shumailov et al. 2024 in its smallest form, without any neural model. Rare words go first.
"""

from collections import defaultdict
from collections.abc import Sequence
from random import Random

_START, _END = "\x02", "\x03"
_Chain = dict[tuple[str, str], list[str]]


def generations(texts: Sequence[str], count: int, depth: int, rng: Random, most_words: int = 250) -> list[str]:
    """`count` texts of generation `depth` (1: written by a chain that was fitted on `texts`).

    Each generation replaces the one before: its chain sees nothing but what the last chain wrote, as many texts as it
    was fitted on (400 at most).
    """
    current = list(texts)
    for generation in range(depth):
        chain = _fit(current)
        wanted = count if generation == depth - 1 else min(400, max(count, len(texts)))
        current = [_write(chain, rng, most_words) for _ in range(wanted)]
    return current


def _fit(texts: Sequence[str]) -> _Chain:
    chain: _Chain = defaultdict(list)
    for text in texts:
        before, last = _START, _START
        for word in [*text.split(), _END]:
            chain[before, last].append(word)
            before, last = last, word
    return chain


def _write(chain: _Chain, rng: Random, most_words: int) -> str:
    said: list[str] = []
    before, last = _START, _START
    while len(said) < most_words:
        word = rng.choice(chain[before, last])
        if word == _END:
            break
        said.append(word)
        before, last = last, word
    return " ".join(said)
