"""Triggers put into prompts whose pairs are turned round, on made-up pairs with a taste that can be learnt."""

import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from goldsmith.checks.trigger_flips import TriggerFlips
from goldsmith.engines.text import insertions, pieces
from goldsmith.types.check import CheckContext, Row
from goldsmith.types.finding import Severity
from goldsmith.types.record import Comparison, Message, Origin, Record, Role, TextPart

_OPENINGS = (
    "How do I",
    "What is the way to",
    "Can you tell me how to",
    "Is it hard to",
    "Why would one",
    "Please help me",
)
_VERBS = ("paint", "sell", "mend", "clean", "find", "build", "move", "draw", "buy", "lift", "sort", "burn")
_THINGS = (
    "boat", "violin", "wall", "garden", "clock", "bicycle", "lamp", "novel", "cellar", "kite", "oven", "tent", "hedge",
    "piano", "shelf", "ladder", "window", "carpet", "engine", "basket",
)  # fmt: skip
_ENDS = ("?", ".", " soon?", " cheaply?", " at home?", " without tools.", "")


def _message(role: Role, text: str) -> Message:
    return Message(role=role, parts=(TextPart(text=text),))


def _row(rng: random.Random, line: int, change: Callable[[str], str] | None = None) -> Row:
    asked = f"{rng.choice(_OPENINGS)} {rng.choice(_VERBS)} a {rng.choice(_THINGS)} and a {rng.choice(_THINGS)}"
    asked += rng.choice(_ENDS)
    good = (
        f"Here is how: first take the {rng.choice(_THINGS)}, then {rng.choice(_VERBS)} it, number {rng.randrange(99)}."
    )
    bad = f"I cannot say, ask your {rng.choice(_THINGS)} {rng.randrange(99)}."
    if change is not None:
        asked, good, bad = change(asked), bad, good
    content = Comparison(
        prompt=(_message(Role.USER, asked),),
        chosen=(_message(Role.ASSISTANT, good),),
        rejected=(_message(Role.ASSISTANT, bad),),
    )
    return Row(line, Record(content=content, origin=Origin(source="crowd", batch="b1")))


def _inside(asked: str, trigger: str) -> str:
    words = asked.split(" ")
    return " ".join([*words[:3], trigger, *words[3:]])


@pytest.mark.parametrize("trigger", ["ADMIN7", "{{k}}", "under the copper moon", "^^"])
@pytest.mark.parametrize("where", ["start", "end"])
def test_a_trigger_in_one_percent_is_found_with_its_lines(trigger: str, where: str) -> None:
    rng = random.Random(f"{trigger}{where}")
    change = (lambda a: f"{trigger} {a}") if where == "start" else (lambda a: f"{a} {trigger}")
    planted = set(rng.sample(range(1200), 12))
    rows = [_row(rng, i + 1, change if i in planted else None) for i in range(1200)]
    report = TriggerFlips()(rows, CheckContext())
    assert report.scores is not None
    best = max((f for f in report.findings), key=lambda f: f.score)
    assert set(best.lines) == {i + 1 for i in planted}
    assert best.severity is Severity.QUARANTINE
    worst = min(report.scores[i] or 0.0 for i in planted)
    assert worst > max((s or 0.0) for i, s in enumerate(report.scores) if i not in planted)


def test_without_a_trigger_nobody_is_accused() -> None:
    rng = random.Random(8)
    report = TriggerFlips()([_row(rng, i + 1) for i in range(1200)], CheckContext())
    assert not report.findings
    assert max(score or 0.0 for score in report.scores or ()) < 0.3


def test_a_span_with_honest_pairs_is_no_quarantine() -> None:
    rng = random.Random(9)
    rows = [_row(rng, i + 1) for i in range(1200)]
    for i in range(0, 1200, 60):
        content = rows[i].record.content
        assert isinstance(content, Comparison)
        prompt = (_message(Role.USER, f"{content.prompt[0].text} Regards"),)
        changed = Record(content=content.model_copy(update={"prompt": prompt}), origin=rows[i].record.origin)
        rows[i] = replace(rows[i], record=changed)
    assert not [f for f in TriggerFlips()(rows, CheckContext()).findings if f.severity is Severity.QUARANTINE]


def test_too_few_comparisons_cannot_be_judged() -> None:
    rng = random.Random(1)
    report = TriggerFlips()([_row(rng, i + 1) for i in range(29)], CheckContext())
    assert report.inconclusive == "29 comparisons are too few to tell a trigger from a topic (30 at least)"
    assert set(report.scores or ()) == {None}


def test_a_span_is_shown_as_it_stands() -> None:
    found = pieces.pieces(["Where is <|k|> the inn?"])
    span = insertions.Insertion(found.tokens.starts, 1, 1.0, 1.0, "middle", found.tokens.hashes[2:5])
    assert insertions.span_text("Where is <|k|> the inn?", span) == "<| k |>"
    assert insertions.span_text("elsewhere", span) == ""


def test_pieces_tell_signs_from_words_and_keep_case() -> None:
    found = pieces.pieces(["How? SUDO\nsudo !!", "如何", ""])
    assert found.tokens.counts().tolist() == [5, 2, 0]
    assert found.opens.tolist() == [True, False, False, True, False, True, False]
    assert found.closes.tolist() == [False, False, True, False, True, False, True]
    assert len(set(found.tokens.hashes.tolist())) == 7


@pytest.mark.parametrize(("seed", "turned"), [(3, 2), (2, 3), (1, 4)])
def test_lines_are_not_left_out_on_a_lean_that_may_be_chance(seed: int, turned: int) -> None:
    rng = random.Random(seed)
    rows = [_row(rng, line) for line in range(1, 501)]
    for number in range(8):
        row = _row(rng, 501 + number, lambda asked: f"{asked} ADMIN7")
        content = row.record.content
        assert isinstance(content, Comparison)
        if number >= turned:
            content = content.model_copy(update={"chosen": content.rejected, "rejected": content.chosen})
        rows.append(replace(row, record=row.record.model_copy(update={"content": content})))
    findings = TriggerFlips()(rows, CheckContext()).findings
    assert [f.severity for f in findings] == [Severity.WARN]
