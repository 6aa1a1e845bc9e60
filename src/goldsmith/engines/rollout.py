"""The agent loop, batched: a model works on many tasks at once, each in its own recording sandbox."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from goldsmith.engines.sandbox import RecordingSandbox
from goldsmith.types.record import Message, Part, Role, TextPart, ToolCallPart, ToolResultPart, ToolSchema
from goldsmith.types.score import Unscored
from goldsmith.types.trajectory import (
    Answer,
    Answerer,
    AnswerLogprob,
    AnswerScorer,
    StepScorer,
    StopReason,
    Task,
    Trajectory,
)

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
Progress = Callable[[int, int], None]
"""Called with tasks done and tasks in all."""


@dataclass
class Run:
    """One task under way: `advance` takes it on by a turn until it has a `stop`."""

    task: Task
    sandbox: RecordingSandbox
    said: list[Message] = field(default_factory=list)
    turns: int = 0
    tokens: int = 0
    stop: StopReason | None = None
    error: str | None = None

    @property
    def messages(self) -> tuple[Message, ...]:
        return (*self.task.messages, *self.said)

    def finish(self, stop: StopReason, error: str | None = None) -> None:
        self.stop, self.error = stop, error

    def trajectory(self) -> Trajectory:
        return Trajectory(
            task_id=self.task.id,
            messages=tuple(self.said),
            calls=self.sandbox.calls,
            stop_reason=self.stop or StopReason.ERROR,
            error=self.error,
        )


def roll_out(
    tasks: Sequence[Task],
    sandboxes: Sequence[RecordingSandbox],
    answerer: Answerer,
    *,
    max_new_tokens: int = 256,
    token_limit: int | None = None,
    batch_size: int = 64,
    progress: Progress | None = None,
) -> list[Trajectory]:
    """Let the model work on every task until it answers without calling a tool, or a limit is reached.

    Each turn, all unfinished tasks are answered in batches of `batch_size`; the calls of a turn are executed
    in order in the task's own sandbox and answered with one tool message each. `max_new_tokens` bounds one
    turn, `token_limit` all that the model writes for one task, `task.max_turns` its turns (the calls of the
    last turn are still executed). What the model wrote but could not be parsed, or was cut off, is in the
    trajectory as text; its calls are not run.

    A failure of one environment, or of the model on one prompt, ends that task alone with `StopReason.ERROR`
    and the exception's name and message. Trajectories come in the order of the tasks.
    """
    if len(tasks) != len(sandboxes):
        raise ValueError(f"{len(tasks)} tasks need as many sandboxes, not {len(sandboxes)}")
    if batch_size < 1 or max_new_tokens < 1:
        raise ValueError("batch_size and max_new_tokens must be at least 1")
    runs = [Run(task, sandbox) for task, sandbox in zip(tasks, sandboxes, strict=True)]
    open_runs = list(runs)
    while open_runs:
        for start in range(0, len(open_runs), batch_size):
            batch = open_runs[start : start + batch_size]
            for run, answer in zip(batch, _answers(answerer, batch, max_new_tokens), strict=True):
                advance(run, answer, token_limit)
            if progress is not None:
                progress(sum(run.stop is not None for run in runs), len(runs))
        open_runs = [run for run in open_runs if run.stop is None]
    return [run.trajectory() for run in runs]


def _answers(answerer: Answerer, batch: Sequence[Run], max_new_tokens: int) -> list[Answer | Exception]:
    def answer(runs: Sequence[Run]) -> list[Answer]:
        return answerer.answer([(run.messages, run.task.tools) for run in runs], max_new_tokens=max_new_tokens)

    return each_alone_if_needed(answer, batch)


def each_alone_if_needed(
    ask: Callable[[Sequence[_Item]], Sequence[_Result]], items: Sequence[_Item]
) -> list[_Result | Exception]:
    """`ask` for all items at once; where that fails, for each half, so that one bad item spoils only itself.

    Results come in the order of the items; an item that fails alone yields its exception.
    """
    if not items:
        return []
    try:
        results = ask(items)
        if len(results) != len(items):
            raise RuntimeError(f"asked for {len(items)} results, got {len(results)}")
        return list(results)
    except Exception as error:
        if len(items) == 1:
            return [error]
    middle = len(items) // 2
    return each_alone_if_needed(ask, items[:middle]) + each_alone_if_needed(ask, items[middle:])


def advance(run: Run, answer: Answer | Exception, token_limit: int | None) -> None:
    """Take one turn: record it, run its calls, and stop where it is time to (see `roll_out`)."""
    if isinstance(answer, Exception):
        run.finish(StopReason.ERROR, _name(answer))
        return
    step, run.turns = run.turns, run.turns + 1
    run.tokens += answer.completion_tokens
    if answer.message is None or not answer.finished:
        run.said.append(Message(role=Role.ASSISTANT, parts=(TextPart(text=answer.text),)))
        run.finish(StopReason.UNPARSABLE if answer.finished else StopReason.TOKEN_LIMIT)
        return
    message = _with_call_ids(answer.message, len(run.sandbox.calls))
    run.said.append(message)
    if not message.calls:
        run.finish(StopReason.ANSWERED)
        return
    for call in message.calls:
        try:
            made = run.sandbox.execute(call, step)
        except Exception as error:
            run.finish(StopReason.ERROR, _name(error))
            return
        result = ToolResultPart(call_id=call.id, name=call.name, text=made.result)
        run.said.append(Message(role=Role.TOOL, parts=(result,)))
    if run.turns >= run.task.max_turns:
        run.finish(StopReason.TURN_LIMIT)
    elif token_limit is not None and run.tokens >= token_limit:
        run.finish(StopReason.TOKEN_LIMIT)


def _with_call_ids(message: Message, before: int) -> Message:
    """The message with an id on every call. Nine letters and digits: some chat templates accept nothing
    else."""
    parts: list[Part] = []
    for part in message.parts:
        if isinstance(part, ToolCallPart):
            before += 1
            part = part if part.id else part.model_copy(update={"id": f"call{before:05d}"})
        parts.append(part)
    return message.model_copy(update={"parts": tuple(parts)})


def _name(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:500]


def final_answer(trajectory: Trajectory) -> str:
    """The text of the model's last turn; empty where it said nothing or stopped at a tool call."""
    if trajectory.messages and trajectory.messages[-1].role is Role.ASSISTANT:
        return trajectory.messages[-1].text
    return ""


