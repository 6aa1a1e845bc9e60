"""Train on synthetic, test on human: what is the synthetic text worth as a teacher?"""

from collections.abc import Sequence
from typing import ClassVar

from goldsmith.engines.synthetic import proof_rows
from goldsmith.engines.synthetic.reporting import report
from goldsmith.types.artifact import Real, Spec
from goldsmith.types.check import CheckContext, CheckReport, Row


class SyntheticUtility(Spec):
    """Small models taught by synthetic rows and, beside them, by as many human rows, are tried on other human
    rows.

    Conversations and texts teach a bigram model (bits a word); comparisons teach a reward model (pairs ordered
    rightly). `warn_loss`, `fail_loss`: how much less than as much human data it may be worth. `alpha`: family-wise
    error over the whole battery (Holm over every measure of every synthetic unit). `enforce`: keep the batch out where
    a second limit is passed; by default it is a warning, because honest model-written text passes it as well. Without
    synthetic rows there is nothing to test; with fewer than 100 human rows as an anchor, or 40 synthetic ones, the
    check is inconclusive.
    """

    id: ClassVar[str] = "synthetic_utility"
    version: ClassVar[int] = 1
    warn_loss: Real = 0.05
    fail_loss: Real = 0.1
    alpha: Real = 0.05
    enforce: bool = False

    def __call__(self, rows: Sequence[Row], context: CheckContext) -> CheckReport:
        """One finding per source x batch that teaches human text badly."""
        limits = {
            ("utility", "language"): (self.warn_loss, self.fail_loss),
            ("utility", "preferences"): (self.warn_loss, self.fail_loss),
        }
        return report(self.id, limits, rows, context, alpha=self.alpha, enforce=self.enforce)


def _scrambled(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    for row in rows:
        turns: list[dict[str, str]] = row["messages"]  # type: ignore[assignment]
        turns[1]["content"] = " ".join(word[::-1] for word in turns[1]["content"].split())
    return rows


CAUGHT = proof_rows.rows("human", 240, 1) + _scrambled(proof_rows.rows("model", 120, 2))
CLEAN = proof_rows.both()
