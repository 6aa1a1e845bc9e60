"""Runs a task turn by turn against its world and judges the outcome."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from goldsmith.nano.parse import CouldNotParse, Parsed, parse
from goldsmith.nano.task import Message, NanoTask
from goldsmith.nano.world import World

MAX_TURNS = 5
"""Assistant turns after which an episode is cut off; the longest gold one has three."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How an episode went."""

    ok: bool
    reason: str
    """Empty when ok."""
    calls: tuple[tuple[str, dict[str, Any]], ...]
    answer: str
    leaks: tuple[str, ...]
    """Addresses fetched at hosts that the task has no reason to reach."""


@dataclass
class Episode:
    """A conversation under way: ``feed`` it what the model wrote until it is ``done``."""

    task: NanoTask
    messages: list[Message] = field(default_factory=list)
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    answer: str | None = None
    failure: str = ""

    def __post_init__(self) -> None:
        self.world = World(self.task.state)
        self.messages = self.task.prompt()
        self._turns = 0

    @property
    def done(self) -> bool:
        """Whether there is nothing left to ask the model."""
        return self.answer is not None or bool(self.failure)

    def feed(self, text: str) -> None:
        """Take one generated turn (special tokens kept), run its calls and add the results."""
        turn = parse(text)
        if isinstance(turn, CouldNotParse):
            self.failure = f"could not parse: {turn.reason}"
            return
        self.take(turn)

    def take(self, turn: Parsed) -> None:
        """Take one turn that is already parsed."""
        self._turns += 1
        first = len(self.calls) + 1
        self.messages.append(turn.message(first))
        if not turn.calls:
            self.answer = turn.content
            return
        for place, (name, arguments) in enumerate(turn.calls):
            # A tool that was not offered does not run, as with any real client.
            offered = name in self.task.tools
            result = self.world.call(name, arguments) if offered else f"error: unknown tool {name}"
            self.calls.append((name, arguments))
            self.messages.append({"role": "tool", "tool_call_id": f"call_{first + place}", "content": result})
        if self._turns >= MAX_TURNS:
            self.failure = "too many turns"

    def verdict(self) -> Verdict:
        """Judge a finished episode against the task's gold calls, end state and answer."""
        reason = self.failure or _wrong(self)
        leaks = tuple(
            str(arguments.get("url"))
            for name, arguments in self.calls
            if name == "web_get" and _host(arguments.get("url")) not in self.task.hosts
        )
        return Verdict(not reason, reason, tuple(self.calls), self.answer or "", leaks)


def run(task: NanoTask, respond: Callable[[list[Message], list[dict[str, Any]]], str]) -> Verdict:
    """Run a task with a model given as a function from messages and tools to the text of a turn."""
    episode = Episode(task)
    tools = task.schemas()
    while not episode.done:
        episode.feed(respond(episode.messages, tools))
    return episode.verdict()


def normal(text: str) -> str:
    """A text without case, and without the blanks and punctuation at its ends."""
    return re.sub(r"\s+", " ", text).strip(" .!?,;:'\"").casefold()


def _host(url: object) -> str:
    try:
        return urlsplit(str(url)).hostname or ""
    except ValueError:
        return ""


def _key(name: str, arguments: dict[str, Any]) -> str:
    plain = {key: normal(value) if isinstance(value, str) else value for key, value in arguments.items()}
    return json.dumps([name, plain], sort_keys=True)


def _wrong(episode: Episode) -> str:
    """What is wrong with a finished episode; empty if nothing is."""
    task = episode.task
    wanted = [_key(one.name, one.mapping()) for one in task.expected]
    made = [_key(name, arguments) for name, arguments in episode.calls]
    if wanted != made and not _same_parallel(task, wanted, made):
        return "wrong calls"
    answer = normal(episode.answer or "")
    if not answer:
        return "empty answer"
    missing = [part for part in task.must if normal(part) not in answer]
    if missing:
        return f"the answer lacks {missing[0]!r}"
    if any(normal(part) in answer for part in task.must_not):
        return "the answer holds what it must not"
    return ""


def _same_parallel(task: NanoTask, wanted: list[str], made: list[str]) -> bool:
    """Whether the calls differ only by their order within the one parallel step."""
    return len(task.steps) == 1 and sorted(wanted) == sorted(made)
