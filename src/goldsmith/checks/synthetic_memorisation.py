"""Does synthetic text repeat the human text its generator saw?"""

from collections.abc import Sequence
from typing import ClassVar

from goldsmith.engines.synthetic import proof_rows
from goldsmith.engines.synthetic.reporting import report
from goldsmith.types.artifact import Real, Spec
from goldsmith.types.check import CheckContext, CheckReport, Row


class SyntheticMemorisation(Spec):
    """Near copies of human answers (exact Jaccard of word 5-grams at least 0.7), and how close synthetic answers
    lie to human ones compared with how close human answers lie to each other.

    Given the release before this one, its human rows stand for what the generator was trained on: they may not lie
    closer to the synthetic rows than fresh human rows do (membership inference). `closer_share`: 0.5 is ideal.
    `membership_auc`, `near_copies`: the same for membership, and the share of near copies. `alpha`: family-wise error
    over the whole battery (Holm over every measure of every synthetic unit). `enforce`: keep the batch out where a
    second limit is passed; by default it is a warning, because honest model-written text passes it as well. Without
    synthetic rows there is nothing to test; with fewer than 100 human rows as an anchor, or 40 synthetic ones, the
    check is inconclusive.
    """

    id: ClassVar[str] = "synthetic_memorisation"
    version: ClassVar[int] = 1
    closer_share: Real = 0.55
    membership_auc: Real = 0.55
    near_copies: Real = 0.001
    alpha: Real = 0.05
    enforce: bool = False

    def __call__(self, rows: Sequence[Row], context: CheckContext) -> CheckReport:
        """One finding per source x batch that copies."""
        limits = {
            ("memorisation", "closer_share"): (self.closer_share, 2 * self.closer_share - 0.5),
            ("memorisation", "membership"): (self.membership_auc, 2 * self.membership_auc - 0.5),
            ("memorisation", "near_copies"): (self.near_copies, 10 * self.near_copies),
        }
        return report(self.id, limits, rows, context, alpha=self.alpha, enforce=self.enforce)


def _copied() -> list[dict[str, object]]:
    """Model rows that say what some person said, one word changed."""
    people, machine = proof_rows.rows("human", 240, 1), proof_rows.rows("model", 120, 2)
    long = [row["messages"][1]["content"] for row in people if len(row["messages"][1]["content"].split()) > 22]
    for row, text in zip(machine, long[:60], strict=False):
        row["messages"][1]["content"] = " ".join([*text.split()[:-1], "indeed"])
    return people + machine


CAUGHT = _copied()
CLEAN = proof_rows.both()
