"""OpenAI preference rows: `{"input": {"messages"}, "preferred_output": [...], "non_preferred_output": [...]}`."""

from collections.abc import Mapping
from typing import Any, ClassVar

from goldsmith.engines.reading.chat_turns import messages, render_messages
from goldsmith.engines.reading.fields import rest_of, unfolded
from goldsmith.engines.reading.json_text import show
from goldsmith.engines.reading.tool_schemas import render_tools, tool_schemas
from goldsmith.types.artifact import Spec
from goldsmith.types.record import Comparison, Content, Message
from goldsmith.types.row_format import Parsed, RowProblem

_BETTER = ("preferred_output", "preferred_completion")
_WORSE = ("non_preferred_output", "non_preferred_completion")
_EITHER = frozenset((*_BETTER, *_WORSE))


class OpenAIPreference(Spec):
    """Pairs of answers to one prompt, as OpenAI's preference fine-tuning takes them; `*_completion` is read too."""

    id: ClassVar[str] = "openai_preference"
    version: ClassVar[int] = 1

    def confidence(self, row: Mapping[str, Any]) -> float:
        if _EITHER.isdisjoint(row):
            return 0.0
        return 1.0 if "input" in row else 0.7

    def parse(self, row: Mapping[str, Any]) -> Parsed:
        rest = rest_of(row, frozenset(("input", *_BETTER, *_WORSE)))
        given = unfolded(row.get("input"), "input")
        if not isinstance(given, Mapping):
            raise RowProblem("input must be an object", where="input", found=show(given), allowed='{"messages": [...]}')
        for key, value in given.items():
            if key not in ("messages", "tools") and value is not None:
                rest[f"input.{key}"] = value
        prompt = messages(given.get("messages"), "input.messages", rest)
        tools = tool_schemas(given.get("tools"), "input.tools")
        better, worse = _answer(row, _BETTER, rest), _answer(row, _WORSE, rest)
        return Parsed(Comparison(prompt=prompt, chosen=better, rejected=worse, tools=tools), rest)

    def render(self, content: Content) -> dict[str, Any]:
        if not isinstance(content, Comparison) or content.strength is not None:
            raise RowProblem("only comparisons without a strength are preference rows", found=content.kind)
        given: dict[str, Any] = {"messages": render_messages(content.prompt)}
        return {
            "input": {**given, "tools": render_tools(content.tools)} if content.tools else given,
            "preferred_output": render_messages(content.chosen),
            "non_preferred_output": render_messages(content.rejected),
        }


def _answer(row: Mapping[str, Any], names: tuple[str, ...], rest: dict[str, Any]) -> tuple[Message, ...]:
    present = [name for name in names if row.get(name) is not None]
    if len(present) != 1:
        found = " and ".join(present) or "neither"
        raise RowProblem("half a pair", where=names[0], found=found, allowed=f"one of {' and '.join(names)}")
    return messages(unfolded(row[present[0]], present[0]), present[0], rest)


ROWS = [
    (
        {
            "input": {"messages": [{"role": "user", "content": "Name a river."}]},
            "preferred_output": [{"role": "assistant", "content": "The Rhine."}],
            "non_preferred_output": [{"role": "assistant", "content": "No."}],
        },
        "user: Name a river. || assistant: The Rhine. || assistant: No.",
    ),
]
