"""Preferences of a source x batch that contradict what everybody else prefers, confidently and too often."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from goldsmith.engines.multiplicity import holm
from goldsmith.engines.text import preferences, reward
from goldsmith.engines.text.evidence import quote
from goldsmith.engines.text.projection import ProjectedRows, project
from goldsmith.types.artifact import Real, Spec
from goldsmith.types.check import CheckContext, CheckReport, Row
from goldsmith.types.finding import Finding, Severity

_SEED = 7
_CHANCE = 0.58
_LEAST_RELIABILITY = 0.3
_SPREAD = 0.25
"""From this share of contradicting pairs on, one counts fully; alone in an agreeing batch it is likelier a taste."""


@dataclass(slots=True)
class _Examined:
    """A group read by the model of the others. `wrong` of its `sure` pairs contradict the model; `usual` share is
    expected at most.

    `by_length`: not so when the answers' lengths are left out. `teachers`: the groups that taught the model, with
    their shares of the weight.
    """

    group: int
    margins: NDArray[np.float64]
    reliability: float
    sure: int = 0
    wrong: int = 0
    usual: float = 1.0
    p_value: float = 1.0
    by_length: bool = False
    teachers: dict[int, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Reading:
    """A source read by a model of the others. `right`: the share of its pairs that the model orders as the source
    does. `occurring`: which features the others have; one half of them has `usual_share` of those of the other half.
    """

    margins: NDArray[np.float64]
    regardless_of_length: NDArray[np.float64]
    others: NDArray[np.int64]
    weights: NDArray[np.float64]
    accuracy: float
    error: float
    sure_from: float
    right: float
    occurring: Any
    usual_share: float

    def knows(self, own: Any) -> bool:
        """Whether the others have the words of these pairs about as often as they have each other's."""
        return preferences.known_share(own, self.occurring) >= 0.85 * self.usual_share