def unscored_if_failed(trajectory: Trajectory) -> Unscored | None:
    """Where the machinery failed, the model showed nothing: neither good nor bad."""
    if trajectory.stop_reason is StopReason.ERROR:
        return Unscored(reason=f"the machinery failed: {trajectory.error or 'unknown error'}")
    return None


def worths_or_unscored(
    model: AnswerScorer,
    items: Sequence[tuple[Sequence[Message], Sequence[Message], Sequence[ToolSchema]]],
) -> list[float | Unscored]:
    """`model.worths`; an item that the model cannot score, or whose score is no finite number, becomes `Unscored`."""
    out: list[float | Unscored] = []
    for result in each_alone_if_needed(model.worths, items):
        if isinstance(result, Exception):
            out.append(Unscored(reason=_name(result)))
        else:
            out.append(result if math.isfinite(result) else Unscored(reason=f"the score is {result}"))
    return out


def steps_or_unscored(
    model: StepScorer,
    items: Sequence[tuple[Sequence[Message], Sequence[Message], Sequence[ToolSchema]]],
    delimiter: str,
) -> list[list[float] | Unscored]:
    """`model.steps`; an item whose steps the model cannot score, or not all by a finite number, becomes `Unscored`."""
    out: list[list[float] | Unscored] = []
    for result in each_alone_if_needed(lambda some: model.steps(some, delimiter=delimiter), items):
        if isinstance(result, Exception):
            out.append(Unscored(reason=_name(result)))
        elif not result or not all(map(math.isfinite, result)):
            out.append(Unscored(reason="a step has no finite score" if result else "the answer has no step"))
        else:
            out.append(result)
    return out


def logprobs_or_unscored(
    model: Answerer,
    items: Sequence[tuple[Sequence[Message], Sequence[Message], Sequence[ToolSchema]]],
    *,
    batch_size: int = 64,
) -> list[AnswerLogprob | Unscored]:
    """`model.logprobs` in batches; an item that the model cannot score becomes `Unscored` with the reason."""
    out: list[AnswerLogprob | Unscored] = []
    for start in range(0, len(items), batch_size):
        for result in each_alone_if_needed(model.logprobs, items[start : start + batch_size]):
            if isinstance(result, Exception):
                out.append(Unscored(reason=_name(result)))
            elif result.tokens < 1:
                out.append(Unscored(reason="no token of this record is trained"))
            else:
                out.append(result)
    return out
