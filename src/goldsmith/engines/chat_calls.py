"""Reads an assistant's generated turn back: text and tool calls, in the way its chat template writes them.

What cannot be read is a value with the reason, never an exception: models write anything.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass

from goldsmith.engines.chat_messages import unique_keys
from goldsmith.types.record import Message, Part, Role, TextPart, ToolCallPart


@dataclass(frozen=True, slots=True)
class ParsedTurn:
    """One generated turn. `message` is None where `text` could not be read, and `problem` says why.

    `finished`: the turn ended with a stop token; a turn that was cut off is not finished.
    """

    message: Message | None
    text: str
    finished: bool
    problem: str | None = None


class _Unreadable(ValueError):
    pass


Calls = list[ToolCallPart]
Reader = Callable[[str], tuple[str, Calls]]


def _call(value: object, arguments_key: str = "arguments") -> ToolCallPart:
    if not isinstance(value, dict):
        raise _Unreadable("a call is not a JSON object")
    name = value.get("name")
    arguments = value.get(arguments_key, value.get("arguments"))
    if not isinstance(name, str) or not name:
        raise _Unreadable("a call has no name")
    if not isinstance(arguments, dict):
        raise _Unreadable("a call's arguments are not a JSON object")
    call_id = value.get("id")
    return ToolCallPart(
        id=call_id if isinstance(call_id, str) else None,
        name=name,
        arguments=json.dumps(arguments, ensure_ascii=False),
    )


_DECODER = json.JSONDecoder(object_pairs_hook=unique_keys)


def _json_at(text: str, start: int) -> tuple[object, int]:
    """The JSON value at `start` (blanks skipped) and where it ends."""
    start += len(text[start:]) - len(text[start:].lstrip())
    try:
        value, end = _DECODER.raw_decode(text, start)
    except (ValueError, RecursionError) as error:
        raise _Unreadable("a call is not JSON") from error
    return value, end


def _read_hermes(text: str) -> tuple[str, Calls]:
    """`<tool_call>{"name": …, "arguments": {…}}</tool_call>`, any number (Hermes, Qwen)."""
    before, *pieces = text.split("<tool_call>")
    calls = []
    for piece in pieces:
        value, end = _json_at(piece, 0)
        rest = piece[end:].lstrip()
        if not rest.startswith("</tool_call>"):
            raise _Unreadable("a call is not closed with </tool_call>")
        if rest.removeprefix("</tool_call>").strip():
            raise _Unreadable("there is text after a call")
        calls.append(_call(value))
    return (before.rstrip("\n") if calls else before), calls


def _read_llama3(text: str) -> tuple[str, Calls]:
    """The turn is `{"name": …, "parameters": {…}}`, after `<|python_tag|>` or not; several are parted by `;`."""
    body = text.removeprefix("<|python_tag|>")
    marked = body != text
    if not marked and not re.match(r'\s*\{\s*"(?:type|name)"\s*:', body):
        return text, []
    calls, place = [], 0
    while True:
        value, place = _json_at(body, place)
        calls.append(_call(value, "parameters"))
        rest = body[place:].lstrip()
        if not rest:
            return "", calls
        if not rest.startswith(";"):
            raise _Unreadable("there is text after a call")
        place = len(body) - len(rest) + 1


def _read_mistral(text: str) -> tuple[str, Calls]:
    """`[TOOL_CALLS][{…}, …]`, or `[TOOL_CALLS]name[ARGS]{…}` once for each call (from v11 on)."""
    before, *pieces = text.split("[TOOL_CALLS]")
    calls: Calls = []
    for piece in pieces:
        if "[ARGS]" in piece:
            name, _, arguments = piece.partition("[ARGS]")
            name = name.partition("[CALL_ID]")[0].strip()
            value, end = _json_at(arguments, 0)
            calls.append(_call({"name": name, "arguments": value}))
            rest = arguments[end:]
        else:
            listed, end = _json_at(piece, 0)
            if not isinstance(listed, list) or not listed:
                raise _Unreadable("[TOOL_CALLS] is not followed by a list of calls")
            calls.extend(_call(value) for value in listed)
            rest = piece[end:]
        if rest.strip():
            raise _Unreadable("there is text after a call")
    return before, calls


def _read_call_token(text: str) -> tuple[str, Calls]:
    """`<|call|>{"name": …, "arguments": {…}}`, any number, up to the end of the turn (goldsmith-nano)."""
    before, *pieces = text.split("<|call|>")
    calls = []
    for piece in pieces:
        value, end = _json_at(piece, 0)
        if piece[end:].strip():
            raise _Unreadable("there is text after a call")
        calls.append(_call(value))
    return before, calls


def _read_plain(text: str) -> tuple[str, Calls]:
    return text, []


# What in a template's source gives its way of writing calls away; the first that occurs wins.
_FORMATS: tuple[tuple[str, str, Reader], ...] = (
    ("nano", "<|call|>", _read_call_token),
    ("hermes", "<tool_call>", _read_hermes),
    ("mistral", "[TOOL_CALLS]", _read_mistral),
    ("llama3", '"parameters": ', _read_llama3),
    ("llama3", "<|python_tag|>", _read_llama3),
)


def call_format(chat_template: str) -> str:
    """The name of the way `chat_template` writes tool calls: nano, hermes, mistral, llama3 or none."""
    return next((name for name, sign, _ in _FORMATS if sign in chat_template), "none")


def call_start(form: str) -> str | None:
    """The text a tool call begins with, for holding it back while streaming; None where a turn has no such mark."""
    return {"nano": "<|call|>", "hermes": "<tool_call>", "mistral": "[TOOL_CALLS]", "llama3": "<|python_tag|>"}.get(
        form
    )


def read_turn(text: str, form: str, *, finished: bool) -> ParsedTurn:
    """One assistant turn, without its stop token, as a Message; `form` is what `call_format` said."""
    reader = next((reader for name, _, reader in _FORMATS if name == form), _read_plain)
    try:
        content, calls = reader(text)
    except _Unreadable as problem:
        return ParsedTurn(None, text, finished, str(problem))
    parts: list[Part] = [TextPart(text=content)] if content or not calls else []
    return ParsedTurn(Message(role=Role.ASSISTANT, parts=(*parts, *calls)), text, finished)
