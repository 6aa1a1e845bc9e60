"""Saying what is not known: told by rules, and rows that teach it."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goldsmith.engines.honesty.admissions import Candour, candour
from goldsmith.engines.honesty.questions import Question, is_right, questions_of, sentences, without_support
from goldsmith.engines.honesty.rows import NOT_IN_THE_TEXT, NOT_KNOWN, from_contexts, from_knowledge
from goldsmith.types.errors import BadInput

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
ADMITTED = Candour.ADMITTED


def shared(*parts: str) -> list[dict[str, Any]]:
    path = DATA.joinpath(*parts)
    if not path.exists():
        pytest.skip("shared data absent")
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


# ---- telling admissions ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wording", [*NOT_IN_THE_TEXT, *NOT_KNOWN])
def test_what_the_rows_teach_is_told_as_an_admission(wording: str) -> None:
    assert candour(wording.format(question="Who has the red lamp?")) is ADMITTED


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("The passage doesn\u2019t mention a price.", ADMITTED),
        ("It is not stated who won.", ADMITTED),
        ("There is not enough information to tell.", ADMITTED),
        ("I'm not sure.", ADMITTED),
        ("There is no file notes/a.txt.", ADMITTED),
        ("The report says nothing about the price.", ADMITTED),
        ("Nobody knows it, but it is probably Anna.", Candour.ANSWERED),
        ("The text does not say, but my guess is Anna.", Candour.HEDGED),
        ("I don't know. Most likely it was Anna.", Candour.HEDGED),
        ("Anna has the red lamp.", Candour.ANSWERED),
        ("She does not like tea.", Candour.ANSWERED),
        ("There is no bread left.", Candour.ANSWERED),
        ("No.", Candour.ANSWERED),
        ("42", Candour.ANSWERED),
        ("\u7b54\u3048\u306f\u4eac\u90fd\u3067\u3059\u3002", Candour.ANSWERED),
        ("", Candour.NOTHING),
        ("...", Candour.NOTHING),
        ("word " * 1_000_000, Candour.ANSWERED),
    ],
)
def test_what_an_answer_says_of_its_own_knowledge(text: str, found: Candour) -> None:
    assert candour(text) is found


def test_the_options_of_a_bias_benchmark_are_told_apart() -> None:
    """Ten wordings of "unknown" (seen while the rules were written) and the people and groups beside them."""
    rows = shared("bbq", "Age.jsonl.gz") + shared("bbq", "Religion.jsonl")
    told = [(row["answer_info"][k][-1] == "unknown", candour(row[k])) for row in rows for k in ("ans0", "ans1", "ans2")]
    assert sum(unknown for unknown, _ in told) > 2000
    assert all((found is ADMITTED) == unknown for unknown, found in told)


def test_ordinary_answers_of_a_model_are_seldom_taken_for_admissions() -> None:
    found = [candour(row["chatgpt_response"]) for row in shared("halueval", "general.jsonl.gz")]
    share = sum(one is not Candour.ANSWERED for one in found) / len(found)
    assert 0 < share < 0.02  # most of these 21 of 2,290 are admissions indeed


# ---- taking the passage out -----------------------------------------------------------------------------------------


def test_the_passage_goes_and_the_rest_stays() -> None:
    text = "Mr. Berg came at 9. He sat down.\nAnna brought a red lamp. They left at noon."
    asked = Question("q", "Who brought the lamp?", ("Anna",), text)
    found = without_support(asked)
    assert found is not None
    assert found.context == "Mr. Berg came at 9. He sat down.\nThey left at noon."
    assert (found.answers, found.answerable) == ((), False)


@pytest.mark.parametrize(
    ("context", "text", "answers"),
    [
        (None, "Who?", ("Anna",)),
        ("Anna came.", "Who?", ("Anna",)),  # nothing is left
        ("She came. He left.", "Who came?", ("Anna",)),  # nothing holds it
        ("Anna came. He left.", "Did Anna come, and who?", ("Anna",)),  # the question says it
        ("Anna came. He left.", "Who?", ()),
        ("", "Who?", ("Anna",)),
    ],
)
def test_what_cannot_be_taken_out_is_not(context: str | None, text: str, answers: tuple[str, ...]) -> None:
    assert without_support(Question("q", text, answers, context)) is None


@given(st.text(max_size=300))
@settings(max_examples=200, deadline=None)
def test_sentences_are_the_text(text: str) -> None:
    assert "".join(sentences(text)) == text


_WORD = st.sampled_from(["Anna", "lamp", "the", "red", "Bo", "10", "e.g.", "Mr.", "\u4eac\u90fd"])
_TEXT = st.lists(st.tuples(st.lists(_WORD, min_size=1, max_size=6), st.sampled_from([". ", "! ", "\n", "\u3002"])))


@given(_TEXT, st.sampled_from(["Anna", "Bo", "10", "lamp"]))
@settings(max_examples=200, deadline=None)
def test_no_answer_is_left_and_no_other_sentence_is_lost(parts: list[tuple[list[str], str]], answer: str) -> None:
    context = "".join(" ".join(words) + end for words, end in parts)
    found = without_support(Question("q", "Which?", (answer,), context))
    if found is None:
        return
    assert found.context is not None
    assert not is_right([answer], found.context)
    kept = "".join(one for one in sentences(context) if not is_right([answer], one))
    assert kept.strip() == found.context


# ---- rows -----------------------------------------------------------------------------------------------------------


def test_contexts_give_both_sides() -> None:
    can = Question("1", "Who has the lamp?", ("Anna",), "Anna has the lamp. Bo has a chair.")
    cannot = Question("2", "Who has the key?", (), "Anna has the lamp.")
    concluded = Question("3", "How many have something?", ("two",), "Anna has the lamp. Bo has a chair.")
    made = from_contexts([can, cannot, concluded])
    assert (made.answered, made.admitted, made.left_out) == (1, 2, 1)
    answers = [row["messages"][1]["content"] for row in made.rows]
    assert answers[0] == "Anna"
    assert [candour(text) for text in answers[1:]] == [ADMITTED, ADMITTED]
    assert "Anna has" not in made.rows[1]["messages"][0]["content"]


def test_wordings_differ_and_are_the_same_each_time() -> None:
    many = [Question(str(n), f"What is number {n}?", (), "A text.") for n in range(60)]
    answers = [row["messages"][1]["content"] for row in from_contexts(many).rows]
    assert answers == [row["messages"][1]["content"] for row in from_contexts(many).rows]
    assert len(set(answers)) > 6


def test_what_the_model_always_gets_wrong_is_admitted_and_what_it_sways_on_is_left_out() -> None:
    asked = [Question(str(n), f"Capital of land {n}?", (f"City{n}",)) for n in range(4)]
    said = [["It is City0.", "City0"], ["City9", "Rome"], ["City2", "Rome"], ["I do not know.", "No idea, City3?"]]
    made = from_knowledge(asked, said)
    assert next(row["messages"][1]["content"] for row in made.rows) == "It is City0."
    assert (made.answered, made.admitted, made.left_out) == (1, 1, 2)


def test_the_share_of_admissions_is_kept() -> None:
    asked = [Question(str(n), f"Capital of land {n}?", (f"City{n}",)) for n in range(100)]
    said = [[f"City{n}" if n < 30 else "Rome"] for n in range(100)]
    for share, admitted in ((0.0, 0), (0.25, 10), (0.5, 30), (1.0, 70)):
        made = from_knowledge(asked, said, admitted_share=share)
        assert (made.answered, made.admitted, made.left_out) == (30, admitted, 70 - admitted)


def test_a_model_that_was_not_asked_gives_no_row() -> None:
    assert from_knowledge([Question("1", "Capital?", ("Rome",))], [[]]).rows == ()


# ---- files ----------------------------------------------------------------------------------------------------------


def test_squad_and_plain_rows_are_read(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"question": "q1", "context": "c", "answers": {"text": ["a", "a", " b "], "answer_start": [0, 0, 1]}},
        {"question": "q2", "context": "c", "answers": {"text": [], "answer_start": []}},
        {"question": "q3", "context": "c", "answers": ["x"], "is_impossible": True},
        {"question": "q4", "answer": 1234},
    ]
    path = tmp_path / "q.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    found = [(one.answers, one.context) for one in questions_of(path)]
    assert found == [(("a", "b"), "c"), ((), "c"), ((), "c"), (("1234",), None)]
    path.write_text('{"question": "q"}\n', encoding="utf-8")
    with pytest.raises(BadInput, match="what the answer is"):
        list(questions_of(path))
