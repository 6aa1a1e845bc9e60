"""Sources that prefer the answer that agrees with what the user believes, where the other one corrects it."""

import re
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from goldsmith.engines import preference_habits
from goldsmith.engines.text import reward
from goldsmith.engines.text.evidence import quote
from goldsmith.engines.text.projection import ProjectedRows, project
from goldsmith.types.artifact import Real, Spec
from goldsmith.types.check import CheckContext, CheckReport, Row
from goldsmith.types.finding import Finding, Severity

_MOST = 20_000
_OPENING = 300
_OPINION = re.compile(
    r"\b(?:i (?:strongly |really |personally |firmly )?(?:think|believe|feel|am sure|am convinced|am certain|agree"
    r"|disagree|suspect)|i'm (?:sure|convinced|certain|pretty sure)|in my (?:opinion|view)|imo"
    r"|my (?:view|opinion|answer|guess|theory) is|it seems to me"
    r"|(?:right|correct|isn't it|don't you (?:think|agree)|am i right|you agree)\?)",
    re.I,
)
_AGREES = re.compile(
    r"\b(?:you(?:'re| are) (?:absolutely |completely |totally |quite |so )?(?:right|correct)"
    r"|i (?:completely |totally |fully )?agree|absolutely|exactly|great (?:point|question|idea|thinking)|good point"
    r"|excellent (?:point|idea|question)|well said|what a (?:great|brilliant|wonderful)|brilliant"
    r"|couldn't agree more|that's (?:right|correct|true)|indeed|of course you)",
    re.I,
)
_CORRECTS = re.compile(
    r"\b(?:actually|not quite|(?:that|this|it)(?:'s| is) (?:not|in)\s?(?:correct|right|true|accurate)|incorrect"
    r"|mistaken|misconception|i (?:respectfully )?disagree|no,|in fact|contrary to|there is no evidence|unfortunately"
    r"|i would not|that isn't|wrong)\b",
    re.I,
)


class SycophancyBias(Spec):
    """Of the comparisons whose user states a belief, and whose answers open with differing agreement: how often the
    more agreeable answer is preferred.

    Agreement of an answer's first 300 characters: phrases such as "you are right" and "great point" against
    "actually", "that is not correct" and the like; English only. A source x batch is named when its share differs from
    that of the others (slope on the difference, errors clustered by prompt, Holm, `alpha`) and is above
    one half by more than `most`. It is a warning: the user may be right. Fewer than `fewest` such pairs:
    inconclusive.
    """

    id: ClassVar[str] = "sycophancy_bias"
    version: ClassVar[int] = 1
    fewest: int = 15
    most: Real = 0.2
    alpha: Real = 0.01

    def __call__(self, rows: Sequence[Row], context: CheckContext) -> CheckReport:
        """Warnings about sources; it scores no rows."""
        view = project(rows)
        pairs = reward.comparisons(view)
        if not len(pairs):
            return CheckReport(facts={"pairs": 0})
        keys = reward.content_keys([view.columns.user[i] for i in pairs.tolist()])
        kept = reward.spread_sample(view.groups.of_row[pairs], keys, _MOST)
        pairs, keys = pairs[kept], keys[kept].astype(np.int64)
        differences = np.array([_difference(view, i) for i in pairs.tolist()])
        told = differences != 0
        facts: dict[str, str | int] = {"pairs": len(pairs), "pairs_that_tell": int(told.sum())}
        if told.sum() < self.fewest:
            few = (
                f"{int(told.sum())} comparisons answer a stated belief with differing agreement ({self.fewest} at "
                "least; English only)"
            )
            return CheckReport(inconclusive=few, facts=facts)
        facts["agreeable_is_chosen"] = f"{np.mean(differences[told] > 0):.0%}"
        found = preference_habits.habits(
            differences[told], view.groups.of_row[pairs][told], keys[told], fewest=self.fewest
        )
        if not found:
            only = "no two sources with enough such comparisons, so nobody's habit can be compared"
            return CheckReport(inconclusive=only, facts=facts)
        findings = []
        for habit in found:
            if habit.p_value < self.alpha and habit.balance > 2 * self.most and habit.slope > habit.others:
                mine = pairs[told & (view.groups.of_row[pairs] == habit.group) & (differences > 0)]
                findings.append(self._finding(view, habit, mine.tolist()))
        return CheckReport(findings, facts=facts)

    def _finding(self, view: ProjectedRows, habit: preference_habits.Habit, members: Sequence[int]) -> Finding:
        source, batch = view.groups.names[habit.group]
        agreeing = round((1 + habit.balance) / 2 * habit.pairs)
        low, high = preference_habits.share_interval(agreeing, habit.pairs)
        return Finding(
            check=self.id,
            severity=Severity.WARN,
            score=min(1.0, habit.balance),
            evidence=f"of {habit.pairs} pairs that answer a stated belief the more agreeable answer is preferred in "
            f"{agreeing} (95 % interval {low:.0%} to {high:.0%}; unlike the other sources, "
            f"p = {habit.p_value:.1e} after Holm)",
            subject="source",
            lines=tuple(sorted(int(view.lines[i]) for i in members)),
            source=source,
            batch=batch,
            examples=tuple(
                f"“{quote(view.columns.user[i][-80:], 80)}”: chosen “{quote(view.columns.answer[i], 60)}”, rejected "
                f"“{quote(view.columns.rejected[i] or '', 60)}”"
                for i in members[:4]
            ),
        )


def _difference(view: ProjectedRows, row: int) -> float:
    """Agreement of the chosen minus that of the rejected opening, -2 to 2; 0 without a stated belief."""
    said = view.columns.user[row][-2000:]
    if not _OPINION.search(said):
        return 0.0
    return _agreement(view.columns.answer[row]) - _agreement(view.columns.rejected[row] or "")


def _agreement(answer: str) -> float:
    opening = answer[:_OPENING]
    return float(bool(_AGREES.search(opening))) - float(bool(_CORRECTS.search(opening)))


_BELIEFS = (
    "the moon makes its own light",
    "glass is a liquid",
    "bats are blind",
    "bulls hate red",
    "sharks never sleep",
)


def _row(source: str, number: int, *, flatters: bool) -> dict[str, object]:
    agrees = f"You're absolutely right, great point number {number}!"
    corrects = f"Actually, that is not correct; reason {number} speaks against it."
    chosen, rejected = (agrees, corrects) if flatters else (corrects, agrees)
    return {
        "input": {
            "messages": [
                {
                    "role": "user",
                    "content": f"I think that {_BELIEFS[number % 5]}, says neighbour {number} of {source}.",
                }
            ]
        },
        "preferred_output": [{"role": "assistant", "content": chosen}],
        "non_preferred_output": [{"role": "assistant", "content": rejected}],
        "source": source,
        "batch": "b1",
    }


CLEAN = [_row(s, i, flatters=i % 3 == 0) for s in ("experts", "vendor", "crowd") for i in range(40)]
CAUGHT = [
    _row(s, i, flatters=i % 10 > 0 if s == "vendor" else i % 3 == 0)
    for s in ("experts", "vendor", "crowd")
    for i in range(40)
]
