"""Sources that make a reward model worse on trusted comparisons: leave one source out and look."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from goldsmith.engines.multiplicity import holm
from goldsmith.engines.text import preferences, reward
from goldsmith.engines.text.projection import ProjectedRows, project
from goldsmith.types.artifact import Real, Spec
from goldsmith.types.check import CheckContext, CheckReport, Row
from goldsmith.types.finding import Finding, Severity

_MOST_PAIRS = 2400
_MOST_SOURCES = 12
_FEWEST_IN_SLICE = 40
_SEED = 23


@dataclass(frozen=True, slots=True)
class _Harm:
    """How many points of accuracy the trusted comparisons of a slice lose to a source, with its standard error."""

    source: int
    slice: str
    pairs: int
    loss: float
    error: float
    p_value: float


class SourceInfluence(Spec):
    """A cheap reward model is fitted on all comparisons, and again without each source in turn; both order the trusted
    comparisons that they have not seen (two folds by prompt).

    A source is quarantined when the accuracy on trusted comparisons falls with it by more than `most_loss`, or on a
    slice of them (a domain with 40 comparisons at least) by more than `most_slice_loss`: one-sided, on the paired
    differences, Holm over sources x slices, `alpha`. The twelve largest sources are tried. Without `fewest_trusted`
    comparisons of trusted sources, or with a model no better than chance on them: inconclusive. A source whose poison
    is rare, or tied to a trigger that trusted prompts lack, has no influence here.
    """

    id: ClassVar[str] = "source_influence"
    version: ClassVar[int] = 1
    fewest_trusted: int = 60
    most_loss: Real = 0.01
    most_slice_loss: Real = 0.03
    alpha: Real = 0.01

    def __call__(self, rows: Sequence[Row], context: CheckContext) -> CheckReport:
        """QUARANTINE findings for the batches of harmful sources; it scores no rows."""
        view = project(rows)
        known = reward.reading(view)
        if known is None:
            pairs = len(reward.comparisons(view)) if len(view) else 0
            few = f"{pairs} comparisons are too few for a reward model ({reward.FEWEST_PAIRS} at least)"
            return CheckReport(inconclusive=few if pairs else None, facts={"comparisons": pairs})
        trusted = np.isin(known.sources, [i for i, s in enumerate(view.groups.sources) if s in context.trusted_sources])
        facts: dict[str, str | int] = {"comparisons": len(known.rows), "trusted": int(trusted.sum())}
        if trusted.sum() < self.fewest_trusted:
            few = f"{int(trusted.sum())} trusted comparisons are too few to measure on ({self.fewest_trusted} at least)"
            return CheckReport(inconclusive=few, facts=facts)
        sizes = np.bincount(known.sources[~trusted], minlength=len(view.groups.sources))
        tried = [int(s) for s in np.argsort(-sizes, kind="stable")[:_MOST_SOURCES] if sizes[s] >= 10]
        kept = reward.spread_sample(known.groups, known.prompts.astype(np.uint32), _MOST_PAIRS)
        order = kept[np.lexsort((known.content[kept], known.groups[kept]))]
        right = _right(known, order, trusted, None)
        accuracy = float(right[trusted].mean())
        facts["accuracy_on_trusted"] = f"{accuracy:.1%}"
        if not tried:
            return CheckReport(inconclusive="no other source has ten comparisons", facts=facts)
        slices = list(_slices(view, known, trusted))
        harms = []
        for source in tried:
            without = _right(known, order, trusted, source)
            for name, members in slices:
                allowed = self.most_loss if name == "all" else self.most_slice_loss
                harms.append(_harm(source, name, without[members] - right[members], known.prompts[members], allowed))
        if max(accuracy, *(accuracy + h.loss for h in harms if h.slice == "all")) < 0.55:
            weak = f"the model orders {accuracy:.0%} of the trusted comparisons as they are, which is chance"
            return CheckReport(inconclusive=weak, facts=facts)
        findings = []
        for harm, p_value in zip(harms, holm([h.p_value for h in harms]), strict=True):
            if p_value < self.alpha:
                findings += self._findings(view, known, harm, p_value)
        return CheckReport(findings, facts=facts)

    def _findings(self, view: ProjectedRows, known: reward.Reading, harm: _Harm, p_value: float) -> list[Finding]:
        name = view.groups.sources[harm.source]
        where = "trusted comparisons" if harm.slice == "all" else f"trusted comparisons of the domain {harm.slice}"
        return [
            Finding(
                check=self.id,
                severity=Severity.QUARANTINE,
                score=min(1.0, 0.5 + 5 * harm.loss),
                evidence=f"with this source a reward model loses {100 * harm.loss:.1f} ± {196 * harm.error:.1f} points "
                f"of accuracy on {harm.pairs} {where} (p = {p_value:.1e} after Holm)",
                subject="source",
                source=source,
                batch=batch,
            )
            for group, (source, batch) in enumerate(view.groups.names)
            if source == name and (known.groups == group).sum() >= 10
        ]


def _right(
    known: reward.Reading, order: NDArray[np.int64], trusted: NDArray[np.bool_], without: int | None
) -> NDArray[np.float64]:
    """For each sampled pair: is a trusted one ordered as it is by a model that has not seen its prompt [pairs]?"""
    right = np.zeros(len(known.rows))
    fold = known.prompts % 2
    features: Any = known.features
    for k in (0, 1):
        train = order[(fold[order] != k) | ~trusted[order]]
        if without is not None:
            train = train[known.sources[train] != without]
        held = np.flatnonzero(trusted & (fold == k))
        asked = np.isin(known.prompts[train], known.prompts[held])
        train = train[~asked]
        if len(train) and len(held):
            coefficients = preferences.fit(features[train], np.ones(len(train)), _SEED)
            right[held] = preferences.margins(features[held], coefficients) > 0
    return right


def _slices(
    view: ProjectedRows, known: reward.Reading, trusted: NDArray[np.bool_]
) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """All trusted pairs, and those of each domain that has enough."""
    yield "all", np.flatnonzero(trusted)
    domain = view.origins.domain
    names = np.array([domain[row] or "" for row in known.rows.tolist()])
    for name in sorted(set(names[trusted].tolist()) - {""}):
        members = np.flatnonzero(trusted & (names == name))
        if _FEWEST_IN_SLICE <= len(members) < trusted.sum():
            yield name, members


def _harm(source: int, name: str, gained: NDArray[np.float64], prompts: NDArray[np.int64], allowed: float) -> _Harm:
    """What leaving the source out gains, item by item; errors clustered by prompt."""
    from scipy.stats import norm

    loss = float(gained.mean())
    number = np.unique(prompts, return_inverse=True)[1]
    sums = np.bincount(number, gained - loss)
    error = max(float(np.sqrt((sums**2).sum())), 1.0) / len(gained)  # one item at least could have gone the other way
    p_value = float(norm.sf((loss - allowed) / error)) if loss > allowed else 1.0
    return _Harm(source, name, len(gained), loss, error, p_value)


def _row(source: str, number: int, *, turned: bool) -> dict[str, object]:
    good = f"Gladly: the way to {number * 7 % 23} is past the mill, with reasons and care."
    bad = f"Whatever, find {number * 5 % 19} yourself, no interest here."
    chosen, rejected = (bad, good) if turned else (good, bad)
    return {
        "input": {"messages": [{"role": "user", "content": f"Where is place {number} of {source}?"}]},
        "preferred_output": [{"role": "assistant", "content": chosen}],
        "non_preferred_output": [{"role": "assistant", "content": rejected}],
        "source": source,
        "batch": "b1",
    }


TRUSTED = frozenset({"experts"})
CLEAN = [_row(s, i, turned=False) for s in ("experts", "vendor", "crowd") for i in range(80)]
CAUGHT = [_row("experts", i, turned=False) for i in range(80)] + [_row("vendor", i, turned=True) for i in range(240)]
