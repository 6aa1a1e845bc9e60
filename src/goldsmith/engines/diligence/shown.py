"""Findings as a buyer may read them: one for each check and place, with examples, the contrast, and nothing secret."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from goldsmith.engines.diligence.material import Material, Sensitive
from goldsmith.engines.text.evidence import quote
from goldsmith.engines.text.projection import ProjectedRows
from goldsmith.types.diligence import Shown
from goldsmith.types.finding import Finding, Severity

CHECKS, EXAMPLES, LINES, EXCERPT = 12, 3, 20, 240
ABOUT_ORIGINS = ("licences", "synthetic_share", "annotator_votes")
"""Checks whose findings are not in the text: pieces of it would be no evidence."""
WITHHELD = "(withheld: it holds a secret or personal data)"
ORDER = {Severity.QUARANTINE: 0, Severity.EXCLUDE: 1, Severity.WARN: 2, Severity.NOTE: 3}
Unit = tuple[str, str]


@dataclass
class Findings:
    """Findings by the unit they concern. `named[check][unit]`: the lines that a check names there."""

    units: Sequence[Unit]
    by_unit: dict[Unit, list[Finding]] = field(default_factory=lambda: defaultdict(list))
    of_all: list[Finding] = field(default_factory=list)
    named: dict[str, dict[Unit, set[int]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(set)))

    @classmethod
    def of(cls, findings: Iterable[Finding], units: Sequence[Unit]) -> "Findings":
        """A finding without a batch concerns every batch of its source; one of no unit here, the whole."""
        out = cls(units)
        by_source: dict[str, list[Unit]] = defaultdict(list)
        for unit in units:
            by_source[unit[0]].append(unit)
        known = set(units)
        for finding in findings:
            exact = (finding.source or "", finding.batch or "")
            places = [exact] if exact in known else by_source.get(finding.source or "", []) if not finding.batch else []
            for unit in places:
                out.by_unit[unit].append(finding)
                out.named[finding.check][unit].update(finding.lines)
            if not places:
                out.of_all.append(finding)
        return out


def tell(
    material: Material, view: ProjectedRows, found: Findings
) -> tuple[dict[Unit, tuple[Shown, ...]], tuple[Shown, ...]]:
    """What is shown of each unit, and of the data as a whole; texts that may not be shown are withheld."""
    sizes = {(one.source, one.batch): one.records for one in material.sources}
    picked = {unit: first_of_each(found.by_unit.get(unit, [])) for unit in found.units}
    of_all = first_of_each(found.of_all)
    everything = [(unit, one) for unit, firsts in picked.items() for one in firsts] + [(None, one) for one in of_all]
    texts = texts_at(
        view, {(unit, line) for unit, (one, _) in everything if unit for line in one.lines[: 8 * EXAMPLES]}
    )
    guard = Guard(material.sensitive)
    shown = []
    for unit, (finding, alike) in everything:
        own = [texts[unit, line] for line in finding.lines[: 8 * EXAMPLES] if unit and (unit, line) in texts]
        shown.append(
            Shown(
                check=finding.check, severity=finding.severity, score=finding.score,
                evidence=quote(finding.evidence, 600), rows=len(finding.lines), lines=finding.lines[:LINES],
                examples=tuple(guard.examples(finding, own)), alike=alike,
                contrast=contrast(finding.check, unit, found, sizes) if unit else "",
            )
        )  # fmt: skip
    safe = iter(guard.clean(shown))
    return {unit: tuple(next(safe) for _ in firsts) for unit, firsts in picked.items()}, tuple(safe)


def first_of_each(findings: Sequence[Finding]) -> list[tuple[Finding, int]]:
    """The gravest finding of each check, with how many more of it there are."""
    ranked = sorted(findings, key=lambda f: (ORDER[f.severity], -f.score, -len(f.lines), f.check, f.lines, f.evidence))
    first: dict[str, Finding] = {}
    more: dict[str, int] = defaultdict(int)
    for finding in ranked:
        more[finding.check] += finding.check in first
        first.setdefault(finding.check, finding)
    return [(finding, more[check]) for check, finding in list(first.items())[:CHECKS]]


def texts_at(view: ProjectedRows, wanted: set[tuple[Unit, int]]) -> dict[tuple[Unit, int], str]:
    """The whole texts of the rows at these places."""
    if not wanted:
        return {}
    lines = np.fromiter({line for _, line in wanted}, np.int64)
    out = {}
    for i in np.flatnonzero(np.isin(view.lines, lines)).tolist():
        place = (view.groups.names[int(view.groups.of_row[i])], int(view.lines[i]))
        if place in wanted:
            out[place] = view.columns.full[i]
    return out


def contrast(check: str, unit: Unit, found: Findings, sizes: Mapping[Unit, int]) -> str:
    """How much of this unit a check names, and how much of the others."""
    here, whole = len(found.named[check].get(unit, ())), sizes.get(unit, 0)
    others = [other for other in found.units if other != unit]
    rest = sum(sizes.get(other, 0) for other in others)
    if not here or not whole:
        return ""
    told = f"{percent(here, whole)} of the records here ({here:,} of {whole:,})"
    if not rest:
        return told + "; there is no other batch to compare with"
    there = sum(len(found.named[check].get(other, ())) for other in others)
    return f"{told}, {percent(there, rest)} elsewhere ({there:,} of {rest:,})"


def percent(part: int, whole: int) -> str:
    """A share with as many digits as a reader needs."""
    value = 100 * part / whole if whole else 0.0
    return f"{value:.0f} %" if value >= 10 or value == 0 else f"{value:.1f} %" if value >= 0.1 else "under 0.1 %"


@dataclass
class Guard:
    """Keeps secrets and personal data out of the report. Whole texts are asked about, before anything is cut."""

    sensitive: Sensitive

    def examples(self, finding: Finding, own: Sequence[str]) -> list[str]:
        """Pieces of the rows that hold nothing secret; the check's own pieces only where none of its rows does."""
        if finding.check in ABOUT_ORIGINS:
            return []
        if not own:
            return [quote(one, EXCERPT) for one in finding.examples[:EXAMPLES]]
        hidden = list(self.sensitive(own))
        if finding.examples and not any(hidden):
            return [quote(one, EXCERPT) for one in finding.examples[:EXAMPLES]]
        open_texts = [text for text, bad in zip(own, hidden, strict=True) if not bad]
        return [quote(text, EXCERPT) for text in open_texts[:EXAMPLES]] or [WITHHELD]

    def clean(self, shown: Sequence[Shown]) -> list[Shown]:
        """The same, with every piece and every sentence that still holds something secret withheld."""
        pieces = [text for one in shown for text in (one.evidence, *one.examples)]
        bad = iter(self.sensitive(pieces)) if pieces else iter(())
        out = []
        for one in shown:
            evidence = WITHHELD if next(bad) else one.evidence
            examples = tuple(WITHHELD if next(bad) else text for text in one.examples)
            out.append(one.model_copy(update={"evidence": evidence, "examples": tuple(dict.fromkeys(examples))}))
        return out
