"""All tests of all synthetic units together: computed once for a view, with one family-wise error for the battery."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from goldsmith.engines.multiplicity import holm
from goldsmith.engines.synthetic import copies, groups, measures
from goldsmith.engines.synthetic.anchor import Anchor, Reading, anchor_of
from goldsmith.engines.synthetic.measures import Measure
from goldsmith.engines.synthetic.preferences import Comparisons, preference_measures
from goldsmith.engines.synthetic.sides import (
    FEWEST_HUMAN,
    FEWEST_SYNTHETIC,
    MOST_HUMAN,
    MOST_SYNTHETIC,
    Sample,
    Sides,
    Unit,
    apart,
    sample,
    sides_of,
)
from goldsmith.engines.text.projection import ProjectedRows, project
from goldsmith.types.check import CheckContext

_MOST_IN_ALL = 4000
_MOST_BEFORE = 600
_MOST_ORIGINALS = 20_000
_MOST_PAIRS = 2000


@dataclass(frozen=True, slots=True)
class Tested:
    """One unit's measures; `adjusted[k]` is the p-value of measure k after Holm over the whole battery."""

    unit: Unit
    synthetic_rows: int
    human_rows: int
    measures: tuple[Measure, ...]
    adjusted: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Battery:
    """`reason` says why nothing could be tested at all; `skipped`: why not some unit."""

    sides: Sides
    tested: tuple[Tested, ...] = ()
    skipped: tuple[str, ...] = ()
    reason: str | None = None


def battery(view: ProjectedRows, context: CheckContext) -> Battery:
    """The battery of these rows, computed for the first check that asks."""
    key = ("synthetic battery", context.trusted_sources, id(context.previous))
    return view.shared(key, lambda: _battery(view, context))


