"""Messages as the dictionaries chat templates read, with hostile text kept from turning into control tokens."""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from goldsmith.types.errors import BadInput
from goldsmith.types.record import (
    MediaPart,
    Message,
    Role,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    ToolSchema,
)

# Unicode noncharacters: legal in memory, never in exchanged text, so one that is absent can always be found.
_NONCHARACTERS = tuple(chr(code) for code in range(0xFDD0, 0xFDF0))

Chat = list[dict[str, Any]]


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """`object_pairs_hook` for json that refuses an object with two equal keys."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("duplicate key in a JSON object")
    return found


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def parse_object(text: str, what: str) -> dict[str, Any]:
    """Verbatim JSON text of an object as a dict.

    Raises:
        BadInput: not JSON, not an object, or a key twice.
    """
    try:
        value = json.loads(text, object_pairs_hook=unique_keys, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{what} are not one JSON object", found=f"{text[:60]!r} ({error})") from error
    if not isinstance(value, dict):
        raise BadInput(f"{what} are not one JSON object", found=repr(text[:60]))
    return value


def template_messages(messages: Sequence[Message], *, nine_character_ids: bool = False) -> Chat:
    """The dictionaries a Hugging Face chat template reads.

    Tool arguments become dicts (templates dump them themselves); every tool result is a message of its own.
    `nine_character_ids` renames call ids as Mistral's templates demand.
    """
    names: dict[str, str] = {}

    def call_id(given: str) -> str:
        return names.setdefault(given, f"call{len(names):05d}") if nine_character_ids else given

    chat: Chat = []
    open_calls: list[str] = []
    for place, message in enumerate(messages):
        for part in message.parts:
            if isinstance(part, MediaPart):
                raise BadInput(
                    f"message {place + 1} holds media ({part.media_type}), which cannot be trained or answered yet",
                    found=part.digest,
                    allowed="text, tool calls, tool results",
                    next_step="leave records with media out of the release",
                )
        if message.role is Role.TOOL:
            chat.extend(_tool_results(message, open_calls, call_id, nine_character_ids))
            continue
        entry: dict[str, Any] = {"role": message.role.value, "content": _text(message)}
        if message.calls:
            if message.role is not Role.ASSISTANT:
                raise BadInput(f"message {place + 1} is by the {message.role} and calls a tool", allowed="assistant")
            entry["tool_calls"] = [
                _tool_call(part, call_id, f"{place}:{number}", nine_character_ids)
                for number, part in enumerate(message.calls)
            ]
            open_calls = [str(c["id"]) for c in entry["tool_calls"] if "id" in c]
        chat.append(entry)
    return chat


def _text(message: Message) -> str:
    return "\n".join(part.text for part in message.parts if isinstance(part, TextPart | ToolResultPart))


def _tool_call(part: ToolCallPart, call_id: Callable[[str], str], place: str, ids_needed: bool) -> dict[str, Any]:
    arguments = parse_object(part.arguments, f"the arguments of the call to {part.name!r}")
    call: dict[str, Any] = {"type": "function", "function": {"name": part.name, "arguments": arguments}}
    if part.id is not None or ids_needed:
        call["id"] = call_id(part.id if part.id is not None else place)
    return call


def _tool_results(
    message: Message, open_calls: list[str], call_id: Callable[[str], str], ids_needed: bool
) -> Iterable[dict[str, Any]]:
    results = [part for part in message.parts if isinstance(part, ToolResultPart)]
    if not results:
        yield {"role": "tool", "content": message.text}
        return
    for part in results:
        entry: dict[str, Any] = {"role": "tool", "content": part.text}
        if part.name is not None:
            entry["name"] = part.name
        if part.call_id is not None:
            entry["tool_call_id"] = call_id(part.call_id)
        elif ids_needed and open_calls:
            entry["tool_call_id"] = open_calls.pop(0)
        yield entry


def template_tools(tools: Sequence[ToolSchema]) -> list[dict[str, Any]] | None:
    """Tool schemas as templates read them: the whole OpenAI function object; None where there is no tool."""
    if not tools:
        return None
    schemas = []
    for tool in tools:
        schema = parse_object(tool.definition, f"the schema of tool {tool.name!r}")
        schemas.append(schema if "function" in schema else {"type": "function", "function": schema})
    return schemas


def separator_for(texts: Iterable[str]) -> str:
    """A character that no text holds.

    Raises:
        BadInput: all 32 noncharacters occur (no honest text holds any).
    """
    joined = "".join(texts)
    for character in _NONCHARACTERS:
        if character not in joined:
            return character
    raise BadInput(
        "the text holds every Unicode noncharacter", found="U+FDD0..U+FDEF", next_step="leave the record out"
    )


def strings_in(value: Any) -> Iterable[str]:
    """Every string inside nested lists and dicts, keys too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield str(key)
            yield from strings_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings_in(item)


def disarm(value: Any, control: re.Pattern[str], separator: str) -> Any:
    """The same nested value with `separator` between the characters of every control token's text.

    The separator is where the rendered text is later cut before tokenising, so no cut piece spells the token.
    """
    if isinstance(value, str):
        return control.sub(lambda match: separator.join(match.group()), value)
    if isinstance(value, dict):
        return {disarm(key, control, separator): disarm(item, control, separator) for key, item in value.items()}
    if isinstance(value, list):
        return [disarm(item, control, separator) for item in value]
    return value


def first_places(messages: Sequence[Message]) -> list[int]:
    """For each message the index of its first dictionary in `template_messages`: a tool message may become several."""
    places, at = [], 0
    for message in messages:
        places.append(at)
        results = sum(isinstance(part, ToolResultPart) for part in message.parts)
        at += max(1, results) if message.role is Role.TOOL else 1
    return places
