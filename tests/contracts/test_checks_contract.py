"""Every check, present and future, keeps the contract: found by its file, tried by its examples and by bad input."""

import inspect
import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from goldsmith import plugins
from goldsmith.types.artifact import Spec
from goldsmith.types.check import CheckContext, CheckReport, Row
from goldsmith.types.errors import BadInput
from goldsmith.types.finding import Finding, Severity
from goldsmith.types.record import Origin, Record

NAMES = plugins.names("checks")
FORMATS = {name: plugins.build("sources", name) for name in ("openai_chat", "openai_preference")}
ORIGIN_FIELDS = ("source", "batch", "maker", "generator", "generation_depth", "annotator", "domain", "licence")


def rows_of(dicts: Sequence[dict[str, Any]]) -> list[Row]:
    """Plain rows as delivered, each on its own line of a file."""
    rows = []
    for line, plain in enumerate(dicts, 1):
        reader: Any = FORMATS["openai_preference" if "input" in plain else "openai_chat"]
        origin = Origin(**{key: plain[key] for key in ORIGIN_FIELDS if key in plain})
        rows.append(Row(line, Record(content=reader.parse(plain).content, origin=origin)))
    return rows


def context_of(name: str, which: str = "CAUGHT") -> CheckContext:
    module = plugins.module("checks", name)
    texts = getattr(module, "EVAL_TEXTS", [])
    votes = getattr(module, f"{which}_VOTES", [])
    previous = getattr(module, f"{which}_PREVIOUS", None)
    return CheckContext(
        eval_texts=texts,
        eval_names=["example"] * len(texts),
        votes=votes,
        use=getattr(module, "USE", ()),
        trusted_sources=getattr(module, "TRUSTED", frozenset()),
        previous=None if previous is None else rows_of(previous),
    )


def run(name: str, rows: Sequence[Row], which: str = "CAUGHT") -> CheckReport:
    check: Callable[[Sequence[Row], CheckContext], CheckReport] = plugins.build("checks", name)  # type: ignore[assignment]
    report = check(rows, context_of(name, which))
    if report.scores is not None:
        assert len(report.scores) == len(rows)
        assert all(score is None or (math.isfinite(score) and 0 <= score <= 1) for score in report.scores)
    known = {(row.record.origin.source, row.record.origin.batch, row.line) for row in rows}
    for finding in report.findings:
        assert isinstance(finding, Finding)
        assert finding.check == name
        assert 0 <= finding.score <= 1
        assert finding.evidence.strip()
        assert list(finding.lines) == sorted(finding.lines)
        assert all((finding.source, finding.batch, line) in known for line in finding.lines)
        if finding.severity is Severity.QUARANTINE:
            assert finding.source is not None
            assert finding.batch is not None
        if finding.severity is Severity.EXCLUDE:
            assert finding.lines
    return report


