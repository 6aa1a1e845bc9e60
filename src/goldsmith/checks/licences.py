"""Licences that do not allow what the data is wanted for."""

from collections.abc import Sequence
from typing import ClassVar

from goldsmith.engines.licences import Terms, Use, terms_of
from goldsmith.engines.text.evidence import quote
from goldsmith.engines.text.projection import ProjectedRows, project
from goldsmith.types.artifact import Spec
from goldsmith.types.check import CheckContext, CheckReport, Row
from goldsmith.types.finding import Finding, Severity

_VERDICT = {"no": "does not allow", "ask": "leaves open, or puts conditions on,"}


class Licences(Spec):
    """The licence that each row states against the use that the recipe (`checks: use`) or `--use` states.

    Training is always meant. Rows whose licence forbids a stated use are left out; licences that put conditions on it
    (share-alike when the data is passed on, use restrictions, all rights reserved) or that are not known get a warning,
    and so do rows that state none. Without a stated use only training is judged. Known: SPDX identifiers and
    expressions, Creative Commons in any spelling, common names, and clauses in words (`non-commercial`, `research
    only`, `no training`). `allow`: licences, as written, that a contract of your own covers.
    """

    id: ClassVar[str] = "licences"
    version: ClassVar[int] = 1
    allow: tuple[str, ...] = ()

    def __call__(self, rows: Sequence[Row], context: CheckContext) -> CheckReport:
        """One finding per source x batch and licence that is in the way; no row scores."""
        if not rows:
            return CheckReport(inconclusive="no rows")
        view = project(rows)
        told = view.origins.licence
        stated = {text for text in set(told) if text and text.strip()}
        if not stated and not context.use:
            return CheckReport(inconclusive="no row states a licence, and no use was stated (checks: use, or --use)")
        members: dict[tuple[int, str | None], list[int]] = {}
        for index, licence in enumerate(told):
            members.setdefault((int(view.groups.of_row[index]), licence if licence in stated else None), []).append(
                index
            )
        uses: list[Use] = [
            use for use in ("train", "commercial", "research", "redistribution") if use in (*context.use, "train")
        ]
        known = {text: terms_of(text) for text in sorted(stated)}
        findings = []
        for (group, licence), indices in sorted(members.items(), key=lambda one: (one[0][0], one[0][1] or "")):
            if licence is not None and licence in self.allow:
                continue
            found = self._judged(licence, known.get(licence or ""), uses)
            if found is not None:
                findings.append(self._finding(view, group, indices, *found))
        missing = sum(len(i) for (_, licence), i in members.items() if licence is None)
        reason = None
        if missing == len(view):
            reason = "no row states a licence"
        elif any(terms is None for text, terms in known.items() if text not in self.allow):
            reason = "not every licence is known: see the warnings"
        return CheckReport(findings, inconclusive=reason, facts={"licences": len(stated), "rows_without": missing})

    def _judged(self, licence: str | None, terms: Terms | None, uses: list[Use]) -> tuple[Severity, float, str] | None:
        if licence is None:
            return Severity.WARN, 0.5, "{n} state no licence, so no use is covered"
        if terms is None:
            return Severity.WARN, 0.5, f"{{n}} under “{quote(licence, 60)}”, a licence that is not known here"
        for answer, severity, score in (("no", Severity.EXCLUDE, 1.0), ("ask", Severity.WARN, 0.6)):
            hit = [use for use in uses if terms.answer(use) == answer]
            if hit:
                said = f"{{n}} under “{quote(licence, 60)}”, which {_VERDICT[answer]} {' and '.join(hit)}: {terms.why}"
                return severity, score, said
        return None

    def _finding(
        self, view: ProjectedRows, group: int, indices: list[int], severity: Severity, score: float, evidence: str
    ) -> Finding:
        source, batch = view.groups.names[group]
        count = f"{len(indices)} record{'s' if len(indices) > 1 else ''}"
        return Finding(
            check=self.id,
            severity=severity,
            score=score,
            evidence=evidence.replace("{n}", count),
            subject="source",
            lines=tuple(sorted(int(view.lines[i]) for i in indices)),
            source=source,
            batch=batch,
        )


def _row(licence: str, number: int) -> dict[str, object]:
    return {
        "messages": [
            {"role": "user", "content": f"What is {number} and one?"},
            {"role": "assistant", "content": f"It is {number + 1}."},
        ],
        "source": licence.split()[0],
        "batch": "b1",
        "licence": licence,
    }


USE = ("train", "commercial")
CAUGHT = [_row("CC BY-NC 4.0", 1), _row("Apache-2.0", 2), _row("MIT, no training", 3), _row("CC BY-NC 4.0", 4)]
CLEAN = [_row("Apache-2.0", 1), _row("CC BY 4.0", 2), _row("MIT OR GPL-3.0-only", 3), _row("public domain", 4)]
