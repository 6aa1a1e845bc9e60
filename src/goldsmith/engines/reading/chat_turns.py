"""Turns as OpenAI writes them, with the variations that published sets have, to `Message` and back.

Read: `content` as text, as a list of parts, or null beside tool calls; `developer` as system; `tool_calls` (also bare
`{"name", "arguments"}`, also arguments as an object); the older `function_call` and role `function`; `weight` or
`loss_weight` 0 on an assistant turn. Reasoning has no place in a record: it and all unknown fields go to `rest`.
"""

import base64
import binascii
import hashlib
from collections.abc import Sequence
from typing import Any, Final

from goldsmith.engines.reading.fields import as_boolean, as_json_text, unfolded
from goldsmith.engines.reading.json_text import show
from goldsmith.types.record import MediaPart, Message, Part, Role, TextPart, ToolCallPart, ToolResultPart
from goldsmith.types.row_format import RowProblem

_ROLES: Final = {
    "system": Role.SYSTEM,
    "developer": Role.SYSTEM,
    "user": Role.USER,
    "assistant": Role.ASSISTANT,
    "tool": Role.TOOL,
    "function": Role.TOOL,
}
_ALLOWED_ROLES = "system, developer, user, assistant, tool, function"
_PARTS = "text, input_text, output_text, refusal, image_url (as a data: URL), reasoning, tool_call"
_WEIGHTS = ("weight", "loss_weight")


def looks_like_turns(value: Any) -> bool:
    """Whether a value is a list whose first item is an object with a `role`."""
    return type(value) is list and bool(value) and type(value[0]) is dict and "role" in value[0]


def messages(value: Any, path: str, rest: dict[str, Any]) -> tuple[Message, ...]:
    """The turns of a list. Errors: RowProblem naming the turn."""
    if not isinstance(value, list):
        raise RowProblem(f"{path} must be a list of turns", where=path, found=show(value), allowed="a list of turns")
    if not value:
        raise RowProblem(f"{path} has no turns", where=path, found="an empty list", allowed="at least one turn")
    return tuple([message(turn, path, position, rest) for position, turn in enumerate(value)])


def message(turn: Any, path: str, position: int | None, rest: dict[str, Any]) -> Message:
    """One turn; `position` is its index in the list at `path`. Unknown fields are put into `rest` by their path."""
    if not isinstance(turn, dict):
        where = path if position is None else f"{path}[{position}]"
        raise RowProblem("a turn must be an object", where=where, found=show(turn), allowed='{"role", "content"}')
    role = turn.get("role")
    content = turn.get("content")
    if (
        len(turn) == 2
        and type(content) is str
        and type(role) is str
        and role in _ROLES
        and role not in ("tool", "function")
    ):
        return Message(role=_ROLES[role], parts=(TextPart(text=content),))
    return _full(turn, path if position is None else f"{path}[{position}]", rest)


def _full(turn: dict[str, Any], path: str, rest: dict[str, Any]) -> Message:
    role = turn.get("role")
    if not isinstance(role, str) or role not in _ROLES:
        raise RowProblem("an unknown role", where=f"{path}.role", found=show(role), allowed=_ALLOWED_ROLES)
    known = {"role", "content"}
    parts: list[Part]
    trained = True
    if _ROLES[role] is Role.TOOL:
        known |= {"tool_call_id", "name"}
        parts = [_result(turn, path)]
    else:
        parts = _content(turn.get("content"), f"{path}.content", rest)
        if role == "assistant":
            known |= {"tool_calls", "function_call", "refusal", *_WEIGHTS}
            calls = _calls(turn, path, rest)
            parts = ([p for p in parts if not isinstance(p, TextPart) or p.text] if calls else parts) + calls
            if not parts and isinstance(turn.get("refusal"), str):
                parts = [TextPart(text=turn["refusal"])]
            elif turn.get("refusal") is not None:
                rest[f"{path}.refusal"] = turn["refusal"]
            trained = _trained(turn, path)
        else:
            known |= {w for w in _WEIGHTS if as_boolean(turn.get(w)) is False}
        if not parts:
            allowed = "text, or a list of parts" + (", or null beside tool_calls" if role == "assistant" else "")
            found = show(turn.get("content")) if "content" in turn else "no content"
            raise RowProblem("a turn that says nothing", where=f"{path}.content", found=found, allowed=allowed)
    for key, value in turn.items():
        if key not in known and value is not None:
            rest[f"{path}.{key}"] = value
    return Message(role=_ROLES[role], parts=tuple(parts), trained=trained)


