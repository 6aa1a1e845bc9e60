"""A writer that says what a test tells it to, and a real server on loopback."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from goldsmith.engines.chat_calls import read_turn
from goldsmith.engines.sampling.request import Completion, Event, Failed, Finish, Piece, Sampling, Sink
from goldsmith.types.errors import BadInput
from goldsmith.types.record import Message, ToolSchema
from goldsmith.types.trajectory import Answer
from goldsmith.web.openai_api import ServedModel, create_app
from goldsmith.web.serving import listen, server_for


@dataclass
class Scripted:
    """One request to a Script."""

    script: "Script"
    cancelled: bool = False
    over: bool = False

    def cancel(self) -> None:
        self.cancelled = True
        if not self.over:
            self.script.cancelled.set()


@dataclass
class Script:
    """A writer that sends `pieces`, one each `delay_s`, whatever it is asked; it remembers what it was asked."""

    pieces: Sequence[str] = ("Hello", " there")
    finish: Finish = Finish.STOP
    call_form: str = "hermes"
    context_length: int | None = 100
    delay_s: float = 0.0
    fails: Exception | None = None
    asked: list[tuple[tuple[Message, ...], tuple[ToolSchema, ...]]] = field(default_factory=list)
    budgets: list[int] = field(default_factory=list)
    samplings: list[Sampling] = field(default_factory=list)
    cancelled: threading.Event = field(default_factory=threading.Event)
    """A request was cancelled before its end."""
    hold: threading.Event | None = None

    def encode(self, messages: Sequence[Message], tools: Sequence[ToolSchema] = ()) -> Sequence[int]:
        self.asked.append((tuple(messages), tuple(tools)))
        if any("untellable" in message.text for message in messages):
            raise BadInput("this cannot be written", next_step="write something else")
        return range(sum(len(message.text.split()) for message in messages))

    def submit(self, prompt: Sequence[int], sink: Sink, *, max_new_tokens: int, sampling: Sampling) -> Scripted:
        self.budgets.append(max_new_tokens)
        self.samplings.append(sampling)
        ticket = Scripted(self)
        threading.Thread(target=self._write, args=(len(prompt), sink, ticket), daemon=True).start()
        return ticket

    def as_answer(self, completion: Completion) -> Answer:
        finished = completion.finish is Finish.STOP
        turn = read_turn(completion.text, self.call_form, finished=finished)
        return Answer(message=turn.message, text=turn.text, finished=finished, prompt_tokens=0, completion_tokens=0)

    def _write(self, prompt_tokens: int, sink: Sink, ticket: Scripted) -> None:
        if self.hold is not None:
            self.hold.wait(20)
        events: list[Event] = [Piece(piece) for piece in self.pieces]
        text = "".join(self.pieces)
        events.append(Completion((), text, self.finish, prompt_tokens, len(self.pieces)))
        if self.fails is not None:
            events[-1] = Failed(self.fails)
        for event in events:
            time.sleep(self.delay_s)
            if ticket.cancelled:
                return
            ticket.over = not isinstance(event, Piece)
            try:
                sink(event)
            except RuntimeError:  # the server is gone
                return


@contextmanager
def _running(models: Mapping[str, ServedModel], **settings: Any) -> Iterator[str]:
    listener = listen(port=0)
    server = server_for(create_app(models, **settings))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)
        listener.close()


@pytest.fixture(scope="session")
def running() -> Callable[..., Any]:
    """`with running(models, **settings) as url`: a server on a free loopback port."""
    return _running


@pytest.fixture(scope="session")
def script() -> type[Script]:
    return Script
