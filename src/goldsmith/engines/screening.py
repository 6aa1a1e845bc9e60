"""Runs checks over rows, puts their scores on one scale, and says which source x batch stays out.

The one scale. `clean_quantiles.json` (made by `benchmarks/clean_quantiles.py` on public sets nobody attacked) holds,
for each check, how large a share of clean rows scores at least as high as each score seen there. A row's surprise is
the smallest such share over the checks; how often clean rows are that surprising somewhere is in the same file.
`combined` is one minus that: a row at 0.99 is as suspicious as the 1 % most suspicious clean rows. Every clean set
counts the same, whatever its size.
"""

import json
import math
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from goldsmith.engines import contrast
from goldsmith.engines.text.projection import ProjectedRows, project
from goldsmith.trust.durable import storage_errors
from goldsmith.types.check import Check, CheckContext, CheckReport, Row
from goldsmith.types.errors import BadInput
from goldsmith.types.finding import Finding, Outcome, Severity, SourceVerdict

COMBINED = "combined"
_ORDER = {Severity.QUARANTINE: 0, Severity.EXCLUDE: 1, Severity.WARN: 2, Severity.NOTE: 3}
_SCORE_ROWS = 1 << 17
_UNKNOWN_CHECK_CLEAN_SHARE = 0.01
"""What a full score of a check without a clean table is taken for: one clean row in a hundred scores that high."""


@dataclass(frozen=True, slots=True)
class CleanTable:
    """For ascending distinct `scores` (one at least), the share of clean rows that score at least so much."""

    scores: NDArray[np.float64]
    shares: NDArray[np.float64]
    floor: float

    def share(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Share of clean rows at or above each value; between two scores of the table that of the lower one (cautious).

        NaN (could not tell) gives 1. Beyond the highest clean score, `floor` (what the sample can resolve) down to half
        of it, so that higher values stay ahead.
        """
        known = np.nan_to_num(values)
        place = np.searchsorted(self.scores, known + 1e-9, side="right") - 1
        out = np.where(place < 0, 1.0, self.shares[np.maximum(place, 0)])
        top = float(self.scores[-1])
        beyond = np.clip((known - top) / max(1.0 - top, 1e-9), 0.0, 1.0)
        out = np.where(known > top + 1e-9, self.floor * (1.0 - 0.5 * beyond), out)
        return np.where(np.isnan(values), 1.0, out)


@dataclass(frozen=True)
class Screening:
    """What the checks said about the rows. Arrays are aligned with `rows`; scores are 0 to 1, NaN where a check
    could not tell.
    """

    rows: Sequence[Row]
    findings: tuple[Finding, ...]
    scores: dict[str, NDArray[np.float64]]
    combined: NDArray[np.float64]
    inconclusive: dict[str, str]
    facts: dict[str, dict[str, str | int]]
    cpu_s: dict[str, float] = field(default_factory=dict)

    def write_scores(self, path: Path) -> None:
        """Parquet with columns line, source, batch, check, score: every row and scoring check, and the check
        `combined`.

        Higher is more suspicious; null where a check could not tell. The file appears whole or not at all.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        columns = {**dict(sorted(self.scores.items())), COMBINED: self.combined}
        view = project(self.rows)
        names, of_row = view.groups.names, view.groups.of_row
        schema = pa.schema(
            [
                ("line", pa.int64()), ("source", pa.string()), ("batch", pa.string()),
                ("check", pa.dictionary(pa.int32(), pa.string())), ("score", pa.float64()),
            ]
        )  # fmt: skip
        partial = path.with_name(path.name + ".partial")
        with storage_errors(path), ExitStack() as stack:
            stack.callback(partial.unlink, missing_ok=True)
            with pq.ParquetWriter(partial, schema, compression="zstd") as writer:
                for name, values in columns.items():
                    for first in range(0, len(values), _SCORE_ROWS):
                        part = slice(first, first + _SCORE_ROWS)
                        own = of_row[part].tolist()
                        check = pa.DictionaryArray.from_arrays(pa.array(np.zeros(len(own), np.int32)), pa.array([name]))
                        arrays = [
                            pa.array(view.lines[part], pa.int64()),
                            pa.array([names[group][0] for group in own], pa.string()),
                            pa.array([names[group][1] for group in own], pa.string()),
                            check,
                            pa.array(values[part], pa.float64(), mask=np.isnan(values[part])),
                        ]
                        writer.write_table(pa.table(arrays, schema=schema))
            partial.replace(path)


def screen(rows: Sequence[Row], checks: Sequence[Check], context: CheckContext, *, compare: bool = True) -> Screening:
    """Runs the checks in the order given over the same projected rows; with `compare` also sets the sources against
    each other.

    Linear algebra keeps to one thread: the checks' matrices are small, several threads cost ten times the work on a
    busy machine, and the last digits would depend on their number.

    Raises BadInput if two checks have the same id, or a check's scores do not fit the rows.
    """
    import scipy.linalg  # noqa: F401 - its BLAS must be there to be limited
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1, user_api="blas"):
        return _screen(rows, checks, context, compare)


