"""Nano tasks as exam tasks: the world as an environment of fake tools, and what is right as plain JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from goldsmith.nano.episode import MAX_TURNS, normal
from goldsmith.nano.task import NanoTask
from goldsmith.nano.tasks import generate
from goldsmith.nano.world import (
    Event,
    File,
    Mail,
    Order,
    Page,
    Person,
    SentMail,
    World,
    WorldState,
    tool_schemas,
)
from goldsmith.types.record import Message, Role, TextPart, ToolSchema
from goldsmith.types.trajectory import Task

_KINDS: Final[Mapping[str, Any]] = {
    "people": Person, "mails": Mail, "sent": SentMail, "events": Event, "files": File,
    "orders": Order, "pages": Page,
}  # fmt: skip


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


class NanoEnvironment:
    """One nano world behind the `Environment` protocol; fresh for every task and model."""

    def __init__(self, state: WorldState) -> None:
        self._world = World(state)

    def call(self, name: str, arguments: Mapping[str, Any]) -> str:
        """The world's answer; unknown tools and bad arguments get a text that begins with `error:`."""
        return self._world.call(name, dict(arguments))

    def snapshot(self) -> str:
        """The whole state as JSON; things of one kind are sorted, so the order of parallel calls leaves no
        trace."""
        parts = asdict(self._world.snapshot())
        return _text({kind: sorted(things, key=_text) for kind, things in parts.items()})


def lasting(snapshot: str) -> str:
    """What of a state has lasted: without the addresses fetched, and texts without case and end punctuation.

    Two runs did the same when their lasting states are equal; pages read beside the task are for other evals.
    """
    parts = json.loads(snapshot)
    parts.pop("fetched", None)
    return _text({kind: sorted((_folded(thing) for thing in things), key=_text) for kind, things in parts.items()})


def shortcoming(expected: Mapping[str, Any], snapshot: str, answer: str) -> str:
    """Why an `exam_task` is not done, by its `expected`, the world's state and the final answer; empty if it is.
    Whether a refusal was wanted is not looked at."""
    if lasting(snapshot) != expected["final"]:
        return "the final state is wrong"
    said = normal(answer)
    if not said:
        return "the answer is empty"
    missing = [part for part in expected["must"] if normal(part) not in said]
    if missing:
        return f"the answer lacks {missing[0]!r}"
    wrong = [part for part in expected["must_not"] if normal(part) in said]
    return f"the answer says {wrong[0]!r}" if wrong else ""


def _folded(thing: Any) -> Any:
    if isinstance(thing, str):
        return normal(thing)
    return {key: normal(value) for key, value in thing.items()} if isinstance(thing, dict) else thing


def exam_task(task: NanoTask, extra_tools: Sequence[str] = ()) -> Task:
    """The task as the model sees it, with `extra_tools` on offer too, and what is right in `expected`.

    `expected` holds the skill, the right calls step by step (calls of one step are parallel), what the answer
    must and must not say, whether to refuse, the final state after the right calls and the starting state.
    """
    offered = (*task.tools, *(name for name in extra_tools if name not in task.tools))
    after = NanoEnvironment(task.final_state()).snapshot()
    expected = {
        "skill": task.skill,
        "steps": [[{"name": one.name, "arguments": one.mapping()} for one in step] for step in task.steps],
        "must": list(task.must),
        "must_not": list(task.must_not),
        "refuse": task.refuse,
        "answer": task.answer,
        "final": lasting(after),
        "state": asdict(task.state),
    }
    head = [Message(role=Role.SYSTEM, parts=(TextPart(text=task.system),))] if task.system else []
    return Task(
        id=task.id,
        messages=(*head, Message(role=Role.USER, parts=(TextPart(text=task.request),))),
        tools=tuple(
            ToolSchema(name=name, definition=json.dumps(schema, ensure_ascii=False))
            for name, schema in zip(offered, tool_schemas(tuple(offered)), strict=True)
        ),
        expected=json.dumps(expected, ensure_ascii=False),
        max_turns=MAX_TURNS,
    )


def environment_of(task: Task) -> NanoEnvironment:
    """The starting world of an `exam_task`."""
    parts = json.loads(task.expected)["state"]
    built: dict[str, Any] = {
        kind: tuple(_KINDS[kind](**thing) if kind in _KINDS else thing for thing in things)
        for kind, things in parts.items()
    }
    return NanoEnvironment(WorldState(**built))


def heldout(skills: Sequence[str], n_per_skill: int, seed: int) -> list[NanoTask]:
    """Tasks of the held-out split: no template, name, host, item or sentence of theirs is in the training
    split."""
    return [task for skill in skills for task in generate(skill, n_per_skill, seed, "heldout")]
