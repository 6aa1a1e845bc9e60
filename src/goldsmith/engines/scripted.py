"""Stand-ins for a model: for trying evals and pipelines without weights."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from goldsmith.engines.rollout import Run, advance
from goldsmith.engines.sandbox import RecordingSandbox
from goldsmith.types.record import Message, Part, Role, TextPart, ToolCallPart, ToolSchema
from goldsmith.types.trajectory import Answer, AnswerLogprob, Environment, StopReason, Task, Trajectory

Respond = Callable[[Sequence[Message], Sequence[ToolSchema]], Message | str]


class ScriptedAnswerer:
    """An `Answerer` whose turns come from `respond`: a message, or the text of a plain answer.

    Tokens are words. `likelihoods` gives the log-probability of each letter of a continuation by its text; other texts
    get -1 for each letter, so that every letter counts as one token.
    """

    def __init__(self, respond: Respond, likelihoods: Mapping[str, float] | None = None) -> None:
        self._respond = respond
        self._likelihoods = dict(likelihoods or {})

    def answer(
        self, prompts: Sequence[tuple[Sequence[Message], Sequence[ToolSchema]]], *, max_new_tokens: int = 256
    ) -> list[Answer]:
        """One turn for each prompt. A text of more words than `max_new_tokens` is cut off and unfinished."""
        return [self._turn(messages, tools, max_new_tokens) for messages, tools in prompts]

    def _turn(self, messages: Sequence[Message], tools: Sequence[ToolSchema], most: int) -> Answer:
        said = self._respond(messages, tools)
        message = said if isinstance(said, Message) else None
        if isinstance(said, str):
            message = Message(role=Role.ASSISTANT, parts=(TextPart(text=said),) if said else ())
        text = message.text if message is not None else ""
        words = text.split()
        finished = len(words) <= most
        return Answer(
            message=message if finished else None,
            text=text if finished else " ".join(words[:most]),
            finished=finished,
            prompt_tokens=sum(len(m.text.split()) for m in messages),
            completion_tokens=min(len(words), most),
        )

    def logprobs(
        self, items: Sequence[tuple[Sequence[Message], Sequence[Message], Sequence[ToolSchema]]]
    ) -> list[AnswerLogprob]:
        """Summed over the continuation's trained assistant turns, one token a letter."""
        out = []
        for _, continuation, _ in items:
            texts = [m.text for m in continuation if m.role is Role.ASSISTANT and m.trained]
            total = sum(len(text) * self._likelihoods.get(text, -1.0) for text in texts)
            out.append(AnswerLogprob(logprob=total, tokens=sum(map(len, texts))))
        return out


Called = tuple[str, Mapping[str, Any]]
"""A tool's name and its arguments."""


def played(
    task: Task, world: Environment, turns: Sequence[Sequence[Called]], answer: str
) -> tuple[Task, Trajectory, RecordingSandbox]:
    """The task as done by a model that makes the calls of each turn, and then answers."""
    run = Run(task, RecordingSandbox(world, task.tools))
    for calls in turns:
        parts = [ToolCallPart(name=name, arguments=json.dumps(dict(arguments))) for name, arguments in calls]
        advance(run, _turn(*parts), None)
    advance(run, _turn(TextPart(text=answer)), None)
    return task, run.trajectory(), run.sandbox


def replied(task: Task, answer: str) -> tuple[Task, Trajectory]:
    """The task as done by a model that answers at once."""
    said = Message(role=Role.ASSISTANT, parts=(TextPart(text=answer),))
    return task, Trajectory(task_id=task.id, messages=(said,), stop_reason=StopReason.ANSWERED)


def _turn(*parts: Part) -> Answer:
    message = Message(role=Role.ASSISTANT, parts=parts)
    return Answer(message=message, text=message.text, finished=True, prompt_tokens=0, completion_tokens=0)
