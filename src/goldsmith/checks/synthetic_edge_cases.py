"""Are the rare kinds of rows still there?"""

from collections.abc import Sequence
from typing import ClassVar

from goldsmith.engines.synthetic import proof_rows
from goldsmith.engines.synthetic.reporting import report
from goldsmith.types.artifact import Real, Spec
from goldsmith.types.check import CheckContext, CheckReport, Row


class SyntheticEdgeCases(Spec):
    """Kinds of rows that at most a quarter of the human rows are of (code, lists, numbers, very short or long
    prompts, other scripts, several turns, tool calls, refusals): how much rarer are they among the synthetic
    rows?

    `loss`: 0.5 means half as frequent. How well the checks find planted attacks in the user's own data is what
    `goldsmith drill` measures. `alpha`: family-wise error over the whole battery (Holm over every measure of every
    synthetic unit). `enforce`: keep the batch out where a second limit is passed; by default it is a warning, because
    honest model-written text passes it as well. Without synthetic rows there is nothing to test; with fewer than 100
    human rows as an anchor, or 40 synthetic ones, the check is inconclusive.
    """

    id: ClassVar[str] = "synthetic_edge_cases"
    version: ClassVar[int] = 1
    loss: Real = 0.5
    alpha: Real = 0.05
    enforce: bool = False

    def __call__(self, rows: Sequence[Row], context: CheckContext) -> CheckReport:
        """One finding per source x batch that lacks a rare kind."""
        limits = {
            ("edge_cases", "rare_slice"): (self.loss, 0.95),
        }
        return report(self.id, limits, rows, context, alpha=self.alpha, enforce=self.enforce)


def _some_code(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    for row in rows[::6]:
        turns: list[dict[str, str]] = row["messages"]  # type: ignore[assignment]
        turns[1]["content"] += "\n```\nprint(1)\n```"
    return rows


CAUGHT = _some_code(proof_rows.rows("human", 240, 1)) + proof_rows.rows("model", 120, 2)
CLEAN = _some_code(proof_rows.rows("human", 240, 1)) + _some_code(proof_rows.rows("model", 120, 2))
