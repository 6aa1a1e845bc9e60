"""Whether the data agrees with itself: the same judgment twice, by one annotator (hidden repeats) or by several."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from hashlib import blake2b

from goldsmith.engines.diligence.measures import rounded, unmeasured
from goldsmith.engines.statistics import wilson
from goldsmith.engines.text.projection import ProjectedRows
from goldsmith.types.diligence import Measure

Judgment = tuple[bytes, bool, str | None]
"""What was judged, which way, and by whom."""


def consistency(view: ProjectedRows) -> tuple[Measure, ...]:
    """Repeated judgments that came out the same way. A judgment is a comparison of the same two answers to the same
    prompt, in either order, or a good/bad label of the same answer."""
    by_item: dict[bytes, Counter[bool]] = defaultdict(Counter)
    by_annotator: dict[tuple[bytes, str], Counter[bool]] = defaultdict(Counter)
    judged = 0
    for item, way, annotator in judgments(view):
        judged += 1
        by_item[item][way] += 1
        if annotator:
            by_annotator[item, annotator][way] += 1
    none = "the records hold no comparisons and no labelled answers" if not judged else None
    return (
        agreeing(
            "repeated judgments that agree", list(by_item.values()),
            "of all pairs of records that judge the same thing; the rest contradict each other",
            none or "nothing is judged twice in these records",
        ),
        agreeing(
            "hidden repeats on which an annotator agrees with their own answer", list(by_annotator.values()),
            "the same annotator judging the same thing again",
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
            first, second = sorted((answer, rejected))
            yield key(user, prior, first, second), answer == first, annotator
        elif kind == "rating" and (answer or rejected):
            yield key(user, prior, answer or rejected or "", ""), bool(answer), annotator


def key(*texts: str) -> bytes:
    """Sixteen bytes that stand for these texts; a collision in a billion rows is less likely than a broken disk."""
    state = blake2b(digest_size=16)
    for text in texts:
        data = text.encode("utf-8", "replace")
        state.update(len(data).to_bytes(8, "big"))
        state.update(data)
    return state.digest()


def agreeing(name: str, judged: list[Counter[bool]], told: str, missing: str) -> Measure:
    """Share of agreeing pairs among repeats; the interval counts each repeated item once, as its pairs are not
    independent."""
    repeated = [counts for counts in judged if counts.total() > 1]
    if not repeated:
        return unmeasured(name, missing)
    pairs = sum(n * (n - 1) // 2 for n in (counts.total() for counts in repeated))
    same = sum(n * (n - 1) // 2 for counts in repeated for n in counts.values())
    low, high = wilson(same / pairs * len(repeated), len(repeated))
    return Measure(
        name=name, told=told, value=rounded(same / pairs), low=rounded(low), high=rounded(high), part=same, whole=pairs
    )
