"""Texts as vectors: one interface for a built-in embedding and for any sentence-transformers model.

The built-in one is latent semantic analysis (Deerwester et al. 1990): hashed words (single characters and pairs of
them in scripts written without spaces), inverse document frequency, and a truncated SVD (randomised: Halko, Martinsson
and Tropp 2011) of a sample of the texts, applied to all of them. Which texts are in the sample depends on what they
say, not on where they stand, so that the vectors do not depend on the rows' order.

`embedded(rows, column)` computes a column's vectors once for a view and keeps them with it; prompts and answers share
one space, fitted on whole rows, so that an answer lies near the prompts that such answers usually follow.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numba import njit
from numpy.typing import NDArray

from goldsmith.engines.text.projection import ProjectedRows
from goldsmith.engines.text.tokens import mix, words_and_spaceless
from goldsmith.types.errors import BadInput, Unavailable

Vectors = NDArray[np.float32]
Column = Literal["user", "answer", "full"]
WIDTH = 64
LONGEST_TEXT = 4_000
_BUCKETS = 1 << 15
_CHUNK_ROWS = 20_000
_SAMPLE = 10_000
_EXTRA, _POWER_STEPS = 16, 3


class Embedder(Protocol):
    """Texts to vectors. `key` names what made them: equal keys give equal vectors for equal texts."""

    @property
    def key(self) -> str:
        """Names the embedder and all that its vectors depend on, except the texts it is fitted on."""
        ...

    def fit(self, texts: Sequence[str]) -> "Embedder":
        """An embedder adapted to these texts; itself where there is nothing to adapt."""
        ...

    def __call__(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors [texts, width]; zeros for texts it can say nothing of."""
        ...


@dataclass(frozen=True, slots=True)
class LatentSemantic:
    """The built-in embedder; call `fit` first. `width`: numbers a vector; `sample`: texts the SVD is made from."""

    width: int = WIDTH
    sample: int = _SAMPLE
    seed: int = 0
    weights: Vectors | None = None
    """[buckets, width]: what each hashed word adds, its inverse document frequency included."""

    @property
    def key(self) -> str:
        return f"latent-semantic/1/{self.width}/{self.sample}/{self.seed}"

    def fit(self, texts: Sequence[str]) -> "LatentSemantic":
        """Fits on the texts of smallest hash; memory grows with `sample`, not with the texts."""
        chosen = [texts[i][:LONGEST_TEXT] for i in sample_by_content(texts, self.sample)]
        return LatentSemantic(self.width, self.sample, self.seed, _fitted(chosen, self.width, self.seed))

    def __call__(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors [texts, width]. Raises BadInput before `fit`."""
        if self.weights is None:
            raise BadInput("an embedder was called before it was fitted", next_step="call fit(texts) first")
        out = np.zeros((len(texts), self.width), np.float32)
        for first in range(0, len(texts), _CHUNK_ROWS):
            part = [text[:LONGEST_TEXT] for text in texts[first : first + _CHUNK_ROWS]]
            buckets, counts, starts = _features(part)
            _project(buckets, counts, starts, self.weights, out[first : first + len(part)])
        return out


@dataclass(frozen=True, slots=True)
class SentenceTransformerModel:
    """Any sentence-transformers model, by local folder or hub id (`pip install 'goldsmith[embeddings]'`).

    Remote code in a model's folder is never run. `batch`: texts embedded at once.
    """

    model: str
    device: str = "cpu"
    batch: int = 64

    @property
    def key(self) -> str:
        return f"sentence-transformers/{self.model}"

    def fit(self, texts: Sequence[str]) -> "SentenceTransformerModel":
        """Itself: such a model is fitted already, whatever the texts."""
        del texts
        return self

    def __call__(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors [texts, width]. Raises Unavailable where the extra or the model is missing."""
        loaded = _loaded_model(self.model, self.device)
        out = np.zeros((len(texts), _width_of(loaded)), np.float32)
        for first in range(0, len(texts), _CHUNK_ROWS):
            part = [text[:LONGEST_TEXT] for text in texts[first : first + _CHUNK_ROWS]]
            out[first : first + len(part)] = loaded.encode(
                part, batch_size=self.batch, normalize_embeddings=True, show_progress_bar=False, convert_to_numpy=True
            )
        out[[i for i, text in enumerate(texts) if not text.strip()]] = 0.0
        return out


def embedder(name: str | None = None) -> Embedder:
    """The built-in embedder (None), or the sentence-transformers model at a path or hub id."""
    return LatentSemantic() if name is None else SentenceTransformerModel(name)


def embedded(view: ProjectedRows, column: Column, using: Embedder | None = None) -> Vectors:
    """The vectors of one column [rows, width], computed on first use and kept with the view; read-only.

    Every column of a view is embedded by the same model, fitted on the rows' whole texts (`full`).
    """
    chosen = using if using is not None else LatentSemantic()

    def vectors() -> Vectors:
        fitted = view.shared(("embedder", chosen.key), lambda: chosen.fit(view.columns.full))
        out = fitted(getattr(view.columns, column))
        out.setflags(write=False)
        return out

    return view.shared(("embedded", column, chosen.key), vectors)


def sample_by_content(texts: Sequence[str], most: int) -> list[int]:
    """Positions of up to `most` distinct texts, those of smallest hash, in the order of their hashes.

    Equal collections give equal samples of texts in whatever order they come.
    """
    hashes = np.fromiter(
        (zlib.crc32(text[:LONGEST_TEXT].encode("utf-8", "replace")) for text in texts), np.uint32, len(texts)
    )
    scrambled = (hashes.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)
    _, first = np.unique(scrambled, return_index=True)
    return [int(i) for i in first[:most]]


def _loaded_model(name: str, device: str) -> Any:
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise Unavailable(
            "sentence-transformers is not installed",
            where=f"embedding model {name}",
            next_step="pip install 'goldsmith[embeddings]', or leave the model out to use the built-in embedding",
        ) from error
    try:
        return SentenceTransformer(name, device=device, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise Unavailable(
            "the embedding model could not be loaded",
            where=name,
            found=error,
            next_step="give the folder of a sentence-transformers model, or leave it out for the built-in embedding",
        ) from error


def _width_of(loaded: Any) -> int:
    ask = getattr(loaded, "get_embedding_dimension", None) or loaded.get_sentence_embedding_dimension
    return int(ask())


def _features(texts: Sequence[str]) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.int64]]:
    """Hashed words of each text, ascending and without repeats: bucket, 1 + log(count), and where each text starts."""
    tokens, dense = words_and_spaceless(texts)
    buckets = np.empty(2 * len(tokens.hashes), np.int32)
    counts = np.empty(2 * len(tokens.hashes), np.float32)
    out_starts = np.zeros(len(texts) + 1, np.int64)
    used = _bucket(tokens.hashes, tokens.starts, dense, buckets, counts, out_starts)
    return buckets[:used], counts[:used], out_starts


