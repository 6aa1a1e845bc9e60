"""A bigram model of words: what training on one set of texts is worth on another, in bits a word."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from goldsmith.engines.text.tokens import Words

_BIGRAM, _UNIGRAM = 0.5, 0.45
_VOCABULARY = float(1 << 16)
"""What is left of the probability is spread over this many words, so that an unseen word costs some 20 bits."""


@dataclass(frozen=True, slots=True)
class Trial:
    """Texts that models are tried on: their distinct words and word pairs, ascending, and of each word which it is and
    which pair it ends [words]. `first`: words before which their text has none.
    """

    words: NDArray[np.uint64]
    word: NDArray[np.int64]
    pairs: NDArray[np.uint64]
    pair: NDArray[np.int64]
    first: NDArray[np.int64]

    @classmethod
    def of(cls, texts: Words) -> "Trial":
        """These texts."""
        words, word = np.unique(texts.hashes, return_inverse=True)
        pairs, pair = np.unique(_pairs(texts), return_inverse=True)
        return cls(words, word, pairs, pair, texts.starts[:-1][texts.counts() > 0])

    def __len__(self) -> int:
        return len(self.word)


def bits_per_word(train: Words, test: Trial) -> float:
    """Cross-entropy of the test texts' words under an interpolated bigram model of the training texts (Jelinek and
    Mercer 1980, fixed weights).
    """
    if not len(test):
        return 0.0
    single, single_counts = np.unique(train.hashes, return_counts=True)
    pairs, pair_counts = np.unique(_pairs(train), return_counts=True)
    total = max(1, len(train.hashes))
    alone = _count_of(test.words, single, single_counts)[test.word]
    together = _count_of(test.pairs, pairs, pair_counts)[test.pair]
    before = np.concatenate([[0.0], alone[:-1]])
    before[test.first] = 0.0
    probability = _UNIGRAM * alone / total + (1 - _BIGRAM - _UNIGRAM) / _VOCABULARY
    probability += np.where(before > 0, _BIGRAM * together / np.maximum(before, 1), _BIGRAM * alone / total)
    return float(-np.log2(probability).mean())


def _pairs(tokens: Words) -> NDArray[np.uint64]:
    """One hash for each word and the word before it; the first word of a text follows nothing."""
    before = np.concatenate([np.zeros(1, np.uint64), tokens.hashes[:-1]])
    before[tokens.starts[:-1][tokens.counts() > 0]] = 0
    return (before * np.uint64(0x9E3779B97F4A7C15)) ^ tokens.hashes


def _count_of(wanted: NDArray[np.uint64], known: NDArray[np.uint64], counts: NDArray[np.int64]) -> NDArray[np.float64]:
    if not len(known):
        return np.zeros(len(wanted))
    place = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    return np.where(known[place] == wanted, counts[place], 0).astype(np.float64)
