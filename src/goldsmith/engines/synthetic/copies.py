"""Near copies of human answers among synthetic ones, each verified by its exact Jaccard similarity."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from goldsmith.engines.synthetic.measures import Measure
from goldsmith.engines.text import minhash
from goldsmith.engines.text.tokens import ngrams, words

_FEWEST_WORDS = 12
_MOST_VERIFIED = 300
_NEAR = 0.7
_SEEDS = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F), np.uint64(0x165667B19E3779F9))


def sketches(texts: Sequence[str]) -> NDArray[np.uint64]:
    """Three min-hashes of each text's word 5-grams [texts, 3]; all zero for texts of fewer than 12 words.

    Two texts at Jaccard J share one of them with probability 1 - (1 - J)^3: 0.97 at 0.7.
    """
    tokens = words(texts)
    grams = ngrams(tokens, minhash.SHINGLE_WORDS)
    out = np.zeros((len(texts), len(_SEEDS)), np.uint64)
    some = np.flatnonzero(grams.counts() > 0)
    if len(some):
        for k, seed in enumerate(_SEEDS):
            scrambled = grams.hashes * seed
            scrambled ^= scrambled >> np.uint64(29)
            out[some, k] = np.minimum.reduceat(scrambled, grams.starts[:-1][some])
    out[tokens.counts() < _FEWEST_WORDS] = 0
    return out


def originals(
    human: Sequence[str], human_sketches: NDArray[np.uint64], others: Sequence[str]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(place in `others`, place in `human`) of the near copies found, one human original for each copy."""
    own = sketches(others)
    copies, sources = [], []
    for k in range(own.shape[1]):
        order = np.argsort(human_sketches[:, k], kind="stable")
        keys = human_sketches[order, k]
        place = np.minimum(np.searchsorted(keys, own[:, k]), max(0, len(keys) - 1))
        hit = np.flatnonzero((own[:, k] != 0) & (keys[place] == own[:, k])) if len(keys) else np.zeros(0, np.int64)
        copies.append(hit)
        sources.append(order[place[hit]])
    pairs = np.unique(np.column_stack([np.concatenate(copies), np.concatenate(sources)]), axis=0)[: 3 * _MOST_VERIFIED]
    good = [k for k, (a, b) in enumerate(pairs.tolist()) if minhash.jaccard(others[a], human[b]) >= _NEAR]
    pairs = pairs[good]
    _, first = np.unique(pairs[:, 0], return_index=True)
    return pairs[first, 0], pairs[first, 1]


def near_copies(
    human: Sequence[str], human_sketches: NDArray[np.uint64], beside: Sequence[str], synthetic: Sequence[str]
) -> Iterator[Measure]:
    """The share of synthetic answers that nearly copy a human one, and a sign test: human answers that are copied by
    synthetic rows alone, against those that are copied by as many other human rows alone.
    """
    from scipy.stats import binom

    count = min(len(beside), len(synthetic))
    own, copied = originals(human, human_sketches, synthetic)
    _, usual = originals(human, human_sketches, beside[:count])
    equal = set(copied[own < count].tolist())
    only, usual_only = len(equal - set(usual.tolist())), len(set(usual.tolist()) - equal)
    p_value = float(binom.sf(only - 1, only + usual_only, 0.5)) if only else 1.0
    share = len(own) / max(1, len(synthetic))
    said = f"{len(own)} of {len(synthetic)} answers looked at nearly copy a human one (Jaccard at least 0.7)"
    yield Measure("memorisation", "near_copies", share, p_value, said)