def _screen(rows: Sequence[Row], checks: Sequence[Check], context: CheckContext, compare: bool) -> Screening:
    ids = [check.id for check in checks]
    if len(set(ids)) != len(ids):
        raise BadInput("a check was given twice", found=", ".join(sorted({i for i in ids if ids.count(i) > 1})))
    view = project(rows)
    findings: list[Finding] = []
    scores: dict[str, NDArray[np.float64]] = {}
    inconclusive: dict[str, str] = {}
    facts: dict[str, dict[str, str | int]] = {}
    cpu_s: dict[str, float] = {}
    if len(view):
        started = time.process_time()
        _ = view.columns
        cpu_s["projection"] = time.process_time() - started
    for check in checks:
        started = time.process_time()
        report = check(view, context)
        cpu_s[check.id] = time.process_time() - started
        findings += report.findings
        if report.scores is not None:
            scores[check.id] = _as_array(check.id, report, len(view))
        if report.inconclusive is not None:
            inconclusive[check.id] = report.inconclusive
        if report.facts:
            facts[check.id] = dict(report.facts)
    combined = combine(scores, len(view))
    started = time.process_time()
    found, told = contrasted(view, scores, context) if compare else ([], {})
    cpu_s[contrast.CHECK] = time.process_time() - started
    if told:
        facts[contrast.CHECK] = told
    return Screening(rows, ordered([*findings, *found]), scores, combined, inconclusive, facts, cpu_s)


def contrasted(
    view: ProjectedRows, scores: Mapping[str, NDArray[np.float64]], context: CheckContext
) -> tuple[list[Finding], dict[str, str | int]]:
    """What the sources say about each other (`contrast.findings`)."""
    tables = clean_tables()
    shares = {
        name: np.where(np.isnan(values), np.nan, smallest_share({name: values}, len(values), tables)).astype(np.float32)
        for name, values in scores.items()
    }
    return contrast.findings(
        view, shares, lambda smallest: _calibrated(smallest, len(shares), tables), context.trusted_sources
    )


