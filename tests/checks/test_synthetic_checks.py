"""Synthetic-data checks through their door: what they cannot tell they say, and what was planted is named."""

import random
from typing import Any

import pytest

from goldsmith import plugins
from goldsmith.engines.synthetic import proof_rows
from goldsmith.engines.text.projection import project
from goldsmith.types.check import CheckContext, CheckReport, Row
from goldsmith.types.finding import Severity
from goldsmith.types.record import Origin, Record

NAMES = [name for name in plugins.names("checks") if name.startswith("synthetic_")]
TESTED = [name for name in NAMES if name not in ("synthetic_provenance", "synthetic_stability")]
FORMAT: Any = plugins.build("sources", "openai_chat")
FIELDS = ("source", "batch", "maker", "generator", "generation_depth", "licence", "domain", "language")


def rows_of(plain: list[dict[str, Any]]) -> list[Row]:
    return [
        Row(i, Record(content=FORMAT.parse(p).content, origin=Origin(**{k: p[k] for k in FIELDS if k in p})))
        for i, p in enumerate(plain, 1)
    ]


def run(name: str, rows: Any, context: CheckContext | None = None, **settings: Any) -> CheckReport:
    check: Any = plugins.build("checks", name, settings)
    report: CheckReport = check(rows, context or CheckContext())
    return report


def test_without_synthetic_rows_there_is_nothing_to_say() -> None:
    view = project(rows_of(proof_rows.rows("human", 120, 1)))
    for name in NAMES:
        report = run(name, view)
        assert not report.findings
        assert report.inconclusive is None
        assert report.facts["synthetic_units"] == 0


@pytest.mark.parametrize(
    ("human", "model", "word"), [(0, 60, "human rows"), (40, 60, "human rows"), (240, 20, "20 rows")]
)
def test_too_few_rows_are_inconclusive_with_the_reason(human: int, model: int, word: str) -> None:
    view = project(rows_of(proof_rows.both(human, model)))
    for name in TESTED:
        report = run(name, view)
        assert not report.findings
        assert report.inconclusive is not None
        assert word in report.inconclusive


def test_a_trusted_source_without_a_maker_is_an_anchor() -> None:
    plain = proof_rows.both()
    for row in plain[:240]:
        del row["maker"]
    view = project(rows_of(plain))
    assert run("synthetic_fidelity", view).inconclusive
    assert run("synthetic_fidelity", view, CheckContext(trusted_sources=frozenset({"people"}))).inconclusive is None


def test_the_bad_batch_is_named_and_the_good_one_beside_it_is_not() -> None:
    bad = proof_rows.rows("model", 120, 5, batch="bad")
    for row in bad:
        row["messages"][1]["content"] = "As a helpful assistant I gladly say: " + row["messages"][1]["content"]
    view = project(rows_of(proof_rows.both() + bad))
    (finding,) = run("synthetic_fidelity", view).findings
    assert (finding.source, finding.batch) == ("machine", "bad")
    assert finding.severity is Severity.WARN
    (enforced,) = run("synthetic_fidelity", view, enforce=True).findings
    assert enforced.severity is Severity.QUARANTINE
    assert not run("synthetic_memorisation", view).findings


def test_what_the_generator_saw_lies_closer() -> None:
    """The model paraphrases the human answers of the release before, and never the fresh ones."""
    rng = random.Random(4)
    old, fresh = proof_rows.rows("human", 150, 1), proof_rows.rows("human", 150, 9)
    model = []
    for row in old:
        words = row["messages"][1]["content"].split()
        for _ in range(max(1, len(words) // 8)):
            words[rng.randrange(len(words))] = "thing"
        model.append(proof_rows.row("model", proof_rows.question(rng), " ".join(words)))
    view = rows_of(old + fresh + model)
    told = run("synthetic_memorisation", view, CheckContext(previous=rows_of(old)), near_copies=1.0, closer_share=1.0)
    (finding,) = told.findings
    assert "release before" in finding.evidence


def test_human_rows_may_not_vanish() -> None:
    before = rows_of(proof_rows.rows("human", 30, 1))
    now = rows_of(proof_rows.rows("human", 30, 1)[:20] + proof_rows.rows("human", 20, 2))
    (finding,) = run("human_anchor", now, CheckContext(previous=before)).findings
    assert "10 of the 30" in finding.evidence
    assert not run("human_anchor", now, CheckContext(previous=before), vanished=0.4).findings
    grown = rows_of(proof_rows.rows("human", 30, 1) + proof_rows.rows("human", 20, 2))
    assert not run("human_anchor", grown, CheckContext(previous=before)).findings


def test_many_batches_are_tested_by_source() -> None:
    plain = proof_rows.rows("human", 240, 1)
    for batch in range(30):
        plain += proof_rows.rows("model", 6, 100 + batch, batch=f"b{batch}")
    report = run("synthetic_fidelity", rows_of(plain))
    assert report.facts["synthetic_units"] == 1
    assert report.inconclusive is None