def _battery(view: ProjectedRows, context: CheckContext) -> Battery:
    sides = view.shared(("sides", context.trusted_sources), lambda: sides_of(view, context.trusted_sources))
    if not sides.units:
        return Battery(sides)
    human = _Human(view, sides.human, context)
    skipped = [f"{name}: only the {len(sides.units)} largest are tested" for name in sides.untested]
    most = min(MOST_SYNTHETIC, max(200, _MOST_IN_ALL // len(sides.units)))
    found: list[tuple[Unit, int, int, list[Measure]]] = []
    for unit in sides.units:
        own = sample(view, unit.rows, most)
        if len(own) < FEWEST_SYNTHETIC:
            skipped.append(f"{unit.name}: {len(own)} rows with prompts of their own ({FEWEST_SYNTHETIC} at least)")
            continue
        anchor_rows = human.rows_like(unit)
        anchor = human.anchor(anchor_rows)
        if anchor is None:
            continue
        own = apart(own, human.all_of(anchor_rows))
        said = list(_measures(view, human, anchor, anchor_rows, own, unit))
        found.append((unit, len(own), len(anchor.yardstick) + len(anchor.beside), said))
    reason = None
    if not found and (human.few(sides.human) or human.anchor(sides.human) is None):
        reason = (
            f"{human.size(sides.human)} human rows with prompts of their own are no anchor for "
            f"{sum(len(u.rows) for u in sides.units)} synthetic ones "
            f"({FEWEST_HUMAN} at least: maker human, or a trusted source)"
        )
    found += _since(view, context, sides, most)
    return Battery(sides, _adjusted(found), tuple(skipped), reason)


def _adjusted(found: list[tuple[Unit, int, int, list[Measure]]]) -> tuple[Tested, ...]:
    p_values = holm([measure.p_value for *_, said in found for measure in said])
    tested, at = [], 0
    for unit, rows, human_rows, said in found:
        tested.append(Tested(unit, rows, human_rows, tuple(said), tuple(p_values[at : at + len(said)])))
        at += len(said)
    return tuple(tested)


def _measures(
    view: ProjectedRows, human: "_Human", anchor: Anchor, anchor_rows: NDArray[np.int64], own: Sample, unit: Unit
) -> Iterator[Measure]:
    reading = anchor.read(own)
    yield from measures.fidelity(anchor, reading)
    yield from measures.utility(anchor, reading)
    yield from measures.memorisation(anchor, reading)
    texts, sketched = human.originals(anchor_rows, anchor)
    yield from copies.near_copies(texts, sketched, anchor.beside.sample.answers, own.answers)
    yield from measures.coverage_and_diversity(anchor, reading)
    yield from groups.bias(anchor.beside.sample, own)
    yield from measures.drift(anchor, reading)
    yield from human.membership(anchor, reading)
    yield from groups.rare_slices(human.slices(anchor.beside.sample), groups.slices(view.columns, own))
    yield from preference_measures(human.pairs(anchor_rows), _first_by_key(view, unit.rows, _MOST_PAIRS))


def _since(
    view: ProjectedRows, context: CheckContext, sides: Sides, most: int
) -> Iterator[tuple[Unit, int, int, list[Measure]]]:
    """Drift of each unit against the batch before it, and against its source's rows in the release before this one."""
    before: dict[str, Unit] = {}
    previous = project(context.previous) if context.previous else None
    earlier = {unit.source: unit for unit in sides_of(previous, frozenset()).units} if previous is not None else {}
    if previous is not None:
        by_source: dict[str, list[NDArray[np.int64]]] = {}
        for unit in sides_of(previous, frozenset()).units:
            by_source.setdefault(unit.source, []).append(unit.rows)
        earlier = {source: Unit(source, None, np.concatenate(rows)) for source, rows in by_source.items()}
    most = min(most, _MOST_BEFORE // 2)
    for unit in sides.units:
        own = sample(view, unit.rows, most)
        for where, reference, rows in (
            ("the batch before", view, before.get(unit.source)),
            ("the release before", previous, earlier.get(unit.source)),
        ):
            if rows is None or reference is None or len(own) < FEWEST_SYNTHETIC:
                continue
            old = sample(reference, rows.rows, 2 * most)
            if len(old) < FEWEST_HUMAN:
                continue
            anchor = anchor_of(old)
            if min(len(anchor.yardstick), len(anchor.beside)) < FEWEST_SYNTHETIC:
                continue
            new = apart(own, old)
            yield unit, len(new), len(old), list(_moved(anchor, anchor.read(new), f"{where} ({rows.name})"))
        before[unit.source] = unit


def _moved(anchor: Anchor, new: Reading, where: str) -> Iterator[Measure]:
    auc, p_value = measures.domain_auc(anchor, new)
    yield Measure("drift_before", "classifier_auc", auc, p_value, f"against {where}: classifier AUC {auc:.3f}")
    for one in measures.drift(anchor, new, "drift_before"):
        yield Measure(one.test, one.name, one.size, one.p_value, f"against {where}: {one.said}")


class _Human:
    """The human rows, sampled and read once for each kind of unit that asks (its language and domain)."""

    def __init__(self, view: ProjectedRows, rows: NDArray[np.int64], context: CheckContext) -> None:
        self._view = view
        self._context = context
        self._all = rows
        self._anchors: dict[int, Anchor | None] = {}
        self._samples: dict[int, Sample] = {}
        self._originals: dict[int, tuple[list[str], NDArray[np.uint64]]] = {}
        self._slices: dict[int, NDArray[np.bool_]] = {}
        self._pairs: dict[int, Comparisons] = {}
        self._told = list(view.origins.language), list(view.origins.domain)
        self._members: tuple[Sequence[str], Sequence[str]] | None = None
        self._like: dict[tuple[str | None, str | None], NDArray[np.int64]] = {}

    def rows_like(self, unit: Unit) -> NDArray[np.int64]:
        """Human rows of the unit's language and domain where it states them and there are enough, else of its
        language, else all.
        """
        languages, domains = self._told
        language = _common([languages[i] for i in unit.rows.tolist()])
        domain = _common([domains[i] for i in unit.rows.tolist()])
        for wanted in ((language, domain), (language, None)):
            if wanted == (None, None):
                continue
            if wanted not in self._like:
                self._like[wanted] = np.array(
                    [
                        i
                        for i in self._all.tolist()
                        if wanted[0] in (None, languages[i]) and wanted[1] in (None, domains[i])
                    ],
                    np.int64,
                )
            if not self.few(self._like[wanted]):
                return self._like[wanted]
        return self._all

    def all_of(self, rows: NDArray[np.int64]) -> Sample:
        if id(rows) not in self._samples:
            self._samples[id(rows)] = sample(self._view, rows, MOST_HUMAN)
        return self._samples[id(rows)]

    def size(self, rows: NDArray[np.int64]) -> int:
        return len(self.all_of(rows))

    def few(self, rows: NDArray[np.int64]) -> bool:
        return len(rows) < FEWEST_HUMAN or self.size(rows) < FEWEST_HUMAN

    def anchor(self, rows: NDArray[np.int64]) -> Anchor | None:
        if id(rows) not in self._anchors:
            made = None if self.few(rows) else anchor_of(self.all_of(rows))
            small = made is not None and min(len(made.yardstick), len(made.beside)) < FEWEST_SYNTHETIC
            self._anchors[id(rows)] = None if small else made
        return self._anchors[id(rows)]

    def originals(self, rows: NDArray[np.int64], anchor: Anchor) -> tuple[list[str], NDArray[np.uint64]]:
        """Human answers that copies are looked for among, those beside the synthetic rows left out."""
        if id(rows) not in self._originals:
            beside = set(anchor.beside.sample.rows.tolist())
            wide = sample(self._view, rows, _MOST_ORIGINALS)
            texts = [text for row, text in zip(wide.rows.tolist(), wide.answers, strict=True) if row not in beside]
            self._originals[id(rows)] = (texts, copies.sketches(texts))
        return self._originals[id(rows)]

    def membership(self, anchor: Anchor, synthetic: Reading) -> Iterator[Measure]:
        """The human rows of the release before this one (the generator may have seen them) against fresh ones."""
        if not self._context.previous:
            return
        if self._members is None:
            before = project(self._context.previous)
            old = sample(before, sides_of(before, self._context.trusted_sources).human, MOST_HUMAN)
            now = self.all_of(self._all)
            fresh = now.take(np.flatnonzero(~np.isin(now.prompt_keys, old.prompt_keys)))
            self._members = (old.answers, fresh.answers)
        old_answers, fresh_answers = self._members
        if min(len(old_answers), len(fresh_answers)) >= FEWEST_SYNTHETIC:
            yield measures.membership(anchor, synthetic, old_answers, fresh_answers)

    def slices(self, side: Sample) -> NDArray[np.bool_]:
        if id(side) not in self._slices:
            self._slices[id(side)] = groups.slices(self._view.columns, side)
        return self._slices[id(side)]

    def pairs(self, rows: NDArray[np.int64]) -> Comparisons:
        if id(rows) not in self._pairs:
            self._pairs[id(rows)] = _first_by_key(self._view, rows, _MOST_PAIRS)
        return self._pairs[id(rows)]


def _first_by_key(view: ProjectedRows, rows: NDArray[np.int64], most: int) -> Comparisons:
    """Comparisons among the rows, one a prompt, in the order of their prompts' hashes."""
    compared = view.shared(
        "is comparison", lambda: np.array([kind == "comparison" for kind in view.columns.kind], bool)
    )
    chosen = rows[compared[rows]]
    return Comparisons.of(view.columns, sample(view, chosen, most).rows if len(chosen) else chosen)


def _common(values: list[str | None]) -> str | None:
    """The value that at least four in five rows state."""
    if not values:
        return None
    kinds = sorted({value for value in values if value}, key=values.count)
    return kinds[-1] if kinds and values.count(kinds[-1]) >= 0.8 * len(values) else None
