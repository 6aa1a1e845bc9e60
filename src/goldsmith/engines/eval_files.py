"""Reads eval sets from JSON-lines files: strictly, with the line in every error."""

import gzip
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from goldsmith.engines.sandbox import parse_arguments
from goldsmith.types.errors import BadInput, Unavailable
from goldsmith.types.record import (
    Conversation,
    Message,
    Part,
    Record,
    Role,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    ToolSchema,
)

_ROLES = {"developer": "system", "human": "user", "gpt": "assistant", "ai": "assistant", "function": "tool"}


def rows_of(path: str | Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number, object) of a `.jsonl` file, gzipped or not; blank lines are skipped.

    Raises `Unavailable` where there is no such file, `BadInput` for what is not UTF-8, JSON or an object.
    """
    path = Path(path)
    if not path.is_file():
        raise Unavailable("there is no such eval file", where=str(path), next_step="check the eval's path setting")
    number = 0
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as lines:
            for number, raw in enumerate(lines, start=1):
                if raw.strip():
                    yield number, _row(raw, f"{path}, line {number}")
    except (EOFError, gzip.BadGzipFile) as error:
        raise BadInput(
            "the file is cut short or no gzip file", where=f"{path}, line {number + 1}", found=error
        ) from error


def _row(raw: bytes, where: str) -> dict[str, Any]:
    try:
        value = json.loads(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise BadInput("the line is not UTF-8", where=where, found=error.reason) from error
    except (ValueError, RecursionError) as error:
        raise BadInput("the line is not JSON", where=where, found=str(error)[:120]) from error
    if not isinstance(value, dict):
        raise BadInput("the line is no JSON object", where=where, found=type(value).__name__)
    return value


def text_field(row: Mapping[str, Any], names: tuple[str, ...], where: str) -> str:
    """The first of the named fields that is there; it must hold text (or a number, as its JSON text)."""
    for name in names:
        value = row.get(name)
        if isinstance(value, str) and value.strip():
            return value
        if isinstance(value, int | float) and not isinstance(value, bool):
            return json.dumps(value)
    raise BadInput("the row lacks a field", where=where, found=", ".join(map(str, row)), allowed=" or ".join(names))


def conversations_of(path: str | Path) -> Iterator[tuple[str, Conversation]]:
    """(id, conversation) for every conversation in a file of stored records, OpenAI chat rows (`messages`,
    `tools`), API-Bank dialogues (`turns`) or ToolAlpaca rows (`Instructions`, `Golden_Answers`). Other rows
    are refused with their line."""
    for number, row in rows_of(path):
        where = f"{path}, line {number}"
        try:
            for part, conversation in enumerate(_conversations(row)):
                yield f"{Path(path).stem}:{number}" + (f".{part}" if part else ""), conversation
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            if isinstance(error, BadInput):
                raise
            raise BadInput(
                "the row is no conversation", where=where, found=f"{type(error).__name__}: {str(error)[:160]}"
            ) from error


def _conversations(row: Mapping[str, Any]) -> list[Conversation]:
    if isinstance(row.get("content"), Mapping) and "kind" in row["content"]:
        content = Record.model_validate(dict(row)).content
        return [content] if isinstance(content, Conversation) else []
    if isinstance(row.get("messages"), list):
        messages = tuple(_openai_message(message) for message in row["messages"])
        return [Conversation(messages=messages, tools=tuple(_tool(tool) for tool in row.get("tools") or ()))]
    if isinstance(row.get("turns"), list):
        return [_api_bank(row["turns"])]
    if isinstance(row.get("Golden_Answers"), list):
        return _tool_alpaca(row)
    raise ValueError("no field `messages`, `turns`, `Golden_Answers` or `content`")


def _tool(tool: Any) -> ToolSchema:
    tool = json.loads(tool) if isinstance(tool, str) else tool
    function = tool.get("function", tool)
    return ToolSchema(name=str(function["name"]), definition=json.dumps(tool, ensure_ascii=False))


def _openai_message(message: Mapping[str, Any]) -> Message:
    role = str(message["role"])
    role = _ROLES.get(role, role)
    content = message.get("content")
    pieces = content if isinstance(content, list) else [{"type": "text", "text": content}] if content else []
    texts = [str(piece["text"]) for piece in pieces]
    if role == "tool":
        call_id = message.get("tool_call_id")
        return Message(
            role=Role.TOOL,
            parts=(ToolResultPart(call_id=call_id, name=message.get("name"), text="\n".join(texts)),),
        )
    parts: list[Part] = [TextPart(text=text) for text in texts]
    for call in message.get("tool_calls") or ():
        function = call["function"]
        arguments = function["arguments"]
        text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
        parts.append(ToolCallPart(id=call.get("id"), name=str(function["name"]), arguments=text))
    return Message(role=Role(role), parts=tuple(parts))


def _api_bank(turns: list[Mapping[str, Any]]) -> Conversation:
    """API-Bank (Li et al. 2023): turns of User, AI and API, the last with parameters and result. The tools on
    offer are the ones that the dialogue uses, with the parameters seen there."""
    messages: list[Message] = []
    seen: dict[str, dict[str, None]] = {}
    for number, turn in enumerate(turns):
        if turn["role"] in ("User", "AI"):
            role = Role.USER if turn["role"] == "User" else Role.ASSISTANT
            messages.append(Message(role=role, parts=(TextPart(text=str(turn["text"])),)))
            continue
        name, arguments = str(turn["api_name"]), dict(turn["param_dict"])
        seen.setdefault(name, {}).update(dict.fromkeys(arguments))
        call_id = f"call{number:05d}"
        text = json.dumps(arguments, ensure_ascii=False)
        result = turn.get("result")
        output = result.get("output") if isinstance(result, Mapping) else result
        call = ToolCallPart(id=call_id, name=name, arguments=text)
        # What the assistant says right before a call is part of the same turn.
        spoken = messages.pop().parts if messages and messages[-1].role is Role.ASSISTANT else ()
        messages.append(Message(role=Role.ASSISTANT, parts=(*spoken, call)))
        answer = ToolResultPart(call_id=call_id, name=name, text=json.dumps(output, ensure_ascii=False))
        messages.append(Message(role=Role.TOOL, parts=(answer,)))
    tools = tuple(_tool(_function(name, list(keys))) for name, keys in seen.items())
    return Conversation(messages=tuple(messages), tools=tools)


def _function(name: str, keys: list[str]) -> dict[str, Any]:
    parameters = {"type": "object", "properties": {key: {} for key in keys}}
    return {"type": "function", "function": {"name": name, "description": name, "parameters": parameters}}


def _tool_alpaca(row: Mapping[str, Any]) -> list[Conversation]:
    """ToolAlpaca (Tang et al. 2023): one conversation for each instruction, up to its first golden call.
    Instructions whose first call asks the user back, or has no concrete arguments, have no single right call
    and are left out."""
    described: Mapping[str, str] = row["Function_Description"]
    tools = tuple(_alpaca_tool(name, text) for name, text in described.items() if name != "components")
    found = []
    for instruction, actions in zip(row["Instructions"], row["Golden_Answers"], strict=True):
        first = actions[0] if actions else {}
        name, text = first.get("Action"), first.get("Action_Input")
        if name not in described or not isinstance(text, str) or parse_arguments(text) is None:
            continue
        call = ToolCallPart(id="call00001", name=name, arguments=text)
        messages = (
            Message(role=Role.USER, parts=(TextPart(text=str(instruction)),)),
            Message(role=Role.ASSISTANT, parts=(call,)),
        )
        found.append(Conversation(messages=messages, tools=tools))
    return found


def _alpaca_tool(name: str, text: str) -> ToolSchema:
    match = re.search(r"Parameters: (\{.*?\})\n(?:Output|$)", text, re.DOTALL)
    try:
        words = json.loads(match[1]) if match else {}
    except ValueError:
        words = {}
    properties = {key: {"description": str(word)} for key, word in words.items()}
    required = [key for key, word in words.items() if str(word).startswith("Required")]
    function = {
        "name": name,
        "description": text.partition("\n")[0],
        "parameters": {"type": "object", "properties": properties, "required": required},
    }
    return ToolSchema(name=name, definition=json.dumps({"type": "function", "function": function}, ensure_ascii=False))


def sample(items: list[Any], n: int | None, seed: int, key: Callable[[Any], str]) -> list[Any]:
    """`n` of the items, chosen by `seed` and each item's key alone, so that an added item changes as little
    as may be; all in their order if `n` is None or not smaller than their number."""
    if n is None or n >= len(items):
        return items
    order = sorted(range(len(items)), key=lambda i: hashlib.sha256(f"{seed}/{key(items[i])}".encode()).digest())
    return [items[i] for i in sorted(order[:n])]
