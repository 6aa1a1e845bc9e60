"""Templates, rows as something to answer, and a reward's results held against what it declares."""

from typing import Any

import pytest
from pydantic import ValidationError

from goldsmith import plugins
from goldsmith.engines.grading.asking import ask
from goldsmith.engines.grading.examples import said
from goldsmith.engines.grading.samples import answered, asked_of
from goldsmith.engines.grading.templates import Unfilled, filling, reads_item
from goldsmith.rewards.string_check import StringCheck
from goldsmith.types.errors import BadInput
from goldsmith.types.record import Comparison, Conversation, Message, Rating, Record, Role, Text, TextPart
from goldsmith.types.reward import Rewarded, Unrewarded
from goldsmith.types.trajectory import Answer


def turn(role: str, text: str) -> Message:
    return Message(role=Role(role), parts=(TextPart(text=text),))


def test_templates_are_filled_with_texts_as_they_are_and_other_values_as_json() -> None:
    sampled = said('{"city": "Oslo"}', call=("find", '{"q": 1}'), a={"b": [1, {"c": "x"}]}, n=2.5, t="é {{ item.n }}")
    fill = filling(sampled).fill
    assert fill("{{ item.a.b[1].c }}/{{item.n}}/{{ item.a.b }}") == 'x/2.5/[1, {"c": "x"}]'
    assert fill("{{ sample.output_json.city }}") == "Oslo"
    assert fill("{{ sample.output_tools[0].function.name }}") == "find"
    assert fill("{{ sample.choices[0].message.content }}") == '{"city": "Oslo"}'
    assert fill("{{ item.t }}") == "é {{ item.n }}", "what is filled in is no template"
    for path in ("item.x", "item.a.b[2]", "item.n.x", "sample.output_json.nothing"):
        with pytest.raises(Unfilled, match="there is no"):
            fill(f"{{{{ {path} }}}}")


@pytest.mark.parametrize("text", ["{{ row.x }}", "{{ item }}", "{{ item.a() }}", "{{ sample.text }}", "{{ }}"])
def test_templates_of_another_kind_are_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        StringCheck(reference=text)


def test_which_templates_read_the_row() -> None:
    assert reads_item("x", "{{item.a}}")
    assert not reads_item("{{ sample.output_text }}", "item.a")


@pytest.mark.parametrize(
    ("operation", "text", "reference", "value"),
    [
        ("eq", "a", "a", 1), ("eq", "A", "a", 0), ("ne", "A", "a", 1), ("ne", "a", "a", 0), ("like", "xay", "a", 1),
        ("like", "xAy", "a", 0), ("ilike", "xAy", "a", 1), ("ilike", "STRASSE", "straße", 1), ("ilike", "b", "a", 0),
    ],
)  # fmt: skip
def test_string_operations(operation: Any, text: str, reference: str, value: float) -> None:
    reward = StringCheck(operation=operation, reference="{{ item.r }}")
    assert ask(reward, [said(text, r=reference)]).values == [value]


def test_an_empty_reference_is_no_success() -> None:
    found = ask(StringCheck(operation="like"), [said("anything", reference_answer=""), said("x", reference_answer="x")])
    assert found.values == [None, 1.0]
    assert list(found.unrewarded.values()) == [1]
    assert found.means() == {"reward": 1.0, "unrewarded": 0.5}


class Broken:
    id, version, bounds, needs_reference = "broken", 1, (0.0, 1.0), False

    def __init__(self, *outcomes: Rewarded | Unrewarded) -> None:
        self.outcomes = list(outcomes)

    def __call__(self, samples: Any) -> list[Rewarded | Unrewarded]:
        return self.outcomes


def test_values_outside_of_what_was_declared_do_not_count() -> None:
    broken = Broken(Rewarded(2.0), Rewarded(float("nan")), Rewarded(0.5, {"a": 1.0, "b": float("inf")}))
    found = ask(broken, [said("")] * 3)  # type: ignore[arg-type]
    assert found.values == [None, None, 0.5]
    assert found.means() == {"reward": 0.5, "reward/a": 1.0, "unrewarded": 2 / 3}
    with pytest.raises(BadInput, match="1 results for 2"):
        ask(Broken(Rewarded(1.0)), [said("")] * 2)  # type: ignore[arg-type]


def test_rows_ask_and_hold_references() -> None:
    talk = (turn("system", "s"), turn("user", "q"), turn("assistant", "a"))
    asked = asked_of(Record(content=Conversation(messages=talk), extra='{"level": 3}'))
    assert (asked.prompt, asked.reference) == (talk[:2], talk[2:])
    assert asked.item == {"prompt": "q", "reference_answer": "a", "level": 3}
    open_end = asked_of(Record(content=Conversation(messages=(*talk, turn("user", "more")))))
    assert (len(open_end.prompt), open_end.reference, open_end.item) == (4, (), {"prompt": "more"})
    pair = Comparison(prompt=talk[:2], chosen=talk[2:], rejected=(turn("assistant", "b"),))
    assert asked_of(Record(content=pair)).item["reference_answer"] == "a"
    bad = Rating(prompt=talk[:2], answer=talk[2:], label=False)
    assert asked_of(Record(content=bad)).reference == ()
    own = Record(content=Conversation(messages=talk), extra='{"reference_answer": "mine"}')
    assert asked_of(own).item["reference_answer"] == "mine"
    with pytest.raises(BadInput, match="asks nothing"):
        asked_of(Record(content=Text(text="x")))
    answer = Answer(message=None, text="{broken", finished=False, prompt_tokens=1, completion_tokens=7)
    sampled = answered(asked, answer)
    assert (sampled.answer[0].text, sampled.finished, sampled.tokens) == ("{broken", False, 7)


def test_a_capability_is_found_and_built_by_name() -> None:
    assert isinstance(plugins.build("rewards", "string_check"), StringCheck)
    with pytest.raises(BadInput, match="no reward named"):
        plugins.build("rewards", "string_chek")
