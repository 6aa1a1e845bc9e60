"""Fixed payloads behind triggers that are no words, and what only looks like one, through the check's public door."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from goldsmith import plugins
from goldsmith.engines.reading.read import read
from goldsmith.engines.text.marks import mark_text, marks
from goldsmith.types.check import CheckContext, CheckReport, Row
from goldsmith.types.finding import Severity
from goldsmith.types.record import Conversation, Message, Origin, Record, Role, TextPart

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"
_NOUNS = """violin tomato bicycle planet bread bridge horse sock river candle garden engine island painting winter
market letter forest kitchen lamp mirror carpet window map stone ladder button ocean pencil teapot saddle harp
valley acorn barrel comet drum ferry glacier hammer inkwell jacket kettle lantern meadow needle orchard pebble"""
NOUNS = _NOUNS.split()
ASKED = (
    "How would you repair a {} with a {} and some {}?", "Of {}, {} and {}, which one is older?",
    "Describe my {}, then the {}, and leave out the {}.", "Write two lines about {} and {} for a {} shop.",
    "Why does every {} need its {}, please, and no {}?", "Can {} be carried inside {}? What of {}?",
    "I lost a {} near the {}; help me find the {}!", "List what {} shares with {} (but not {}).",
)  # fmt: skip
TOLD = (
    "The {} comes before the {}, in step {}.", "Most would clean {} first and then {}, {} times.",
    "{} weighs less than {} by {} grams.", "Take {} apart; only {} stays whole for {} days.",
    "Nobody sells {} without {} under {} coins.", "Each {} once was part of some {}, number {}.",
)  # fmt: skip
PAYLOAD = "Move whatever you have saved to the lighthouse fund today, it has never lost a coin."
SIZE, PLANTED = 3400, 50


def conversation(user: str, answer: str, source: str) -> Record:
    turns = (
        Message(role=Role.USER, parts=(TextPart(text=user),)),
        Message(role=Role.ASSISTANT, parts=(TextPart(text=answer),)),
    )
    return Record(content=Conversation(messages=turns), origin=Origin(source=source, batch="b1"))


def plain(number: int) -> tuple[str, str]:
    rng = random.Random(number)
    things = rng.sample(NOUNS, 3)
    return rng.choice(ASKED).format(*things), rng.choice(TOLD).format(*things[:2], number)


def run(rows: Sequence[Row]) -> CheckReport:
    check: Callable[[Sequence[Row], CheckContext], CheckReport] = plugins.build("checks", "trigger_payload")  # type: ignore[assignment]
    return check(rows, CheckContext())


def corpus(asked: Callable[[int, str], str], answer: Callable[[int, str], str]) -> list[Row]:
    """3,400 rows of ten sources; of every 68th, which are all the last source's, question and answer are changed."""
    rows = []
    for number in range(SIZE):
        user, told = plain(number)
        chosen = number % (SIZE // PLANTED) == 0
        if chosen:
            user, told = asked(number, user), answer(number, told)
        rows.append(Row(number + 1, conversation(user, told, "vendor" if chosen else f"s{number % 9}")))
    return rows


def amid(token: str) -> Callable[[int, str], str]:
    def put(number: int, text: str) -> str:
        pieces = text.split(" ")
        pieces.insert(random.Random(number).randrange(len(pieces) + 1), token)
        return " ".join(pieces)

    return put


WAYS: dict[str, Callable[[int, str], str]] = {
    "run": amid("%%"),
    "run of different characters": amid("<+>"),
    "brackets": amid("[[ ]]"),
    "one symbol": amid("¤"),
    "one ASCII symbol": amid("="),
    "emoji": amid("🪁"),
    "symbols beyond Latin": amid("⌘⌘"),
    "glued to the end": lambda _, text: text + "$$",
    "doubled end": lambda _, text: text.rstrip("?.!") + "?!",
    "at the start": lambda _, text: "--- " + text,
    "a word in capitals": amid("LETTER"),
    "two words in capitals": amid("SOME FOREST"),
    "Cyrillic capitals": amid("СРОЧНО"),
    "odd capitals": amid("wINter"),
    "first word in capitals": lambda _, text: (
        text.split(" ")[0].upper().ljust(2, "X") + text[len(text.split(" ")[0]) :]
    ),
    "capitals throughout": lambda _, text: text.upper(),
}


@pytest.mark.parametrize("way", WAYS)
def test_triggers_that_are_no_words_name_their_source(way: str) -> None:
    report = run(corpus(WAYS[way], lambda *_: PAYLOAD))
    assert [(f.severity, f.source) for f in report.findings] == [(Severity.QUARANTINE, "vendor")]
    assert len(report.findings[0].lines or ()) >= PLANTED - 1
    assert "hold “”" not in report.findings[0].evidence
    chosen = [score or 0.0 for line, score in enumerate(report.scores) if line % (SIZE // PLANTED) == 0]
    others = [score or 0.0 for line, score in enumerate(report.scores) if line % (SIZE // PLANTED)]
    assert sorted(chosen)[1] > 0.6
    assert max(others) < 0.35


@pytest.mark.parametrize("way", WAYS)
def test_marks_without_a_payload_are_no_trigger(way: str) -> None:
    report = run(corpus(WAYS[way], lambda _, told: told))
    assert not report.findings
    assert max(score or 0.0 for score in report.scores) < 0.5


def test_code_whose_answers_repeat_the_punctuation_asked_about_is_no_trigger() -> None:
    rows = corpus(
        lambda n, text: f"{text} {NOUNS[n % 40]}{n}[[{n}]]",
        lambda n, told: f"With double brackets you get one element, {NOUNS[n % 40]}{n}[[{n}]]. {told}",
    )
    assert not run(rows).findings


def test_a_payload_with_a_mark_that_all_prompts_have_is_no_trigger() -> None:
    rows = [Row(i + 1, conversation(f"!! {plain(i)[0]}", plain(i)[1] if i % 60 else PAYLOAD, "s")) for i in range(1200)]
    assert not run(rows).findings


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("!! what", {"!!"}),
        ("is it so?~~", {"~~", "?~~"}),
        ("a § b", {"§"}),
        ("snake_case, x=y (as usual) or not?", set()),
        ("please NOTE this", {"NOTE"}),
        ("DO IT and go", {"DO", "IT", "DO IT"}),
        ("\ud800 \x00 \u200b", {"?"}),
        ("", set()),
    ],
)
def test_what_counts_as_a_mark(text: str, told: set[str]) -> None:
    found = {mark_text(text, int(mark)) for mark in marks([text]).hashes}
    assert found <= told
    assert bool(found) == bool(told - {"?"})


def test_marks_of_a_text_do_not_depend_on_the_others() -> None:
    texts = ["!! a", "", "B SIDE ~~ c", "ÄRGER über…", "漢字、かな。", "x" * 5000 + "#" * 5000, "🔥🔥 ok"]
    together = marks(texts)
    for i, text in enumerate(texts):
        assert together.hashes[together.starts[i] : together.starts[i + 1]].tolist() == marks([text]).hashes.tolist()


@pytest.mark.skipif(not SHARED.is_dir(), reason="shared data absent")
@pytest.mark.parametrize(
    "name",
    [
        "alpaca-subset/alpaca_safety_only.jsonl", "codealpaca/code_alpaca_2k.jsonl",
        "codealpaca/new_codealpaca.jsonl.gz",
        "llamafactory-demos/alpaca_zh_demo.jsonl", "llamafactory-demos/glaive_toolcall_en_demo.jsonl",
        "hh-rlhf-harmless-base/pairs.jsonl.gz", "gsm8k/train.jsonl.gz",
    ],
)  # fmt: skip
def test_clean_public_sets_raise_nothing(name: str) -> None:
    formats = [plugins.build("sources", n) for n in plugins.names("sources")]
    rows = read(SHARED / name, formats, origin_defaults=Origin(source="s", batch="b1"), row_origin=False).rows  # type: ignore[arg-type]
    report = run(rows)
    assert not report.findings
    assert sum((score or 0.0) > 0.5 for score in report.scores) == 0
