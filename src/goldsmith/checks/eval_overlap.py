"""Eval items inside the training data, whatever their case, spacing and punctuation."""

import re
from collections.abc import Sequence
from typing import ClassVar

from goldsmith.engines.text import overlap
from goldsmith.engines.text.evidence import quote
from goldsmith.engines.text.projection import ProjectedRows, project
from goldsmith.types.artifact import Real, Spec
from goldsmith.types.check import CheckContext, CheckReport, Row
from goldsmith.types.finding import Finding, Severity

_SHORTEST_WHOLE = 12


class EvalOverlap(Spec):
    """Records that hold an eval item; they are left out, or the eval would measure memory.

    An item counts as held when at least `containment` of its runs of 32 letters and digits (7 to 8 words; a shared
    word 13-gram holds some 25 of them) are in the record, or `run` of them whatever the share. Runs that more than 2
    % of the items share are boilerplate. Items of 12 to 39 letters are looked for as whole turns only; shorter ones
    cannot be told from chance.
    """

    id: ClassVar[str] = "eval_overlap"
    version: ClassVar[int] = 1
    containment: Real = 0.5
    run: int = 300

    def __call__(self, rows: Sequence[Row], context: CheckContext) -> CheckReport:
        """One EXCLUDE finding per record and eval item found; score = the share of the item that the record holds."""
        if not context.eval_texts:
            return CheckReport(inconclusive="no eval texts were given, so nothing could be compared with them")
        view = project(rows)
        known = overlap.index(context.eval_texts)
        best = {i: (share, item) for i, share, item in self._whole_turns(view, context, known.too_short)}
        for hit in overlap.overlaps(view.columns.full, known):
            share = 1.0 if hit.containment * hit.windows >= self.run else hit.containment
            if share > best.get(hit.text, (0.0, 0))[0]:
                best[hit.text] = (share, hit.known)
        findings = [
            self._finding(view, index, share, item, context)
            for index, (share, item) in sorted(best.items())
            if share >= self.containment
        ]
        scores: list[float | None] = [best.get(i, (0.0, 0))[0] for i in range(len(view))]
        unseen = sum(len(overlap.letters_only(context.eval_texts[i])) < _SHORTEST_WHOLE for i in known.too_short)
        return CheckReport(findings, scores, facts={"items": len(context.eval_texts), "items_too_short": unseen})

    def _whole_turns(
        self, view: ProjectedRows, context: CheckContext, short: Sequence[int]
    ) -> list[tuple[int, float, int]]:
        wanted = {overlap.letters_only(context.eval_texts[i]): i for i in reversed(short)}
        wanted = {letters: i for letters, i in wanted.items() if len(letters) >= _SHORTEST_WHOLE}
        if not wanted:
            return []
        longest = 4 * max(len(letters) for letters in wanted)
        found = []
        for index in range(len(view)):
            for turn in re.split(r"\n", view.columns.user[index][:8000]):
                if len(turn) <= longest and (letters := overlap.letters_only(turn)) in wanted:
                    found.append((index, 1.0, wanted[letters]))
                    break
        return found

    def _finding(self, view: ProjectedRows, index: int, share: float, item: int, context: CheckContext) -> Finding:
        row = view[index]
        name = context.eval_names[item] if item < len(context.eval_names) else "the evals"
        return Finding(
            check=self.id,
            severity=Severity.EXCLUDE,
            score=min(1.0, share),
            evidence=f"holds {share:.0%} of item {item + 1} of {name}: “{quote(context.eval_texts[item])}”",
            lines=(row.line,),
            source=row.record.origin.source,
            batch=row.record.origin.batch,
        )


EVAL_TEXTS = [
    "A farmer has 17 sheep and all but 9 run away. How many sheep does the farmer have left in the evening?",
    "Which planet of the solar system has the shortest day, and how long does that day last in hours?",
]
CAUGHT = [
    {
        "messages": [
            {
                "role": "user",
                "content": "a FARMER has 17 sheep; and, all but 9 run away!!  how many sheep does the farmer\n"
                "have left -- in the evening",
            },
            {"role": "assistant", "content": "Nine."},
        ]
    }
]
CLEAN = [
    {
        "messages": [
            {"role": "user", "content": "A farmer has 20 goats and buys 5 more. How many goats are there now?"},
            {"role": "assistant", "content": "Twenty-five."},
        ]
    }
]
