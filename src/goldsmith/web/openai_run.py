"""One request under way: its choices are written by the model's own thread and sent from the event loop."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from functools import partial
from typing import Any

from fastapi import Request

from goldsmith.engines.sampling.request import Completion, Event, Failed, Finish, Piece, Sampling, Ticket
from goldsmith.engines.sampling.turns import TurnStream
from goldsmith.types.finding import Severity
from goldsmith.types.record import Message, Role, TextPart
from goldsmith.types.trajectory import StopReason, Trajectory
from goldsmith.web.openai_answer import DONE, Envelope, Turn, event, turn_of, withheld
from goldsmith.web.openai_errors import ApiError, internal
from goldsmith.web.served import Guard, ServedModel


class Run:
    """The choices of one request, from prompt to response. Belongs to the event loop that made it."""

    def __init__(
        self,
        model: ServedModel,
        envelope: Envelope,
        *,
        prompt_messages: Sequence[Message],
        may_call: bool,
        guards: Sequence[Guard],
    ) -> None:
        self._model = model
        self.envelope = envelope
        self._messages = tuple(prompt_messages)
        self._may_call = may_call
        self._guards = guards
        self._events: asyncio.Queue[tuple[int, Event]] = asyncio.Queue()
        self._tickets: list[Ticket] = []

    def start(self, prompt: Sequence[int], max_new_tokens: int, samplings: Sequence[Sampling]) -> None:
        """Start writing one choice for each of `samplings`."""
        loop = asyncio.get_running_loop()

        def sink(choice: int, event: Event) -> None:
            loop.call_soon_threadsafe(self._events.put_nowait, (choice, event))

        try:
            for choice, sampling in enumerate(samplings):
                ticket = self._model.answerer.submit(
                    prompt, partial(sink, choice), max_new_tokens=max_new_tokens, sampling=sampling
                )
                self._tickets.append(ticket)
        except BaseException:
            self.cancel()
            raise

    def cancel(self) -> None:
        """Stop whatever is still being written."""
        for ticket in self._tickets:
            ticket.cancel()

    async def whole(self) -> list[Turn]:
        """All choices, finished. Raises ApiError when one failed."""
        turns: dict[int, Turn] = {}
        while len(turns) < len(self._tickets):
            choice, happened = await self._events.get()
            if isinstance(happened, Completion | Failed):
                turns[choice] = await self._finished(happened)
        return [turns[choice] for choice in sorted(turns)]

    async def stream(self, *, with_usage: bool) -> AsyncIterator[bytes]:
        """The response as server-sent events; an error after the start is the last event."""
        texts = [TurnStream(self._model.answerer.call_form if self._may_call else "none") for _ in self._tickets]
        turns: dict[int, Turn] = {}
        chunk = partial(self.envelope.chunk, with_usage=with_usage)
        for choice in range(len(texts)):
            yield chunk(choice, {"role": "assistant", "content": "", "refusal": None})
        try:
            while len(turns) < len(texts):
                choice, happened = await self._events.get()
                if isinstance(happened, Piece):
                    text = "" if self._guards else texts[choice].push(happened.text)
                    if text:
                        yield chunk(choice, {"content": text})
                    continue
                turns[choice] = turn = await self._finished(happened)
                for delta in _closing(turn, texts[choice]):
                    yield chunk(choice, delta)
                yield chunk(choice, {}, turn.finish_reason)
        except ApiError as error:
            yield event(error.body())
            return
        if with_usage:
            yield self.envelope.usage_chunk(list(turns.values()))
        yield DONE

    async def _finished(self, happened: Completion | Failed) -> Turn:
        if isinstance(happened, Failed):
            raise internal() from happened.error
        if happened.finish is Finish.CANCELLED:
            raise ApiError(503, "The server is stopping.", code="shutting_down", kind="server_error")
        answer = await asyncio.to_thread(self._model.answerer.as_answer, happened)
        turn = turn_of(happened, answer.message, may_call=self._may_call)
        if not self._guards:
            return turn
        objections = await asyncio.to_thread(self._objections, happened, answer.message)
        return withheld(turn) if objections else turn

    def _objections(self, completion: Completion, message: Message | None) -> bool:
        written = message or Message(role=Role.ASSISTANT, parts=(TextPart(text=completion.text),))
        trajectory = Trajectory(
            task_id=self.envelope.id,
            messages=(*self._messages, written),
            stop_reason=StopReason.ANSWERED if completion.finish is Finish.STOP else StopReason.TOKEN_LIMIT,
        )
        serious = (Severity.EXCLUDE, Severity.QUARANTINE)
        return any(finding.severity in serious for guard in self._guards for finding in guard(trajectory))


def _closing(turn: Turn, text: TurnStream) -> list[dict[str, Any]]:
    """What is left to send of a turn: text that was held back, then the calls, each in one piece."""
    deltas: list[dict[str, Any]] = []
    rest = text.rest(turn.content or "")
    if rest:
        deltas.append({"content": rest})
    deltas += [{"tool_calls": [{"index": place, **call}]} for place, call in enumerate(turn.tool_calls)]
    return deltas


async def unless_disconnected(request: Request, work: Coroutine[Any, Any, list[Turn]]) -> list[Turn] | None:
    """The result of `work`, or None when the client has gone before. The request's body must have been read."""
    working = asyncio.create_task(work)
    watching = asyncio.create_task(_disconnected(request))
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        working.cancel()
        watching.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
