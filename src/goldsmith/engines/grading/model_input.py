"""The messages that a model grader is sent, with templates in them; and the settings both kinds of grader share."""

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from goldsmith.engines.grading.endpoint import Chat
from goldsmith.engines.grading.templates import Template, Unfilled, filling, reads_item
from goldsmith.types.artifact import Frozen, Real
from goldsmith.types.reward import Sampled

_LONGEST = 200_000


class GraderMessage(Frozen):
    """One message; `content` may hold templates. Images and audio are not supported."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Template
    type: Literal["message"] = "message"


class SamplingParams(Frozen):
    """How the grader model samples, under the names OpenAI's graders use."""

    temperature: Real | None = Field(default=None, ge=0)
    top_p: Real | None = Field(default=None, gt=0, le=1)
    seed: int | None = None
    max_completions_tokens: int | None = Field(default=None, ge=1)
    reasoning_effort: str | None = None

    def as_request(self) -> dict[str, Any]:
        """As Chat Completions wants them."""
        names = {"max_completions_tokens": "max_completion_tokens"}
        told = {name: getattr(self, name) for name in type(self).model_fields}
        return {names.get(name, name): value for name, value in told.items() if value is not None}


def chats_for(messages: Sequence[GraderMessage], samples: Sequence[Sampled]) -> list[Chat | Unfilled]:
    """The filled messages for each sample, or why they cannot be filled."""
    found: list[Chat | Unfilled] = []
    for sampled in samples:
        fill = filling(sampled).fill
        try:
            chat = [{"role": one.role, "content": fill(one.content)} for one in messages]
            if sum(len(one["content"]) for one in chat) > _LONGEST:
                raise Unfilled("the messages are too long to send")
            found.append(chat)
        except Unfilled as error:
            found.append(error)
    return found


def messages_read_item(messages: Sequence[GraderMessage]) -> bool:
    """Whether any message reads a field of the row."""
    return reads_item(*(one.content for one in messages))
