"""Where the records lie: a map on which those that speak alike are neighbours, and the topics they fall into."""

import math
import re
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from goldsmith.engines.diligence.sample import Sample
from goldsmith.engines.text.projection import ProjectedRows
from goldsmith.types.diligence import Map, Point, Topic

State = Literal["", "above", "warn", "exclude", "quarantine"]
ON_MAP, MARKED, TOPICS, WORDS = 1200, 400, 12, 4
LEAST = 12
_WORD = re.compile(r"[^\W\d_]{3,}")
_RANK = ("", "above", "warn", "exclude", "quarantine")


def draw_map(view: ProjectedRows, sample: Sample, states: Mapping[int, State]) -> Map:
    """At most 1,200 sampled records. `states`: marked positions of the view; they are preferred.

    Neighbours by t-SNE (van der Maaten and Hinton 2008) of the sample's vectors, from a fixed start; below 60 records
    the two main directions.
    """
    if len(sample) < LEAST:
        return Map(
            told=f"no map: {len(sample)} records are too few to show neighbours ({LEAST} at least)", of=sample.of
        )
    marked = [i for i, row in enumerate(sample.rows.tolist()) if states.get(row, "")]
    plain = np.setdiff1d(np.arange(len(sample)), marked)
    chosen = np.sort(np.concatenate([spread(np.array(marked, np.int64), MARKED), spread(plain, ON_MAP - MARKED)]))
    places, how = flat(sample.vectors[chosen])
    points = [
        Point(
            x=int(x), y=int(y), unit=int(sample.unit[i]), line=int(view.lines[sample.rows[i]]),
            state=states.get(int(sample.rows[i]), ""),
        )
        for i, (x, y) in zip(chosen.tolist(), places.tolist(), strict=True)
    ]  # fmt: skip
    points.sort(key=lambda point: (_RANK.index(point.state), point.unit, point.line, point.x, point.y))
    told = f"{len(points):,} of {sample.of:,} records; {how}. Distances between far groups mean nothing."
    return Map(told=told, points=tuple(points), of=sample.of)


def spread(indices: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """At most so many of the indices, evenly through them."""
    if len(indices) <= most:
        return indices
    return indices[np.linspace(0, len(indices) - 1, most).round().astype(np.int64)]


def flat(vectors: NDArray[np.float32]) -> tuple[NDArray[np.int64], str]:
    """Two coordinates of 0..1000 for each vector, and how they were made."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        centred = vectors.astype(np.float64) - vectors.mean(axis=0)
        _, _, right = np.linalg.svd(centred, full_matrices=False)
        right = right[:2] * np.sign(right[np.arange(min(2, len(right))), np.abs(right[:2]).argmax(axis=1)])[:, None]
        places = np.zeros((len(vectors), 2))
        places[:, : len(right)] = centred @ right.T
        how = "by the two main directions of their vectors"
        if len(vectors) >= 60 and float(np.ptp(places)) > 0:
            from sklearn.manifold import TSNE

            start = places / max(float(places[:, 0].std()), 1e-12) * 1e-4
            layout = TSNE(perplexity=30, init=np.round(start, 9), random_state=0, max_iter=500, n_jobs=1)
            places = layout.fit_transform(np.round(centred, 6))
            how = "near each other where they use the same words (t-SNE)"
    low, high = places.min(axis=0), places.max(axis=0)
    scaled = (places - low) / np.maximum(high - low, 1e-12) * 1000
    return np.round(scaled).astype(np.int64), how


def find_topics(view: ProjectedRows, sample: Sample, units: int) -> tuple[tuple[Topic, ...], str]:
    """Up to twelve clusters of the sampled records (k-means on their vectors), each with the words of its own."""
    if len(sample) < 5 * TOPICS:
        return (), f"no topics: {len(sample)} records are too few to cluster ({5 * TOPICS} at least)"
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fewer distinct texts than clusters: then there are fewer clusters
        labels = KMeans(TOPICS, n_init=1, random_state=0, max_iter=60).fit_predict(np.round(sample.vectors, 6))
    texts = [view.columns.user[int(i)] or view.columns.answer[int(i)] for i in sample.rows]
    sizes = [int((labels == cluster).sum()) for cluster in range(TOPICS)]
    described = characteristic([Counter(_of(texts, labels, cluster)) for cluster in range(TOPICS)], sizes)
    topics = []
    for cluster in range(TOPICS):
        members = sample.unit[labels == cluster]
        if len(members):
            counts = np.bincount(members, minlength=units)
            topics.append(Topic(words=described[cluster], by_unit=tuple(int(n) for n in counts)))
    topics.sort(key=lambda topic: (-sum(topic.by_unit), topic.words))
    return tuple(topics), f"{len(sample):,} of {sample.of:,} records in {len(topics)} clusters of similar wording"


def _of(texts: Sequence[str], labels: NDArray[np.int64], cluster: int) -> list[str]:
    members = np.flatnonzero(labels == cluster).tolist()
    return [word for i in members for word in sorted(set(_WORD.findall(texts[i][:2000].lower())))]


def characteristic(counts: Sequence[Counter[str]], sizes: Sequence[int]) -> list[tuple[str, ...]]:
    """For each cluster the words that set it apart: its share of texts with the word, times the logarithm of how many
    times the others' share that is. `counts`: texts of each cluster that hold a word; `sizes`: its texts."""
    total: Counter[str] = Counter()
    for one in counts:
        total.update(one)
    whole = sum(sizes)
    described = []
    for one, size in zip(counts, sizes, strict=True):
        weights = []
        for word, n in one.items():
            there = (total[word] - n + 0.5) / (whole - size + 0.5)
            if n > 1 and n / size > there:
                weights.append((n / size * math.log(n / size / there), word))
        scored = sorted(weights, key=lambda item: (-round(item[0], 9), item[1]))
        described.append(tuple(word[:24] for _, word in scored[:WORDS]))
    return described
