"""What a sampled answer says, as graders want to see it; and what a row asks, holds and tells."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from goldsmith.types.errors import BadInput
from goldsmith.types.record import Comparison, Conversation, Message, Rating, Record, Role, TextPart, ToolCallPart
from goldsmith.types.reward import Sampled
from goldsmith.types.trajectory import Answer


def output_text(sampled: Sampled) -> str:
    """The text of the last assistant turn; empty if there is none."""
    turns = [message for message in sampled.answer if message.role is Role.ASSISTANT]
    return turns[-1].text if turns else ""


def output_json(sampled: Sampled) -> Any:
    """The last assistant turn as JSON; None if it is none, names a key twice, or holds NaN."""
    return strict_json(output_text(sampled))


def output_tools(sampled: Sampled) -> list[dict[str, Any]]:
    """Every tool call of the answer, as Chat Completions writes them."""
    return [_call(call) for message in sampled.answer for call in message.calls]


def namespace(sampled: Sampled) -> dict[str, Any]:
    """What `sample` means in a grader: output_text, output_json, output_tools, choices."""
    text, tools = output_text(sampled), output_tools(sampled)
    message = {"role": "assistant", "content": text, "tool_calls": tools or None}
    finish = "length" if not sampled.finished else "tool_calls" if tools and not text else "stop"
    return {
        "output_text": text,
        "output_json": strict_json(text),
        "output_tools": tools,
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
    }


def strict_json(text: str) -> Any:
    """Parsed JSON, or None."""

    def no_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) != len(pairs):
            raise ValueError("a key twice")
        return dict(pairs)

    def no_constant(name: str) -> Any:
        raise ValueError(name)

    try:
        return json.loads(text, object_pairs_hook=no_doubles, parse_constant=no_constant)
    except (ValueError, RecursionError):
        return None


def _call(call: ToolCallPart) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def asked_of(record: Record) -> Sampled:
    """A row as something to answer: prompt, tools, reference and `item`, the answer still empty (see `answered`).

    The prompt of a conversation ends before its last assistant turn that is trained on, which is the reference; that of
    a comparison is its own, with the chosen answer as the reference; that of a rating its own, with the answer if it
    was called good. `item` holds the record's extra fields, and what it says under `prompt` and `reference_answer`
    where it has no fields of these names.

    Raises:
        BadInput: a text, or a conversation without a turn to answer.
    """
    content = record.content
    if isinstance(content, Conversation):
        place = _last_answer(content.messages)
        found = Sampled(content.messages[:place], (), content.tools, reference=content.messages[place : place + 1])
    elif isinstance(content, Comparison):
        found = Sampled(content.prompt, (), content.tools, reference=content.chosen)
    elif isinstance(content, Rating):
        found = Sampled(content.prompt, (), content.tools, reference=content.answer if content.label else ())
    else:
        raise BadInput(f"a {content.kind} asks nothing", allowed="a conversation, a comparison or a rating")
    return replace(found, item=_item(record, found))


def answered(asked: Sampled, answer: Answer) -> Sampled:
    """The row with a model's answer to it. An answer that could not be parsed is the text that was written."""
    said = answer.message or Message(role=Role.ASSISTANT, parts=(TextPart(text=answer.text),))
    return replace(asked, answer=(said,), finished=answer.finished, tokens=answer.completion_tokens)


def _last_answer(messages: Sequence[Message]) -> int:
    if messages and messages[-1].role in (Role.USER, Role.TOOL):
        return len(messages)
    for place in range(len(messages) - 1, 0, -1):
        if messages[place].role is Role.ASSISTANT and messages[place].trained:
            return place
    raise BadInput("a conversation without a turn to answer", allowed="one that asks something")


def _item(record: Record, asked: Sampled) -> Mapping[str, Any]:
    extra = strict_json(record.extra) if record.extra else None
    fields: dict[str, Any] = dict(extra) if isinstance(extra, dict) else {}
    users = [message.text for message in asked.prompt if message.role is Role.USER]
    told = {"prompt": users[-1]} if users else {}
    if asked.reference:
        told["reference_answer"] = asked.reference[-1].text
    return {**told, **fields}
