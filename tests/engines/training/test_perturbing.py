"""Surfaces change, what is asked and answered does not; the same seed and record always give the same."""

import json
import re

import pytest
from goldsmith_test_records import answered, said
from hypothesis import given, settings
from hypothesis import strategies as st

from goldsmith.engines.training.guards.perturbing import KINDS, OPENERS, SYNONYMS, perturbed
from goldsmith.types.record import (
    Comparison,
    Conversation,
    Message,
    Rating,
    Record,
    Role,
    Text,
    ToolCallPart,
)


def turns(record: Record) -> list[str]:
    assert isinstance(record.content, Conversation)
    return [message.text for message in record.content.messages]


def questions(question: str, answer: str, seeds: int = 40) -> set[str]:
    """What the question becomes under many seeds; the answer always stays."""
    found = set()
    for seed in range(seeds):
        one = perturbed(answered(question, answer), seed)
        if one is not None:
            assert turns(one.record)[1] == answer
            found.add(turns(one.record)[0])
    return found


def test_each_kind_of_change_is_made_and_named() -> None:
    seen = set()
    for seed in range(40):
        for begins in ("Explain", "Whatever"):
            question = f"{begins} how difficult problems are usually solved in quiet rooms."
            one = perturbed(answered(question, "Slowly."), seed)
            assert one is not None
            assert turns(one.record)[0] != question
            seen.update(one.kinds)
    assert seen == set(KINDS) - {"options"}


def test_the_same_seed_and_record_give_the_same_and_others_differ() -> None:
    record = answered("Explain how difficult problems are usually solved in quiet rooms.", "Slowly.")
    assert perturbed(record, 1) == perturbed(record, 1)
    assert len({str(perturbed(record, seed)) for seed in range(10)}) > 3


@pytest.mark.parametrize(
    "kept",
    [
        "ann.fletcher@example.org",
        "https://example.org/quickly/perhaps",
        '"perhaps difficult things happen often"',
        "`perhaps_difficult()`",
        "```\nperhaps = difficult\n```",
        "«perhaps entirely difficult»",
        "A-4711-often",
        "Fletcher",
        "/home/perhaps/often.txt",
    ],
)
def test_quotations_code_names_and_addresses_stay(kept: str) -> None:
    found = questions(f"Could somebody quickly explain whatever {kept} usually means?", "Nothing.")
    assert len(found) > 3
    assert all(kept in one for one in found)


def test_what_an_answer_repeats_stays() -> None:
    """Copying is what is asked here: a typo in what is copied would ask for something else."""
    found = questions(
        "Add the words perhaps difficult weather to whatever somebody noted.", "perhaps difficult weather"
    )
    assert found
    assert all("perhaps difficult weather" in one for one in found)
    call = ToolCallPart(name="note_add", arguments=json.dumps({"text": "perhaps difficult weather"}))
    record = Record(
        content=Conversation(
            messages=(
                said("user", "Add perhaps difficult weather to whatever somebody noted."),
                Message(role=Role.ASSISTANT, parts=(call,)),
            )
        )
    )
    for seed in range(40):
        one = perturbed(record, seed)
        assert one is not None
        assert isinstance(one.record.content, Conversation)
        assert "perhaps difficult weather" in one.record.content.messages[0].text
        assert one.record.content.messages[1] == record.content.messages[1]  # type: ignore[union-attr]


def options(question: str, answer: str) -> list[tuple[str, str]]:
    """Questions and answers in which options were moved."""
    found = [
        one for seed in range(40) if (one := perturbed(answered(question, answer), seed)) and "options" in one.kinds
    ]
    return [(turns(one.record)[0], turns(one.record)[1]) for one in found]


@pytest.mark.parametrize("answer", ["B", "(B)", "B.", "B) blood", "The answer is B.", "Answer: B"])
def test_the_letter_follows_its_option(answer: str) -> None:
    found = options("Which is red?\nA) grass\nB) blood\nC) the sky", answer)
    assert len({text for _, text in found}) == 3  # it stands first, second and third
    for question, text in found:
        letter = re.search(r"^([ABC])\) (?:blood|bolod)$", question, re.M)
        assert letter is not None
        assert text == answer.replace("B", letter[1], 1)


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Which is red?\nA) grass\nB) blood", "A dog is neither."),
        ("Which is red?\nA) grass\nB) blood", "B, because A is green."),
        ("Which is red?\nA) grass\nB) blood\nC) both A and B", "B"),
        ("Which is red?\nA) grass\nB) blood\nC) none of these", "B"),
        ("Do this:\n1. wash\n2. dry", "2"),
        ("Which is red?\nB) grass\nC) blood", "C"),
        ("Which is red?\nA) grass", "A"),
    ],
)
def test_options_stay_where_it_is_not_certain_what_is_meant(question: str, answer: str) -> None:
    assert options(question, answer) == []


def test_comparisons_and_ratings_change_their_prompt_alone() -> None:
    prompt = (said("system", "Perhaps be quick."), said("user", "Explain whatever happens usually in winter."))
    good, bad = (said("assistant", "Snow."),), (said("assistant", "Sand."),)
    one = perturbed(Record(content=Comparison(prompt=prompt, chosen=good, rejected=bad), extra='{"a": 1}'), 0)
    assert one is not None
    assert isinstance(one.record.content, Comparison)
    assert (one.record.content.chosen, one.record.content.rejected) == (good, bad)
    assert one.record.content.prompt[0] == prompt[0]
    assert one.record.content.prompt[1] != prompt[1]
    assert one.record.extra == '{"a": 1}'
    two = perturbed(Record(content=Rating(prompt=prompt, answer=good, label=True)), 0)
    assert two is not None
    assert isinstance(two.record.content, Rating)
    assert two.record.content.answer == good
    assert two.record.content.label is True


def test_what_has_no_harmless_change_is_left_alone() -> None:
    assert perturbed(Record(content=Text(text="Perhaps difficult.")), 0) is None
    assert perturbed(answered("你好吗？", "好"), 0) is None
    assert perturbed(answered("", "nothing"), 0) is None
    assert perturbed(answered("4711", "4712"), 0) is None


@settings(deadline=None, max_examples=200)
@given(st.text(max_size=300), st.text(max_size=60), st.integers(0, 5))
def test_any_text_gives_an_answer_as_long_and_keeps_its_digits(question: str, answer: str, seed: int) -> None:
    one = perturbed(answered(question, answer), seed)
    if one is None:
        return
    changed, said_then = turns(one.record)
    assert len(said_then) == len(answer)
    assert sorted(re.findall(r"\d", changed)) == sorted(re.findall(r"\d", question))
    assert abs(len(changed) - len(question)) <= 12
    if "options" not in one.kinds:
        assert said_then == answer


def test_long_hostile_text_is_done_in_time() -> None:
    import time

    begun = time.process_time()
    for text in ("A) a\n" * 20_000, '"' * 99_999, "perhaps " * 9_000, "(" * 99_999, "`" * 99_999, "a@" * 50_000):
        perturbed(answered(text, "A"), 0)
    assert time.process_time() - begun < 10


def test_tables_are_consistent() -> None:
    assert all(len(line) >= 2 and len(set(line)) == len(line) for line in OPENERS)
    assert all(word == word.lower() and word != other for word, other in SYNONYMS.items())