def ordered(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Gravest first; then by check, source, batch and lines."""
    return tuple(
        sorted(
            findings, key=lambda f: (_ORDER[f.severity], f.check, f.source or "", f.batch or "", f.lines, f.evidence)
        )
    )


def combine(
    scores: Mapping[str, NDArray[np.float64]], count: int, tables: Mapping[str, CleanTable] | None = None
) -> NDArray[np.float64]:
    """One calibrated suspicion for each row: 1 - (expected share of clean rows at least as suspicious)."""
    known = clean_tables() if tables is None else tables
    return _calibrated(smallest_share(scores, count, known), len(scores), known)


def _calibrated(surprise: NDArray[np.float64], checks: int, known: Mapping[str, CleanTable]) -> NDArray[np.float64]:
    """1 - (how often clean rows are that surprising somewhere)."""
    if COMBINED not in known:
        return np.clip(1.0 - surprise * max(1, checks), 0.0, 1.0)
    # The table of `combined` holds surprises as 1 - share, so that higher is more suspicious there too.
    return np.clip(1.0 - known[COMBINED].share(1.0 - surprise), 0.0, 1.0)


def smallest_share(
    scores: Mapping[str, NDArray[np.float64]], count: int, tables: Mapping[str, CleanTable]
) -> NDArray[np.float64]:
    """For each row the smallest share of clean rows, over the checks, that score at least as high in that check."""
    surprise = np.ones(count)
    for name, values in scores.items():
        if name in tables and len(tables[name].scores):
            share = tables[name].share(values)
        else:
            share = np.where(np.isnan(values), 1.0, 1.0 - np.nan_to_num(values) * (1 - _UNKNOWN_CHECK_CLEAN_SHARE))
        surprise = np.minimum(surprise, share)
    return surprise


@cache
def clean_tables() -> Mapping[str, CleanTable]:
    """The committed tables, by check id, and `combined`."""
    text = resources.files("goldsmith.engines").joinpath("clean_quantiles.json").read_text(encoding="utf-8")
    return {
        name: CleanTable(np.array(table["scores"], float), np.array(table["shares"], float), float(table["floor"]))
        for name, table in json.loads(text)["tables"].items()
    }


def decide(findings: Sequence[Finding], rows: Sequence[Row]) -> tuple[SourceVerdict, ...]:
    """One verdict for each source x batch of the rows, sorted. FAIL: quarantined, by a finding on the whole of it.

    Checks raise such findings only on evidence from several records, with their family-wise error controlled across
    source x batch; records that are left out one by one never make a batch fail. A finding without a batch concerns
    every batch of its source.
    """
    groups = project(rows).groups
    counts = dict(zip(groups.names, groups.counts().tolist(), strict=True))
    out = excluded(findings)
    left_out: dict[tuple[str, str], int] = defaultdict(int)
    for source, batch, _ in out:
        left_out[source, batch] += 1
    verdicts = []
    for (source, batch), count in sorted(counts.items()):
        reasons = [
            f"{finding.check}: {finding.evidence}"
            for finding in ordered(findings)
            if finding.severity is Severity.QUARANTINE and finding.source == source and finding.batch in (batch, None)
        ]
        verdicts.append(
            SourceVerdict(
                source=source,
                batch=batch,
                verdict=Outcome.FAIL if reasons else Outcome.PASS,
                records=count,
                excluded=left_out[source, batch],
                reasons=tuple(dict.fromkeys(reasons)),
            )
        )
    return tuple(verdicts)


def excluded(findings: Sequence[Finding]) -> dict[tuple[str, str, int], str]:
    """(source, batch, line) of the records that findings leave out, each with its reason (the first, gravest, by
    check).
    """
    out: dict[tuple[str, str, int], str] = {}
    for finding in ordered(findings):
        if finding.severity is Severity.EXCLUDE:
            for line in finding.lines:
                key = (finding.source or "unknown", finding.batch or "unknown", line)
                out.setdefault(key, f"{finding.check}: {finding.evidence}")
    return out


def _as_array(name: str, report: CheckReport, count: int) -> NDArray[np.float64]:
    told: Iterable[float | None] = () if report.scores is None else report.scores
    array = np.fromiter((math.nan if score is None else score for score in told), np.float64)
    if len(array) != count or bool((array < -1e-9).any()) or bool((array > 1 + 1e-9).any()):
        raise BadInput(
            f"check {name} gave scores that do not fit the rows",
            found=f"{len(array)} scores for {count} rows",
            allowed="one score from 0 to 1, or None, for each row",
        )
    return np.clip(array, 0.0, 1.0)
