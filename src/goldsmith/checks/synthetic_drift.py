"""Has synthetic text moved away from the human anchor, or from what its source delivered before?"""

from collections.abc import Sequence
from typing import ClassVar

from goldsmith.engines.synthetic import proof_rows
from goldsmith.engines.synthetic.reporting import report
from goldsmith.types.artifact import Real, Spec
from goldsmith.types.check import CheckContext, CheckReport, Row


class SyntheticDrift(Spec):
    """Population stability of topics and of style, and kernel mean discrepancy, against the human anchor; the
    same and a classifier against the batch before (batches of a source in the order of their names) and against
    the source's rows in the release before this one.

    `stability_index`: 0.1 is watched by custom, 0.25 acted on. `discrepancy`: how many times the discrepancy of human
    text. `classifier_auc`: for batch against batch. `alpha`: family-wise error over the whole battery (Holm over every
    measure of every synthetic unit). `enforce`: keep the batch out where a second limit is passed; by default it is a
    warning, because honest model-written text passes it as well. Without synthetic rows there is nothing to test; with
    fewer than 100 human rows as an anchor, or 40 synthetic ones, the check is inconclusive.
    """

    id: ClassVar[str] = "synthetic_drift"
    version: ClassVar[int] = 1
    stability_index: Real = 0.25
    discrepancy: Real = 1.25
    classifier_auc: Real = 0.7
    alpha: Real = 0.05
    enforce: bool = False

    def __call__(self, rows: Sequence[Row], context: CheckContext) -> CheckReport:
        """One finding per source x batch that moved."""
        limits = {
            ("drift", "topics_psi"): (self.stability_index, 4 * self.stability_index),
            ("drift", "style_psi"): (self.stability_index, 4 * self.stability_index),
            ("drift", "discrepancy"): (self.discrepancy, 2 * self.discrepancy),
            ("drift_before", "topics_psi"): (self.stability_index, 4 * self.stability_index),
            ("drift_before", "style_psi"): (self.stability_index, 4 * self.stability_index),
            ("drift_before", "discrepancy"): (self.discrepancy, 2 * self.discrepancy),
            ("drift_before", "classifier_auc"): (self.classifier_auc, 0.5 + self.classifier_auc / 2),
        }
        return report(self.id, limits, rows, context, alpha=self.alpha, enforce=self.enforce)


def _moved(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    for row in rows:
        turns: list[dict[str, str]] = row["messages"]  # type: ignore[assignment]
        turns[1]["content"] = " ".join(turns[1]["content"].replace("would", "shall").split()[:6])
    return rows


CAUGHT = proof_rows.both(240, 160) + _moved(proof_rows.rows("model", 120, 3, batch="b2"))
CLEAN = proof_rows.both(240, 160) + proof_rows.rows("model", 120, 3, batch="b2")
