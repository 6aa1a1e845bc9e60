"""Votes as integer codes: what all statistics of annotators work on, made once for all checks."""

import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from goldsmith.engines.text.projection import ProjectedRows
from goldsmith.types.check import Vote

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def sums(codes: Ints, values: Floats, size: int) -> Floats:
    """The sum of `values` for each code from 0 to `size` - 1."""
    return np.bincount(codes, weights=values, minlength=size).astype(np.float64)


@dataclass(frozen=True)
class Panel:
    """Votes [N] as codes into sorted names, in the order of item, annotator, label: the order given does not matter.

    `gold` [items]: the code of the known right label, -1 where there is none (or where votes contradict each other
    about it: `contradictions`). Labels that are all numbers are sorted as numbers, so that codes are ranks.
    """

    votes: tuple[Vote, ...]
    items: Ints
    annotators: Ints
    labels: Ints
    gold: Ints
    item_names: tuple[str, ...]
    annotator_names: tuple[str, ...]
    label_names: tuple[str, ...]
    contradictions: int = 0

    def __len__(self) -> int:
        return len(self.votes)

    @property
    def shape(self) -> tuple[int, int, int]:
        """How many items, annotators and labels there are."""
        return len(self.item_names), len(self.annotator_names), len(self.label_names)

    @cached_property
    def counts(self) -> Ints:
        """Votes for each label [items, labels]."""
        items, _, labels = self.shape
        flat = np.bincount(self.items * labels + self.labels, minlength=items * labels)
        return flat.reshape(items, labels).astype(np.int64)

    @cached_property
    def on_gold(self) -> NDArray[np.bool_]:
        """Which votes [N] are about an item whose right label is known."""
        return self.gold[self.items] >= 0

    @cached_property
    def gold_hits(self) -> tuple[Ints, Ints]:
        """Right gold votes and all gold votes of each annotator."""
        known, size = self.on_gold, len(self.annotator_names)
        right = known & (self.labels == self.gold[self.items])
        return (
            np.bincount(self.annotators[right], minlength=size).astype(np.int64),
            np.bincount(self.annotators[known], minlength=size).astype(np.int64),
        )

    @cached_property
    def label_values(self) -> Floats:
        """The labels as numbers [labels]; their ranks where they are not all numbers."""
        numbers = [_number(name) for name in self.label_names]
        if any(one is None for one in numbers):
            return np.arange(len(numbers), dtype=np.float64)
        return np.array(numbers, np.float64)

    @cached_property
    def texts(self) -> list[str]:
        """What each item says, as far as its votes tell."""
        told = [""] * len(self.item_names)
        for item, vote in zip(self.items.tolist(), self.votes, strict=True):
            if vote.text:
                told[item] = vote.text
        return told

    @cached_property
    def domains(self) -> list[str | None]:
        """The domain each item is said to belong to."""
        told: list[str | None] = [None] * len(self.item_names)
        for item, vote in zip(self.items.tolist(), self.votes, strict=True):
            if vote.domain:
                told[item] = vote.domain
        return told


def panel_of(votes: Sequence[Vote]) -> Panel:
    """The votes coded. An annotator's second vote for an item counts too, if it differs in any field from the first."""
    kept = sorted(set(votes), key=lambda v: (v.item, v.annotator, v.label, v.time or "", v.line or 0))
    labels = {vote.label for vote in kept} | {vote.gold for vote in kept if vote.gold is not None}
    label_names = tuple(sorted(labels, key=_rank))
    item_names = tuple(sorted({vote.item for vote in kept}))
    annotator_names = tuple(sorted({vote.annotator for vote in kept}))
    code_l = {name: code for code, name in enumerate(label_names)}
    code_i = {name: code for code, name in enumerate(item_names)}
    code_a = {name: code for code, name in enumerate(annotator_names)}
    gold = np.full(len(item_names), -1, np.int64)
    clashes: set[int] = set()
    for vote in kept:
        if vote.gold is not None:
            item, right = code_i[vote.item], code_l[vote.gold]
            if gold[item] not in (-1, right):
                clashes.add(item)
            gold[item] = right
    gold[list(clashes)] = -1
    return Panel(
        tuple(kept),
        np.array([code_i[v.item] for v in kept], np.int64),
        np.array([code_a[v.annotator] for v in kept], np.int64),
        np.array([code_l[v.label] for v in kept], np.int64),
        gold,
        item_names,
        annotator_names,
        label_names,
        len(clashes),
    )


def _number(name: str) -> float | None:
    try:
        value = float(name)
    except ValueError:
        return None
    return value if np.isfinite(value) else None


def _rank(name: str) -> tuple[int, float, str]:
    value = _number(name)
    return (1, 0.0, name) if value is None else (0, value, name)


_LAST: "weakref.WeakKeyDictionary[ProjectedRows, tuple[Sequence[Vote], Panel]]" = weakref.WeakKeyDictionary()


def panel_for(rows: ProjectedRows, votes: Sequence[Vote]) -> Panel:
    """The panel of the votes given and of those in the rows; kept for the other checks of the same rows."""
    known = _LAST.get(rows)
    if known is not None and known[0] is votes:
        return known[1]
    made = panel_of([*votes, *votes_in(rows)])
    _LAST[rows] = (votes, made)
    return made


def votes_in(rows: ProjectedRows) -> list[Vote]:
    """Votes that the rows themselves are: ratings and comparisons whose origin names an annotator.

    The item is what was judged (prompt and answer, or prompt and both answers in either order), the label the
    judgement; items that one annotator alone judged are left out, since nothing can be said about them.
    """
    judged: dict[tuple[str, ...], list[tuple[int, str, str]]] = {}
    columns, annotators = rows.columns, rows.origins.annotator
    for index, (kind, annotator) in enumerate(zip(columns.kind, annotators, strict=True)):
        if annotator is None or kind not in ("rating", "comparison"):
            continue
        answer, rejected = columns.answer[index], columns.rejected[index]
        prompt = f"{columns.prior[index]}\n{columns.user[index]}"
        if kind == "comparison":
            first, second = sorted((answer, rejected or ""))
            label = "first" if answer == first else "second"
            judged.setdefault((prompt, first, second), []).append((index, annotator, label))
        else:
            label = "good" if rejected is None else "bad"
            judged.setdefault((prompt, rejected or answer), []).append((index, annotator, label))
    found = []
    for key, told in judged.items():
        if len({annotator for _, annotator, _ in told}) < 2:
            continue
        item = f"rows that judge line {min(int(rows.lines[index]) for index, _, _ in told)}"
        for index, annotator, label in told:
            domain, line = rows.origins.domain[index] or _source(rows, index), int(rows.lines[index])
            if key and columns.kind[index] == "rating":
                label = _rated(rows, index, label)
            found.append(Vote(item, annotator, label, domain=domain, text=columns.user[index][:2000], line=line))
    return found


def _source(rows: ProjectedRows, index: int) -> str:
    return rows.groups.names[int(rows.groups.of_row[index])][0]


def _rated(rows: ProjectedRows, index: int, label: str) -> str:
    """The score where the rating has one; the projection knows good from bad only."""
    content = rows[index].record.content
    score = getattr(content, "score", None)
    return score if getattr(content, "label", None) is None and score is not None else label
