"""Straight-lining and place: annotators who click the same spot in a row, whatever it says."""

from dataclasses import dataclass

import numpy as np

from goldsmith.engines.annotators.panel import Floats, Ints, Panel


@dataclass(frozen=True)
class Runs:
    """Per annotator: the longest run of one choice in time's order, its choices, and `p`: the chance of so long a run
    in as many choices drawn independently with the annotator's own shares (Bonferroni over labels)."""

    longest: Ints
    choices: Ints
    p: Floats


def runs(panel: Panel) -> Runs:
    """Runs of the same position, where votes tell it, else of the same label; in the order of `time`, which is needed.

    An annotator without times has no order: `choices` is then 0 and `p` 1.
    """
    size = len(panel.annotator_names)
    longest, choices, p = np.zeros(size, np.int64), np.zeros(size, np.int64), np.ones(size)
    told: list[list[tuple[str, str, str]]] = [[] for _ in range(size)]
    for vote, annotator in zip(panel.votes, panel.annotators.tolist(), strict=True):
        if vote.time is not None:
            told[annotator].append((vote.time, vote.item, vote.position or vote.label))
    for annotator, own in enumerate(told):
        made = [choice for _, _, choice in sorted(own)]
        if len(made) < 2:
            continue
        choices[annotator] = len(made)
        longest[annotator], p[annotator] = _longest(made)
    return Runs(longest, choices, p)


def _longest(made: list[str]) -> tuple[int, float]:
    names, codes = np.unique(made, return_inverse=True)
    breaks = np.flatnonzero(np.diff(codes)) + 1
    edges = np.concatenate([[0], breaks, [len(codes)]])
    lengths, starts = np.diff(edges), edges[:-1]
    best, p = 1, 1.0
    for code in range(len(names)):
        own = lengths[codes[starts] == code]
        share = float((codes == code).mean())
        length = int(own.max())
        # Expected number of runs that long, each beginning with another choice (or at the start): Poisson bound.
        expected = share**length * (1 + (len(codes) - length) * (1 - share)) if share < 1 else 1.0
        chance = min(1.0, -np.expm1(-expected) * len(names)) if share < 1 else 1.0
        if chance < p or (chance == p and length > best):
            best, p = length, float(chance)
    return max(best, int(lengths.max())) if p == 1.0 else best, p


@dataclass(frozen=True)
class Places:
    """How often each annotator chose the first place: `first` of `placed` votes that name one of the panel's places."""

    first: Ints
    placed: Ints
    names: tuple[str, ...]


def places(panel: Panel) -> Places:
    """Choices of the first place, by the names the votes use ("first", "left" and "1" come before the others)."""
    size = len(panel.annotator_names)
    names = sorted({v.position for v in panel.votes if v.position}, key=lambda n: (n not in _FIRST, n))
    first, placed = np.zeros(size, np.int64), np.zeros(size, np.int64)
    if len(names) == 2:
        for vote, annotator in zip(panel.votes, panel.annotators.tolist(), strict=True):
            if vote.position:
                placed[annotator] += 1
                first[annotator] += vote.position == names[0]
    return Places(first, placed, tuple(names))


_FIRST = ("first", "left", "1", "0", "a", "A")
