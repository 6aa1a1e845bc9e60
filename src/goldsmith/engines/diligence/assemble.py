"""Material -> Diligence: every figure of the report, with nothing of a record in it but quoted pieces."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

import goldsmith
from goldsmith.engines.diligence import agreement, composition, consistency, drift, mapping, residual, sample, scores
from goldsmith.engines.diligence.mapping import State
from goldsmith.engines.diligence.material import Material
from goldsmith.engines.diligence.shown import ORDER, Findings, tell
from goldsmith.engines.text.evidence import quote
from goldsmith.engines.text.projection import ProjectedRows
from goldsmith.types.diligence import Agreement, CheckRun, Diligence, Drift, Map, Named, Shown, Tally, Topic
from goldsmith.types.diligence import Unit as UnitStanding
from goldsmith.types.finding import Outcome, Severity

UNITS = 400
"""Source x batches that are listed one by one, those that failed first."""
Unit = tuple[str, str]
_MARK: Mapping[Severity, State] = {
    Severity.QUARANTINE: "quarantine", Severity.EXCLUDE: "exclude", Severity.WARN: "warn",
}  # fmt: skip
_RANK: Mapping[State, int] = {"": 0, "above": 1, "warn": 2, "exclude": 3, "quarantine": 4}


def assemble(material: Material) -> Diligence:
    """The whole report. The same material gives the same value; only `made_at` is taken as given."""
    described = material.described()
    view = material.view()
    found = Findings.of(material.findings, [(one.source, one.batch) for one in material.sources])
    shown, of_all = tell(material, view, found)
    picked = sample.take(described)
    units = _units(material, described, found, shown, picked)
    accuracy = agreement.accuracy(material.votes)
    verdict, why = _verdict(material, units)
    topics, topics_told, chart = _chart(material, described, picked, [(one.source, one.batch) for one in units])
    return Diligence(
        made_at=material.made_at,
        made_by=f"goldsmith {goldsmith.__version__}",
        subject=material.subject,
        verdict=verdict,
        why=why,
        power=tuple(material.power),
        power_told=material.power_told or residual.NOT_MEASURED,
        residual=(
            *residual.residual(
                material.power, material.screening.inconclusive, material.off, material.subject, accuracy[0]
            ),
            *material.notes,
        ),
        units=units,
        collection=of_all,
        accuracy=accuracy,
        completeness=composition.completeness(described, material.subject),
        consistency=(*consistency.consistency(described), agreement.repeats(material.votes)),
        checks=_checks(material),
        tallies=tuple(_safe_tally(material, one) for one in composition.tallies(described)),
        topics=topics,
        topics_told=topics_told,
        agreement=_safe_agreement(material, described),
        scores=scores.distribution(material.combined(), tuple(material.screening.scores)),
        map=chart,
    )


def _units(
    material: Material,
    described: ProjectedRows,
    found: Findings,
    shown: Mapping[Unit, tuple[Shown, ...]],
    picked: sample.Sample,
) -> tuple[UnitStanding, ...]:
    """One entry for each source x batch, sorted: failed first, then by name."""
    names = described.groups.names
    number = {name: i for i, name in enumerate(names)}
    used = np.bincount(described.groups.of_row, minlength=len(names))
    over = np.bincount(described.groups.of_row[scores.over(material.combined())], minlength=len(names))
    human = composition.human_by_group(described)
    moved = drift.drifts(picked, names)
    faulty: dict[Unit, int] = defaultdict(int)
    for unit in found.units:
        faulty[unit] = sum(len(one.lines) for one in found.by_unit.get(unit, []) if one.check == "faulty_row")
    out = []
    for one in material.sources:
        unit = (one.source, one.batch)
        place = number.get(unit)
        here = 0 if place is None else int(used[place])
        out.append(
            UnitStanding(
                source=quote(one.source, 80), batch=quote(one.batch, 80), verdict=one.verdict, delivered=one.records,
                used=here, faulty=faulty[unit], left_out=one.records - here,
                above=0 if place is None else int(over[place]), human=0 if place is None else human[place],
                named=_named_rows(found, unit), shown=shown.get(unit, ()),
                drift=() if place is None else _quoted(moved[place]),
            )
        )  # fmt: skip
    out.sort(key=lambda unit: (unit.verdict is not Outcome.FAIL, unit.source, drift.natural(unit.batch)))
    return tuple(out[:UNITS])


def _named_rows(found: Findings, unit: Unit) -> tuple[Named, ...]:
    gravest: dict[str, Severity] = {}
    for one in found.by_unit.get(unit, []):
        held = gravest.get(one.check, one.severity)
        gravest[one.check] = min(held, one.severity, key=ORDER.__getitem__)
    return tuple(
        Named(check=check, rows=len(found.named[check].get(unit, ())), severity=severity)
        for check, severity in sorted(gravest.items())
    )


def _quoted(found: Sequence[Drift]) -> tuple[Drift, ...]:
    return tuple(one.model_copy(update={"against": quote(one.against, 80)}) for one in found)


def _verdict(material: Material, units: Sequence[UnitStanding]) -> tuple[Outcome, str]:
    """Fail while a batch that the checks quarantine is in what the report describes."""
    bad = [one for one in material.sources if one.verdict is Outcome.FAIL]
    inside = [unit for unit in units if unit.verdict is Outcome.FAIL and unit.used]
    kept_out = len(bad) - len(inside)
    if not material.subject.records:
        return Outcome.INCONCLUSIVE, "There are no records to judge."
    if inside:
        names = ", ".join(f"{unit.source} / {unit.batch}" for unit in inside[:4]) + (" ..." if len(inside) > 4 else "")
        number = "1 source batch is" if len(inside) == 1 else f"{len(inside)} source batches are"
        return Outcome.FAIL, f"{number} quarantined on evidence from several records: {names}."
    if any(one.verdict is Outcome.INCONCLUSIVE for one in material.sources):
        return Outcome.INCONCLUSIVE, "For at least one source batch the checks could not tell."
    kept = (
        f" {kept_out} that is quarantined was left out."
        if kept_out == 1
        else f" {kept_out} that are quarantined were left out."
        if kept_out
        else ""
    )
    return Outcome.PASS, f"The checks quarantine none of the {len(units) - kept_out} source batches in it.{kept}"


def _chart(
    material: Material, described: ProjectedRows, picked: sample.Sample, order: Sequence[Unit]
) -> tuple[tuple[Topic, ...], str, Map]:
    """Topics and map, with the units numbered as the report lists them."""
    names = described.groups.names
    place = {(quote(source, 80), quote(batch, 80)): i for i, (source, batch) in enumerate(order)}
    listed = {(quote(s, 80), quote(b, 80)): i for i, (s, b) in enumerate(names)}
    renumbered = {listed[unit]: i for unit, i in place.items() if unit in listed}
    topics, told = mapping.find_topics(described, picked, len(names))
    words = material.sensitive([" ".join(topic.words) for topic in topics]) if topics else ()
    ordered = tuple(
        Topic(
            words=() if bad else topic.words,
            by_unit=tuple(topic.by_unit[listed[unit]] if unit in listed else 0 for unit in place),
        )
        for topic, bad in zip(topics, words, strict=True)
    )
    chart = mapping.draw_map(described, picked, _states(material, described))
    points = tuple(
        point.model_copy(update={"unit": renumbered[point.unit]}) for point in chart.points if point.unit in renumbered
    )
    return ordered, told, chart.model_copy(update={"points": points})


def _states(material: Material, described: ProjectedRows) -> dict[int, State]:
    """The gravest mark of each described row that has one."""
    marked: dict[tuple[Unit, int], State] = {}
    for finding in material.findings:
        mark = _MARK.get(finding.severity)
        if mark is None or finding.source is None or finding.batch is None:
            continue
        for line in finding.lines:
            place = ((finding.source, finding.batch), line)
            if _RANK[mark] > _RANK[marked.get(place, "")]:
                marked[place] = mark
    states: dict[int, State] = {int(i): "above" for i in np.flatnonzero(scores.over(material.combined()))}
    if marked:
        lines = np.fromiter({line for _, line in marked}, np.int64)
        for i in np.flatnonzero(np.isin(described.lines, lines)).tolist():
            unit = described.groups.names[int(described.groups.of_row[i])]
            found = marked.get((unit, int(described.lines[i])))
            if found is not None:
                states[i] = found
    return states


def _checks(material: Material) -> tuple[CheckRun, ...]:
    """One entry for each check, those left out by name included, and for what else reported (faulty rows, contrast
    between sources); rows counted once for each severity."""
    rows: dict[str, dict[Severity, set[tuple[str | None, str | None, int]]]] = defaultdict(lambda: defaultdict(set))
    for finding in material.findings:
        rows[finding.check][finding.severity].update((finding.source, finding.batch, line) for line in finding.lines)
    versions = {check.id: check.version for check in material.checks}
    out = []
    for check in sorted({*versions, *rows, *material.off}):
        why = material.screening.inconclusive.get(check, "")
        named = rows[check]
        out.append(
            CheckRun(
                check=check, version=versions.get(check, 0),
                outcome="left out" if check in material.off else "could not tell" if why else "ran",
                why=quote(why, 300),
                quarantined=len(named[Severity.QUARANTINE]), excluded=len(named[Severity.EXCLUDE]),
                warned=len(named[Severity.WARN]), noted=len(named[Severity.NOTE]),
                facts={key: str(value) for key, value in sorted(material.screening.facts.get(check, {}).items())},
            )
        )  # fmt: skip
    return tuple(out)


def _safe_tally(material: Material, tally: Tally) -> Tally:
    """Values quoted and cut short, withheld where they hold personal data (a generator named after a person)."""
    shown = [None if one.name is None else quote(one.name, 80) for one in tally.counts]
    bad = iter(material.sensitive([name for name in shown if name is not None]))
    counts = tuple(
        one.model_copy(update={"name": None if name is None else "(withheld)" if next(bad) else name})
        for one, name in zip(tally.counts, shown, strict=True)
    )
    return tally.model_copy(update={"counts": counts})


def _safe_agreement(material: Material, described: ProjectedRows) -> Agreement:
    told = agreement.agreement(material.votes, described)
    if not told.annotators:
        return told
    bad = material.sensitive([one.name for one in told.annotators])
    named = tuple(
        one.model_copy(update={"name": f"annotator {place} (name withheld)"}) if hide else one
        for place, (one, hide) in enumerate(zip(told.annotators, bad, strict=True), 1)
    )
    return told.model_copy(update={"annotators": named})
