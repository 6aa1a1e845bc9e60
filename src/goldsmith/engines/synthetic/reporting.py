"""From measures to findings: one finding per synthetic unit whose measures pass their limits and are no chance."""

from collections.abc import Mapping, Sequence

from goldsmith.engines.synthetic.battery import Battery, Tested, battery
from goldsmith.engines.synthetic.measures import Measure
from goldsmith.engines.text.projection import project
from goldsmith.types.check import CheckContext, CheckReport, Row
from goldsmith.types.finding import Finding, Severity

Limits = Mapping[tuple[str, str], tuple[float, float]]
"""(test, measure) -> what is warned of, and what fails."""


def report(
    check: str, limits: Limits, rows: Sequence[Row], context: CheckContext, *, alpha: float, enforce: bool
) -> CheckReport:
    """The part of the battery that `limits` names.

    A measure counts when it is beyond its limit and its p-value, after Holm over every measure of every unit, is below
    `alpha`. With `enforce`, one beyond its second limit keeps the unit out.
    """
    if not rows:
        return CheckReport(inconclusive="no rows")
    found = battery(project(rows), context)
    if not found.sides.units:
        return CheckReport(facts={"synthetic_units": 0})
    findings: dict[tuple[str, str | None], Finding] = {}
    for tested in found.tested:
        one = _finding(check, limits, tested, alpha, enforce)
        key = (tested.unit.source, tested.unit.batch)
        if one is not None and (key not in findings or one.score > findings[key].score):
            findings[key] = one
    ours = [t for t in found.tested if any((m.test, m.name) in limits for m in t.measures)]
    facts: dict[str, str | int] = {"synthetic_units": len(found.sides.units), "tested": len(ours)}
    return CheckReport(list(findings.values()), inconclusive=_untold(found, ours), facts=facts)


def _untold(found: Battery, ours: list[Tested]) -> str | None:
    if found.reason is not None and not ours:
        return found.reason
    if found.skipped:
        more = f" and {len(found.skipped) - 3} more" if len(found.skipped) > 3 else ""
        return "not tested: " + "; ".join(found.skipped[:3]) + more
    return None if ours else "the synthetic rows have nothing in them that this test can measure"


def _finding(check: str, limits: Limits, tested: Tested, alpha: float, enforce: bool) -> Finding | None:
    beyond: list[tuple[float, Measure, float]] = []
    failed = False
    for measure, adjusted in zip(tested.measures, tested.adjusted, strict=True):
        pair = limits.get((measure.test, measure.name))
        if pair is None or adjusted >= alpha or measure.size <= pair[0]:
            continue
        failed = failed or measure.size > pair[1]
        beyond.append((min(1.0, measure.size / max(pair[1], 1e-9)), measure, adjusted))
    if not beyond:
        return None
    beyond.sort(key=lambda one: (-one[0], one[1].name))
    said = "; ".join(
        f"{measure.said} (limit {limits[measure.test, measure.name][0]:g}, p = {adjusted:.1e} after Holm)"
        for _, measure, adjusted in beyond
    )
    return Finding(
        check=check,
        severity=Severity.QUARANTINE if failed and enforce and tested.unit.batch is not None else Severity.WARN,
        score=beyond[0][0],
        evidence=f"{said}; {tested.synthetic_rows} synthetic rows looked at beside {tested.human_rows}",
        subject="source",
        source=tested.unit.source,
        batch=tested.unit.batch,
    )
