"""Release -> its source x batches, each with what became of it and what the checks found in it."""

from collections import Counter, defaultdict
from collections.abc import Sequence

from goldsmith.engines import evidence
from goldsmith.engines.nearest import text_of
from goldsmith.engines.report.facts import Told, Unit
from goldsmith.engines.report.inert import count, excerpt, marked
from goldsmith.engines.reviews import decisions
from goldsmith.trust.workspace import Workspace
from goldsmith.types.artifact import Digest
from goldsmith.types.finding import Finding, Outcome, Severity
from goldsmith.types.lineage import Collection, Delivery, Release

ORDER = {Severity.QUARANTINE: 0, Severity.EXCLUDE: 1, Severity.WARN: 2, Severity.NOTE: 3}
SHOWN = 3
EXAMPLES = 3


def units_of(ws: Workspace, release: Release) -> list[Unit]:
    """One for each collection, in the release's order, the strongest findings first."""
    used = Counter((r.origin.source, r.origin.batch) for r in evidence.records_of(ws, release))
    left = Counter((one.source, one.batch) for one in evidence.left_out_of(ws, release))
    findings = list(evidence.findings_of(ws, release))
    verdicts = {(one.source, one.batch): one for one in release.sources}
    units = []
    for digest in release.collections:
        collection = ws.store.get_artifact(digest, Collection)
        key = (collection.source, collection.batch)
        decided = verdicts.get(key)
        unit = _unit(ws, digest, collection)
        unit.used, unit.left_out = used[key], left[key]
        if decided is not None:
            unit.verdict, unit.reasons = decided.verdict, decided.reasons
        units.append(unit)
    for unit in units:
        _tell(ws, unit, findings, units)
    return units


def _unit(ws: Workspace, digest: Digest, collection: Collection) -> Unit:
    delivery = ws.store.get_artifact(collection.delivery, Delivery)
    said = ws.withdrawn(digest)
    stated = next(iter(ws.about(digest, "collection")), None)
    return Unit(
        source=collection.source,
        batch=collection.batch,
        collection=digest,
        delivered=collection.count,
        used=0,
        left_out=0,
        faulty=collection.faulty,
        verdict=Outcome.PASS,
        reasons=(),
        recalled=None if said is None else str(said.predicate.get("reason") or "no reason given"),
        maker=str(stated.predicate.get("maker") or "unknown") if stated is not None else "unknown",
        signed_at=delivery.issued_at,
        file_name=delivery.file_name,
        decisions=[
            {
                "decision": one.review.decision.value,
                "reason": one.review.reason,
                "role": one.role,
                "at": one.signed_at,
                "void": one.void or "",
            }
            for one in decisions(ws, digest)
        ],
    )


def _concerns(finding: Finding, unit: Unit) -> bool:
    return finding.source == unit.source and finding.batch in (unit.batch, None)


def _tell(ws: Workspace, unit: Unit, findings: Sequence[Finding], units: Sequence[Unit]) -> None:
    own = sorted(
        (f for f in findings if _concerns(f, unit)),
        key=lambda f: (ORDER[f.severity], -f.score, -len(f.lines), f.check, f.lines),
    )
    collection = ws.store.get_artifact(unit.collection, Collection)
    unit.lines = evidence.lines_of(ws, collection)
    for finding in own:
        if finding.severity is Severity.NOTE:
            continue
        for line in finding.lines:
            score, severity = unit.suspicion.get(line, (0.0, finding.severity.value))
            unit.suspicion[line] = (max(score, finding.score), severity)
    shown = _distinct(own)
    wanted = {line for finding in shown if not finding.examples for line in finding.lines[:EXAMPLES]}
    texts = {row.line: row.record for row in evidence.rows_of(ws, collection) if row.line in wanted} if wanted else {}
    for finding in shown:
        examples = list(finding.examples) or [text_of(texts[n]) for n in finding.lines[:EXAMPLES] if n in texts]
        unit.told.append(
            Told(
                finding,
                [
                    marked(excerpt(example), finding.evidence)
                    for example in examples[: EXAMPLES if finding.severity is Severity.QUARANTINE else 1]
                ],
                _contrast(finding, unit, findings, units),
                sum(1 for one in own if one.check == finding.check) - 1,
            )
        )
    unit.more = len(own) - len(shown) - sum(told.alike for told in unit.told)


def _distinct(findings: Sequence[Finding]) -> list[Finding]:
    """The strongest finding of each check, up to `SHOWN`: ten findings of one check say little more than one."""
    first: dict[str, Finding] = {}
    for finding in findings:
        first.setdefault(finding.check, finding)
    return list(first.values())[:SHOWN]


def _contrast(finding: Finding, unit: Unit, findings: Sequence[Finding], units: Sequence[Unit]) -> str:
    """The same check, here and in the other sources: what sets this one apart."""
    here = _rows(finding.check, unit, findings)
    others = [other for other in units if other is not unit]
    total = sum(other.delivered for other in others)
    if not here or not total:
        return ""
    there = sum(_rows(finding.check, other, findings) for other in others)
    return (
        f"{_percent(here, unit.delivered)} of the records here ({count(here)} of {count(unit.delivered)}), "
        f"{_percent(there, total)} in the other {count(len(others), 'delivery', 'deliveries')} "
        f"({count(there)} of {count(total)})"
    )


def _percent(part: int, whole: int) -> str:
    share = 100 * part / whole if whole else 0.0
    return f"{share:.0f} %" if share >= 10 or share == 0 else f"{share:.1f} %"


def _rows(check: str, unit: Unit, findings: Sequence[Finding]) -> int:
    return len({line for f in findings if f.check == check and _concerns(f, unit) for line in f.lines})


def check_table(ws: Workspace, release: Release, units: Sequence[Unit]) -> dict[str, dict[str, tuple[int, float, str]]]:
    """For each check that found something, for each source x batch: rows named, their share, the gravest severity."""
    named: dict[str, dict[str, set[int]]] = defaultdict(lambda: defaultdict(set))
    gravest: dict[tuple[str, str], Severity] = {}
    for finding in evidence.findings_of(ws, release):
        for unit in units:
            if not _concerns(finding, unit):
                continue
            named[finding.check][unit.name].update(finding.lines)
            key = (finding.check, unit.name)
            gravest[key] = min(gravest.get(key, finding.severity), finding.severity, key=ORDER.__getitem__)

    def cell(check: str, unit: Unit) -> tuple[int, float, str]:
        rows = len(named[check][unit.name])
        severity = gravest.get((check, unit.name), Severity.NOTE)
        return rows, rows / max(1, unit.delivered + unit.faulty), severity.value

    def weight(check: str) -> tuple[int, int, str]:
        grave = min(ORDER[severity] for (name, _), severity in gravest.items() if name == check)
        return grave, -sum(map(len, named[check].values())), check

    return {check: {unit.name: cell(check, unit) for unit in units} for check in sorted(named, key=weight)}
