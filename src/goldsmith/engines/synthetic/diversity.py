"""How varied a block of texts is, and how much of another sample it reaches."""

import numpy as np
from numpy.typing import NDArray

from goldsmith.engines.text.tokens import Words, ngrams, owners

Floats = NDArray[np.float64]


def distinct(grams: NDArray[np.uint64], budget: int) -> float:
    """Share of different n-grams among the first `budget` (distinct-n; Li et al. 2016, at equal size)."""
    some = grams[:budget]
    return len(np.unique(some)) / len(some) if len(some) else 0.0


def self_bleu(tokens: Words, longest_n: int = 4) -> float:
    """Mean BLEU of each text against all the others as references (Zhu et al. 2018), n = 1 to 4, add-one smoothed, no
    brevity penalty. 1: they say the same.
    """
    logs = np.zeros(len(tokens))
    for n in range(1, longest_n + 1):
        grams = ngrams(tokens, n)
        if not len(grams.hashes):
            return 0.0
        kinds, number = np.unique(grams.hashes, return_inverse=True)
        pairs, counts = np.unique(number * len(tokens) + owners(grams), return_counts=True)
        gram, text = pairs // len(tokens), pairs % len(tokens)
        order = np.lexsort((-counts, gram))
        first = np.ones(len(order), bool)
        first[1:] = gram[order][1:] != gram[order][:-1]
        top = np.zeros(len(kinds), np.int64)
        top[gram[order][first]] = counts[order][first]
        place = np.flatnonzero(first)
        follows = place + 1
        runner_up = np.zeros_like(top)
        has = (follows < len(order)) & ~np.r_[first, True][np.minimum(follows, len(order))]
        runner_up[gram[order][place[has]]] = counts[order][follows[has]]
        holder = np.zeros_like(top)
        holder[gram[order][first]] = text[order][first]
        best_elsewhere = np.where(text == holder[gram], runner_up[gram], top[gram])
        clipped = np.bincount(text, weights=np.minimum(counts, best_elsewhere), minlength=len(tokens))
        logs += np.log((clipped + 1.0) / (grams.counts() + 1.0))
    said = tokens.counts() > 0
    return float(np.exp(logs[said] / longest_n).mean()) if said.any() else 0.0


def vendi(vectors: Floats) -> float:
    """Vendi score: the effective number of different texts, exp of the entropy of the kernel's eigenvalues (Friedman
    and Dieng 2023), with the cosine kernel of unit vectors.
    """
    if not len(vectors):
        return 0.0
    values = np.linalg.svd(vectors / np.sqrt(len(vectors)), compute_uv=False) ** 2
    total = float(values.sum())
    if total <= 1e-12:
        return 1.0
    shares = values[values > 1e-12] / total
    return float(np.exp(-(shares * np.log(shares)).sum()))


def head_words(tokens: Words, mass: float = 0.9) -> NDArray[np.uint64]:
    """The commonest words that together make up `mass` of all, sorted."""
    kinds, counts = np.unique(tokens.hashes, return_counts=True)
    order = np.lexsort((kinds, -counts))
    enough = int(np.searchsorted(np.cumsum(counts[order]), mass * counts.sum())) + 1
    return np.sort(kinds[order[:enough]])


def tail_mass(hashes: NDArray[np.uint64], head: NDArray[np.uint64]) -> float:
    """Share of the words that are not among the `head` words."""
    return float(1.0 - np.isin(hashes, head).mean()) if len(hashes) else 0.0


def radii(vectors: Floats, k: int) -> Floats:
    """Cosine distance of each vector to its k-th nearest other one."""
    distances = 1.0 - vectors @ vectors.T
    np.fill_diagonal(distances, np.inf)
    k = max(1, min(k, len(vectors) - 1))
    return np.asarray(np.partition(distances, k - 1, axis=1)[:, k - 1])


def covered(reference: Floats, radius: Floats, other: Floats) -> NDArray[np.bool_]:
    """Which reference vectors have one of `other` within their radius (coverage; Naeem et al. 2020)."""
    nearest = (1.0 - reference @ other.T).min(axis=1)
    return np.asarray(nearest <= radius + 1e-12)
