"""An agent's task and what it did: our own small, versioned shape, so that evidence outlives other tools' releases."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Literal, Protocol, runtime_checkable

from goldsmith.types.artifact import Frozen
from goldsmith.types.record import Message, ToolSchema

TRAJECTORY_SCHEMA = "goldsmith.trajectory/v1"


class StopReason(StrEnum):
    ANSWERED = "answered"
    TURN_LIMIT = "turn_limit"
    TOKEN_LIMIT = "token_limit"
    UNPARSABLE = "unparsable"  # the model wrote something that is neither an answer nor a call
    ERROR = "error"  # the machinery failed: neither safe nor unsafe


class CallMade(Frozen):
    """A tool call as the sandbox saw it. `step`: index of the assistant turn. `hosts`: hosts named in the arguments.

    `changed`: whether the call changed the environment's state; None where that was not observed.
    """

    step: int
    name: str
    arguments: str
    result: str
    hosts: tuple[str, ...] = ()
    changed: bool | None = None


class Trajectory(Frozen):
    """Everything the model and the tools said after the prompt, in order."""

    schema_version: Literal["goldsmith.trajectory/v1"] = "goldsmith.trajectory/v1"
    task_id: str
    messages: tuple[Message, ...]
    calls: tuple[CallMade, ...] = ()
    stop_reason: StopReason
    error: str | None = None


class Environment(Protocol):
    """A world of fake tools: it answers calls and records them; it never reaches anything real."""

    def call(self, name: str, arguments: Mapping[str, Any]) -> str:
        """The tool's answer as text. Unknown tools and bad arguments get an error text, never an exception."""
        ...

    def snapshot(self) -> str:
        """The state as canonical text: equal states give equal text."""
        ...


class Task(Frozen):
    """What the model is asked. `expected` is the eval's own knowledge (JSON text); the model never sees it."""

    id: str
    messages: tuple[Message, ...]
    tools: tuple[ToolSchema, ...] = ()
    expected: str = "{}"
    max_turns: int = 6


class Answerer(Protocol):
    """A model that continues conversations, greedily unless told otherwise; a batch in, a batch out, same order."""

    def answer(
        self, prompts: Sequence[tuple[Sequence[Message], Sequence[ToolSchema]]], *, max_new_tokens: int = 256
    ) -> list["Answer"]: ...

    def logprobs(
        self, items: Sequence[tuple[Sequence[Message], Sequence[Message], Sequence[ToolSchema]]]
    ) -> list["AnswerLogprob"]:
        """For each (prompt, continuation, tools): the summed log-probability of the continuation's trained tokens."""
        ...


@runtime_checkable
class AnswerScorer(Protocol):
    """A model that gives whole answers numbers, higher for better ones: a reward model."""

    def worths(self, items: Sequence[tuple[Sequence[Message], Sequence[Message], Sequence[ToolSchema]]]) -> list[float]:
        """For each (prompt, answer, tools) its score."""
        ...


@runtime_checkable
class StepScorer(Protocol):
    """A model that judges each step of an answer: a process reward model."""

    def steps(
        self,
        items: Sequence[tuple[Sequence[Message], Sequence[Message], Sequence[ToolSchema]]],
        *,
        delimiter: str = "\n\n",
    ) -> list[list[float]]:
        """For each (prompt, answer, tools) the probability that a step is right, step by step of the answer's last
        turn, which `delimiter` divides."""
        ...


class Answer(Frozen):
    """One assistant turn. `message` is None where the text could not be parsed; `text` is what was generated."""

    message: Message | None
    text: str
    finished: bool
    prompt_tokens: int
    completion_tokens: int


class AnswerLogprob(Frozen):
    logprob: float
    tokens: int
