"""What a model writes, read back: every format round-trips, and nonsense is a value."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goldsmith.engines.chat_calls import call_format, call_start, read_turn

NAMES = st.sampled_from(["send_mail", "search", "f"])
ARGUMENTS = st.dictionaries(
    st.text(max_size=5), st.one_of(st.integers(), st.text(max_size=8), st.booleans(), st.none()), max_size=3
)


def write(form: str, text: str, calls: list[tuple[str, dict[str, object]]]) -> str:
    """As the real templates write it."""
    bodies = [json.dumps({"name": n, "arguments": a}, ensure_ascii=False) for n, a in calls]
    if form == "nano":
        return text + "".join(f"<|call|>{body}" for body in bodies)
    if form == "hermes":
        return text + "".join(f"\n<tool_call>\n{body}\n</tool_call>" for body in bodies)
    if form == "mistral":
        return text + ("[TOOL_CALLS][" + ", ".join(bodies) + "]" if bodies else "")
    if form == "mistral-args":
        return text + "".join(f"[TOOL_CALLS]{n}[ARGS]{json.dumps(a)}" for n, a in calls)
    return "; ".join(json.dumps({"name": n, "parameters": a}) for n, a in calls) or text


@pytest.mark.parametrize("form", ["nano", "hermes", "mistral", "mistral-args", "llama3"])
@settings(derandomize=True, max_examples=50, deadline=None)
@given(text=st.sampled_from(["", "I will look."]), calls=st.lists(st.tuples(NAMES, ARGUMENTS), max_size=3))
def test_round_trip(form: str, text: str, calls: list[tuple[str, dict[str, object]]]) -> None:
    text = "" if form == "llama3" and calls else text
    turn = read_turn(write(form, text, calls), form.partition("-")[0], finished=True)
    assert turn.problem is None
    assert turn.message is not None
    assert turn.message.text == text
    assert [(c.name, json.loads(c.arguments)) for c in turn.message.calls] == calls


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("nano", '<|call|>{"name": "f", "arguments": '),
        ("nano", '<|call|>{"name": "f"}'),
        ("nano", '<|call|>{"name": "f", "arguments": {}} and more'),
        ("nano", '<|call|>{"name": "f", "arguments": {"a": 1, "a": 2}}'),
        ("hermes", '<tool_call>{"name": "f", "arguments": {}}'),
        ("hermes", "<tool_call>not json</tool_call>"),
        ("hermes", '<tool_call>["f"]</tool_call>'),
        ("mistral", "[TOOL_CALLS]{}"),
        ("mistral", "[TOOL_CALLS][]"),
        ("llama3", '<|python_tag|>{"name": 3, "parameters": {}}'),
        ("llama3", '{"name": "f", "parameters": {}} trailing'),
        ("nano", "<|call|>" + "[" * 100_000),
    ],
)
def test_unreadable_is_a_value(form: str, text: str) -> None:
    turn = read_turn(text, form, finished=True)
    assert turn.message is None
    assert turn.problem
    assert turn.text == text


@settings(derandomize=True, max_examples=100, deadline=None)
@given(
    text=st.text(alphabet=st.sampled_from('<|call>{}[]":,ab tool_/TOLCAS'), max_size=40),
    form=st.sampled_from(["nano", "hermes", "mistral", "llama3", "none"]),
)
def test_nothing_a_model_writes_raises(text: str, form: str) -> None:
    turn = read_turn(text, form, finished=False)
    assert (turn.message is None) == (turn.problem is not None)
    assert not turn.finished


def test_formats_are_told_by_the_template() -> None:
    assert call_format("{{ '<|call|>' }}") == "nano"
    assert call_format("x <tool_call> y") == "hermes"
    assert call_format("[TOOL_CALLS]") == "mistral"
    assert call_format("<|python_tag|>") == "llama3"
    assert call_format("nothing") == "none"
    assert call_start("none") is None
    assert read_turn("<tool_call>", "none", finished=True).message is not None
