"""Has the synthetic text lost part of the variety of the human text?"""

from collections.abc import Sequence
from typing import ClassVar

from goldsmith.engines.synthetic import proof_rows
from goldsmith.engines.synthetic.reporting import report
from goldsmith.types.artifact import Real, Spec
from goldsmith.types.check import CheckContext, CheckReport, Row


class SyntheticDiversity(Spec):
    """Coverage of human rows and of the rarest tenth of them, different word pairs, rarer words, effective number
    of different answers (Vendi), and self-BLEU; in equal blocks with equal numbers of words.

    Each limit is a loss against human text: 0.1 means 90 % of it is left. `self_bleu`: by how much more the answers
    may repeat each other. A model that is trained on its own output loses exactly this first. `alpha`: family-wise
    error over the whole battery (Holm over every measure of every synthetic unit). `enforce`: keep the batch out where
    a second limit is passed; by default it is a warning, because honest model-written text passes it as well. Without
    synthetic rows there is nothing to test; with fewer than 100 human rows as an anchor, or 40 synthetic ones, the
    check is inconclusive.
    """

    id: ClassVar[str] = "synthetic_diversity"
    version: ClassVar[int] = 1
    coverage: Real = 0.1
    tail: Real = 0.2
    distinct: Real = 0.1
    effective_number: Real = 0.2
    self_bleu: Real = 0.05
    alpha: Real = 0.05
    enforce: bool = False

    def __call__(self, rows: Sequence[Row], context: CheckContext) -> CheckReport:
        """One finding per source x batch that is poorer than the human anchor."""
        limits = {
            ("diversity", "coverage"): (self.coverage, 3 * self.coverage),
            ("diversity", "tail_coverage"): (self.tail, 3 * self.tail),
            ("diversity", "tail_words"): (self.tail, 3 * self.tail),
            ("diversity", "distinct_2"): (self.distinct, 3 * self.distinct),
            ("diversity", "effective_number"): (self.effective_number, 3 * self.effective_number),
            ("diversity", "self_bleu"): (self.self_bleu, 4 * self.self_bleu),
        }
        return report(self.id, limits, rows, context, alpha=self.alpha, enforce=self.enforce)


def _narrow(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    said: list[list[dict[str, str]]] = [row["messages"] for row in rows]  # type: ignore[misc]
    for k, turns in enumerate(said):
        turns[1]["content"] = f"{said[k % 5][1]['content']} It is number {k}."
    return rows


CAUGHT = proof_rows.rows("human", 240, 1) + _narrow(proof_rows.rows("model", 120, 2))
CLEAN = proof_rows.both()
