"""The human rows as a yardstick: split once, embedded once, read by every test of every synthetic unit."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from goldsmith.engines.synthetic import diversity
from goldsmith.engines.synthetic.sides import Sample, halves
from goldsmith.engines.synthetic.style import cut, style
from goldsmith.engines.synthetic.two_sample import BLOCKS
from goldsmith.engines.text.embeddings import LatentSemantic
from goldsmith.engines.text.tokens import Words, words

Floats = NDArray[np.float64]
_WIDTH = 32
_TEST_WORDS = 60
_TAIL = 0.1


@dataclass(frozen=True, slots=True)
class Reading:
    """A sample read once: `whole` and `answer` vectors [rows, width], the answers' `tokens` and their `looks`."""

    sample: Sample
    whole: Floats
    answer: Floats
    tokens: Words
    looks: Floats

    def __len__(self) -> int:
        return len(self.sample)


@dataclass(frozen=True, slots=True)
class Anchor:
    """`yardstick`: the human rows that others are held against; `beside`: those that stand beside the synthetic ones.

    Everything fitted is fitted on the yardstick alone, so that under one distribution `beside` and synthetic rows
    are exchangeable. `width`: kernel width; `centres`: ten topics; `typical_words`: median words of an answer.
    """

    embed: LatentSemantic
    yardstick: Reading
    beside: Reading
    head: NDArray[np.uint64]
    width: float
    centres: Floats
    typical_words: int

    def read(self, sample: Sample) -> Reading:
        """Another sample in this anchor's space."""
        return _read(self.embed, sample)

    def topics(self, vectors: Floats) -> NDArray[np.int64]:
        """How many of the vectors lie nearest to each centre."""
        nearest = np.argmax(vectors @ self.centres.T, axis=1)
        return np.bincount(nearest, minlength=len(self.centres))


def anchor_of(human: Sample) -> Anchor:
    """Splits and reads the human rows."""
    first, second = halves(human)
    embed = LatentSemantic(width=_WIDTH, sample=len(first)).fit(first.wholes())
    yardstick, beside = _read(embed, first), _read(embed, second)
    spoken = yardstick.tokens.counts()
    return Anchor(
        embed,
        yardstick,
        beside,
        diversity.head_words(yardstick.tokens),
        _median_distance(yardstick.whole),
        _centres(yardstick.whole),
        int(max(5, np.median(spoken))) if len(spoken) else 5,
    )


def _read(embed: LatentSemantic, sample: Sample) -> Reading:
    return Reading(
        sample,
        embed(sample.wholes()).astype(np.float64),
        embed(sample.answers).astype(np.float64),
        words(sample.answers),
        style(sample.answers),
    )


def _median_distance(vectors: Floats) -> float:
    some = vectors[:200]
    distances = np.sqrt(np.maximum(0.0, 2 - 2 * some @ some.T))[np.triu_indices(len(some), 1)]
    return max(1e-3, float(np.median(distances))) if len(distances) else 1.0


def _centres(vectors: Floats, count: int = 10) -> Floats:
    """Spherical k-means, started from vectors far apart; 8 rounds."""
    chosen = [0]
    nearest = vectors @ vectors[0]
    for _ in range(min(count, len(vectors)) - 1):
        chosen.append(int(np.argmin(nearest)))
        nearest = np.maximum(nearest, vectors @ vectors[chosen[-1]])
    centres = vectors[chosen].copy()
    for _ in range(8):
        of_row = np.argmax(vectors @ centres.T, axis=1)
        for k in range(len(centres)):
            mean = vectors[of_row == k].sum(axis=0)
            length = float(np.linalg.norm(mean))
            if length > 1e-9:
                centres[k] = mean / length
    return centres


def blocks_of(count: int, size: int) -> list[NDArray[np.int64]]:
    """Ten disjoint blocks of `size` places out of `count`: rows come in the order of hashes, so any deal is random."""
    return [np.arange(k, count, BLOCKS)[:size] for k in range(BLOCKS)]


def block_size(*counts: int) -> int:
    """Rows a block: a tenth of the smallest sample, 100 at most."""
    return min(100, *(count // BLOCKS for count in counts))


def words_at(tokens: Words, places: NDArray[np.int64], most: int) -> Words:
    """The first `most` words of the texts at these places."""
    sizes = np.minimum(tokens.counts()[places], most)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    take = np.arange(int(starts[-1])) - np.repeat(starts[:-1], sizes) + np.repeat(tokens.starts[:-1][places], sizes)
    return Words(tokens.hashes[take], starts)


def trial_words(anchor: Anchor, most_rows: int = 250) -> Words:
    """What language models of the blocks are tried on: the openings of the yardstick's answers."""
    return cut(
        words_at(anchor.yardstick.tokens, np.arange(min(most_rows, len(anchor.yardstick))), _TEST_WORDS), _TEST_WORDS
    )


def tail_rows(radius: Floats) -> NDArray[np.bool_]:
    """The tenth of the yardstick's rows that lie most alone."""
    return radius >= np.quantile(radius, 1 - _TAIL)


def flat(tokens: Words, budget: int) -> Words:
    """The texts up to `budget` words in all."""
    stops = np.minimum(tokens.starts, budget)
    return Words(tokens.hashes[:budget], stops)


def smallest(parts: Sequence[Words]) -> int:
    """Words of the shortest part."""
    return min(len(part.hashes) for part in parts)