def _trained(turn: dict[str, Any], path: str) -> bool:
    for key in _WEIGHTS:
        if turn.get(key) is not None:
            weight = as_boolean(turn[key])
            if weight is None:
                raise RowProblem(f"{key} must be 0 or 1", where=f"{path}.{key}", found=show(turn[key]), allowed="0, 1")
            return weight
    return True


def _content(content: Any, path: str, rest: dict[str, Any]) -> list[Part]:
    if isinstance(content, str):
        return [TextPart(text=content)]
    if content is None:
        return []
    if not isinstance(content, list):
        raise RowProblem(
            "content must be text", where=path, found=show(content), allowed="text, a list of parts, or null"
        )
    found: list[Part] = []
    for position, part in enumerate(content):
        one = _part(part, f"{path}[{position}]", rest)
        if one is not None:
            found.append(one)
    return found


def _part(part: Any, path: str, rest: dict[str, Any]) -> Part | None:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind in ("text", "input_text", "output_text"):
        words = part.get("text", part.get("value"))
    elif kind == "refusal":
        words = part.get("refusal")
    elif kind == "image_url":
        return _image(part, path)
    elif kind in ("reasoning", "thinking"):
        rest[path] = part
        return None
    elif kind == "tool_call":
        return call(unfolded(part.get("value"), f"{path}.value"), f"{path}.value", rest)
    else:
        raise RowProblem("a part of a kind that cannot be read", where=path, found=show(kind or part), allowed=_PARTS)
    if not isinstance(words, str):
        raise RowProblem("a text part without text", where=path, found=show(words), allowed="text")
    return TextPart(text=words)


def _image(part: dict[str, Any], path: str) -> MediaPart:
    address = part["image_url"].get("url") if isinstance(part.get("image_url"), dict) else part.get("image_url")
    head, comma, body = address.partition(",") if isinstance(address, str) else ("", "", "")
    if head.startswith("data:") and head.endswith(";base64") and comma:
        try:
            data = base64.b64decode(body, validate=True)
        except binascii.Error as error:
            raise RowProblem("an image whose base64 is broken", where=path, found=error, allowed="base64") from error
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        return MediaPart(media_type=head[5:-7] or "application/octet-stream", digest=digest)
    raise RowProblem(
        "an image that is not in the row", where=path, found=show(address), allowed="a data: URL with base64"
    )


def _calls(turn: dict[str, Any], path: str, rest: dict[str, Any]) -> list[Part]:
    calls: list[Part] = []
    listed = turn.get("tool_calls")
    if listed:
        listed = unfolded(listed, f"{path}.tool_calls")
        if not isinstance(listed, list):
            raise RowProblem(
                "tool_calls must be a list", where=f"{path}.tool_calls", found=show(listed), allowed="a list"
            )
        calls += [call(one, f"{path}.tool_calls[{n}]", rest) for n, one in enumerate(listed)]
    if turn.get("function_call"):
        calls.append(call(turn["function_call"], f"{path}.function_call", rest))
    return calls


