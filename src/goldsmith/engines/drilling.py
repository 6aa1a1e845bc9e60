"""Drills: known attacks planted into copies of rows, screened, and counted.

Everything is measured against the untouched rows, which are screened first: the line that counts as found is fixed on
them before anything is planted. The first plantings of an attack are screened by every check; after that only the
checks that reacted to one of them run again, and the untouched rows keep their scores of the others. Leaving a check
out can only lower what is counted as found, so the figures are lower bounds, for a fraction of the work.
"""

import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from goldsmith.engines import contrast, screening
from goldsmith.engines.statistics import effective_n, wilson
from goldsmith.engines.text.projection import Columns, ProjectedRows, columns_of, project
from goldsmith.types.attack import Attack, Inapplicable, Plan, Planted, Pool
from goldsmith.types.check import Check, CheckContext, Row
from goldsmith.types.coverage import Cell, Coverage
from goldsmith.types.errors import BadInput
from goldsmith.types.finding import Finding, Outcome, Severity

SIZES = (10, 20, 50, 100)
FALSE_ALARMS = 0.01
_LINE = 1.0 - FALSE_ALARMS
_REACTION = 0.02
"""A check reacted to a planted row if at most this share of clean rows scores as high ..."""
_REACTING = 0.05
"""... and to a planting if it reacted to this share of the planted rows."""
WHOLE = 6
"""So many plantings of an attack are screened by every check: its wordings and disguises differ from draw to draw."""

Group = tuple[str, str]


@dataclass(frozen=True)
class Base:
    """The untouched rows, screened by every check. `line`: what at most 1 % of them exceed, fixed from here on."""

    rows: Sequence[Row]
    view: ProjectedRows
    checks: Sequence[Check]
    context: CheckContext
    screened: screening.Screening
    failed: frozenset[Group]
    line: float

    @classmethod
    def of(cls, rows: Sequence[Row], checks: Sequence[Check], context: CheckContext) -> "Base":
        """Screen the rows as they are. Errors: BadInput without rows."""
        if not rows:
            raise BadInput("there are no rows to plant anything in", found="0 rows", allowed="at least one row")
        view = project(rows)
        screened = screening.screen(view, checks, context)
        line = _LINE
        if float(np.mean(screened.combined > line)) > FALSE_ALARMS:
            line = float(np.quantile(screened.combined, 1.0 - FALSE_ALARMS, method="higher"))
        return cls(rows, view, checks, context, screened, _failed(screened), line)

    @property
    def clean_above(self) -> float:
        """Share of the untouched rows beyond the line."""
        return float(np.mean(self.screened.combined > self.line))


class _PlantedRows(ProjectedRows):
    """Planted rows whose columns are the base's but for the rows that were planted."""

    def __init__(self, base: Base, planted: Planted) -> None:
        super().__init__(planted.rows)
        self._base, self._at = base, planted.at

    @cached_property
    def columns(self) -> Columns:
        """The text columns."""
        known, new = self._base.view.columns, columns_of([self[at] for at in self._at])
        patched: dict[str, Any] = {}
        for name in Columns.__dataclass_fields__:
            values = list(getattr(known, name))
            for at, value in zip(self._at, getattr(new, name), strict=True):
                values[at : at + 1] = [value]  # a new source's rows come after the last
            patched[name] = values
        return Columns(**patched)


@dataclass(frozen=True, slots=True)
class Trial:
    """One planting, screened. `hits`: for each planted row (or annotator), whether it was found."""

    hits: tuple[bool, ...]
    named: bool
    honest: int
    honest_quarantined: int
    cpu_s: float
    seen_by: tuple[str, ...]
    reacted: frozenset[str]


@dataclass(slots=True)
class Reactions:
    """Which checks reacted to the plantings of one attack so far."""

    checks: frozenset[str] = frozenset()
    plantings: int = 0

    @property
    def only(self) -> frozenset[str] | None:
        """The checks that the next planting needs; None: every one."""
        return self.checks if self.plantings >= WHOLE and self.checks else None

    def learn(self, made: Trial) -> None:
        """Take note of a planting."""
        self.checks |= made.reacted
        self.plantings += 1


