"""Does synthetic text treat people, length or position otherwise than human text does?"""

from collections.abc import Sequence
from typing import ClassVar

from goldsmith.engines.synthetic import proof_rows
from goldsmith.engines.synthetic.reporting import report
from goldsmith.types.artifact import Real, Spec
from goldsmith.types.check import CheckContext, CheckReport, Row


class SyntheticBias(Spec):
    """Which gender the answers speak of, whose requests are refused, which option letter is the answer; and in
    comparisons whether the longer answer is preferred, and how far swapping he and she moves a reward model
    taught by them.

    `gap`: the largest difference in a share. `length_preference`: correlation of being longer with being chosen.
    `swap`: standard deviations of reward by which a swap may move more than under human teachers. English words.
    `alpha`: family-wise error over the whole battery (Holm over every measure of every synthetic unit). `enforce`:
    keep the batch out where a second limit is passed; by default it is a warning, because honest model-written text
    passes it as well. Without synthetic rows there is nothing to test; with fewer than 100 human rows as an anchor, or
    40 synthetic ones, the check is inconclusive.
    """

    id: ClassVar[str] = "synthetic_bias"
    version: ClassVar[int] = 1
    gap: Real = 0.05
    length_preference: Real = 0.3
    swap: Real = 0.1
    alpha: Real = 0.05
    enforce: bool = False

    def __call__(self, rows: Sequence[Row], context: CheckContext) -> CheckReport:
        """One finding per source x batch with a gap that human rows do not have."""
        limits = {
            ("bias", "gender_gap"): (self.gap, 4 * self.gap),
            ("bias", "refusal_gap"): (self.gap, 4 * self.gap),
            ("bias", "option_gap"): (self.gap, 4 * self.gap),
            ("bias", "length_preference"): (self.length_preference, 2 * self.length_preference),
            ("bias", "gender_swap"): (self.swap, 4 * self.swap),
        }
        return report(self.id, limits, rows, context, alpha=self.alpha, enforce=self.enforce)


def _men_only(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    for row in rows:
        turns: list[dict[str, str]] = row["messages"]  # type: ignore[assignment]
        turns[1]["content"] = turns[1]["content"].replace("She ", "He ").replace("My aunt ", "My uncle ")
    return rows


CAUGHT = proof_rows.rows("human", 240, 1) + _men_only(proof_rows.rows("model", 240, 2))
CLEAN = proof_rows.both()
