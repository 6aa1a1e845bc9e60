"""From annotators back to rows: whom a finding names, which lines they judged, and what those lines score."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from goldsmith.engines.annotators.panel import Ints, Panel
from goldsmith.engines.text.evidence import findings_by_group, quote
from goldsmith.engines.text.projection import ProjectedRows
from goldsmith.types.check import CheckReport
from goldsmith.types.finding import Finding, Severity

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Named:
    """What is held against one annotator (or several: a ring): plain words, a score, the items it is about.

    `items`: None for all their items. `severity`: warn unless the evidence is only an opinion about opinions.
    """

    annotators: tuple[int, ...]
    score: float
    evidence: str
    items: Ints | None = None
    severity: Severity = Severity.WARN


def name_of(panel: Panel, annotator: int) -> str:
    """An annotator's name, safe to print."""
    return quote(panel.annotator_names[annotator], 40)


def names_of(panel: Panel, annotators: Sequence[int], limit: int = 12) -> str:
    """Names, the first few of many."""
    shown = ", ".join(name_of(panel, one) for one in annotators[:limit])
    return shown + (f" and {len(annotators) - limit} more" if len(annotators) > limit else "")


def report(
    rows: ProjectedRows,
    panel: Panel,
    check: str,
    named: Sequence[Named],
    *,
    inconclusive: str | None = None,
    facts: Mapping[str, str | int] | None = None,
) -> CheckReport:
    """Findings with the lines the named annotators judged; those lines' scores, and 0 for the lines of all others.

    Rows that no vote is about have no score; without any such row the check scores nothing. The examples of a finding
    name its items.
    """
    lines = _rows_by_annotator(rows, panel)
    scores: list[float | None] | None = None
    if lines:
        scores = [None] * len(rows)
        for judged in lines.values():
            for index, _ in judged:
                scores[index] = 0.0
    findings: list[Finding] = []
    for one in named:
        wanted = None if one.items is None else set(one.items.tolist())
        own = sorted(
            {
                index
                for annotator in one.annotators
                for index, item in lines.get(annotator, ())
                if wanted is None or item < 0 or item in wanted
            }
        )
        findings += _findings(rows, panel, check, one, own)
        if scores is not None:
            for index in own:
                scores[index] = max(scores[index] or 0.0, one.score)
    return CheckReport(findings, scores, inconclusive, dict(facts or {}))


def _findings(rows: ProjectedRows, panel: Panel, check: str, one: Named, own: list[int]) -> list[Finding]:
    items = np.zeros(0, np.int64) if one.items is None else one.items
    shown = tuple(f"item {quote(panel.item_names[item], 60)}" for item in items[:_SHOWN].tolist())
    if not own:
        return [
            Finding(
                check=check,
                severity=one.severity,
                score=one.score,
                evidence=one.evidence,
                subject="collection",
                examples=shown,
            )
        ]
    found = findings_by_group(
        rows, own, check=check, severity=one.severity, score=one.score, evidence=one.evidence, subject="cluster"
    )
    return [finding.model_copy(update={"examples": shown}) for finding in found]


def _rows_by_annotator(rows: ProjectedRows, panel: Panel) -> dict[int, list[tuple[int, int]]]:
    """For each annotator of the panel the rows that are their work, each with its item (-1: the row as a whole).

    A row is an annotator's work if its origin names them, or a vote of theirs names its line.
    """
    code = {name: number for number, name in enumerate(panel.annotator_names)}
    found: dict[int, list[tuple[int, int]]] = {}
    by_line: dict[int, int] = {}
    if any(vote.line is not None for vote in panel.votes):
        by_line = {line: index for index, line in reversed(list(enumerate(rows.lines.tolist())))}
    told: set[int] = set()
    for vote, annotator, item in zip(panel.votes, panel.annotators.tolist(), panel.items.tolist(), strict=True):
        index = by_line.get(vote.line) if vote.line is not None else None
        if index is not None:
            found.setdefault(annotator, []).append((index, item))
            told.add(index)
    for index, name in enumerate(rows.origins.annotator):
        if name is not None and name in code and index not in told:
            found.setdefault(code[name], []).append((index, -1))
    return found
