"""Answers that are no answers: loops, cut-off text, left-over placeholders."""

import json
import re
import zlib
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from goldsmith.engines.text.evidence import findings_by_group, quote
from goldsmith.engines.text.projection import ProjectedRows, project
from goldsmith.types.artifact import Real, Spec
from goldsmith.types.check import CheckContext, CheckReport, Row
from goldsmith.types.finding import Finding, Severity

_PROBE = 40
_READ = 20_000
_PROSE = 200
_FEWEST_OF_A_SOURCE = 20
_PLACEHOLDER = re.compile(
    r"\[(?:insert|your|enter|add|fill in)\b[^\]\n]{0,40}(?:answer|response|text|here)\]|lorem ipsum dolor|"
    r"<(?:your[ _])?(?:answer|response)(?:[ _]here)?>|\{\{ ?(?:answer|response|output|completion) ?\}\}|"
    r"^\s{0,4}(?:todo|tbd|n/?a|null|none|nan|undefined|error: .{0,60}timeout.{0,20})\s{0,4}$",
    re.I,
)


class DegenerateAnswers(Spec):
    """Answers that loop, stop in the middle, or were never filled in.

    Loops: a passage of 40 characters that fills a third of the answer, five times at least, confirmed by compression
    (to under `least_compressed` of its size); those lines are left out. Warnings: a code fence that is not closed, JSON
    that ends early, prose of 200 characters and more that stops at a letter or comma in a source where at most
    `usual_unfinished` of the answers do, a placeholder instead of the answer, and no answer at all. Score 1 for a loop,
    0.6 for the warnings of a row's own, 0.2 for prose that stops; only what would be learnt is read.
    """

    id: ClassVar[str] = "degenerate_answers"
    version: ClassVar[int] = 1
    least_compressed: Real = 0.2
    usual_unfinished: Real = 0.03

    def __call__(self, rows: Sequence[Row], context: CheckContext) -> CheckReport:
        """One finding per source x batch and kind."""
        view = project(rows)
        kinds: dict[str, dict[int, str]] = {name: {} for name in ("loop", "empty", "fence", "json", "placeholder")}
        stops: list[int] = []
        prose: list[int] = []
        columns = view.columns
        answered = 0
        for row, (kind, whole, calls) in enumerate(zip(columns.kind, columns.answer, columns.calls, strict=True)):
            if kind == "text" or (kind == "rating" and not whole and columns.rejected[row] is not None):
                continue
            answered += 1
            found = _kind_of(whole, self.least_compressed, calls=bool(calls))
            if found is not None:
                kinds[found][row] = f"“…{quote(whole[-80:], 80)}”" if found != "empty" else "no text"
            elif len(whole) >= _PROSE:
                prose.append(row)
                if whole[-200:].rstrip()[-1:].isalpha() or whole[-200:].rstrip()[-1:] in {",", ";", "、", "，"}:
                    stops.append(row)
        unfinished = self._unfinished(view, np.array(stops, np.int64), np.array(prose, np.int64))
        scores: list[float | None] = [0.0] * len(view)
        for row in unfinished:
            scores[row] = 0.2
        for name, found_rows in kinds.items():
            for row in found_rows:
                scores[row] = 1.0 if name == "loop" else 0.6
        facts: dict[str, str | int] = {"answers": answered, "unfinished": len(unfinished)}
        facts.update({name: len(found_rows) for name, found_rows in kinds.items()})
        return CheckReport(self._findings(view, kinds, unfinished), scores if len(view) else None, facts=facts)

    def _unfinished(self, view: ProjectedRows, stops: NDArray[np.int64], prose: NDArray[np.int64]) -> dict[int, str]:
        """Prose that stops at a letter, where the other answers of its source do not."""
        source = view.groups.source_of_row()
        count = np.bincount(source[prose], minlength=len(view.groups.sources)) if len(prose) else np.zeros(0)
        stopped = np.bincount(source[stops], minlength=len(view.groups.sources)) if len(stops) else np.zeros(0)
        return {
            row: f"“…{quote(view.columns.answer[row][-80:], 80)}”"
            for row in stops.tolist()
            if count[source[row]] >= _FEWEST_OF_A_SOURCE
            and stopped[source[row]] <= max(1.0, self.usual_unfinished * count[source[row]])
        }

    def _findings(
        self, view: ProjectedRows, kinds: dict[str, dict[int, str]], unfinished: dict[int, str]
    ) -> list[Finding]:
        said = {
            "loop": "{n} answers repeat one passage over and over",
            "empty": "{n} rows have no answer",
            "fence": "{n} answers open a code block and do not close it",
            "json": "{n} answers are JSON that ends early",
            "placeholder": "{n} answers hold a placeholder instead of text",
        }
        out = []
        for name, rows in kinds.items():
            severity = Severity.EXCLUDE if name == "loop" else Severity.WARN
            out += findings_by_group(
                view, rows, check=self.id, severity=severity, score=1.0 if name == "loop" else 0.6,
                evidence=said[name], examples=rows,
            )  # fmt: skip
        return out + findings_by_group(
            view, unfinished, check=self.id, severity=Severity.WARN, score=0.2,
            evidence="{n} answers stop in the middle of a sentence, unlike the others of their source",
            examples=unfinished,
        )  # fmt: skip


def _kind_of(whole: str, least_compressed: float, *, calls: bool) -> str | None:
    """What is wrong with this one answer by itself."""
    text = whole[:_READ].strip()
    if not text:
        return None if calls else "empty"
    if _loops(text, least_compressed):
        return "loop"
    if len(text) < 400 and _may_hold_place(text) and _PLACEHOLDER.search(text):
        return "placeholder"
    if len(whole) > _READ:
        return None
    if "```" in text and text.count("```") % 2:
        return "fence"
    if text[0] in "{[" and len(text) >= 20 and text[1:].lstrip()[:1] in {'"', "{", "["} and _ends_early(text):
        return "json"
    return None


def _may_hold_place(text: str) -> bool:
    """Whether a text has what each way of `_PLACEHOLDER` needs: brackets, the Latin words, or nothing beside."""
    return len(text) <= 110 or "[" in text or "<" in text or "{{" in text or "orem" in text.lower()


def _loops(text: str, least_compressed: float) -> bool:
    if len(text) < 5 * _PROBE:
        return False
    for at in (len(text) - _PROBE, len(text) // 2, 3 * len(text) // 4):
        probe = text[at : at + _PROBE]
        if sum(c.isalpha() for c in probe) < 12:  # rules, tables and indentation repeat rightly
            continue
        count = text.count(probe)
        if count >= 5 and 3 * count * len(probe) >= len(text):
            raw = text.encode("utf-8", "replace")
            return len(zlib.compress(raw, 6)) < least_compressed * len(raw)
    return False


def _ends_early(text: str) -> bool:
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        return error.pos >= len(text) - 1 or "Unterminated" in error.msg
    except (ValueError, RecursionError):
        return False
    return False


def _row(number: int, answer: str) -> dict[str, object]:
    return {
        "messages": [{"role": "user", "content": f"Question {number}?"}, {"role": "assistant", "content": answer}],
        "source": "vendor",
        "batch": "b1",
    }


CLEAN = [_row(i, f"Answer {i}: {'yes' if i % 2 else 'no'}, because the river is {i} miles long.") for i in range(30)]
CAUGHT = [
    *CLEAN,
    _row(31, "The river is long. " + "It flows through the old town and " * 30),
    _row(32, "Use this:\n```python\nprint(1)"),
    _row(33, '{"name": "river", "length": [1, 2'),
    _row(34, "[insert answer here]"),
]
