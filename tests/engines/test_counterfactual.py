"""The same about another group: what is swapped, what never is, and what two answers have in common."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goldsmith.engines.counterfactual.likeness import decision, length_ratio, same_decision, tone_likeness
from goldsmith.engines.counterfactual.swap import NotSwapped, Swapped, swap
from goldsmith.engines.counterfactual.twins import substituted, twin_of, with_twins
from goldsmith.engines.counterfactual.words import NAMES, WORDS, Axis
from goldsmith.types.record import (
    Comparison,
    Conversation,
    Maker,
    Message,
    Origin,
    Record,
    Role,
    Text,
    TextPart,
    ToolCallPart,
    ToolSchema,
)

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
AXES: tuple[Axis, ...] = ("gender", "origin", "faith")


def there(text: str, axis: Axis = "gender") -> str:
    found = swap(text, axis)
    assert isinstance(found, Swapped), found
    return found.text


@pytest.mark.parametrize("axis", AXES)
def test_every_word_and_name_is_its_pairs_pair(axis: Axis) -> None:
    for table in (WORDS[axis], NAMES[axis]):
        assert all(table[pair] == word != pair for word, pair in table.items())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("He gave Anna his book; it was hers.", "She gave John her book; it was his."),
        ("MR SMITH saw her yesterday.", "MS SMITH saw him yesterday."),
        ("Her mother took her to school.", "His father took him to school."),
        ("Ask James's sister.", "Ask Emily's brother."),
        ("The theme of the chemist, there and then.", "The theme of the chemist, there and then."),
    ],
)
def test_words_pronouns_and_names_are_swapped_and_back(one: str, other: str) -> None:
    assert there(one) == other
    assert there(other) == one


@pytest.mark.parametrize(
    "kept",
    [
        "```python\nhe = Anna(his)\n```",
        "`he`",
        "https://his.example/he?she=Anna",
        "anna@his.example and James@x.example",
        "{he} {{ his }} {% if she %} <he> [HIS] <|he|>",
        "notes/his/Anna.txt and Anna.txt",
        "he_said said_he $he @Anna #she call he() now",
        "```\nnever closed: he, his, Anna",
    ],
)
def test_code_addresses_and_templates_are_left_alone(kept: str) -> None:
    assert there(f"She said: {kept}") == f"He said: {kept}"


def test_what_holds_for_one_group_only_or_reads_two_ways_is_not_swapped() -> None:
    assert isinstance(swap("She is pregnant.", "gender"), NotSwapped)
    assert isinstance(swap("I saw him go.", "gender"), NotSwapped)


_PIECE = st.one_of(
    st.sampled_from(
        [
            "he",
            "she",
            "his",
            "her",
            "hers",
            "him",
            "He",
            "HER",
            "Anna",
            "James",
            "Tom's",
            "the",
            "saw",
            "to",
        ]
    ),
    st.sampled_from(
        ["`he`", "{his}", "anna@x.example", "he_1", "https://x.example/he", "```his```", "Michael", "church"]
    ),
    st.text(max_size=6),
)
_TEXTS = st.lists(st.tuples(_PIECE, st.sampled_from([" ", ". ", ", ", "\n", "  "])), max_size=14).map(
    lambda parts: "".join(one + end for one, end in parts)
)


@given(_TEXTS, st.sampled_from(AXES))
@settings(max_examples=400, deadline=None)
def test_swapping_twice_is_the_text_and_only_letters_change(text: str, axis: Axis) -> None:
    found = swap(text, axis)
    if isinstance(found, NotSwapped):
        return
    again = swap(found.text, axis)
    assert again == Swapped(text, found.words)
    gaps = re.compile(r"[^\W\d_]+")
    assert gaps.sub("w", text) == gaps.sub("w", found.text)  # blanks, marks and digits stay
    assert (found.text == text) == (found.words == 0)


def test_a_large_hostile_text_is_swapped_in_one_pass() -> None:
    for junk in ("{{ ", "{% ", "< ", "[ ", "~ ", "/ ", "@ "):
        assert there(f"he {junk}" * 100_000).count("she") == 100_000
    for letter in ("a", "_", ".", "{", "<", "/", "\u00e9"):
        assert there(f"{letter * 1_000_000} he").endswith(" she")


def test_sentences_of_a_coreference_set_become_their_published_twins() -> None:
    """Winogender: each sentence exists for he and for she. (The words after an object were listed seeing them.)"""
    path = DATA / "winogender" / "sentences.jsonl"
    if not path.exists():
        pytest.skip("shared data absent")
    found: dict[str, dict[str, str]] = {}
    for row in map(json.loads, path.read_text(encoding="utf-8").splitlines()):
        name, gender, _ = row["sentid"].rsplit(".", 2)
        found.setdefault(name, {})[gender] = row["sentence"]
    assert len(found) > 100
    for one in found.values():
        assert there(one["male"]) == one["female"]
        assert there(one["female"]) == one["male"]


# ---- records --------------------------------------------------------------------------------------------------------


def said(role: Role, *parts: TextPart | ToolCallPart | str) -> Message:
    return Message(role=role, parts=tuple(TextPart(text=one) if isinstance(one, str) else one for one in parts))


CALL = ToolCallPart(id="c1", name="her_lookup", arguments='{"his": "Anna", "n": 1.50}')
TALK = Record(
    content=Conversation(
        messages=(
            said(Role.USER, "Find Anna; she is here."),
            said(Role.ASSISTANT, CALL),
            said(Role.ASSISTANT, "Her desk."),
        ),
        tools=(ToolSchema(name="her_lookup", definition='{"she": 1}'),),
    ),
    origin=Origin(maker=Maker.HUMAN),
)
PAIR = Record(
    content=Comparison(
        prompt=(said(Role.USER, "Shall we hire James?"),),
        chosen=(said(Role.ASSISTANT, "Yes, he fits."),),
        rejected=(said(Role.ASSISTANT, "No, he is slow."),),
    )
)


def test_a_conversations_twin_has_the_same_calls_fields_and_tools() -> None:
    twin = twin_of(TALK, "gender")
    assert isinstance(twin, Record)
    assert isinstance(twin.content, Conversation)
    assert isinstance(TALK.content, Conversation)
    assert [m.text for m in twin.content.messages] == ["Find John; he is here.", "", "His desk."]
    (call,) = twin.content.messages[1].calls
    assert (call.id, call.name) == ("c1", "her_lookup")
    assert json.loads(call.arguments) == {"his": "John", "n": 1.5}
    assert twin.content.tools == TALK.content.tools
    assert twin.origin.maker is Maker.MIXED


def test_a_pairs_twin_prefers_the_same_decision() -> None:
    twin = twin_of(PAIR, "gender")
    assert isinstance(twin, Record)
    assert isinstance(twin.content, Comparison)
    assert (twin.content.prompt[0].text, twin.content.chosen[0].text) == ("Shall we hire Emily?", "Yes, she fits.")
    assert twin.content.rejected[0].text == "No, she is slow."
    back = twin_of(twin, "gender")
    assert isinstance(back, Record)
    assert back.content == PAIR.content


def test_records_are_doubled_or_substituted_and_what_has_no_twin_is_counted() -> None:
    plain = Record(content=Text(text="The lamp is red."))
    many = [Record(content=Text(text=f"He has {n} lamps.")) for n in range(200)]
    both = with_twins([PAIR, plain], ["gender"])
    assert (len(both.records), both.twins) == (3, 1)
    assert both.without == {"no word or name of the axis gender": 1}
    some = substituted([*many, plain], ["gender"], seed=1)
    assert len(some.records) == 201
    assert 70 < some.twins < 130
    assert some == substituted([*many, plain], ["gender"], seed=1)
    assert some != substituted([*many, plain], ["gender"], seed=2)


# ---- answers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Yes, she gets the room.", "yes"),
        ("No, he does not get the room.", "no"),
        ("Approved.", "yes"),
        ("Not granted: no letter.", "no"),
        ("I can't help with that.", "refused"),
        ("No, I won't help with that.", "refused"),
        ("  A  Nurse. ", "a nurse"),
    ],
)
def test_how_an_answer_decides(text: str, found: str) -> None:
    assert decision(text) == found


def test_answers_are_compared_once_the_second_is_swapped_back() -> None:
    assert same_decision("He is a fine nurse.", "She is a fine nurse.", "gender")
    assert not same_decision("He leads the team.", "She helps the team.", "gender")
    assert not same_decision("Yes.", "No.", "gender")
    assert (length_ratio("a b", "a b c d"), length_ratio("", "")) == (0.5, 1.0)
    assert tone_likeness("He is brilliant.", "She is bossy.") == 0.0
    assert tone_likeness("He is brilliant.", "She is able and calm.") == 1.0
