"""Annotators' votes: accuracy on gold items and against the adjudicated label, agreement, and hidden repeats."""

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from goldsmith.engines.annotators.agreement import ac_interval, alpha_interval
from goldsmith.engines.annotators.panel import panel_of
from goldsmith.engines.diligence.measures import mean_share, rounded, share, unmeasured
from goldsmith.engines.text.evidence import quote
from goldsmith.engines.text.projection import ProjectedRows
from goldsmith.types.check import Vote
from goldsmith.types.diligence import Agreement, Annotator, Measure
from goldsmith.types.errors import Inconclusive

LISTED = 60
NONE = "no votes were given"
ALPHA, AC1 = "Krippendorff’s alpha", "Gwet’s AC1"
COEFFICIENTS = (ALPHA, AC1)


def accuracy(votes: Sequence[Vote]) -> tuple[Measure, ...]:
    """Votes on gold items that are right, and votes that equal the label their item ends up with."""
    gold = [vote for vote in votes if vote.gold is not None]
    against, clusters = adjudicated(votes)
    return (
        mean_share(
            "votes on gold items that are right",
            [float(vote.label == vote.gold) for vote in gold], [vote.annotator for vote in gold],
            "items whose right label was known beforehand; the interval counts annotators, not votes",
            missing="no gold items were given" if votes else NONE,
        ),
        mean_share(
            "votes that equal the adjudicated label", against, clusters,
            "gold where there is any, else what the other voters on the item chose most",
            missing="no item has gold or three votes without a tie" if votes else NONE,
        ),
    )  # fmt: skip


def adjudicated(votes: Sequence[Vote]) -> tuple[list[float], list[str]]:
    """For each vote that can be held against an adjudicated label whether it is that label, and its item.

    A vote never adjudicates itself: without gold, the label is the one that most of the *others* chose (two at least,
    no tie).
    """
    by_item: dict[str, list[Vote]] = defaultdict(list)
    for vote in votes:
        by_item[vote.item].append(vote)
    right: list[float] = []
    items: list[str] = []
    for item, members in sorted(by_item.items()):
        counts = Counter(vote.label for vote in members)
        for vote in members:
            others = (counts - Counter([vote.label])).most_common(2)
            enough = len(members) > 2 and (len(others) == 1 or others[0][1] > others[1][1])
            label = vote.gold if vote.gold is not None else others[0][0] if enough else None
            if label is not None:
                right.append(float(vote.label == label))
                items.append(item)
    return right, items


def repeats(votes: Sequence[Vote]) -> Measure:
    """How often an annotator who met an item again gave the same label."""
    again: dict[tuple[str, str], list[str]] = defaultdict(list)
    for vote in votes:
        again[vote.repeat or vote.item, vote.annotator].append(vote.label)
    pairs = [float(labels[0] == later) for labels in again.values() for later in labels[1:]]
    owners = [annotator for (_, annotator), labels in again.items() for _ in labels[1:]]
    return mean_share(
        "hidden repeats that got the same vote again", pairs, owners, "one annotator meeting one item again",
        missing="no annotator voted on the same item twice" if votes else NONE,
    )  # fmt: skip


def by_source(votes: Sequence[Vote], view: ProjectedRows) -> tuple[Measure, ...]:
    """Raw agreement of the votes on each source's records, where votes say which line of the file they are about."""
    linked = [vote for vote in votes if vote.line is not None]
    if not linked or len(np.unique(view.lines)) != len(view):
        return ()
    order = np.argsort(view.lines)
    groups: dict[str, dict[str, list[Vote]]] = defaultdict(lambda: defaultdict(list))
    places = np.searchsorted(view.lines, np.array([vote.line for vote in linked], np.int64), sorter=order).tolist()
    for vote, place in zip(linked, places, strict=True):
        if place < len(order) and view.lines[order[place]] == vote.line:
            source = view.groups.names[int(view.groups.of_row[order[place]])][0]
            groups[source][vote.item].append(vote)
    out = []
    for source, by_item in sorted(groups.items()):
        same, items, _ = pair_agreement(by_item)
        missing = "no item of this source was seen by two annotators"
        out.append(mean_share(quote(source, 60), same, items, f"{len(by_item):,} items", missing=missing))
    return tuple(out)


