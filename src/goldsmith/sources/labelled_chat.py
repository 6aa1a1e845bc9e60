"""Chats with a thumb: `{"messages": [...], "label": true}`, as KTO sets and feedback buttons give them."""

from collections.abc import Mapping
from typing import Any, ClassVar

from goldsmith.engines.reading.chat_turns import looks_like_turns, messages, render_messages
from goldsmith.engines.reading.fields import as_boolean, boolean, rest_of
from goldsmith.engines.reading.tool_schemas import render_tools, tool_schemas
from goldsmith.types.artifact import Spec
from goldsmith.types.record import Content, Rating
from goldsmith.types.row_format import Parsed, RowProblem


class LabelledChat(Spec):
    """Ratings: the last turn is the answer that the label is about, all before it the prompt.

    `messages`, `label`: the names of the fields; LLaMA-Factory's `kto_tag` is read where `label` is missing.
    """

    id: ClassVar[str] = "labelled_chat"
    version: ClassVar[int] = 1
    messages: str = "messages"
    label: str = "label"

    def _label(self, row: Mapping[str, Any]) -> str:
        return "kto_tag" if self.label not in row and "kto_tag" in row else self.label

    def confidence(self, row: Mapping[str, Any]) -> float:
        if not looks_like_turns(row.get(self.messages)):
            return 0.0
        return 1.0 if as_boolean(row.get(self._label(row))) is not None else 0.0

    def parse(self, row: Mapping[str, Any]) -> Parsed:
        label = self._label(row)
        rest = rest_of(row, frozenset((self.messages, label, "tools")))
        turns = messages(row.get(self.messages), self.messages, rest)
        tools = tool_schemas(row.get("tools"), "tools")
        return Parsed(Rating(prompt=turns[:-1], answer=turns[-1:], label=boolean(row, label), tools=tools), rest)

    def render(self, content: Content) -> dict[str, Any]:
        if not isinstance(content, Rating) or content.label is None or len(content.answer) != 1:
            raise RowProblem("only ratings of one answer with a label are labelled chats", found=content.kind)
        row = {self.messages: render_messages(content.prompt + content.answer), self.label: content.label}
        return {**row, "tools": render_tools(content.tools)} if content.tools else row


ROWS = [
    (
        {
            "messages": [{"role": "user", "content": "Name a river."}, {"role": "assistant", "content": "The Rhine."}],
            "label": True,
        },
        "user: Name a river. || assistant: The Rhine. || good",
    ),
]
