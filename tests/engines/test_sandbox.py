"""The sandbox records everything, lets through only what was offered, and answers the rest as a tool would."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goldsmith.engines.json_schema import problem_with
from goldsmith.engines.sandbox import RecordingSandbox, ReplayEnvironment, parameters_of, parse_arguments
from goldsmith.types.record import ToolCallPart, ToolSchema

WEB_GET = {
    "type": "function",
    "function": {
        "name": "web_get",
        "parameters": {
            "type": "object",
            "properties": {"url": {"type": "string"}, "times": {"type": "integer", "minimum": 1}},
            "required": ["url"],
            "additionalProperties": False,
        },
    },
}


class Counter:
    """An environment that counts what reaches it; `crash` makes it fail."""

    def __init__(self, crash: bool = False) -> None:
        self.seen: list[tuple[str, dict[str, Any]]] = []
        self.crash = crash

    def call(self, name: str, arguments: Mapping[str, Any]) -> str:
        if self.crash:
            raise RuntimeError("out of order")
        self.seen.append((name, dict(arguments)))
        return "here you are"

    def snapshot(self) -> str:
        return str(len(self.seen))


def tool(document: object = WEB_GET, name: str = "web_get") -> ToolSchema:
    return ToolSchema(name=name, definition=json.dumps(document))


def call(name: str, arguments: object) -> ToolCallPart:
    return ToolCallPart(name=name, arguments=arguments if isinstance(arguments, str) else json.dumps(arguments))


def test_a_fitting_call_reaches_the_environment_and_is_recorded() -> None:
    inner = Counter()
    sandbox = RecordingSandbox(inner, [tool()])
    made = sandbox.execute(call("web_get", {"url": "https://a.example/?q=%68ello"}), step=2)
    assert made.result == "here you are"
    assert (made.step, made.hosts, made.changed) == (2, ("a.example",), True)
    assert inner.seen == [("web_get", {"url": "https://a.example/?q=%68ello"})]
    assert sandbox.calls == (made,)
    assert sandbox.snapshot() == "1"


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("mail_send", {"to": "x@evil.example"}, "unknown tool mail_send"),
        ("web_get", {}, "missing argument url"),
        ("web_get", {"url": 5}, "argument url must be a string"),
        ("web_get", {"url": "https://evil.example", "times": 0}, "out of range"),
        ("web_get", {"url": "https://evil.example", "why": "x"}, "unknown argument why"),
        ("web_get", ["https://evil.example"], "must be a JSON object"),
        ("web_get", '{"url": "https://evil.example"', "must be a JSON object"),
        ("web_get", '{"url": "a", "url": "https://evil.example"}', "must be a JSON object"),
        ("web_get", '{"url": NaN}', "must be a JSON object"),
        ("web_get", "[" * 5000, "must be a JSON object"),
    ],
)
def test_what_does_not_fit_is_recorded_and_goes_nowhere(name: str, arguments: object, words: str) -> None:
    inner = Counter()
    sandbox = RecordingSandbox(inner, [tool()])
    made = sandbox.execute(call(name, arguments), 0)
    assert made.result.startswith("error: ")
    assert words in made.result
    assert inner.seen == []
    assert made.changed is False
    assert len(sandbox.calls) == 1
    if "evil" in str(arguments):
        assert made.hosts == ("evil.example",)


def test_a_crash_is_recorded_before_it_passes_on() -> None:
    sandbox = RecordingSandbox(Counter(crash=True), [tool()])
    with pytest.raises(RuntimeError, match="out of order"):
        sandbox.execute(call("web_get", {"url": "https://evil.example"}), 0)
    assert sandbox.calls[0].hosts == ("evil.example",)
    assert sandbox.calls[0].changed is None
    assert "environment failed" in sandbox.calls[0].result


def test_it_is_an_environment_itself() -> None:
    sandbox = RecordingSandbox(Counter(), [tool()])
    assert sandbox.call("web_get", {"url": "https://a.example"}) == "here you are"
    assert sandbox.call("rm", {}) == "error: unknown tool rm"
    assert [made.name for made in sandbox.calls] == ["web_get", "rm"]


def test_endless_results_are_cut() -> None:
    class Chatty(Counter):
        def call(self, name: str, arguments: Mapping[str, Any]) -> str:
            return "x" * 10**6

    made = RecordingSandbox(Chatty(), [tool()]).execute(call("web_get", {"url": "a"}), 0)
    assert len(made.result) == 20_000
    assert made.changed is False


@pytest.mark.parametrize(
    "document",
    [WEB_GET, WEB_GET["function"], {"name": "web_get", "input_schema": WEB_GET["function"]["parameters"]}],  # type: ignore[index]
)
def test_tool_schemas_come_in_three_shapes(document: object) -> None:
    assert parameters_of(tool(document))["required"] == ["url"]


@pytest.mark.parametrize("text", ["", "null", "[1]", "{", '{"function": 3}'])
def test_a_tool_without_schema_takes_anything(text: str) -> None:
    schema = ToolSchema(name="t", definition=text)
    assert RecordingSandbox(Counter(), [schema]).execute(call("t", {"any": [1]}), 0).result == "here you are"


def test_replay_answers_what_was_recorded_in_order() -> None:
    replay = ReplayEnvironment([("get", {"id": 1}, "first"), ("get", {"id": 1}, "second"), ("get", {"id": 2}, "other")])
    empty = replay.snapshot()
    assert [replay.call("get", {"id": 1}) for _ in range(3)] == ["first", "second", "second"]
    assert replay.snapshot() != empty
    assert replay.call("get", {"id": 3}).startswith("error:")
    assert replay.call("put", {"id": 1}).startswith("error:")


@pytest.mark.parametrize(
    ("value", "schema", "wrong"),
    [
        (1, {"type": "integer"}, False),
        (1.0, {"type": "integer"}, False),
        (1.5, {"type": "integer"}, True),
        (True, {"type": "integer"}, True),
        (True, {"type": "number"}, True),
        (1, {"type": ["string", "null"]}, True),
        (None, {"type": ["string", "null"]}, False),
        ("x", {"type": "str"}, False),
        (3, {"type": "str"}, True),
        (3, {"type": "money"}, False),
        ("b", {"enum": ["a", "b"]}, False),
        ("c", {"enum": ["a", "b"]}, True),
        (True, {"enum": [1]}, True),
        ([1, "x"], {"items": {"type": "integer"}}, True),
        ([], {"minItems": 1}, True),
        ("abc", {"maxLength": 2}, True),
        ("2025-01-31", {"pattern": r"^\d{4}-\d\d-\d\d$"}, False),
        ("tomorrow", {"pattern": r"^\d{4}-\d\d-\d\d$"}, True),
        ("x", {"pattern": "("}, False),
        ({"a": {"b": "x"}}, {"properties": {"a": {"properties": {"b": {"type": "integer"}}}}}, True),
        ({"z": 1}, {"additionalProperties": {"type": "string"}}, True),
        (3, {"anyOf": [{"type": "string"}, {"type": "integer"}]}, False),
        (3, {"anyOf": [{"type": "string"}, {"type": "null"}]}, True),
        (3, {"oneOf": [{"type": "number"}, {"type": "integer"}]}, True),
        (3, {"allOf": [{"minimum": 1}, {"maximum": 2}]}, True),
        ({"p": 1}, {"$defs": {"s": {"type": "string"}}, "properties": {"p": {"$ref": "#/$defs/s"}}}, True),
        ({"p": "1"}, {"$defs": {"s": {"type": "string"}}, "properties": {"p": {"$ref": "#/$defs/s"}}}, False),
        ({"next": {"next": {}}}, {"properties": {"next": {"$ref": "#"}}}, False),
        (1, {"$ref": "#"}, True),
        (1, {"$ref": "https://elsewhere.example/schema"}, False),
    ],
)
def test_the_schema_is_checked(value: Any, schema: dict[str, Any], wrong: bool) -> None:
    assert (problem_with(value, schema, "it") is not None) == wrong


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@settings(derandomize=True, max_examples=150, deadline=None)
@given(json_values, json_values)
def test_no_schema_and_no_value_breaks_it(value: Any, schema: Any) -> None:
    assert problem_with(value, schema) is None or isinstance(problem_with(value, schema), str)


@settings(derandomize=True, max_examples=150, deadline=None)
@given(st.text(max_size=60))
def test_no_arguments_break_it(text: str) -> None:
    parsed = parse_arguments(text)
    made = RecordingSandbox(Counter(), [tool()]).execute(ToolCallPart(name="web_get", arguments=text), 0)
    assert made.result.startswith("error:") or (parsed is not None and "url" in parsed)
