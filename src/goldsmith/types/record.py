"""A record: one conversation, comparison, rating or text, with its origin.

Foreign JSON (tool arguments, tool schemas, extra fields) is kept as its verbatim text: its floats, keys and
64-bit integers are then legal, and what was delivered is what is hashed.
"""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from goldsmith.types.artifact import Digest, Frozen, SafeInt

RECORD_SCHEMA = "goldsmith.record/v1"
"""The version inside both digests. Old records are never re-hashed; a new version gets a reader of its own."""


class Role(StrEnum):
    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


class TextPart(Frozen):
    type: Literal["text"] = "text"
    text: str


class ToolCallPart(Frozen):
    """The assistant calls a tool. `arguments` is the verbatim JSON text."""

    type: Literal["tool_call"] = "tool_call"
    id: str | None = None
    name: str
    arguments: str


class ToolResultPart(Frozen):
    """What a tool answered. `call_id` is None where the format does not say which call it answers."""

    type: Literal["tool_result"] = "tool_result"
    call_id: str | None = None
    name: str | None = None
    text: str


class MediaPart(Frozen):
    """Media by digest; training refuses it by name until it is supported."""

    type: Literal["media"] = "media"
    media_type: str
    digest: Digest


Part = Annotated[TextPart | ToolCallPart | ToolResultPart | MediaPart, Field(discriminator="type")]


class Message(Frozen):
    """One turn. `trained=False` keeps an assistant turn out of the loss (OpenAI's `weight: 0`)."""

    role: Role
    parts: tuple[Part, ...]
    trained: bool = True

    @property
    def text(self) -> str:
        """All text and tool results of the turn, joined by newlines; tool calls are not in it."""
        parts = self.parts
        if len(parts) == 1 and type(parts[0]) is TextPart:  # nearly every turn
            return parts[0].text
        return "\n".join([p.text for p in parts if isinstance(p, TextPart | ToolResultPart)])

    @property
    def calls(self) -> tuple[ToolCallPart, ...]:
        parts = self.parts
        if len(parts) == 1 and type(parts[0]) is TextPart:
            return ()
        return tuple([p for p in parts if isinstance(p, ToolCallPart)])


class ToolSchema(Frozen):
    """A tool on offer. `definition` is the verbatim JSON text of the whole OpenAI function object."""

    name: str
    definition: str


class Conversation(Frozen):
    kind: Literal["conversation"] = "conversation"
    messages: tuple[Message, ...]
    tools: tuple[ToolSchema, ...] = ()


class Comparison(Frozen):
    """`chosen` is better than `rejected` as the continuation of `prompt`. `strength`: how much, if told."""

    kind: Literal["comparison"] = "comparison"
    prompt: tuple[Message, ...]
    chosen: tuple[Message, ...]
    rejected: tuple[Message, ...]
    tools: tuple[ToolSchema, ...] = ()
    strength: str | None = None


class Rating(Frozen):
    """One answer with a label: good (True) or bad (False), as KTO wants it, or a score as decimal text."""

    kind: Literal["rating"] = "rating"
    prompt: tuple[Message, ...]
    answer: tuple[Message, ...]
    tools: tuple[ToolSchema, ...] = ()
    label: bool | None = None
    score: str | None = None


class Text(Frozen):
    """Plain text, for continued pre-training."""

    kind: Literal["text"] = "text"
    text: str


Content = Annotated[Conversation | Comparison | Rating | Text, Field(discriminator="kind")]


class Maker(StrEnum):
    """Who wrote the content. `unknown` is a value: it never counts as human."""

    HUMAN = "human"
    MODEL = "model"
    MIXED = "mixed"
    UNKNOWN = "unknown"


class Origin(Frozen):
    """Where a record comes from, as its source states it.

    `generation_depth`: synthetic generations since the last human text (0 for human; None if not told).
    `qualification`: what the annotator may judge, and whether that was `attested` by the source or `measured` here.
    """

    source: str = "unknown"
    batch: str = "unknown"
    project: str | None = None
    licence: str | None = None
    maker: Maker = Maker.UNKNOWN
    generator: str | None = None
    generation_depth: SafeInt | None = None
    domain: str | None = None
    language: str | None = None
    annotator: str | None = None
    qualification: str | None = None
    qualification_basis: Literal["attested", "measured"] | None = None


class Record(Frozen):
    """One unit of feedback. `extra` is the verbatim JSON text of delivered fields that have no place of their own."""

    content: Content
    origin: Origin = Origin()
    extra: str | None = None
