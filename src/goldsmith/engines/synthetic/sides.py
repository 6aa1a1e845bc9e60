"""Which rows stand for people and which for a model, and fair samples of both.

Real: maker human, or rows of a trusted source whose maker is not stated. Synthetic: maker model or mixed, by source x
batch. Samples hold one row a prompt and depend on what the rows say, not on where they stand.
"""

import hashlib
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from goldsmith.engines.text.projection import Columns, ProjectedRows
from goldsmith.types.record import Maker

T = TypeVar("T")
FEWEST_HUMAN, FEWEST_SYNTHETIC = 100, 40
"""Rows with prompts of their own below which nothing is tested: half of the human rows are the yardstick, and either
side is dealt into ten blocks."""
MOST_HUMAN, MOST_SYNTHETIC = 2000, 1000
MOST_UNITS = 24
_LONGEST_ANSWER, _LONGEST_PROMPT = 1500, 500


@dataclass(frozen=True, slots=True)
class Sample:
    """Rows of one side in the order of their prompts' hashes. `prompt_keys` [rows]: equal prompts have equal keys."""

    rows: NDArray[np.int64]
    prompt_keys: NDArray[np.uint64]
    prompts: tuple[str, ...]
    answers: tuple[str, ...]
    _known: dict[Hashable, Any] = field(default_factory=dict, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, places: NDArray[np.int64]) -> "Sample":
        """The rows at these places."""
        at = places.tolist()
        return Sample(
            self.rows[places],
            self.prompt_keys[places],
            tuple(self.prompts[i] for i in at),
            tuple(self.answers[i] for i in at),
        )

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """What `make` gives of these rows, computed once: many units are held against the same human rows."""
        if key not in self._known:
            self._known[key] = make()
        found: T = self._known[key]
        return found

    def wholes(self) -> list[str]:
        """Prompt and answer of each row."""
        return [f"{prompt}\n{answer}" for prompt, answer in zip(self.prompts, self.answers, strict=True)]


@dataclass(frozen=True, slots=True)
class Unit:
    """Synthetic rows that are judged together: one source x batch, or a whole source (`batch` None) where there are
    too many batches.
    """

    source: str
    batch: str | None
    rows: NDArray[np.int64]

    @property
    def name(self) -> str:
        return self.source if self.batch is None else f"{self.source} / {self.batch}"


@dataclass(frozen=True, slots=True)
class Sides:
    """The human rows and the synthetic units, largest first where not all can be tested (`untested` names the rest)."""

    human: NDArray[np.int64]
    units: tuple[Unit, ...]
    untested: tuple[str, ...]


def sides_of(view: ProjectedRows, trusted: frozenset[str]) -> Sides:
    """Who made which rows."""
    makers = view.origins.maker
    groups = view.groups
    trusted_group = np.array([source in trusted for source, _ in groups.names], bool)
    synthetic = np.fromiter((m is Maker.MODEL or m is Maker.MIXED for m in makers), bool, len(makers))
    human = np.fromiter((m is Maker.HUMAN for m in makers), bool, len(makers))
    unknown = ~synthetic & ~human
    if len(groups.names):
        human |= unknown & trusted_group[groups.of_row]
    rows = np.flatnonzero(synthetic)
    units = _units(view, rows, by_batch=True)
    if len(units) > MOST_UNITS:
        units = _units(view, rows, by_batch=False)
    units = sorted(units, key=lambda u: (-len(u.rows), u.source, u.batch or ""))
    tested = sorted(units[:MOST_UNITS], key=lambda u: (u.source, u.batch or ""))
    return Sides(np.flatnonzero(human), tuple(tested), tuple(u.name for u in units[MOST_UNITS:]))


def _units(view: ProjectedRows, rows: NDArray[np.int64], *, by_batch: bool) -> list[Unit]:
    groups = view.groups
    if by_batch:
        keys: list[tuple[str, str | None]] = list(groups.names)
        of_row = groups.of_row[rows]
    else:
        keys = [(source, None) for source in groups.sources]
        of_row = groups.source_of_row()[rows]
    return [Unit(keys[number][0], keys[number][1], rows[of_row == number]) for number in np.unique(of_row).tolist()]


def answer_of(columns: Columns, index: int) -> str:
    """What would be learnt: the answer's text, or its calls where it has none."""
    text = columns.answer[index]
    if text.strip():
        return text[:_LONGEST_ANSWER]
    calls = "\n".join(f"{call.name} {call.arguments}" for call in columns.calls[index])
    return (calls or columns.rejected[index] or "")[:_LONGEST_ANSWER]


def sample(view: ProjectedRows, rows: NDArray[np.int64], most: int) -> Sample:
    """At most `most` of the rows: of each prompt one, those of smallest hash. Where most rows share a prompt (a task
    given once and answered often) each different row counts.
    """
    columns, at = view.columns, rows
    keys = view.shared("prompt keys", lambda: _prompt_keys(columns))[at]
    distinct = np.unique(keys)
    if 4 * most < len(distinct) >= 0.5 * len(at):
        near = np.flatnonzero(keys <= distinct[2 * most])  # the whole texts of the others need not be read
        at, keys = at[near], keys[near]
    known = view.shared("whole keys", lambda: np.zeros(len(view), np.uint64))
    for i in at[known[at] == 0].tolist():
        known[i] = _key(columns.full[i])
    whole = known[at]
    if len(np.unique(keys)) < 0.5 * len(np.unique(whole)):
        keys = whole
    order = np.lexsort((whole, keys))
    first = np.ones(len(order), bool)
    first[1:] = keys[order][1:] != keys[order][:-1]
    chosen = order[first][:most]
    picked = at[chosen]
    ascending = np.sort(picked).tolist()  # a column on the disk is read in its order
    prompts = {i: columns.user[i][:_LONGEST_PROMPT] for i in ascending}
    answers = {i: answer_of(columns, i) for i in ascending}
    order = picked.tolist()
    return Sample(picked, keys[chosen], tuple(prompts[i] for i in order), tuple(answers[i] for i in order))


def _prompt_keys(columns: Columns) -> NDArray[np.uint64]:
    """The key of each row's prompt, or of the whole row where it has none [rows]."""
    prompts = enumerate(columns.user)
    return np.fromiter((_key(prompt or columns.full[i]) for i, prompt in prompts), np.uint64, len(columns))


def halves(human: Sample) -> tuple[Sample, Sample]:
    """The yardstick, and the rows that stand beside the synthetic ones: a bit of the prompt's hash decides."""
    beside = _beside(human)
    return human.take(np.flatnonzero(~beside)), human.take(np.flatnonzero(beside))


def apart(one: Sample, human: Sample) -> Sample:
    """A sample that answers prompts of the human rows, cut down to those that cannot be in the yardstick.

    Both sides then hold a prompt by the same rule, however often it is answered. A sample with prompts of its own (at
    most one in twenty shared), and one that would become too small, stays whole.
    """
    shared = float(np.isin(one.prompt_keys, human.prompt_keys).mean()) if len(one) else 0.0
    free = np.flatnonzero(_beside(one))
    return one.take(free) if shared > 0.05 and len(free) >= FEWEST_SYNTHETIC else one


def _beside(one: Sample) -> NDArray[np.bool_]:
    return np.asarray((one.prompt_keys >> np.uint64(21)) & np.uint64(1) == 1)


def _key(text: str) -> int:
    """64 bits of a text that tell nothing of it: with a weaker hash like texts lie near each other in the order, which
    makes blocks more alike than chance and p-values too small.
    """
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest(), "little")