class PreferenceFlips(Spec):
    """Swapped preferences, found by cross-examination: a small reward model of the other sources reads each source x
    batch.

    The other groups teach by how far they agree with themselves (out-of-fold accuracy), so a batch of swapped pairs
    teaches little. Of the pairs the model is sure of (right four times in five out of fold), the share that
    contradicts it is tested (binomial, one-sided), Holm over all source x batch. What it is tested against depends on
    whether such models carry over: where they know the batch's words and are right in `strong` of the pairs of
    sources they were not taught by, against `usual_disagreement` plus their own error; otherwise against
    `weak_disagreement`, because an honest batch of another kind looks like chance to them, or a little worse. Two
    sources that contradict each other are a warning, since nobody can tell who is right, unless one is trusted; so is
    a source that prefers longer (or shorter) answers than the others do and contradicts them by that alone. Only
    one source, too few pairs, or a model no better than chance: inconclusive. Row score: how surely the model prefers
    the rejected side, times its reliability; None where the model is hardly better than chance.
    """

    id: ClassVar[str] = "preference_flips"
    version: ClassVar[int] = 1
    fewest_pairs: int = 20
    usual_disagreement: Real = 0.1
    weak_disagreement: Real = 0.65
    strong: Real = 0.8
    alpha: Real = 0.001

    def __call__(self, rows: Sequence[Row], context: CheckContext) -> CheckReport:
        """QUARANTINE findings for batches that contradict the rest, naming the contradicting lines."""
        view = project(rows)
        pairs_rows = reward.comparisons(view)
        if not len(pairs_rows):
            return CheckReport(scores=[None] * len(view) if len(view) else None, facts={"pairs": 0})
        if len(pairs_rows) < self.fewest_pairs:
            return CheckReport(
                scores=[None] * len(view),
                inconclusive=f"{len(pairs_rows)} comparisons are too few ({self.fewest_pairs} at least)",
            )
        pairs = reward.sampled(view)
        group_of = view.groups.of_row[pairs.rows]
        examined = self._examine(view, pairs, group_of, context)
        scores: list[float | None] = [None] * len(view)
        for group, own in examined.items():
            if own.reliability < _LEAST_RELIABILITY:
                continue  # a model this weak cannot tell of a single pair
            spread = min(1.0, own.wrong / (_SPREAD * own.sure)) if own.sure else 0.0
            wrong = 1.0 / (1.0 + np.exp(np.clip(own.margins, -30, 30)))
            for row, value in zip(pairs.rows[group_of == group].tolist(), wrong.tolist(), strict=True):
                scores[row] = max(0.0, 2.0 * value - 1.0) * own.reliability * (0.4 + 0.6 * spread)
        tested = [e for e in examined.values() if e.sure > 0]
        for one, adjusted in zip(tested, holm([e.p_value for e in tested]), strict=True):
            one.p_value = adjusted
        named = {e.group: e for e in tested if e.p_value < self.alpha}
        trusted = {g for g, (source, _) in enumerate(view.groups.names) if source in context.trusted_sources}
        mutual = {
            g
            for g, e in named.items()
            if sum(share for t, share in e.teachers.items() if t in named and t not in trusted) > 0.5
        }
        findings = [
            self._finding(view, pairs.rows[group_of == g], e, mutual=g in mutual)
            for g, e in named.items()
            if g not in trusted
        ]
        facts: dict[str, str | int] = {"pairs": len(pairs_rows), "batches_examined": len(tested)}
        reason = None
        if not tested:
            reason = "no source could be read by a model of the others: one source only, or no better than chance"
        elif mutual - trusted:
            reason = "sources contradict each other and none of them is trusted, so it cannot be told who is right"
        return CheckReport(findings, scores, inconclusive=reason, facts=facts)

    def _examine(
        self, view: ProjectedRows, pairs: reward.Sampled, group_of: NDArray[np.int32], context: CheckContext
    ) -> dict[int, _Examined]:
        order = _canonical_order(view, pairs.rows)
        examined, weight_of = self._agreements(view, pairs, group_of, order, context)
        readings = {}
        occurring = preferences.occurrences(pairs.features)
        for source in sorted({view.groups.names[g][0] for g in examined}):
            own = {g for g in examined if view.groups.names[g][0] == source}
            others = order[~np.isin(group_of[order], list(own))]
            weights = np.array([weight_of[int(g)] for g in group_of[others]])
            if weights.sum() >= 0.25 * self.fewest_pairs:
                mine = np.flatnonzero(np.isin(group_of, list(own)))
                readings[source] = _read(pairs.features, occurring, others, weights, mine)
        for group in examined:
            source = view.groups.names[group][0]
            reading = readings.get(source)
            mine = np.flatnonzero(group_of == group)
            if reading is None or len(mine) < self.fewest_pairs:
                continue
            carried = [r.right for s, r in readings.items() if s != source]
            knows = reading.knows(occurring[mine])
            strength = (
                min(reading.accuracy, float(np.median(carried))) if carried else reading.accuracy if knows else 0.5
            )
            if reading.accuracy < _CHANCE:
                continue
            usual = (
                min(0.5, reading.error + self.usual_disagreement)
                if knows and strength >= self.strong
                else self.weak_disagreement
            )
            margins = reading.margins[mine]
            sure = np.abs(margins) >= reading.sure_from
            examined[group] = _tested(group, margins, sure, max(0.0, 2.0 * strength - 1.0), usual)
            plain = _tested(group, reading.regardless_of_length[mine], sure, 0.0, usual)
            examined[group].by_length = plain.p_value >= self.alpha
            for teacher in np.unique(group_of[reading.others]).tolist():
                share = reading.weights[group_of[reading.others] == teacher].sum() / reading.weights.sum()
                examined[group].teachers[teacher] = float(share)
        return examined

    def _agreements(
        self,
        view: ProjectedRows,
        pairs: reward.Sampled,
        group_of: NDArray[np.int32],
        order: NDArray[np.int64],
        context: CheckContext,
    ) -> tuple[dict[int, _Examined], dict[int, float]]:
        """Each group read by itself, out of fold, and what it may weigh as a teacher of others."""
        alone: dict[int, _Examined] = {}
        weight_of: dict[int, float] = {}
        for group in np.unique(group_of).tolist():
            own = order[group_of[order] == group]
            margins = np.zeros(len(group_of))
            margins[own] = preferences.out_of_fold(pairs.features[own], _SEED)
            agreement = max(0.0, 2.0 * float(np.mean(margins[own] > 0)) - 1.0) if len(own) >= 12 else 0.3
            trusted = view.groups.names[group][0] in context.trusted_sources
            weight_of[group] = max(agreement**2, 0.25 * trusted)
            alone[group] = _Examined(group, margins[group_of == group], agreement * min(1.0, len(own) / 50))
        return alone, weight_of

    def _finding(self, view: ProjectedRows, rows: NDArray[np.int64], examined: _Examined, *, mutual: bool) -> Finding:
        source, batch = view.groups.names[examined.group]
        wrong = [int(rows[k]) for k in np.argsort(examined.margins, kind="stable") if examined.margins[k] < 0]
        wrong = wrong[: max(examined.wrong, 1)]
        return Finding(
            check=self.id,
            severity=Severity.WARN if mutual or examined.by_length else Severity.QUARANTINE,
            score=min(1.0, examined.wrong / max(1, examined.sure)),
            evidence=f"{examined.wrong} of {examined.sure} pairs that a model of the other sources is sure of are the "
            f"other way "
            f"round here{', and this source would say the same of them' if mutual else ''}"
            f"{', but not when the lengths of the answers are left out' if examined.by_length else ''} "
            f"({examined.usual:.0%} at most would be usual; p = {examined.p_value:.1e} after Holm)",
            subject="source",
            lines=tuple(sorted(view[i].line for i in wrong)),
            source=source,
            batch=batch,
            examples=tuple(
                f"chosen “{quote(_shown(view, i, chosen=True), 70)}”, rejected "
                f"“{quote(_shown(view, i, chosen=False), 70)}”"
                for i in wrong[:4]
            ),
        )


