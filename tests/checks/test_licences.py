"""Licences: every spelling in use is understood, and unknown ones are never taken for free."""

from typing import Any

import pytest

from goldsmith import plugins
from goldsmith.engines.licences import USES, Use, terms_of
from goldsmith.types.check import CheckContext, CheckReport, Row
from goldsmith.types.finding import Severity
from goldsmith.types.record import Conversation, Message, Origin, Record, Role, TextPart


@pytest.mark.parametrize(
    ("licence", "forbidden"),
    [
        ("MIT", set()),
        ("mit license", set()),
        ("The MIT License", set()),
        ("MIT (c) 2024 somebody", set()),
        ("Apache-2.0", set()),
        ("Apache License, Version 2.0", set()),
        ("apache 2.0", set()),
        ("BSD-3-Clause", set()),
        ("CC0-1.0", set()),
        ("CC BY 4.0", set()),
        ("cc-by-4.0", set()),
        ("Creative Commons Attribution 4.0", set()),
        ("CC BY-SA 3.0", set()),
        ("CC BY-NC 4.0", {"commercial"}),
        ("cc-by-nc-sa-4.0", {"commercial"}),
        ("Creative Commons Attribution-NonCommercial 4.0 International", {"commercial"}),
        ("CC-BY-ND-4.0", {"redistribution"}),
        ("CC BY-NC-ND 4.0", {"commercial", "redistribution"}),
        ("MIT, no training", {"train"}),
        ("OpenAI terms of use", {"train"}),
        ("academic research only", {"commercial"}),
        ("Apache-2.0, academic use only", {"commercial"}),
        ("all rights reserved", {"redistribution"}),
        ("MIT OR CC-BY-NC-4.0", set()),
        ("MIT AND CC-BY-NC-4.0", {"commercial"}),
        ("CC-BY-NC-4.0 AND Apache-2.0", {"commercial"}),
        ("ODC-BY", set()),
    ],
)
def test_what_a_licence_forbids(licence: str, forbidden: set[Use]) -> None:
    terms = terms_of(licence)
    assert terms is not None
    assert {use for use in USES if terms.answer(use) == "no"} == forbidden


@pytest.mark.parametrize("licence", ["GPL-3.0-only", "gpl-2.0-or-later", "CC BY-SA 4.0", "ODbL-1.0", "MPL-2.0"])
def test_share_alike_is_a_condition_on_passing_on(licence: str) -> None:
    terms = terms_of(licence)
    assert terms is not None
    assert terms.redistribution == "ask"
    assert terms.train == "yes"


@pytest.mark.parametrize(
    "licence", ["", "see website", "custom", "smith-2.0", "other", "unknown", "🙂", "a" * 5000, "((("]
)
def test_what_is_not_known_is_not_free(licence: str) -> None:
    assert terms_of(licence) is None


def rows(*licences: str | None) -> list[Row]:
    turns = tuple(Message(role=r, parts=(TextPart(text="hello"),)) for r in (Role.USER, Role.ASSISTANT))
    return [
        Row(i, Record(content=Conversation(messages=turns), origin=Origin(source="s", batch="b", licence=licence)))
        for i, licence in enumerate(licences, 1)
    ]


def run(given: list[Row], *use: str, **settings: Any) -> CheckReport:
    check: Any = plugins.build("checks", "licences", settings)
    report: CheckReport = check(given, CheckContext(use=use))
    return report


def test_the_same_rows_for_research_and_for_sale() -> None:
    given = rows("CC BY-NC 4.0", "MIT", "CC BY-NC 4.0")
    assert not run(given, "research").findings
    (finding,) = run(given, "commercial").findings
    assert finding.severity is Severity.EXCLUDE
    assert finding.lines == (1, 3)
    assert not run(given, "commercial", allow=["CC BY-NC 4.0"]).findings


def test_unknown_and_missing_licences_are_said() -> None:
    report = run(rows("strange", "MIT"), "train")
    assert [f.severity for f in report.findings] == [Severity.WARN]
    assert report.inconclusive
    assert run(rows(None, None), "train").inconclusive == "no row states a licence"
    assert run(rows(None)).inconclusive
    assert not run(rows(None)).findings
