"""Reads what the model wrote back into an OpenAI assistant message."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

END: Final = "<|end|>"
CALL: Final = "<|call|>"
_MARKS: Final = ("<|begin|>", "<|tools|>", "<|system|>", "<|user|>", "<|assistant|>", "<|tool|>", "<|pad|>")


@dataclass(frozen=True, slots=True)
class Parsed:
    """A well-formed turn."""

    content: str
    calls: tuple[tuple[str, dict[str, Any]], ...] = ()
    """Name and arguments of each call, in order."""

    def message(self, first_id: int = 1) -> dict[str, Any]:
        """The turn as an OpenAI assistant message; calls are numbered ``call_<first_id>`` and on."""
        if not self.calls:
            return {"role": "assistant", "content": self.content}
        calls = [
            {
                "id": f"call_{first_id + place}",
                "type": "function",
                "function": {"name": name, "arguments": json.dumps(arguments, ensure_ascii=False)},
            }
            for place, (name, arguments) in enumerate(self.calls)
        ]
        return {"role": "assistant", "content": self.content or None, "tool_calls": calls}


@dataclass(frozen=True, slots=True)
class CouldNotParse:
    """A turn that is cut off or malformed."""

    text: str
    reason: str


def parse(text: str) -> Parsed | CouldNotParse:
    """Parse one generated turn, special tokens kept; it has to end with the end-of-turn token."""
    body, end, _ = text.partition(END)
    if not end:
        return CouldNotParse(text, "no end of turn")
    content, *rest = body.split(CALL)
    if any(mark in body for mark in _MARKS):
        return CouldNotParse(text, "a turn mark inside a turn")
    calls = []
    for piece in rest:
        call = _call(piece)
        if isinstance(call, str):
            return CouldNotParse(text, call)
        calls.append(call)
    return Parsed(content, tuple(calls))


def _call(piece: str) -> tuple[str, dict[str, Any]] | str:
    """Name and arguments of a call, or what is wrong with it."""
    try:
        value = json.loads(piece)
    except (ValueError, RecursionError):
        return "a call is not JSON"
    if not isinstance(value, dict) or set(value) != {"name", "arguments"}:
        return "a call needs exactly a name and arguments"
    name, arguments = value["name"], value["arguments"]
    if not isinstance(name, str) or not isinstance(arguments, dict):
        return "a call needs a text name and an object of arguments"
    return name, arguments
