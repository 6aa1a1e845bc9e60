"""Eval items are found in whatever dress, and what merely resembles them is left alone."""

import html
import json
import unicodedata
from collections.abc import Callable
from typing import Any

import pytest

from goldsmith import plugins
from goldsmith.engines.text.markup import plain
from goldsmith.types.check import CheckContext, CheckReport, Row
from goldsmith.types.finding import Severity
from goldsmith.types.record import Conversation, Message, Origin, Record, Role, Text, TextPart

LONG = (
    "A café owner buys 17 crates of apples at 3.50 each and sells them in bags of four. How many bags does she fill, "
    "asks her son, if every crate holds 26 apples and one in ten is bruised?"
)
CHOICE = (
    "The gardener and the lawyer met at the harbour after the storm had passed. Who forgot the umbrella at home?\n"
    "A) the gardener who came by bicycle\nB) the lawyer from the old town\nC) nobody can say for certain"
)
SHORT = "Where did fortune cookies originate?"
SHORTEST = "Why is the sky so blue?"
ITEMS = [LONG, CHOICE, SHORT, SHORTEST, "Yes."]


def row(line: int, user: str, answer: str = "Let me think about it.") -> Row:
    turns = tuple(Message(role=r, parts=(TextPart(text=t),)) for r, t in ((Role.USER, user), (Role.ASSISTANT, answer)))
    return Row(line, Record(content=Conversation(messages=turns), origin=Origin(source="s", batch="b")))


def run(rows: list[Row], **settings: Any) -> CheckReport:
    check: Any = plugins.build("checks", "eval_overlap", settings)
    report: CheckReport = check(rows, CheckContext(eval_texts=ITEMS, eval_names=["exam"] * len(ITEMS)))
    return report


def out(report: CheckReport) -> set[int]:
    return {line for f in report.findings if f.severity is Severity.EXCLUDE for line in f.lines}


DISGUISES: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "upper case": str.upper,
    "spaces": lambda t: t.replace(" ", "   "),
    "no punctuation": lambda t: "".join(c if c.isalnum() or c.isspace() else " " for c in t),
    "decomposed": lambda t: unicodedata.normalize("NFD", t),
    "full width": lambda t: "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in t),
    "zero width": lambda t: t.replace("e", "e\u200b"),
    "bold": lambda t: f"> **{t}**",
    "JSON": lambda t: json.dumps({"question": t, "n": 3}),
    "JSON in JSON": lambda t: json.dumps({"row": json.dumps({"question": t})}),
    "HTML": lambda t: f"<div class='q'><p>{html.escape(t)}</p></div>",
    "numbered": lambda t: "\n".join(f"{k}. {part}" for k, part in enumerate(t.replace(". ", ".\n").split("\n"), 1)),
}


@pytest.mark.parametrize("disguise", DISGUISES)
def test_items_are_found_in_any_dress(disguise: str) -> None:
    rows = [row(k, f"Please help.\n{DISGUISES[disguise](item)}\nThanks.") for k, item in enumerate(ITEMS[:4], 1)]
    assert out(run(rows)) == {1, 2, 3, 4}


def test_options_in_another_order() -> None:
    head, *options = CHOICE.split("\n")
    shuffled = "\n".join([head, *(f"({k}) {one[3:]}" for k, one in zip("321", reversed(options), strict=True))])
    assert out(run([row(1, shuffled)])) == {1}


def test_what_resembles_is_left_alone() -> None:
    rows = [
        row(1, LONG.replace("17 crates of apples", "9 boxes of plums").replace("26 apples", "31 plums")[:60]),
        row(2, "Where did the recipe of these cookies originate, and who wrote it down?"),
        row(3, "Tell me why the sky so often looks grey and the sea so blue."),
        row(4, "The gardener and the baker met at the station. Who forgot the tickets?"),
        row(5, "Yes."),
        row(6, "Is that right?", "Yes."),
    ]
    assert not out(run(rows))


def test_plain_texts_are_read_too_and_a_leaking_source_is_named() -> None:
    origin = Origin(source="s", batch="b")
    texts = [
        Row(k, Record(content=Text(text=f"Quiz night\n{item}\n"), origin=origin)) for k, item in enumerate(ITEMS[:4], 1)
    ]
    report = run(texts)
    assert out(report) == {1, 2, 3, 4}
    assert [f.subject for f in report.findings if f.severity is Severity.WARN] == ["source"]
    assert not [f for f in run(texts, many=5).findings if f.severity is Severity.WARN]
    assert run([row(1, "hello")]).facts["items_too_short"] == 1


def test_markup_is_undone_and_nothing_else() -> None:
    assert plain("1. one\n2) two\n- three") == "one\ntwo\nthree"
    assert plain("caf\u0065\u0301 \\u00e9 &amp; <b>x</b>").split() == ["cafe", "e", "&", "x"]
    assert plain("\\ud800 is broken") == "  is broken"
    assert plain("3.5 apples, x < y and y > z") == "3.5 apples, x < y and y > z"
