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
from goldsmith.types.finding import Outcome, Severity, SourceVerdict

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
    order = in_order(material.sources)
    listed = order[:UNITS]
    found = Findings.of(material.findings, [(one.source, one.batch) for one in order])
    shown, of_all = tell(material, view, found)
    picked = sample.take(described)
    accuracy = agreement.accuracy(material.votes)
    verdict, why = _verdict(material, order, described)
    topics, topics_told, chart = _chart(material, described, picked, [(one.source, one.batch) for one in listed])
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
        units=_units(material, listed, described, found, shown, picked),
        unlisted_units=len(order) - len(listed),
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


def in_order(sources: Sequence[SourceVerdict]) -> list[SourceVerdict]:
    """Failed first, then by name, batches by the numbers in theirs."""
    return sorted(sources, key=lambda one: (one.verdict is not Outcome.FAIL, one.source, drift.natural(one.batch)))


def _units(
    material: Material,
    listed: Sequence[SourceVerdict],
    described: ProjectedRows,
    found: Findings,
    shown: Mapping[Unit, tuple[Shown, ...]],
    picked: sample.Sample,
) -> tuple[UnitStanding, ...]:
    """One entry for each source x batch, in the order given."""
    names = described.groups.names
    number = {name: i for i, name in enumerate(names)}
    used = np.bincount(described.groups.of_row, minlength=len(names))
    over = np.bincount(described.groups.of_row[scores.over(material.combined())], minlength=len(names))
    human = composition.human_by_group(described)
    moved = drift.drifts(picked, names)
    out = []
    for one in listed:
        unit = (one.source, one.batch)
        place = number.get(unit)
        here = 0 if place is None else int(used[place])
        out.append(
            UnitStanding(
                source=quote(one.source, 80), batch=quote(one.batch, 80), verdict=one.verdict, delivered=one.records,
                used=here, left_out=one.records - here,
                faulty=sum(len(f.lines) for f in found.by_unit.get(unit, []) if f.check == "faulty_row"),
                above=0 if place is None else int(over[place]), human=0 if place is None else human[place],
                named=_named_rows(found, unit), shown=shown.get(unit, ()),
                drift=() if place is None else _quoted(moved[place]),
            )
        )  # fmt: skip
    return tuple(out)


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


def _verdict(material: Material, order: Sequence[SourceVerdict], described: ProjectedRows) -> tuple[Outcome, str]:
    """Fail while a batch that the checks quarantine is in what the report describes."""
    here = set(described.groups.names)
    bad = [one for one in order if one.verdict is Outcome.FAIL]
    inside = [one for one in bad if (one.source, one.batch) in here]
    if not material.subject.records:
        return Outcome.INCONCLUSIVE, "There are no records to judge."
    if inside:
        names = ", ".join(f"{quote(one.source, 80)} / {quote(one.batch, 80)}" for one in inside[:4])
        names += f" and {len(inside) - 4:,} more" if len(inside) > 4 else ""
        number = "1 source batch is" if len(inside) == 1 else f"{len(inside):,} source batches are"
        return Outcome.FAIL, f"{number} quarantined on evidence from several records: {names}."
    if any(one.verdict is Outcome.INCONCLUSIVE for one in order):
        return Outcome.INCONCLUSIVE, "For at least one source batch the checks could not tell."
    verb = "that is quarantined was" if len(bad) == 1 else "that are quarantined were"
    kept_out = f" {len(bad):,} {verb} left out." if bad else ""
    return Outcome.PASS, f"The checks quarantine none of the {len(order) - len(bad):,} source batches in it.{kept_out}"


def _chart(
    material: Material, described: ProjectedRows, picked: sample.Sample, listed: Sequence[Unit]
) -> tuple[tuple[Topic, ...], str, Map]:
    """Topics and map, with the units numbered as the report lists them."""
    names = described.groups.names
    number = {name: i for i, name in enumerate(names)}
    place = {number[unit]: i for i, unit in enumerate(listed) if unit in number}
    topics, told = mapping.find_topics(described, picked, len(names))
    words = material.sensitive([" ".join(topic.words) for topic in topics]) if topics else ()
    ordered = tuple(
        Topic(
            words=() if bad else topic.words,
            by_unit=tuple(topic.by_unit[number[unit]] if unit in number else 0 for unit in listed),
        )
        for topic, bad in zip(topics, words, strict=True)
    )
    chart = mapping.draw_map(described, picked, _states(material, described))
    points = tuple(
        point.model_copy(update={"unit": place[point.unit]}) for point in chart.points if point.unit in place
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