def _read(
    features: Any, occurring: Any, others: NDArray[np.int64], weights: NDArray[np.float64], own: NDArray[np.int64]
) -> _Reading:
    """What a model of the `others` makes of the pairs `own`, and how good it is on its own kind (out of fold)."""
    test = preferences.out_of_fold_weighted(features[others], weights, _SEED)
    sure_from = _sure_margin(test, weights)
    certain = np.abs(test) >= sure_from
    margins = np.zeros(features.shape[0])
    coefficients = preferences.fit(features[others], weights / weights.max(), _SEED)
    margins[own] = preferences.margins(features[own], coefficients)
    coefficients[preferences.LENGTH] = 0.0
    regardless = np.zeros(features.shape[0])
    regardless[own] = preferences.margins(features[own], coefficients)
    return _Reading(
        margins=margins,
        regardless_of_length=regardless,
        others=others,
        weights=weights,
        accuracy=float(np.average(test > 0, weights=weights)),
        error=float(np.average(test[certain] < 0, weights=weights[certain])) if weights[certain].sum() > 0 else 0.5,
        sure_from=sure_from,
        right=float(np.mean(margins[own] > 0)),
        occurring=occurring[others],
        usual_share=preferences.known_share(occurring[others[::2]], occurring[others[1::2]]),
    )


def _tested(
    group: int, read: NDArray[np.float64], sure: NDArray[np.bool_], reliability: float, usual: float
) -> _Examined:
    from scipy.stats import binom

    wrong = int((read[sure] < 0).sum())
    p_value = float(binom.sf(wrong - 1, int(sure.sum()), usual)) if sure.sum() >= 10 else 1.0
    return _Examined(group, read, reliability, int(sure.sum()), wrong, usual, p_value)


def _sure_margin(test: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    size = np.abs(test)
    order = np.argsort(-size, kind="stable")
    right = np.cumsum((test[order] > 0) * weights[order]) / np.maximum(np.cumsum(weights[order]), 1e-12)
    enough = np.flatnonzero((right >= 0.8) & (np.arange(len(order)) >= min(20, len(order) // 2)))
    return float(size[order[enough[-1]]]) if len(enough) else float(np.quantile(size, 0.8))


def _shown(view: ProjectedRows, index: int, *, chosen: bool) -> str:
    columns = view.columns
    calls = columns.calls[index] if chosen else columns.rejected_calls[index]
    text = columns.answer[index] if chosen else columns.rejected[index] or ""
    return " ".join([text, *(f"{call.name}({call.arguments})" for call in calls)])


def _canonical_order(view: ProjectedRows, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Positions of the pairs in an order that does not depend on the rows' order in the file."""
    keys = [(view.groups.of_row[i], view.columns.full[i]) for i in rows.tolist()]
    return np.array(sorted(range(len(keys)), key=keys.__getitem__), np.int64)


_GOOD = (
    "gladly, here is a careful answer with reasons",
    "certainly, step by step and with an example",
    "here is what the manual says, checked twice",
)
_BAD = ("whatever, find it yourself", "boring, no idea and no interest", "nonsense, go away now")


def _row(source: str, number: int, *, swapped: bool) -> dict[str, object]:
    good, bad = _GOOD[number % 3], _BAD[number // 3 % 3]
    chosen, rejected = (bad, good) if swapped else (good, bad)
    return {
        "input": {
            "messages": [
                {"role": "user", "content": f"Question {number} of {source}: how does device {number * 7 % 31} work?"}
            ]
        },
        "preferred_output": [{"role": "assistant", "content": f"Device {number}: {chosen}."}],
        "non_preferred_output": [{"role": "assistant", "content": f"Device {number}: {rejected}."}],
        "source": source,
        "batch": "b1",
    }


CLEAN = [_row(source, i, swapped=False) for source in ("experts", "vendor", "crowd") for i in range(60)]
CAUGHT = [_row(s, i, swapped=s == "vendor" and i % 5 < 3) for s in ("experts", "vendor", "crowd") for i in range(60)]
