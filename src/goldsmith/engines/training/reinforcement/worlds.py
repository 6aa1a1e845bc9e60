"""What answers the calls of an episode: the results that its row recorded, or the world of an eval."""

import json
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from goldsmith.engines.sandbox import ReplayEnvironment, parse_arguments
from goldsmith.engines.training.reinforcement.rounds import Prompt
from goldsmith.engines.training.reinforcement.settings import OnlineSettings
from goldsmith.types.errors import BadInput
from goldsmith.types.record import Message, ToolCallPart, ToolResultPart
from goldsmith.types.trajectory import Environment, Task


class Timed:
    """An environment whose calls may take so many seconds. One that took longer is left to itself, and its state is not
    looked at again."""

    def __init__(self, inner: Environment, seconds: float) -> None:
        self.inner = inner
        self._seconds = seconds
        self._hung = False

    def call(self, name: str, arguments: Mapping[str, Any]) -> str:
        """The tool's answer.

        Raises:
            TimeoutError: it took too long. Whatever the environment raises passes through.
        """
        answers: list[str] = []
        errors: list[Exception] = []

        def work() -> None:
            try:
                answers.append(str(self.inner.call(name, arguments)))
            except Exception as error:
                errors.append(error)

        thread = threading.Thread(target=work, daemon=True, name=f"tool {name[:40]}")
        thread.start()
        thread.join(self._seconds)
        if thread.is_alive():
            self._hung = True
            raise TimeoutError(f"{name[:80]} gave no answer within {self._seconds:g} seconds")
        if errors:
            raise errors[0]
        return answers[0]

    def snapshot(self) -> str:
        """The state as canonical text."""
        if self._hung:
            raise TimeoutError("a call of this environment has not come back")
        return self.inner.snapshot()


def task_of(name: str, prompt: Prompt, turns: int) -> Task:
    """A row's prompt as an agent's task; what is right is the row's own field `expected`."""
    expected = prompt.item.get("expected", {})
    text = expected if isinstance(expected, str) else json.dumps(expected, ensure_ascii=False)
    return Task(id=name, messages=prompt.messages, tools=prompt.tools, expected=text, max_turns=turns)


def world_of(settings: OnlineSettings, task: Task, prompt: Prompt) -> Environment:
    """A fresh world for one episode."""
    inner = _inner(settings, task, prompt)
    return inner if settings.tools is None else Timed(inner, float(settings.tools.seconds_at_most))


def _inner(settings: OnlineSettings, task: Task, prompt: Prompt) -> Environment:
    if settings.world is None:
        return ReplayEnvironment(recorded_calls(prompt.reference))
    world: Environment = settings.world.environment(task)
    return world


def require_worlds(settings: OnlineSettings, prompts: Mapping[str, Prompt]) -> None:
    """There are tools to work with, and the eval can make a world of every row: none is found to lack one in the middle
    of a run. A row that offers no tool or records no call is fine among others: there it is right to call none.

    Raises:
        BadInput: naming the rows.
    """
    untold: dict[str, str] = {}
    if not any(prompt.tools for prompt in prompts.values()):
        untold = dict.fromkeys(prompts, "no tool is on offer")
    elif settings.world is None and not any(recorded_calls(prompt.reference) for prompt in prompts.values()):
        untold = dict.fromkeys(prompts, "no call is recorded with its result")
    elif settings.world is not None:
        untold = {name: why for name, prompt in prompts.items() if (why := _no_world(settings, name, prompt))}
    if untold:
        raise BadInput(
            f"{len(untold)} of {len(prompts)} rows have no tools to work with",
            where=", ".join(list(untold)[:5]) + (", …" if len(untold) > 5 else ""),
            found=next(iter(untold.values())),
            allowed="rows with tools, and with calls and results (recorded) or the eval's own `expected` (eval)",
            next_step="leave turns and tools out for rows without tools",
        )


def _no_world(settings: OnlineSettings, name: str, prompt: Prompt) -> str:
    try:
        _inner(settings, task_of(name, prompt, 1), prompt).snapshot()
    except Exception as error:  # an eval of anybody's, on rows of anybody's
        return f"{type(error).__name__}: {str(error)[:100]}"
    return ""


def recorded_calls(messages: Sequence[Message]) -> list[tuple[str, dict[str, Any], str]]:
    """(name, arguments, result) of each call in a conversation that was answered, in order."""
    waiting: deque[ToolCallPart] = deque()
    found: list[tuple[str, dict[str, Any], str]] = []
    for message in messages:
        waiting.extend(message.calls)
        for part in message.parts:
            if not isinstance(part, ToolResultPart) or not waiting:
                continue
            call = next((one for one in waiting if part.call_id is not None and one.id == part.call_id), waiting[0])
            waiting.remove(call)
            arguments = parse_arguments(call.arguments)
            if arguments is not None:
                found.append((call.name, arguments, part.text))
    return found
