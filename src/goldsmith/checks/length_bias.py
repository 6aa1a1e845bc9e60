"""Sources that prefer the longer answer, more than everybody else does."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from goldsmith.engines import preference_habits
from goldsmith.engines.text import reward
from goldsmith.engines.text.projection import ProjectedRows, project
from goldsmith.types.artifact import Real, Spec
from goldsmith.types.check import CheckContext, CheckReport, Row
from goldsmith.types.finding import Finding, Severity

_MOST = 20_000
_SOFTENED = 20
"""Characters added to both lengths, so that "yes" against "no" is no difference worth the name."""


class LengthBias(Spec):
    """How strongly each source x batch prefers longer answers: the slope of being chosen on the difference of log
    lengths.

    A source is named when its slope differs from that of all others (two-sided, errors clustered by prompt, Holm over
    source x batch, `alpha`) and the longer answer (or the shorter) is chosen so much more often that the balance is
    beyond `most` (0.3: 65 % against 35 %). It is a warning: longer answers may be better ones. A model trained on such
    pairs learns to be long. One source alone is only described.
    """

    id: ClassVar[str] = "length_bias"
    version: ClassVar[int] = 1
    fewest_pairs: int = 30
    most: Real = 0.3
    alpha: Real = 0.01

    def __call__(self, rows: Sequence[Row], context: CheckContext) -> CheckReport:
        """Warnings about sources; it scores no rows."""
        view = project(rows)
        pairs = reward.comparisons(view)
        if not len(pairs):
            return CheckReport(facts={"pairs": 0})
        keys = reward.content_keys([view.columns.user[i] for i in pairs.tolist()])
        kept = reward.spread_sample(view.groups.of_row[pairs], keys, _MOST)
        pairs, keys = pairs[kept], keys[kept]
        differences = _differences(view, pairs)
        told = differences != 0
        groups = view.groups.of_row[pairs]
        if told.sum() < self.fewest_pairs:
            few = f"{int(told.sum())} comparisons of unequal length are too few ({self.fewest_pairs} at least)"
            return CheckReport(inconclusive=few, facts={"pairs": len(pairs)})
        slope, error = preference_habits.slope_of(differences[told], keys[told].astype(np.int64))
        facts: dict[str, str | int] = {
            "pairs": len(pairs),
            "longer_is_chosen": f"{np.mean(differences[told] > 0):.0%}",
            "slope": f"{slope:.2f} ± {1.96 * error:.2f}",
        }
        found = preference_habits.habits(
            differences[told], groups[told], keys[told].astype(np.int64), fewest=self.fewest_pairs
        )
        if not found:
            only = "no two sources with enough comparisons, so nobody's preference for length can be compared"
            return CheckReport(inconclusive=only, facts=facts)
        named = [h for h in found if h.p_value < self.alpha and abs(h.balance) > self.most]
        return CheckReport([self._finding(view, habit) for habit in named], facts=facts)

    def _finding(self, view: ProjectedRows, habit: preference_habits.Habit) -> Finding:
        source, batch = view.groups.names[habit.group]
        longer = habit.balance > 0
        share = (1 + abs(habit.balance)) / 2
        return Finding(
            check=self.id,
            severity=Severity.WARN,
            score=min(1.0, abs(habit.balance)),
            evidence=f"the {'longer' if longer else 'shorter'} answer is chosen in {share:.0%} of {habit.pairs} pairs "
            f"(slope on log length {habit.slope:+.2f} ± {1.96 * habit.error:.2f}, the other sources "
            f"{habit.others:+.2f} ± {1.96 * habit.others_error:.2f}; p = {habit.p_value:.1e} after Holm)",
            subject="source",
            source=source,
            batch=batch,
        )


def _differences(view: ProjectedRows, pairs: NDArray[np.int64]) -> NDArray[np.float64]:
    """Log of chosen over rejected length [pairs]; 0 where both are equally long."""
    answer, rejected = view.columns.answer, view.columns.rejected
    chosen = np.array([len(answer[i]) for i in pairs.tolist()], float)
    other = np.array([len(rejected[i] or "") for i in pairs.tolist()], float)
    return np.asarray(np.log((chosen + _SOFTENED) / (other + _SOFTENED)), np.float64)


def _row(source: str, number: int, *, longer_wins: bool) -> dict[str, object]:
    short = f"Turn the key {number % 7 + 2} times."
    long = (
        f"Turn the key {number % 7 + 2} times, slowly, and wait, and then, if needed, do all of it once more, {number}."
    )
    chosen, rejected = (long, short) if longer_wins else (short, long)
    return {
        "input": {"messages": [{"role": "user", "content": f"How does lock {number} of {source} open?"}]},
        "preferred_output": [{"role": "assistant", "content": chosen}],
        "non_preferred_output": [{"role": "assistant", "content": rejected}],
        "source": source,
        "batch": "b1",
    }


CLEAN = [_row(s, i, longer_wins=i % 2 == 0) for s in ("experts", "vendor", "crowd") for i in range(60)]
CAUGHT = [
    _row(s, i, longer_wins=i % 12 > 0 if s == "vendor" else i % 2 == 0)
    for s in ("experts", "vendor", "crowd")
    for i in range(60)
]
