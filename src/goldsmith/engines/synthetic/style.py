"""The look of texts in ten numbers that need no model, and hashed words for classifiers."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from goldsmith.engines.text.tokens import Words, ngrams, unique_per_text, words

NAMES = (
    "length",
    "words",
    "word length",
    "sentence length",
    "punctuation share",
    "digit share",
    "capital share",
    "share of other scripts",
    "lines",
    "share of distinct words",
)
_BUCKETS = 1 << 15


def style(texts: Sequence[str]) -> NDArray[np.float64]:
    """[texts, 10]: see `NAMES`. Lengths are logarithms, so that one long text does not carry the sample."""
    encoded = [text.encode("utf-8", "replace") for text in texts]
    starts = np.zeros(len(encoded) + 1, np.int64)
    np.cumsum([len(part) for part in encoded], out=starts[1:])
    counts = np.zeros((len(texts), 8), np.float64)
    _count(np.frombuffer(b"".join(encoded), np.uint8), starts, counts)
    characters, punctuation, digits, capitals, other, lines, sentences, letters = counts.T
    tokens = words(texts)
    spoken = tokens.counts().astype(np.float64)
    head = cut(tokens, 50)
    distinct = unique_per_text(head).counts() / np.maximum(head.counts(), 1)
    size = np.maximum(characters, 1)
    return np.column_stack(
        [
            np.log1p(characters),
            np.log1p(spoken),
            (letters + digits) / np.maximum(spoken, 1),
            np.log1p(spoken / np.maximum(sentences, 1)),
            punctuation / size,
            digits / size,
            capitals / size,
            other / size,
            np.log1p(lines),
            distinct,
        ]
    )


def cut(tokens: Words, most: int) -> Words:
    """The first `most` words of each text."""
    sizes = np.minimum(tokens.counts(), most)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    take = np.arange(int(starts[-1])) - np.repeat(starts[:-1], sizes) + np.repeat(tokens.starts[:-1], sizes)
    return Words(tokens.hashes[take], starts)


def hashed(texts: Sequence[str], looks: NDArray[np.float64]) -> Any:
    """Hashed words and word pairs of each text (unit length, rare ones weigh more) beside its standardised `looks`
    [texts, 2^16 + looks], sparse.
    """
    from scipy import sparse

    tokens = words(texts)
    parts = []
    for own in (tokens, ngrams(tokens, 2)):
        grams = unique_per_text(own)
        places = (grams.hashes & np.uint64(_BUCKETS - 1)).astype(np.int64)
        seen = np.bincount(places, minlength=_BUCKETS)
        weights = np.log((len(texts) + 1) / (seen[places] + 1)) + 0.1
        parts.append(sparse.csr_matrix((weights, places, grams.starts), shape=(len(texts), _BUCKETS)))
    both = sparse.hstack(parts, format="csr")
    norms = np.sqrt(np.asarray(both.multiply(both).sum(axis=1)).ravel())
    both = sparse.diags(1.0 / np.maximum(norms, 1e-9)) @ both
    spread = looks.std(axis=0)
    standard = np.clip((looks - looks.mean(axis=0)) / np.where(spread > 1e-9, spread, 1.0), -4, 4) * 0.3
    return sparse.hstack([both, sparse.csr_matrix(standard)], format="csr")


@njit(cache=True, nogil=True)
def _count(buffer, starts, out):  # type: ignore[no-untyped-def]
    for text in range(len(starts) - 1):
        ended = False
        for at in range(starts[text], starts[text + 1]):
            byte = buffer[at]
            if 0x80 <= byte < 0xC0:
                continue
            out[text, 0] += 1
            if byte >= 0x80:
                out[text, 4] += 1
                out[text, 7] += 1
            elif 48 <= byte <= 57:
                out[text, 2] += 1
            elif 65 <= byte <= 90:
                out[text, 3] += 1
                out[text, 7] += 1
            elif 97 <= byte <= 122:
                out[text, 7] += 1
            elif byte == 10:
                out[text, 5] += 1
            elif byte > 32:
                out[text, 1] += 1
            stop = byte == 46 or byte == 33 or byte == 63 or byte == 10
            if stop and not ended:
                out[text, 6] += 1
            ended = stop