def agreement(votes: Sequence[Vote], view: ProjectedRows) -> Agreement:
    """Everything told about the votes."""
    if not votes:
        return Agreement(told=f"not measured: {NONE}")
    by_item: dict[str, list[Vote]] = defaultdict(list)
    by_annotator: dict[str, list[Vote]] = defaultdict(list)
    for vote in votes:
        by_item[vote.item].append(vote)
        by_annotator[vote.annotator].append(vote)
    same, clusters, own = pair_agreement(by_item)
    listed = sorted(by_annotator, key=lambda name: (-len(by_annotator[name]), name))
    overlap = len([1 for members in by_item.values() if len({vote.annotator for vote in members}) > 1])
    return Agreement(
        told=f"{overlap:,} of {len(by_item):,} items were seen by more than one annotator",
        votes=len(votes),
        items=len(by_item),
        annotators=tuple(_annotator(name, by_annotator[name], own.get(name, [])) for name in listed[:LISTED]),
        unlisted=max(0, len(listed) - LISTED),
        by_source=by_source(votes, view),
        overall=(
            mean_share(
                "votes of two annotators on one item that agree", same, clusters, "raw agreement, chance included",
                missing="no item was seen by two annotators",
            ),
            *beyond_chance(votes),
        ),
    )  # fmt: skip


def beyond_chance(votes: Sequence[Vote]) -> tuple[Measure, ...]:
    """Krippendorff's alpha and Gwet's AC1, side by side: where a label is rare, alpha is low although most votes
    agree."""
    counts = panel_of([vote for vote in votes if not vote.repeat]).counts
    told = (
        (ALPHA, alpha_interval, "0 is chance, 1 perfect; by custom firm from 0.8 on, and no ground below 0.667"),
        (AC1, ac_interval, "0 is chance, 1 perfect; keeps its meaning where one label is rare"),
    )
    out = []
    for name, interval, meaning in told:
        try:
            found = interval(counts)
        except Inconclusive as reason:
            out.append(unmeasured(name, reason.what))
            continue
        low, high = rounded(found.low), rounded(found.high)
        out.append(Measure(name=name, told=meaning, value=rounded(found.value), low=low, high=high))
    return tuple(out)


def pair_agreement(by_item: dict[str, list[Vote]]) -> tuple[list[float], list[str], dict[str, list[tuple[float, str]]]]:
    """For each item that several annotators saw the share of their pairs that agree; the same for each annotator."""
    values: list[float] = []
    items: list[str] = []
    own: dict[str, list[tuple[float, str]]] = defaultdict(list)
    for item, members in sorted(by_item.items()):
        first = {vote.annotator: vote.label for vote in reversed(members)}
        if len(first) < 2:
            continue
        counts = Counter(first.values())
        pairs = len(first) * (len(first) - 1) / 2
        values.append(sum(n * (n - 1) / 2 for n in counts.values()) / pairs)
        items.append(item)
        for annotator, label in first.items():
            own[annotator].append(((counts[label] - 1) / (len(first) - 1), item))
    return values, items, own


def _annotator(name: str, votes: Sequence[Vote], own: Sequence[tuple[float, str]]) -> Annotator:
    gold = [vote for vote in votes if vote.gold is not None]
    right = sum(vote.label == vote.gold for vote in gold)
    agree = mean_share(
        "agreement with the others", [value for value, _ in own], [item for _, item in own], "on the same items",
        missing="nobody else saw the same items",
    )  # fmt: skip
    known = share("gold items right", right, len(gold), "of those this annotator saw", missing="no gold items")
    return Annotator(name=quote(name, 40), votes=len(votes), gold=known, agreement=agree)
