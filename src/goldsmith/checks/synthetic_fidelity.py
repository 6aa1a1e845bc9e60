"""Does synthetic text look like the human text it stands in for?"""

from collections.abc import Sequence
from typing import ClassVar

from goldsmith.engines.synthetic import proof_rows
from goldsmith.engines.synthetic.reporting import report
from goldsmith.types.artifact import Real, Spec
from goldsmith.types.check import CheckContext, CheckReport, Row


class SyntheticFidelity(Spec):
    """Classifier two-sample test and single features of style, of the answers of each synthetic source x batch.

    `warn_auc`, `fail_auc`: how well a classifier may tell synthetic answers from human ones, on rows it has not seen.
    `distance`: Jensen-Shannon distance of one feature of style (length, punctuation, digits ...). `alpha`: family-wise
    error over the whole battery (Holm over every measure of every synthetic unit). `enforce`: keep the batch out where
    a second limit is passed; by default it is a warning, because honest model-written text passes it as well. Without
    synthetic rows there is nothing to test; with fewer than 100 human rows as an anchor, or 40 synthetic ones, the
    check is inconclusive.
    """

    id: ClassVar[str] = "synthetic_fidelity"
    version: ClassVar[int] = 1
    warn_auc: Real = 0.7
    fail_auc: Real = 0.85
    distance: Real = 0.1
    alpha: Real = 0.05
    enforce: bool = False

    def __call__(self, rows: Sequence[Row], context: CheckContext) -> CheckReport:
        """One finding per source x batch that differs from the human anchor."""
        limits = {
            ("fidelity", "classifier_auc"): (self.warn_auc, self.fail_auc),
            ("fidelity", "feature_distance"): (self.distance, 1.0),
        }
        return report(self.id, limits, rows, context, alpha=self.alpha, enforce=self.enforce)


def _polite(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    for row in rows:
        turns: list[dict[str, str]] = row["messages"]  # type: ignore[assignment]
        turns[1]["content"] = f"Certainly! {turns[1]['content']}\n\nI hope this helps."
    return rows


CAUGHT = proof_rows.rows("human", 240, 1) + _polite(proof_rows.rows("model", 120, 2))
CLEAN = proof_rows.both()
