"""Labels that a model trained on the other rows finds wrong: confident learning over comparisons and ratings."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from goldsmith.engines.multiplicity import holm
from goldsmith.engines.text import labels, reward
from goldsmith.engines.text.evidence import quote
from goldsmith.engines.text.projection import ProjectedRows, project
from goldsmith.types.artifact import Real, Spec
from goldsmith.types.check import CheckContext, CheckReport, Row
from goldsmith.types.finding import Finding, Severity


class LabelNoise(Spec):
    """Probabilities of a cheap model that has not seen a row (nor its prompt) against the row's label, read by
    confident learning (Northcutt 2021, cleanlab).

    Comparisons are read by the shared reward model, good and bad ratings by one over the words of the answers. Row
    score: how sure the model is of the opposite, times how reliable it is for that source; None where it orders less
    than `least_accuracy` of a source's rows rightly: of pairs of taste little can be said, and is not. A source x batch
    is named (a warning) when it holds more estimated label errors than the others' share allows (binomial, Holm,
    `alpha`). At most 4,000 comparisons and 4,000 ratings are read, spread over source x batch.
    """

    id: ClassVar[str] = "label_noise"
    version: ClassVar[int] = 2
    least_accuracy: Real = 0.7
    fewest_errors: int = 8
    alpha: Real = 0.01

    def __call__(self, rows: Sequence[Row], context: CheckContext) -> CheckReport:
        """Warnings about sources that name the suspected lines."""
        view = project(rows)
        scores: list[float | None] = [None] * len(view)
        read = [r for r in (labels.of_comparisons(view), labels.of_ratings(view)) if r is not None]
        if not read:
            asked = any(kind in ("comparison", "rating") for kind in view.columns.kind) if len(view) else False
            reason = f"fewer than {reward.FEWEST_PAIRS} comparisons, and no ratings of both kinds" if asked else None
            return CheckReport(scores=scores if len(view) else None, inconclusive=reason)
        suspected: list[NDArray[np.int64]] = []
        judged: list[NDArray[np.int64]] = []
        for reading in read:
            confident = np.zeros(len(reading.rows), bool)
            groups = view.groups.of_row[reading.rows]
            for group in np.unique(groups).tolist():
                own = np.flatnonzero(groups == group)
                accuracy = float(np.mean(reading.right[own] > 0.5))
                if accuracy < self.least_accuracy or len(own) < reward.FEWEST_PAIRS:
                    continue
                confident[own] = True
                for at in own.tolist():
                    opposite = max(0.0, 1.0 - 2.0 * float(reading.right[at]))
                    scores[int(reading.rows[at])] = opposite * (2.0 * accuracy - 1.0)
            suspected.append(reading.rows[confident & reading.issues])
            judged.append(reading.rows[confident])
        wrong, known = np.concatenate(suspected), np.concatenate(judged)
        facts: dict[str, str | int] = {"judged": len(known), "suspected": len(wrong)}
        if not len(known):
            weak = (
                f"no source's labels are ordered rightly in {self.least_accuracy:.0%} of the cases by the cheap model"
            )
            return CheckReport(scores=scores, inconclusive=weak, facts=facts)
        return CheckReport(self._findings(view, wrong, known, scores), scores, facts=facts)

    def _findings(
        self, view: ProjectedRows, wrong: NDArray[np.int64], known: NDArray[np.int64], scores: Sequence[float | None]
    ) -> list[Finding]:
        from scipy.stats import binom

        count = np.bincount(view.groups.of_row[known], minlength=len(view.groups.names))
        errors = np.bincount(view.groups.of_row[wrong], minlength=len(view.groups.names))
        tested = np.flatnonzero(count).tolist()
        raw = []
        for group in tested:
            others = (errors.sum() - errors[group] + 1) / (count.sum() - count[group] + 2)
            raw.append(float(binom.sf(errors[group] - 1, count[group], others)) if len(tested) > 1 else 1.0)
        out = []
        for group, p_value in zip(tested, holm(raw), strict=True):
            if p_value >= self.alpha or errors[group] < self.fewest_errors:
                continue
            source, batch = view.groups.names[group]
            members = [int(i) for i in wrong if view.groups.of_row[i] == group]
            worst = sorted(members, key=lambda i: (-(scores[i] or 0.0), view.lines[i]))
            out.append(
                Finding(
                    check=self.id,
                    severity=Severity.WARN,
                    score=min(1.0, errors[group] / count[group]),
                    evidence=f"{errors[group]} of {count[group]} labels look wrong to a model of the other rows, "
                    f"more than elsewhere (p = {p_value:.1e} after Holm)",
                    subject="source",
                    lines=tuple(sorted(int(view.lines[i]) for i in members)),
                    source=source,
                    batch=batch,
                    examples=tuple(
                        f"“{quote(view.columns.user[i], 60)}”: “{quote(view.columns.answer[i], 60)}” before "
                        f"“{quote(view.columns.rejected[i] or '', 60)}”"
                        for i in worst[:4]
                    ),
                )
            )
        return out


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


CLEAN = [_row(s, i, turned=False) for s in ("experts", "vendor", "crowd") for i in range(80)]
CAUGHT = [_row(s, i, turned=s == "vendor" and i % 6 == 0) for s in ("experts", "vendor", "crowd") for i in range(80)]