def call(value: Any, path: str, rest: dict[str, Any]) -> ToolCallPart:
    """One tool call: OpenAI's, or bare `{"name", "arguments"}`. Errors: RowProblem."""
    allowed = '{"id", "type": "function", "function": {"name", "arguments"}} or {"name", "arguments"}'
    if not isinstance(value, dict):
        raise RowProblem("a tool call must be an object", where=path, found=show(value), allowed=allowed)
    function = value.get("function", value)
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(name, str) or not name or value.get("type") not in (None, "function"):
        raise RowProblem("a tool call without a function's name", where=path, found=show(value), allowed=allowed)
    arguments = function.get("arguments")
    if not isinstance(arguments, str | dict):
        where = f"{path}.arguments"
        raise RowProblem(
            "a tool call without arguments", where=where, found=show(arguments), allowed="JSON text or object"
        )
    identity = value.get("id")
    if identity is not None and not isinstance(identity, str):
        raise RowProblem("a tool call's id must be text", where=f"{path}.id", found=show(identity), allowed="text")
    for key, item in value.items():
        if key not in ("id", "type", "function", "name", "arguments") and item is not None:
            rest[f"{path}.{key}"] = item
    return ToolCallPart(id=identity, name=name, arguments=as_json_text(arguments))


def _result(turn: dict[str, Any], path: str) -> ToolResultPart:
    content = turn.get("content")
    if isinstance(content, list) and all(isinstance(p, dict) and isinstance(p.get("type"), str) for p in content):
        texts = [_part(p, f"{path}.content[{n}]", {}) for n, p in enumerate(content)]
        content = "\n".join(p.text for p in texts if isinstance(p, TextPart))
    if content is None:
        raise RowProblem("a tool result that says nothing", where=f"{path}.content", found="null", allowed="text")
    named = turn.get("name")
    answers = turn.get("tool_call_id")
    for key, value in (("name", named), ("tool_call_id", answers)):
        if value is not None and not isinstance(value, str):
            raise RowProblem(f"{key} must be text", where=f"{path}.{key}", found=show(value), allowed="text")
    return ToolResultPart(call_id=answers, name=named, text=as_json_text(content))


def render_messages(turns: Sequence[Message]) -> list[dict[str, Any]]:
    """The turns as OpenAI writes them. Errors: RowProblem for media, whose bytes a record does not hold.

    A tool turn with several results becomes one turn for each.
    """
    rendered: list[dict[str, Any]] = []
    for turn in turns:
        results = [part for part in turn.parts if isinstance(part, ToolResultPart)]
        rendered += [_render_result(part) for part in results]
        if len(results) < len(turn.parts) or not turn.parts:
            rendered.append(_render(turn))
    return rendered


def _render_result(part: ToolResultPart) -> dict[str, Any]:
    if part.call_id is None and part.name is not None:
        return {"role": "function", "name": part.name, "content": part.text}
    named = {} if part.name is None else {"name": part.name}
    answers = {} if part.call_id is None else {"tool_call_id": part.call_id}
    return {"role": "tool", **answers, **named, "content": part.text}


def _render(turn: Message) -> dict[str, Any]:
    if any(isinstance(part, MediaPart) for part in turn.parts):
        raise RowProblem("media cannot be written back: a record keeps only its digest", allowed="text and tool calls")
    texts = [part.text for part in turn.parts if isinstance(part, TextPart)]
    row: dict[str, Any] = {"role": str(turn.role), "content": texts[0] if len(texts) == 1 else None}
    if len(texts) > 1:
        row["content"] = [{"type": "text", "text": words} for words in texts]
    calls = turn.calls
    if len(calls) == 1 and calls[0].id is None:
        row["function_call"] = {"name": calls[0].name, "arguments": calls[0].arguments}
    elif calls:
        row["tool_calls"] = [_render_call(one) for one in calls]
    if not turn.trained and turn.role is Role.ASSISTANT:
        row["weight"] = 0
    return row


def _render_call(one: ToolCallPart) -> dict[str, Any]:
    named = {} if one.id is None else {"id": one.id}
    return {**named, "type": "function", "function": {"name": one.name, "arguments": one.arguments}}


def common_prefix(first: Sequence[Message], second: Sequence[Message]) -> int:
    """How many leading turns two dialogues share, at least one turn of each left over (unless one is empty)."""
    most = max(0, min(len(first), len(second)) - 1)
    for position in range(most):
        if first[position] != second[position]:
            return position
    return most
