"""Screening: one scale for all checks, findings in order, verdicts by source x batch, scores as Parquet."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from goldsmith.engines import multiplicity, screening
from goldsmith.types.check import CheckContext, CheckReport, Row
from goldsmith.types.errors import BadInput, Unavailable
from goldsmith.types.finding import Finding, Outcome, Severity
from goldsmith.types.record import Origin, Record, Text


def rows(count: int, source: str = "a", batch: str = "b1") -> list[Row]:
    return [
        Row(i + 1, Record(content=Text(text=f"text {source} {i}"), origin=Origin(source=source, batch=batch)))
        for i in range(count)
    ]


@dataclass(frozen=True)
class Says:
    """A check that says what it is told to."""

    id: str  # type: ignore[misc]
    report: CheckReport
    version: int = 1  # type: ignore[misc]

    def __call__(self, rows: Sequence[Row], context: CheckContext) -> CheckReport:
        return self.report


def finding(severity: Severity, source: str = "a", batch: str | None = "b1", lines: tuple[int, ...] = ()) -> Finding:
    return Finding(check="x", severity=severity, score=0.9, evidence="it", lines=lines, source=source, batch=batch)


def table(scores: list[float], shares: list[float]) -> screening.CleanTable:
    return screening.CleanTable(np.array(scores), np.array(shares), 0.0001)


def test_combined_is_the_share_of_clean_rows() -> None:
    rng = np.random.default_rng(0)
    clean = {"x": rng.random(50_000), "y": rng.random(50_000) ** 4}
    grid = np.linspace(0, 1, 4000)
    tables = {k: table(grid.tolist(), [float((v >= g).mean()) for g in grid]) for k, v in clean.items()}
    surprise = 1.0 - screening.smallest_share(clean, 50_000, tables)
    tables["combined"] = table(grid.tolist(), [float((surprise >= g).mean()) for g in grid])
    fresh = {"x": rng.random(50_000), "y": rng.random(50_000) ** 4}
    combined = screening.combine(fresh, 50_000, tables)
    for line in (0.9, 0.95, 0.99):
        assert (combined > line).mean() == pytest.approx(1 - line, abs=0.004)


def test_combined_rises_with_every_score() -> None:
    tables = {"x": table([0.0, 0.5], [1.0, 0.01]), "y": table([0.0, 0.2], [1.0, 0.05])}
    values = np.linspace(0, 1, 101)
    combined = screening.combine({"x": values, "y": np.zeros(101)}, 101, tables)
    assert (np.diff(combined) >= 0).all()
    assert combined[-1] > combined[50] > combined[0]


def test_a_score_that_could_not_be_told_is_no_suspicion() -> None:
    tables = {"x": table([0.0, 0.5], [1.0, 0.01])}
    combined = screening.combine({"x": np.array([np.nan, 0.0, 0.9])}, 3, tables)
    assert combined[0] <= combined[1] < combined[2]


def test_committed_tables_are_sound() -> None:
    tables = screening.clean_tables()
    assert "combined" in tables
    for one in tables.values():
        assert (np.diff(one.scores) > 0).all()
        assert (np.diff(one.shares) <= 1e-9).all()
        assert ((one.shares >= 0) & (one.shares <= 1 + 1e-9)).all()


def test_a_check_without_a_table_still_counts() -> None:
    result = screening.screen(rows(3), [Says("new_check", CheckReport(scores=[0.0, 0.5, 1.0]))], CheckContext())
    assert result.combined[2] > 0.9 > result.combined[1] >= result.combined[0]


@pytest.mark.parametrize("scores", [[0.1], [0.1, 2.0, 0.1], [0.1, -0.5, 0.1], [0.1] * 4])
def test_scores_must_fit_the_rows(scores: list[float]) -> None:
    with pytest.raises(BadInput):
        screening.screen(rows(3), [Says("x", CheckReport(scores=scores))], CheckContext())


def test_the_same_check_twice_is_refused() -> None:
    with pytest.raises(BadInput):
        screening.screen(rows(1), [Says("x", CheckReport()), Says("x", CheckReport())], CheckContext())


def test_inconclusive_is_kept_with_its_reason() -> None:
    result = screening.screen(rows(1), [Says("x", CheckReport(inconclusive="too little"))], CheckContext())
    assert result.inconclusive == {"x": "too little"}
    assert not result.scores


def test_quarantine_is_by_source_and_batch() -> None:
    data = rows(5, "a", "b1") + rows(5, "a", "b2") + rows(5, "c", "b1")
    found = [
        finding(Severity.QUARANTINE, "a", "b2"),
        finding(Severity.EXCLUDE, "c", "b1", (1, 2)),
        finding(Severity.EXCLUDE, "c", "b1", (2, 3)),
        finding(Severity.WARN, "a", "b1", (1,)),
    ]
    verdicts = {(v.source, v.batch): v for v in screening.decide(found, data)}
    assert verdicts["a", "b2"].verdict is Outcome.FAIL
    assert verdicts["a", "b2"].reasons
    assert verdicts["a", "b1"].verdict is Outcome.PASS
    assert verdicts["c", "b1"].verdict is Outcome.PASS
    assert verdicts["c", "b1"].excluded == 3
    assert set(screening.excluded(found)) == {("c", "b1", 1), ("c", "b1", 2), ("c", "b1", 3)}


def test_no_number_of_excluded_records_makes_a_batch_fail() -> None:
    data = rows(50)
    found = [finding(Severity.EXCLUDE, lines=(i,)) for i in range(1, 51)]
    assert [v.verdict for v in screening.decide(found, data)] == [Outcome.PASS]


def test_findings_are_ordered_by_gravity() -> None:
    report = CheckReport(
        findings=[finding(s) for s in (Severity.NOTE, Severity.QUARANTINE, Severity.WARN, Severity.EXCLUDE)]
    )
    result = screening.screen(rows(1), [Says("x", report)], CheckContext())
    assert [f.severity.value for f in result.findings] == ["quarantine", "exclude", "warn", "note"]


def test_scores_as_parquet(tmp_path: Path) -> None:
    report = CheckReport(scores=[0.25, None, 1.0])
    result = screening.screen(rows(3), [Says("x", report), Says("silent", CheckReport())], CheckContext())
    result.write_scores(tmp_path / "scores.parquet")
    got = pq.read_table(tmp_path / "scores.parquet").to_pylist()
    assert {row["check"] for row in got} == {"x", "combined"}
    assert [(r["line"], r["source"], r["batch"], r["score"]) for r in got if r["check"] == "x"] == [
        (1, "a", "b1", 0.25),
        (2, "a", "b1", None),
        (3, "a", "b1", 1.0),
    ]
    combined = [row["score"] for row in got if row["check"] == "combined"]
    assert combined == result.combined.tolist()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["scores.parquet"]
    with pytest.raises(Unavailable):
        result.write_scores(tmp_path / "missing" / "scores.parquet")


def test_holm_against_the_definition() -> None:
    assert multiplicity.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert multiplicity.holm([]) == []
    assert multiplicity.holm([0.6, 0.9]) == pytest.approx([1.0, 1.0])
