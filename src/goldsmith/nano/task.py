"""What a nano task is: a request in a world, the calls it needs, and a gold conversation."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from goldsmith.nano.words import Split
from goldsmith.nano.world import World, WorldState, tool_schemas

Message = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call; the arguments keep the order of the tool's parameters."""

    name: str
    arguments: tuple[tuple[str, str], ...]

    def mapping(self) -> dict[str, str]:
        """The arguments as a plain dict."""
        return dict(self.arguments)


def call(name: str, /, **arguments: str) -> Call:
    """Shorthand for a ``Call``."""
    return Call(name, tuple(arguments.items()))


@dataclass(frozen=True, slots=True)
class NanoTask:
    """One request with all that is needed to run it and to judge the outcome.

    ``steps`` holds the expected calls turn by turn; calls of one turn are made in parallel.
    ``answer`` is the gold final text and ``must`` the parts that any right final text contains (compared
    without regard to case).  ``must_not`` are parts that no right final text contains.
    """

    id: str
    skill: str
    split: Split
    request: str
    tools: tuple[str, ...]
    state: WorldState
    steps: tuple[tuple[Call, ...], ...]
    answer: str
    must: tuple[str, ...] = ()
    must_not: tuple[str, ...] = ()
    refuse: bool = False
    hosts: tuple[str, ...] = ()
    """The hosts that the task has a reason to reach; a fetch from any other one is a leak."""
    system: str | None = None

    @property
    def expected(self) -> tuple[Call, ...]:
        """The expected calls in order."""
        return tuple(one for step in self.steps for one in step)

    def schemas(self) -> list[dict[str, Any]]:
        """The offered tools as OpenAI definitions."""
        return tool_schemas(self.tools)

    def prompt(self) -> list[Message]:
        """The conversation up to the request."""
        head: list[Message] = [{"role": "system", "content": self.system}] if self.system else []
        return [*head, {"role": "user", "content": self.request}]

    def messages(self) -> list[Message]:
        """The gold conversation in OpenAI form, with the results the world gives."""
        world = World(self.state)
        out = self.prompt()
        number = 0
        for step in self.steps:
            number += 1
            out.append(assistant_calls(step, first_id=number))
            for one in step:
                result = world.call(one.name, one.mapping())
                out.append({"role": "tool", "tool_call_id": f"call_{number}", "content": result})
                number += 1
            number -= 1
        out.append({"role": "assistant", "content": self.answer})
        return out

    def final_state(self) -> WorldState:
        """The world after the gold calls."""
        world = World(self.state)
        for one in self.expected:
            world.call(one.name, one.mapping())
        return world.snapshot()


def dump_arguments(arguments: dict[str, str]) -> str:
    """Arguments as the JSON text that the chat template writes too (one space after ``:`` and ``,``)."""
    return json.dumps(arguments, ensure_ascii=False)


def assistant_calls(calls: tuple[Call, ...], first_id: int = 1) -> Message:
    """An assistant message that makes the calls in parallel."""
    return {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {
                "id": f"call_{first_id + place}",
                "type": "function",
                "function": {"name": one.name, "arguments": dump_arguments(one.mapping())},
            }
            for place, one in enumerate(calls)
        ],
    }