def _fitted(texts: Sequence[str], width: int, seed: int) -> Vectors:
    """What each bucket adds to a vector [buckets, width]: inverse document frequency x right singular vectors."""
    from scipy.sparse import csr_matrix, diags

    weights = np.zeros((_BUCKETS, width), np.float32)
    buckets, counts, starts = _features(texts)
    seen = np.bincount(buckets, minlength=_BUCKETS)
    # The probabilistic form: a word in half of the texts says nothing.
    weigh = np.maximum(np.log((len(texts) - seen + 0.5) / (seen + 0.5)), 0.0) * (seen > 0)
    if len(texts) < 50:
        weigh = np.log((1.0 + len(texts)) / (1.0 + seen)) + 0.1
    # A word of one text alone relates it to no other.
    known = np.flatnonzero((weigh > 0) & (seen >= (2 if len(texts) >= 50 else 1)))
    everything = csr_matrix((counts * weigh[buckets], buckets, starts), shape=(len(texts), _BUCKETS))
    rows = everything[:, known]
    norms = np.sqrt(np.asarray(rows.multiply(rows).sum(axis=1)).ravel())
    rows = diags(1.0 / np.maximum(norms, 1e-12)) @ rows
    rank = min(width, len(texts), len(known))
    if not rank:
        return weights
    basis = rows @ np.random.default_rng(seed).standard_normal((len(known), min(rank + _EXTRA, len(texts))))
    for _ in range(_POWER_STEPS):
        basis = _orthonormal(rows @ (rows.T @ basis))
    # The SVD of the wide matrix by way of its small Gram matrix: many times cheaper, and exact enough for unit vectors.
    wide = (rows.T @ basis).T
    values, left = np.linalg.eigh(wide @ wide.T)
    right = (left[:, ::-1].T @ wide) / np.sqrt(np.maximum(values[::-1], 1e-12))[:, None]
    rank = min(rank, len(right))
    right = right[:rank] * np.sign(right[np.arange(rank), np.abs(right[:rank]).argmax(axis=1)])[:, None]
    weights[known, :rank] = right.T * weigh[known, None]
    return weights


def _orthonormal(basis: NDArray[np.float64]) -> NDArray[np.float64]:
    """A basis of the same columns' span, by way of their small Gram matrix."""
    values, vectors = np.linalg.eigh(basis.T @ basis)
    kept = values > 1e-12 * max(float(values[-1]), 1e-300)
    out: NDArray[np.float64] = basis @ (vectors[:, kept] / np.sqrt(values[kept]))
    return out


@njit(cache=True, nogil=True)
def _bucket(hashes, starts, dense, buckets, counts, out_starts):  # type: ignore[no-untyped-def]
    used = 0
    for text in range(len(starts) - 1):
        first, last = starts[text], starts[text + 1]
        size = last - first
        pairs = size - 1 if dense[text] and size > 1 else 0
        own = np.empty(size + pairs, np.int32)
        for k in range(size):
            own[k] = hashes[first + k] & np.uint64(_BUCKETS - 1)
        for k in range(pairs):
            value = mix(hashes[first + k] * np.uint64(3) + hashes[first + k + 1])
            own[size + k] = value & np.uint64(_BUCKETS - 1)
        own.sort()
        k = 0
        while k < len(own):
            run = k + 1
            while run < len(own) and own[run] == own[k]:
                run += 1
            buckets[used] = own[k]
            counts[used] = 1.0 + np.log(run - k)
            used += 1
            k = run
        out_starts[text + 1] = used
    return used


@njit(cache=True, nogil=True)
def _project(buckets, counts, starts, weights, out):  # type: ignore[no-untyped-def]
    width = weights.shape[1]
    for text in range(len(starts) - 1):
        row = out[text]
        for k in range(starts[text], starts[text + 1]):
            count = counts[k]
            own = weights[buckets[k]]
            for j in range(width):
                row[j] += count * own[j]
        length = 0.0
        for j in range(width):
            length += row[j] * row[j]
        if length > 1e-18:
            scale = 1.0 / np.sqrt(length)
            for j in range(width):
                row[j] *= scale
