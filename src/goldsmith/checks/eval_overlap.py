"""Eval items inside the training data, whatever their case, spacing and punctuation."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import ClassVar

from goldsmith.engines.text import overlap
from goldsmith.engines.text.evidence import bounded, quote
from goldsmith.engines.text.markup import plain
from goldsmith.engines.text.projection import ProjectedRows, project
from goldsmith.types.artifact import Real, Spec
from goldsmith.types.check import CheckContext, CheckReport, Row
from goldsmith.types.finding import Finding, Severity

_SHORTEST_WHOLE = 12
_DOUBTFUL, _SCORED = 0.06, 0.2
_LONGEST_PART = 200
_PARTS = re.compile(r'[\n"“”]|(?<=[?!])\s')
_LABEL = re.compile(
    r"^\s{0,4}(?:question|q|problem|task|instruction|prompt|user|human|input)\s{0,2}\d{0,3}\s{0,2}[:.)-]", re.I
)


class EvalOverlap(Spec):
    """Records that hold an eval item; they are left out, or the eval would measure memory.

    Case, spacing, punctuation, unicode forms, markdown, HTML, list numbers and JSON escapes do not matter. An item
    counts as held when at least `containment` of its runs of 32 letters and digits (7 to 8 words; a shared word 13-gram
    holds some 25 of them) are in the record, or `run` of them whatever the share; or `word_pairs` of its word pairs, in
    any order of its parts. Runs that more than 2 % of the items share are boilerplate. Of items too short
    for runs, those from 24 letters on (5 words) count wherever the user says them, those from 12 as whole lines,
    sentences or quoted strings; shorter ones cannot be told from chance. A source
    x batch that holds `many` items or more gets a warning of its own.
    """

    id: ClassVar[str] = "eval_overlap"
    version: ClassVar[int] = 3
    containment: Real = 0.5
    run: int = 300
    word_pairs: Real = 0.75
    many: int = 3

    def __call__(self, rows: Sequence[Row], context: CheckContext) -> CheckReport:
        """One EXCLUDE finding per record that holds an item, of very many in a source x batch one for the rest; score =
        the share of the item that the record holds."""
        if not context.eval_texts:
            return CheckReport(inconclusive="no eval texts were given, so nothing could be compared with them")
        view = project(rows)
        known = overlap.index(context.eval_texts)
        best: dict[int, tuple[float, int]] = {}
        for index, item, share in (
            *self._short_items(view, context, known.too_short),
            *self._held(view, context, known),
        ):
            if share > best.get(index, (0.0, 0))[0]:
                best[index] = (share, item)
        findings = [
            self._finding(view, index, share, item, context)
            for index, (share, item) in sorted(best.items(), key=lambda one: (int(view.lines[one[0]]), one[0]))
            if share >= self.containment
        ]
        scores: list[float | None] = [best.get(i, (0.0, 0))[0] for i in range(len(view))]
        unseen = sum(len(overlap.letters_only(context.eval_texts[i])) < _SHORTEST_WHOLE for i in known.too_short)
        facts: dict[str, str | int] = {"items": len(context.eval_texts), "items_too_short": unseen}
        told = bounded(findings, "{n} more records hold eval items")
        return CheckReport([*told, *self._sources(findings)], scores, facts=facts)

    def _held(
        self, view: ProjectedRows, context: CheckContext, known: overlap.Index
    ) -> Iterator[tuple[int, int, float]]:
        """(row, item, share held); where the runs are broken up, the word pairs of the likeliest item decide."""
        doubtful: dict[int, overlap.Overlap] = {}
        for hit in overlap.overlaps(view.columns.full, known, least=_DOUBTFUL):
            share = 1.0 if hit.containment * hit.windows >= self.run else hit.containment
            if share >= self.containment or share >= _SCORED:
                yield hit.text, hit.known, share
            if share < self.containment and (
                hit.text not in doubtful or hit.containment > doubtful[hit.text].containment
            ):
                doubtful[hit.text] = hit
        hits = list(doubtful.values())
        pairs = overlap.word_pairs_held(
            [view.columns.full[hit.text] for hit in hits], [context.eval_texts[hit.known] for hit in hits]
        )
        for hit, share in zip(hits, pairs, strict=True):
            if share >= self.word_pairs:
                yield hit.text, hit.known, share

    def _short_items(
        self, view: ProjectedRows, context: CheckContext, short: Sequence[int]
    ) -> Iterator[tuple[int, int, float]]:
        """Items too short for runs of 32: from 24 letters on they count wherever they stand, down to 12 as whole lines,
        sentences or quoted strings.
        """
        said = view.columns.user if "text" not in set(view.columns.kind) else view.columns.full
        opened = overlap.openings(context.eval_texts, short)
        for index, item in overlap.wholly_held(said, context.eval_texts, opened):
            yield index, item, 1.0
        wanted = {overlap.letters_only(plain(context.eval_texts[i])): i for i in reversed(short)}
        wanted = {
            letters: i for letters, i in wanted.items() if _SHORTEST_WHOLE <= len(letters) < overlap.OPENING_LETTERS
        }
        if not wanted:
            return
        for index, text in enumerate(said):
            before = ""
            for part in _PARTS.split(plain(text[:8000])):
                letters = overlap.letters_only(_LABEL.sub("", part)) if len(part) <= _LONGEST_PART else ""
                key = letters if letters in wanted else before + letters
                before = letters
                if key in wanted:
                    yield index, wanted[key], 1.0
                    break

    def _sources(self, findings: Sequence[Finding]) -> Iterator[Finding]:
        """One warning for each source x batch that holds many items: a source that leaks an eval, not a chance hit."""
        held = Counter((one.source, one.batch) for one in findings)
        for (source, batch), count in sorted(held.items(), key=str):
            if count >= self.many:
                yield Finding(
                    check=self.id,
                    severity=Severity.WARN,
                    score=1.0,
                    evidence=f"{count} records of this batch hold eval items; none may",
                    subject="source",
                    source=source,
                    batch=batch,
                )

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