def chat(user: str, answer: str, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": user}, {"role": "assistant", "content": answer}], **more}


def pair(user: str, chosen: str, rejected: str, **more: Any) -> dict[str, Any]:
    return {
        "input": {"messages": [{"role": "user", "content": user}]},
        "preferred_output": [{"role": "assistant", "content": chosen}],
        "non_preferred_output": [{"role": "assistant", "content": rejected}],
        **more,
    }


@pytest.mark.parametrize("name", NAMES)
def test_declares_itself(name: str) -> None:
    found = plugins.find("checks", name)
    assert issubclass(found, Spec)
    assert found.id == name  # type: ignore[attr-defined]
    assert found.version >= 1  # type: ignore[attr-defined]
    assert inspect.getdoc(found)
    with pytest.raises(BadInput):
        plugins.build("checks", name, {"no_such_setting": 1})


@pytest.mark.parametrize("name", NAMES)
def test_catches_its_planted_defect(name: str) -> None:
    module = plugins.module("checks", name)
    caught = run(name, rows_of(module.CAUGHT))
    assert caught.findings
    assert caught.inconclusive is None
    if caught.scores is not None and any(caught.scores):
        planted = {line for finding in caught.findings for line in finding.lines}
        told = [(score or 0.0, line) for line, score in enumerate(caught.scores, 1)]
        others = [score for score, line in told if line not in planted]
        assert max(others, default=0.0) < max(score for score, line in told if line in planted)


@pytest.mark.parametrize("name", NAMES)
def test_leaves_its_clean_case_alone(name: str) -> None:
    assert not run(name, rows_of(plugins.module("checks", name).CLEAN), "CLEAN").findings


@pytest.mark.parametrize("name", NAMES)
def test_no_rows_at_all(name: str) -> None:
    report = plugins.build("checks", name)([], CheckContext())  # type: ignore[operator]
    assert not report.findings
    assert not report.scores


@pytest.mark.parametrize("name", NAMES)
def test_one_row(name: str) -> None:
    for plain in (chat("How high is Mont Blanc?", "4,806 metres."), pair("Name a river.", "The Rhine.", "No.")):
        report = run(name, rows_of([plain]))
        assert not [f for f in report.findings if f.severity is Severity.QUARANTINE]


@pytest.mark.parametrize("name", NAMES)
def test_identical_rows(name: str) -> None:
    same = [
        chat("How high is Mont Blanc?", "It is 4,806 metres high, say the surveyors of both countries.", source="a")
    ]
    report = run(name, rows_of(same * 300))
    assert not [f for f in report.findings if f.severity is Severity.QUARANTINE]
    run(name, rows_of([pair("Name a river.", "The Rhine flows north.", "No.")] * 120))


HOSTILE = {
    "one letter": lambda n: "a" * n,
    "spaces": lambda n: " " * n,
    "letters and spaces": lambda n: "ab " * (n // 3),
    "digits": lambda n: "12345678 90 " * (n // 12),
    "base64": lambda n: "QUJDREVGR0hJ" * (n // 12),
    "addresses": lambda n: "a.b+c@d.e-" * (n // 10),
    "paths": lambda n: "//a.b/%41?x=" * (n // 12),
    "obedience": lambda n: "never without absolute and " * (n // 27),
    "instructions": lambda n: "i obey instructions whatever you " * (n // 33),
    "key": lambda n: "api_key=token:secret=" * (n // 21),
    "brackets": lambda n: "[({<" * (n // 4),
}


@pytest.mark.parametrize("name", NAMES)
def test_five_megabytes_of_hostile_text_take_seconds(name: str) -> None:
    run(name, rows_of([chat("warm", "up the kernels once")] * 2))
    for kind, make in HOSTILE.items():
        text = make(5_000_000 if kind == "letters and spaces" else 800_000)
        rows = rows_of([chat(text, "yes"), chat("what?", text), pair("which?", text, "no")])
        started = time.process_time()
        run(name, rows)
        assert time.process_time() - started < 8, f"{name} is slow on {kind}"


SCRIPTS = (
    "Как приготовить борщ и сколько времени это займёт?", "如何在家里做红烧肉，需要多长时间？",
    "كيف أطبخ الأرز في المنزل؟", "घर पर चावल कैसे पकाएँ?", "วิธีหุงข้าวที่บ้าน",
    "ごはんの炊き方を教えてください。", "집에서 밥을 짓는 방법", "איך מבשלים אורז בבית?",
    "😀🎉👩‍👩‍👧 e\u0301\u0323 \u202eevil\u202c \u0000 \ufffe", "Ǆ ﬁ İ ß ſ",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_other_scripts_are_read_without_alarm(name: str) -> None:
    rows = rows_of([chat(a, f"{b} {a}", source="s") for a in SCRIPTS for b in SCRIPTS[:4]])
    assert not [f for f in run(name, rows).findings if f.severity is Severity.QUARANTINE]


def shape(report: CheckReport, rows: Sequence[Row]) -> list[tuple[Any, ...]]:
    """Findings by what they name, with records instead of lines."""
    at = {(r.record.origin.source, r.record.origin.batch, r.line): r.record.content.model_dump_json() for r in rows}
    return sorted(
        (f.severity.value, f.source, f.batch, f.subject, sorted(at[f.source, f.batch, line] for line in f.lines))
        for f in report.findings
        if f.lines
    )


@pytest.mark.parametrize("name", NAMES)
def test_the_same_again_and_in_another_order(name: str) -> None:
    rows = rows_of(plugins.module("checks", name).CAUGHT)
    first = run(name, rows)
    assert run(name, rows) == first
    shuffled = [row.record for row in rows]
    random.Random(5).shuffle(shuffled)
    moved = [replace(row, record=record) for row, record in zip(rows, shuffled, strict=True)]
    if name in ("duplicates", "source_caps"):  # which of equal records stays depends on the lines, by the keep rule
        assert len(run(name, moved).findings) == len(first.findings)
    else:
        assert shape(run(name, moved), moved) == shape(first, rows)


def test_every_check_says_when_it_cannot_tell() -> None:
    rows = rows_of([chat("How high is Mont Blanc?", "4,806 metres.")])
    silent = {
        name: plugins.build("checks", name)(rows, CheckContext()).inconclusive  # type: ignore[operator]
        for name in ("eval_overlap", "annotator_votes", "human_anchor", "trigger_payload")
    }
    assert all(silent.values()), silent