@dataclass(slots=True)
class _Tally:
    """The trials of one attack at one size."""

    attack: Attack
    records: int
    trials: list[Trial] = field(default_factory=list)
    inapplicable: str | None = None

    def cell(self) -> Cell:
        if self.inapplicable is not None or not self.trials:
            return Cell(attack=self.attack.id, records=self.records, inapplicable=self.inapplicable)
        return counted(self.attack.id, self.records, self.trials)


def drill(
    base: Base,
    attacks: Sequence[Attack],
    *,
    records: Sequence[int] = SIZES,
    draws: int = 3,
    seed: int = 0,
    pool: Pool = "measurement",
    new_source: bool = False,
    cpu_seconds: float | None = None,
    rows_in_all: int | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Coverage:
    """The coverage matrix of the base's checks on its rows.

    Draws go round: every attack at every size gets its first draw before any gets its second, so that a run that is
    cut short by `cpu_seconds` (of this process, from here on) has something to say of each.
    """
    started = time.process_time()
    tallies = [_Tally(attack, size) for attack in attacks for size in sorted(set(records), reverse=True)]
    known: dict[str, Reactions] = {attack.id: Reactions() for attack in attacks}
    cut = None
    for draw in range(draws):
        for tally in tallies:
            spent = time.process_time() - started
            if cpu_seconds is not None and spent > cpu_seconds:
                cut = f"{cpu_seconds:.0f} CPU-seconds were allowed"
                break
            if tally.inapplicable is not None:
                continue
            name = tally.attack.id
            progress(f"{name}, {tally.records} records, draw {draw + 1} of {draws} ({spent:.0f} CPU-s)")
            plan = Plan(tally.records, pool, new_source, base.failed)
            rng = Random(f"{seed}/{name}/{tally.records}/{draw}")
            made = trial(base, tally.attack, plan, rng, known[name].only)
            if isinstance(made, Inapplicable):
                tally.inapplicable = made.reason
                continue
            tally.trials.append(made)
            known[name].learn(made)
        if cut:
            break
    return Coverage(
        rows=len(base.rows),
        rows_in_all=len(base.rows) if rows_in_all is None else rows_in_all,
        sources=len({(r.record.origin.source, r.record.origin.batch) for r in base.rows}),
        pool=pool,
        seed=seed,
        draws_asked=draws,
        new_source=new_source,
        line=base.line,
        clean_above=base.clean_above,
        clean_quarantined=tuple(f"{source} / {batch}" for source, batch in sorted(base.failed)),
        checks=tuple(check.id for check in base.checks),
        cells=tuple(sorted((t.cell() for t in tallies), key=lambda c: (c.attack, c.records))),
        cpu_s=time.process_time() - started,
        cut_short=cut,
    )


def trial(
    base: Base, attack: Attack, plan: Plan, rng: Random, only: frozenset[str] | None = None
) -> Trial | Inapplicable:
    """Plant once, screen, count. `only`: the checks to run; the untouched rows keep what the others said before."""
    planted = attack(base.rows, base.context, plan, rng)
    if isinstance(planted, Inapplicable):
        return planted
    checks = [check for check in base.checks if only is None or check.id in only]
    started = time.process_time()
    view = _PlantedRows(base, planted)
    screened = _with_the_rest(base, planted, screening.screen(view, checks, planted.context, compare=False), checks)
    cpu_s = time.process_time() - started
    if planted.annotators:
        return _of_votes(base, planted, screened, cpu_s)
    at = np.array(planted.at, np.int64)
    hits = screened.combined[at] > base.line
    failed = _failed(screened)
    others = {(r.record.origin.source, r.record.origin.batch) for r in base.rows} - base.failed - {planted.group}
    reacted = _reacted(base, planted, screened, checks)
    seen = tuple(sorted(c for c in reacted if (_share(screened, c)[at] <= FALSE_ALARMS).mean() >= 0.1))
    return Trial(tuple(hits.tolist()), planted.group in failed, len(others), len(failed & others), cpu_s, seen, reacted)


def counted(attack: str, records: int, trials: Sequence[Trial]) -> Cell:
    """The trials of one attack at one size as one cell; rows of one planting move together, so draws are clusters."""
    hits = [float(hit) for trial in trials for hit in trial.hits]
    draws = [str(number) for number, trial in enumerate(trials) for _ in trial.hits]
    share, worth = float(np.mean(hits)), effective_n(hits, draws)
    named = sum(trial.named for trial in trials)
    seen = [name for trial in trials for name in trial.seen_by]
    return Cell(
        attack=attack,
        records=records,
        draws=len(trials),
        planted=len(hits),
        found=int(sum(hits)),
        tpr=share,
        tpr_low=wilson(share * worth, worth)[0],
        named=named,
        named_low=wilson(named, len(trials))[0],
        honest=sum(trial.honest for trial in trials),
        honest_quarantined=sum(trial.honest_quarantined for trial in trials),
        cpu_s=float(np.mean([trial.cpu_s for trial in trials])),
        seen_by=tuple(sorted(set(seen), key=lambda name: (-seen.count(name), name))),
    )


def _with_the_rest(
    base: Base, planted: Planted, screened: screening.Screening, checks: Sequence[Check]
) -> screening.Screening:
    """The screening with what the checks that did not run again said of the untouched rows; of planted rows they say
    nothing.
    """
    ran = {check.id for check in checks}
    kept = np.setdiff1d(np.arange(len(base.rows)), np.array(planted.at, np.int64))
    scores = dict(screened.scores)
    for name, before in base.screened.scores.items():
        if name not in ran:
            scores[name] = np.full(len(planted.rows), np.nan)
            scores[name][kept] = before[kept]
    combined = screening.combine(scores, len(planted.rows))
    rest = [f for f in base.screened.findings if f.check not in ran and f.check != contrast.CHECK]
    rest += [*screened.findings, *screening.contrasted(project(screened.rows), scores, planted.context)[0]]
    findings = screening.ordered(rest)
    return screening.Screening(
        screened.rows, findings, scores, combined, screened.inconclusive, screened.facts, screened.cpu_s
    )


def _failed(screened: screening.Screening) -> frozenset[Group]:
    verdicts = screening.decide(screened.findings, screened.rows)
    return frozenset((v.source, v.batch) for v in verdicts if v.verdict is Outcome.FAIL)


def _share(screened: screening.Screening, check: str) -> NDArray[np.float64]:
    """For each row the share of clean rows that score at least as high in this check; 1 where it does not score."""
    if check not in screened.scores:
        return np.ones(len(screened.rows))
    return screening.smallest_share({check: screened.scores[check]}, len(screened.rows), screening.clean_tables())


def _reacted(base: Base, planted: Planted, screened: screening.Screening, checks: Sequence[Check]) -> frozenset[str]:
    """The checks for which planted rows are rare, or that say of their source what they did not say before."""
    before = set(base.screened.findings)
    new = {f.check for f in screened.findings if f not in before and _concerns(f, planted.group)}
    at = np.array(planted.at, np.int64)
    rare = {check.id for check in checks if (_share(screened, check.id)[at] <= _REACTION).mean() >= _REACTING}
    return frozenset(rare | (new & {check.id for check in checks}))


def _concerns(finding: Finding, group: Group | None) -> bool:
    return finding.source is None or group is None or finding.source == group[0]


def _of_votes(base: Base, planted: Planted, screened: screening.Screening, cpu_s: float) -> Trial:
    """Annotators in place of rows: found is who is newly named by a finding, honest are all other annotators."""
    people = {vote.annotator for vote in planted.context.votes}
    before = set(base.screened.findings)
    new = [f for f in screened.findings if f not in before and f.severity is not Severity.NOTE]
    told = _annotators_in(base.screened.findings, people)
    named = _annotators_in(new, people)
    band = sorted(planted.annotators)
    honest = people - planted.annotators - told
    checks = tuple(sorted({f.check for f in new if _annotators_in([f], planted.annotators)}))
    return Trial(
        tuple(one in named for one in band),
        all(one in named for one in band),
        len(honest),
        len(honest & named),
        cpu_s,
        checks,
        frozenset(checks),
    )


def _annotators_in(findings: Iterable[Finding], people: Iterable[str]) -> set[str]:
    """The people whose names stand, as whole words, in what the findings say."""
    said = "\n".join(text for f in findings for text in (f.evidence, *f.examples))
    return {one for one in people if re.search(rf"(?<![\w-]){re.escape(one)}(?![\w-])", said)}
