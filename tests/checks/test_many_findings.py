"""A million repeats are not a million findings; what is left out stays the same."""

import json
from pathlib import Path

import pytest

from goldsmith import plugins
from goldsmith.engines.screening import excluded
from goldsmith.engines.text.evidence import APART
from goldsmith.stages.check import check_file, checks_of
from goldsmith.types.check import CheckContext, CheckReport, Row
from goldsmith.types.recipe import CheckEntry
from goldsmith.types.record import Conversation, Message, Origin, Record, Role, TextPart


def chat(line: int, text: str, source: str = "a", batch: str = "1") -> Row:
    messages = (
        Message(role=Role.USER, parts=(TextPart(text=text),)),
        Message(role=Role.ASSISTANT, parts=(TextPart(text="Yes, so it is."),)),
    )
    return Row(line, Record(content=Conversation(messages=messages), origin=Origin(source=source, batch=batch)))


def run(name: str, rows: list[Row], context: CheckContext | None = None) -> CheckReport:
    return plugins.build("checks", name)(rows, context or CheckContext())  # type: ignore[operator]


def words(n: int) -> str:
    return " ".join(f"w{n}x{k}" for k in range(12))


@pytest.mark.parametrize("count", [1, APART, APART + 1, 5 * APART])
def test_every_repeat_is_left_out_and_no_other(count: int) -> None:
    rows = [chat(n, words(n % count)) for n in range(1, 3 * count + 1)]
    rows += [chat(n, words(n % count), "z", "2") for n in range(1, count + 1)]
    report = run("duplicates", rows)
    expected = {("a", "1", n) for n in range(count + 1, 3 * count + 1)} | {("z", "2", n) for n in range(1, count + 1)}
    assert set(excluded(report.findings)) == expected
    assert len(report.findings) <= 2 * (APART + 1)
    assert report.scores is not None
    assert sum(report.scores) == len(expected)  # type: ignore[arg-type]
    assert all(len(f.examples) <= 5 for f in report.findings)


def test_one_flooded_text_is_one_finding_with_all_its_lines() -> None:
    report = run("duplicates", [chat(n, words(3)) for n in range(1, 2001)])
    (finding,) = report.findings
    assert finding.lines == tuple(range(2, 2001))
    assert finding.evidence == "the same content as line 1, which stays (1,999 records)"


def test_near_and_exact_repeats_of_one_record_are_told_apart() -> None:
    text = f"{words(1)} {words(2)} {words(3)}"
    rows = [chat(1, text), chat(2, text), chat(3, f"Well: {text}"), chat(4, f"So: {text}")]
    told = {f.lines: f.evidence for f in run("duplicates", rows).findings}
    assert "the same content as line 1" in told[(2,)]
    assert "Jaccard" in told[(3, 4)]


def test_many_records_that_hold_eval_items() -> None:
    item = "A farmer has 17 sheep and all but 9 run away. How many sheep does the farmer have left in the evening?"
    rows = [chat(n, f"{n}: {item}") for n in range(1, 2 * APART + 1)]
    context = CheckContext(eval_texts=[item], eval_names=["farm"])
    report = run("eval_overlap", rows, context)
    assert set(excluded(report.findings)) == {("a", "1", n) for n in range(1, 2 * APART + 1)}
    assert len(report.findings) == APART + 2
    assert f"{2 * APART} records of this batch hold eval items" in " ".join(f.evidence for f in report.findings)
    turned = run("eval_overlap", rows[::-1], context)
    assert set(turned.findings) == set(report.findings)


def test_many_faulty_rows(tmp_path: Path) -> None:
    good = json.dumps({"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]})
    path = tmp_path / "rows.jsonl"
    path.write_text("".join((good if n % 2 else good[:-3]) + "\n" for n in range(6 * APART)), encoding="utf-8")
    off = tuple(check.id for check in checks_of(CheckEntry()))
    checked, _ = check_file(path, CheckEntry(off=off))
    faulty = [f for f in checked.findings if f.check == "faulty_row"]
    assert len(faulty) == APART + 1
    assert sorted(n for f in faulty for n in f.lines) == list(range(1, 6 * APART, 2))
    assert faulty[-1].evidence == f"{2 * APART} more rows cannot be used"
    assert all(one.startswith("line ") for one in faulty[-1].examples)
