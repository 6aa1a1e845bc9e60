"""OpenAI chat rows: `{"messages": [...], "tools": [...]}`, as the fine-tuning API and most chat sets have them."""

from collections.abc import Mapping
from typing import Any, ClassVar

from goldsmith.engines.reading.chat_turns import looks_like_turns, messages, render_messages
from goldsmith.engines.reading.fields import rest_of
from goldsmith.engines.reading.tool_schemas import render_tools, tool_schemas
from goldsmith.types.artifact import Spec
from goldsmith.types.record import Content, Conversation
from goldsmith.types.row_format import Parsed, RowProblem

_ALSO = ("conversations", "conversation", "dialogue", "traj")


class OpenAIChat(Spec):
    """Conversations. A row that is a bare list of turns is read as its `messages`.

    `messages`, `tools`, `functions`: the names of the fields that hold the turns, the tools and the older functions.
    Where `messages` is missing, turns with roles in `conversations`, `conversation`, `dialogue` or `traj` are read.
    """

    id: ClassVar[str] = "openai_chat"
    version: ClassVar[int] = 1
    messages: str = "messages"
    tools: str = "tools"
    functions: str = "functions"

    def confidence(self, row: Mapping[str, Any]) -> float:
        turns = row.get(self._field(row))
        if type(turns) is not list or (turns and not looks_like_turns(turns)):
            return 0.0
        return 0.6 if "chosen" in row and "rejected" in row else 0.85

    def _field(self, row: Mapping[str, Any]) -> str:
        if self.messages in row:
            return self.messages
        return next((name for name in _ALSO if looks_like_turns(row.get(name))), self.messages)

    def parse(self, row: Mapping[str, Any]) -> Parsed:
        name = self._field(row)
        rest = rest_of(row, frozenset((name, self.tools, self.functions)))
        turns = messages(row.get(name), name, rest)
        tools = tool_schemas(row.get(self.tools), self.tools) + tool_schemas(row.get(self.functions), self.functions)
        return Parsed(Conversation(messages=turns, tools=tools), rest)

    def render(self, content: Content) -> dict[str, Any]:
        if not isinstance(content, Conversation):
            raise RowProblem("only conversations are chat rows", found=content.kind, allowed="conversation")
        row: dict[str, Any] = {self.messages: render_messages(content.messages)}
        return {**row, self.tools: render_tools(content.tools)} if content.tools else row


_TOOL = {"type": "function", "function": {"name": "order_get", "parameters": {"type": "object", "properties": {}}}}
_CALL = {"id": "c1", "type": "function", "function": {"name": "order_get", "arguments": '{"id": 4711}'}}
_OTHER = {"id": "c2", "type": "function", "function": {"name": "order_get", "arguments": '{"id": 4712}'}}
ROWS = [
    (
        {"messages": [{"role": "user", "content": "Name a mole."}, {"role": "assistant", "content": "Talpa."}]},
        "user: Name a mole. | assistant: Talpa.",
    ),
    (
        {
            "messages": [
                {"role": "developer", "content": "Be brief."},
                {"role": "user", "content": [{"type": "text", "text": "Where are they?"}]},
                {"role": "assistant", "content": None, "tool_calls": [_CALL, _OTHER]},
                {"role": "tool", "tool_call_id": "c1", "content": "sent"},
                {"role": "tool", "tool_call_id": "c2", "content": "lost"},
                {"role": "assistant", "content": "One is lost.", "weight": 0},
            ],
            "tools": [_TOOL],
        },
        'system: Be brief. | user: Where are they? | assistant: order_get#c1({"id": 4711}) order_get#c2({"id": 4712})'
        " | tool: #c1=sent | tool: #c2=lost | assistant (untrained): One is lost. | tools: order_get",
    ),
    (
        {
            "messages": [
                {"role": "user", "content": "Time?"},
                {"role": "assistant", "content": None, "function_call": {"name": "clock", "arguments": "{}"}},
                {"role": "function", "name": "clock", "content": "12:00"},
                {"role": "assistant", "content": "Noon."},
            ],
            "functions": [{"name": "clock", "parameters": {"type": "object", "properties": {}}}],
        },
        "user: Time? | assistant: clock({}) | tool: clock=12:00 | assistant: Noon. | tools: clock",
    ),
]
