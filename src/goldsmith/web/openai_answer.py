"""Builds chat completion responses: whole ones, and the chunks of streamed ones."""

import json
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from goldsmith.engines.sampling.request import Completion, Finish
from goldsmith.types.record import Message

WITHHELD = "content_filter"


@dataclass(frozen=True)
class Turn:
    """One finished choice as OpenAI shows it."""

    content: str | None
    tool_calls: tuple[dict[str, Any], ...]
    finish_reason: str
    completion_tokens: int


def turn_of(completion: Completion, message: Message | None, *, may_call: bool) -> Turn:
    """A completion as a turn.

    Calls that nobody offered tools for, and calls that are cut off or cannot be read, stay text: a client must never
    run what it did not ask for.
    """
    reason = "length" if completion.finish is Finish.LENGTH else "stop"
    calls = message.calls if message is not None and may_call else ()
    if not calls or message is None:
        return Turn(completion.text, (), reason, completion.completion_tokens)
    shown = tuple(
        {
            "id": call.id or "call_" + secrets.token_hex(12),
            "type": "function",
            "function": {"name": call.name, "arguments": call.arguments},
        }
        for call in calls
    )
    reason = "tool_calls" if completion.finish is Finish.STOP else reason
    return Turn(message.text or None, shown, reason, completion.completion_tokens)


def withheld(turn: Turn) -> Turn:
    """The turn with nothing of what was written."""
    return Turn(None, (), WITHHELD, turn.completion_tokens)


@dataclass(frozen=True)
class Envelope:
    """What all parts of one response share."""

    model: str
    fingerprint: str | None
    prompt_tokens: int
    id: str = field(default_factory=lambda: "chatcmpl-" + secrets.token_hex(12))
    created: int = field(default_factory=lambda: int(time.time()))

    def completion(self, turns: Sequence[Turn]) -> dict[str, Any]:
        """The whole response."""
        choices = [
            {
                "index": index,
                "message": {
                    "role": "assistant",
                    "content": turn.content,
                    "refusal": None,
                    **({"tool_calls": list(turn.tool_calls)} if turn.tool_calls else {}),
                },
                "logprobs": None,
                "finish_reason": turn.finish_reason,
            }
            for index, turn in enumerate(turns)
        ]
        return {**self._head("chat.completion"), "choices": choices, "usage": self.usage(turns)}

    def chunk(
        self, index: int, delta: Mapping[str, Any], finish_reason: str | None = None, *, with_usage: bool = False
    ) -> bytes:
        """One server-sent event with one choice's delta."""
        choice = {"index": index, "delta": dict(delta), "logprobs": None, "finish_reason": finish_reason}
        body = {**self._head("chat.completion.chunk"), "choices": [choice]}
        return event({**body, "usage": None} if with_usage else body)

    def usage_chunk(self, turns: Sequence[Turn]) -> bytes:
        """The last event of a stream that was asked for usage: no choices."""
        return event({**self._head("chat.completion.chunk"), "choices": [], "usage": self.usage(turns)})

    def usage(self, turns: Sequence[Turn]) -> dict[str, int]:
        written = sum(turn.completion_tokens for turn in turns)
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": written,
            "total_tokens": self.prompt_tokens + written,
        }

    def _head(self, kind: str) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.fingerprint,
        }


def event(body: object) -> bytes:
    """A server-sent event (WHATWG HTML, section 9.2) whose data is JSON on one line."""
    return b"data: " + json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"
