"""ShareGPT rows: `{"conversations": [{"from": "human", "value": ...}]}`, with what LLaMA-Factory and Axolotl add."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from goldsmith.engines.reading.chat_turns import call
from goldsmith.engines.reading.fields import as_boolean, as_json_text, optional_text, rest_of, unfolded
from goldsmith.engines.reading.json_text import decode, encode, show
from goldsmith.engines.reading.tool_schemas import render_tools, tool_schemas
from goldsmith.types.artifact import Spec
from goldsmith.types.record import (
    Comparison,
    Content,
    Conversation,
    MediaPart,
    Message,
    Part,
    Rating,
    Role,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from goldsmith.types.row_format import Parsed, RowProblem

_SAYS: Final = {
    "system": Role.SYSTEM,
    "human": Role.USER,
    "user": Role.USER,
    "gpt": Role.ASSISTANT,
    "assistant": Role.ASSISTANT,
    "chatgpt": Role.ASSISTANT,
    "model": Role.ASSISTANT,
    "function_call": Role.ASSISTANT,
    "tool_call": Role.ASSISTANT,
    "observation": Role.TOOL,
    "tool": Role.TOOL,
    "function_response": Role.TOOL,
    "tool_response": Role.TOOL,
}
_CALLS = ("function_call", "tool_call")
_NAMES: Final = {Role.SYSTEM: "system", Role.USER: "human", Role.ASSISTANT: "gpt"}


class ShareGPT(Spec):
    """Conversations; pairs where the row has `chosen` and `rejected` turns beside its `conversations`; ratings of the
    last turn where it has a boolean `label` or `kto_tag`.

    A `function_call` turn holds `{"name", "arguments"}` or a list of them as JSON text; `observation` is the tool's
    answer; `tools` is JSON text. `weight` 0 keeps a turn out of the loss. `conversations`: the field with the turns.
    """

    id: ClassVar[str] = "sharegpt"
    version: ClassVar[int] = 1
    conversations: str = "conversations"

    def confidence(self, row: Mapping[str, Any]) -> float:
        turns = row.get(self.conversations)
        if type(turns) is not list:
            return 0.0
        return 0.9 if not turns or (type(turns[0]) is dict and "from" in turns[0]) else 0.0

    def parse(self, row: Mapping[str, Any]) -> Parsed:
        name = self.conversations
        pair = row.get("chosen") is not None or row.get("rejected") is not None
        label = None if pair else next((k for k in ("label", "kto_tag") if isinstance(row.get(k), bool)), None)
        taken = ("chosen", "rejected") if pair else () if label is None else (label,)
        rest = rest_of(row, frozenset((name, "tools", "system", *taken)))
        turns = _turns(row.get(name), name, rest)
        system = optional_text(row, "system")
        if system:
            turns = (Message(role=Role.SYSTEM, parts=(TextPart(text=system),)), *turns)
        tools = tool_schemas(row.get("tools"), "tools")
        if label is not None:
            return Parsed(Rating(prompt=turns[:-1], answer=turns[-1:], label=row[label], tools=tools), rest)
        if not pair:
            return Parsed(Conversation(messages=turns, tools=tools), rest)
        sides = [_turns(_as_list(row.get(side), side), side, rest) for side in ("chosen", "rejected")]
        return Parsed(Comparison(prompt=turns, chosen=sides[0], rejected=sides[1], tools=tools), rest)

    def render(self, content: Content) -> dict[str, Any]:
        tools: dict[str, Any] = {}
        if isinstance(content, Conversation | Comparison | Rating) and content.tools:
            tools = {"tools": encode(render_tools(content.tools))}
        if isinstance(content, Conversation):
            return {self.conversations: _render(content.messages), **tools}
        if isinstance(content, Comparison) and content.strength is None:
            sides = {"chosen": _render(content.chosen), "rejected": _render(content.rejected)}
            return {self.conversations: _render(content.prompt), **sides, **tools}
        if isinstance(content, Rating) and content.label is not None and len(content.answer) == 1:
            return {self.conversations: _render(content.prompt + content.answer), "kto_tag": content.label, **tools}
        raise RowProblem("only conversations, pairs and labelled answers are ShareGPT rows", found=content.kind)


def _as_list(value: Any, path: str) -> Any:
    value = unfolded(value, path) if isinstance(value, str) else value
    if value is None:
        raise RowProblem("half a pair", where=path, found="null", allowed="chosen and rejected")
    return [value] if isinstance(value, Mapping) else value


def _turns(value: Any, path: str, rest: dict[str, Any]) -> tuple[Message, ...]:
    if not isinstance(value, list) or not value:
        found = show(value)
        raise RowProblem(f"{path} must be a list of turns", where=path, found=found, allowed="at least one turn")
    return tuple([_turn(turn, f"{path}[{position}]", rest) for position, turn in enumerate(value)])


def _turn(turn: Any, path: str, rest: dict[str, Any]) -> Message:
    if not isinstance(turn, dict):
        raise RowProblem("a turn must be an object", where=path, found=show(turn), allowed='{"from", "value"}')
    who, value = turn.get("from"), turn.get("value")
    role = _SAYS.get(who) if isinstance(who, str) else None
    if role is None:
        raise RowProblem("an unknown role", where=f"{path}.from", found=show(who), allowed=", ".join(_SAYS))
    structured = isinstance(value, dict | list) and (role is Role.TOOL or who in _CALLS)
    if not isinstance(value, str) and not structured:
        raise RowProblem("a turn that says nothing", where=f"{path}.value", found=show(value), allowed="text")
    parts: tuple[Part, ...]
    if who in _CALLS:
        asked = unfolded(value, f"{path}.value")
        listed = asked if isinstance(asked, list) else [asked]
        parts = tuple([call(one, f"{path}.value", rest) for one in listed])
        if not parts:
            raise RowProblem("a turn that says nothing", where=f"{path}.value", found="an empty list", allowed="a call")
    elif role is Role.TOOL:
        parts = (ToolResultPart(text=as_json_text(value)),)
    else:
        parts = (TextPart(text=value),)
    trained = True
    for key, item in turn.items():
        if key == "weight" and role is Role.ASSISTANT and as_boolean(item) is not None:
            trained = bool(as_boolean(item))
        elif key not in ("from", "value") and item is not None:
            rest[f"{path}.{key}"] = item
    return Message(role=role, parts=parts, trained=trained)


def _render(turns: Sequence[Message]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for turn in turns:
        untrained = {} if turn.trained or turn.role is not Role.ASSISTANT else {"weight": 0}
        for part in turn.parts:
            if isinstance(part, MediaPart):
                raise RowProblem("media cannot be written back: a record keeps only its digest")
            if isinstance(part, ToolResultPart):
                rows.append({"from": "observation", "value": part.text})
            elif isinstance(part, TextPart):
                rows.append({"from": _NAMES.get(turn.role, "human"), "value": part.text, **untrained})
        if turn.calls:
            asked = [_render_call(part) for part in turn.calls]
            rows.append({"from": "function_call", "value": encode(asked[0] if len(asked) == 1 else asked), **untrained})
    return rows


def _render_call(part: ToolCallPart) -> dict[str, Any]:
    try:
        return {"name": part.name, "arguments": decode(part.arguments)}
    except RowProblem:
        return {"name": part.name, "arguments": part.arguments}


ROWS = [
    (
        {"conversations": [{"from": "human", "value": "Name a mole."}, {"from": "gpt", "value": "Talpa."}]},
        "user: Name a mole. | assistant: Talpa.",
    ),
    (
        {
            "system": "Be brief.",
            "conversations": [
                {"from": "human", "value": "Weather?"},
                {"from": "function_call", "value": '{"name": "weather", "arguments": {"place": "Bern", "days": 1.50}}'},
                {"from": "observation", "value": "rain"},
                {"from": "gpt", "value": "Rain."},
            ],
            "tools": '[{"name": "weather", "parameters": {"type": "object", "properties": {}}}]',
        },
        'system: Be brief. | user: Weather? | assistant: weather({"place":"Bern","days":1.50}) | tool: rain'
        " | assistant: Rain. | tools: weather",
    ),
    (
        {
            "conversations": [{"from": "human", "value": "Name a river."}],
            "chosen": {"from": "gpt", "value": "The Rhine."},
            "rejected": {"from": "gpt", "value": "No."},
        },
        "user: Name a river. || assistant: The Rhine. || assistant: No.",
    ),
    (
        {
            "conversations": [{"from": "human", "value": "Name a river."}, {"from": "gpt", "value": "No."}],
            "kto_tag": False,
        },
        "user: Name a river. || assistant: No. || bad",
    ),
]
