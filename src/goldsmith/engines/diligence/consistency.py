"""Whether the data agrees with itself: the same judgment twice, by one annotator (hidden repeats) or by several."""

from array import array
from collections.abc import Iterator
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from goldsmith.engines.diligence.measures import rounded, unmeasured
from goldsmith.engines.statistics import wilson
from goldsmith.engines.text.projection import ProjectedRows
from goldsmith.types.diligence import Measure

Judgment = tuple[int, bool, int | None]
"""What was judged, which way, and the same with its annotator, where one is named."""
Keys = NDArray[np.uint64]


def consistency(view: ProjectedRows) -> tuple[Measure, ...]:
    """Repeated judgments that came out the same way. A judgment is a comparison of the same two answers to the same
    prompt, in either order, or a good/bad label of the same answer. Seventeen bytes are kept of each."""
    items, own, ways, own_ways = array("Q"), array("Q"), array("b"), array("b")
    for item, way, with_annotator in judgments(view):
        items.append(item)
        ways.append(way)
        if with_annotator is not None:
            own.append(with_annotator)
            own_ways.append(way)
    none = None if len(items) else "the records hold no comparisons and no labelled answers"
    return (
        agreeing(
            "repeated judgments that agree", np.array(items, np.uint64), np.array(ways, np.bool_),
            "of all pairs of records that judge the same thing; the rest contradict each other",
            none or "nothing is judged twice in these records",
        ),
        agreeing(
            "hidden repeats on which an annotator agrees with their own answer",
            np.array(own, np.uint64), np.array(own_ways, np.bool_), "the same annotator judging the same thing again",
            none or "no record names an annotator who judged the same thing twice",
        ),
    )  # fmt: skip


def judgments(view: ProjectedRows) -> Iterator[Judgment]:
    """Every comparison and every labelled answer of the rows."""
    columns = view.columns
    for kind, user, prior, answer, rejected, annotator in zip(
        columns.kind, columns.user, columns.prior, columns.answer, columns.rejected, view.origins.annotator, strict=True
    ):
        if kind == "comparison" and rejected is not None and answer != rejected:
            told = (user, prior, *sorted((answer, rejected)))
            way = answer < rejected
        elif kind == "rating" and (answer or rejected):
            told, way = (user, prior, answer or rejected or ""), bool(answer)
        else:
            continue
        yield key(*told), way, key(*told, "by", annotator) if annotator else None


def key(*texts: str) -> int:
    """Sixty-four bits that stand for these texts: among a million, two others share theirs once in 37 million tries."""
    state = blake2b(digest_size=8)
    for text in texts:
        data = text.encode("utf-8", "replace")
        state.update(len(data).to_bytes(8, "big"))
        state.update(data)
    return int.from_bytes(state.digest(), "big")


def agreeing(name: str, keys: Keys, ways: NDArray[np.bool_], told: str, missing: str) -> Measure:
    """Share of agreeing pairs among repeats; the interval counts each repeated item once, as its pairs are not
    independent."""
    _, place = np.unique(keys, return_inverse=True)
    one = np.bincount(place, weights=ways).astype(np.int64)
    other = np.bincount(place).astype(np.int64) - one
    repeated = int(((one + other) > 1).sum())
    if not repeated:
        return unmeasured(name, missing)
    pairs = int(((one + other) * (one + other - 1) // 2).sum())
    same = int((one * (one - 1) // 2 + other * (other - 1) // 2).sum())
    low, high = wilson(same / pairs * repeated, repeated)
    return Measure(
        name=name, told=told, value=rounded(same / pairs), low=rounded(low), high=rounded(high), part=same, whole=pairs
    )
