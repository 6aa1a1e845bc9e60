"""A model on this machine that answers conversations: in batches, as streams, and with log-probabilities."""

import queue
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import torch

from goldsmith.engines.chat import Encoded
from goldsmith.engines.sampling.batch import Forward
from goldsmith.engines.sampling.loading import Backbone, load, load_family
from goldsmith.engines.sampling.request import (
    GREEDY,
    Completion,
    Event,
    Failed,
    Finish,
    Piece,
    Sampling,
    Sink,
    Ticket,
)
from goldsmith.engines.sampling.worker import Job, Worker
from goldsmith.types.errors import BadInput
from goldsmith.types.record import Message, ToolSchema
from goldsmith.types.trajectory import Answer, AnswerLogprob

Prompt = tuple[Sequence[Message], Sequence[ToolSchema]]

_LOGIT_BUDGET = 2**26  # float32 logits held at once by `logprobs`: 256 MiB


class LocalAnswerer:
    """Answers with a transformers model; implements `goldsmith.types.trajectory.Answerer`.

    Thread-safe: the requests of all threads run as one batch. Greedy unless told otherwise.

    Args:
        model: a folder or hub id of a causal language model; a peft adapter folder; or a loaded `Backbone`.
        adapter: a peft adapter folder over `model`, merged in memory; or, with a `Backbone` of several
            adapters, the name of one (None: the bare base).
        device: torch device. dtype: `auto` (as saved), `float32`, `bfloat16`, `float16`.
        max_batch: requests that share a forward pass.

    Raises:
        Unavailable: no model there. BadInput: it cannot be used.
    """

    def __init__(
        self,
        model: str | Path | Backbone,
        adapter: str | Path | None = None,
        *,
        device: str = "cpu",
        dtype: str = "auto",
        max_batch: int = 32,
    ) -> None:
        if max_batch < 1:
            raise BadInput("max_batch must be at least 1", where="max_batch", found=max_batch)
        name: str | None = None
        if isinstance(model, Backbone):
            name = None if adapter is None else str(adapter)
            if name is not None and name not in model.adapters:
                raise BadInput(
                    "there is no adapter of this name", found=name, allowed=", ".join(sorted(model.adapters))
                )
            self.backbone = model
        else:
            self.backbone = load(model, adapter, device=device, dtype=dtype)
        self.chat = self.backbone.chat
        self._forward = Forward(self.backbone.model, self.backbone.lock, partial(self.backbone.using, name))
        self._worker = Worker(self._forward, self.chat, max_batch)
        self._max_batch = max_batch

    @classmethod
    def family(
        cls,
        base: str | Path,
        adapters: Mapping[str, str | Path],
        *,
        device: str = "cpu",
        dtype: str = "auto",
        max_batch: int = 32,
    ) -> dict[str, "LocalAnswerer"]:
        """Several tuned models that share their base's weights in memory, by name."""
        backbone = load_family(base, adapters, device=device, dtype=dtype)
        return {name: cls(backbone, name, max_batch=max_batch) for name in adapters}

    @property
    def context_length(self) -> int | None:
        """Tokens of prompt and answer together, or None if the model sets no limit."""
        return self.backbone.context_length

    @property
    def call_form(self) -> str:
        """How the model's chat template writes tool calls: nano, hermes, mistral, llama3 or none."""
        return self.chat.form

    def encode(self, messages: Sequence[Message], tools: Sequence[ToolSchema] = ()) -> tuple[int, ...]:
        """The prompt's token ids. Raises BadInput for what the chat template cannot write."""
        return tuple(self.chat.encode_prompt(messages, tools).tolist())

    def answer(
        self, prompts: Sequence[Prompt], *, max_new_tokens: int = 256, sampling: Sampling = GREEDY
    ) -> list[Answer]:
        """One assistant turn for each prompt, in their order.

        An answer ends unfinished where the context ends. Every request draws from a random stream of its own.

        Raises:
            BadInput: a prompt that cannot be written or fills the context. Whatever the model's pass raised.
        """
        encoded = [self.encode(messages, tools) for messages, tools in prompts]
        completions = self.complete(encoded, max_new_tokens=max_new_tokens, sampling=sampling)
        return [self.as_answer(completion) for completion in completions]

    def complete(
        self, prompts: Sequence[Sequence[int]], *, max_new_tokens: int, sampling: Sampling = GREEDY
    ) -> list[Completion]:
        """As `answer`, from token ids to token ids and text."""
        done: queue.SimpleQueue[tuple[int, Event]] = queue.SimpleQueue()

        def sink(row: int, event: Event) -> None:
            done.put((row, event))

        jobs = [
            self._job(ids, max_new_tokens, sampling.for_row(row), partial(sink, row), streaming=False)
            for row, ids in enumerate(prompts)
        ]
        results: list[Completion | None] = [None] * len(jobs)
        try:
            self._worker.submit(jobs)
            for _ in jobs:
                row, event = done.get()
                if isinstance(event, Failed):
                    raise event.error
                if isinstance(event, Completion):
                    results[row] = event
        except BaseException:
            for job in jobs:
                job.cancel()
            raise
        return [result for result in results if result is not None]

    def submit(self, prompt: Sequence[int], sink: Sink, *, max_new_tokens: int, sampling: Sampling = GREEDY) -> Ticket:
        """Start writing and return at once; the worker's thread calls `sink` with pieces, then the end."""
        job = self._job(prompt, max_new_tokens, sampling, sink, streaming=True)
        self._worker.submit([job])
        return job

    def stream(
        self,
        messages: Sequence[Message],
        tools: Sequence[ToolSchema] = (),
        *,
        max_new_tokens: int = 256,
        sampling: Sampling = GREEDY,
    ) -> Iterator[str]:
        """The text of one turn, piece by piece; closing the iterator stops the writing."""
        events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        ticket = self.submit(self.encode(messages, tools), events.put, max_new_tokens=max_new_tokens, sampling=sampling)
        return _pieces(events, ticket)

    def as_answer(self, completion: Completion) -> Answer:
        """A completion as a parsed assistant turn."""
        finished = completion.finish is Finish.STOP
        return Answer(
            message=self.chat.parse_text(completion.text, finished=finished).message,
            text=completion.text,
            finished=finished,
            prompt_tokens=completion.prompt_tokens,
            completion_tokens=completion.completion_tokens,
        )

    def logprobs(
        self, items: Sequence[tuple[Sequence[Message], Sequence[Message], Sequence[ToolSchema]]]
    ) -> list[AnswerLogprob]:
        """The summed log-probability (nats) of the continuation's trained tokens, for each item.

        An item is (prompt, continuation, tools).

        Raises:
            BadInput: a conversation that cannot be written, or one longer than the context.
        """
        encoded = [self.chat.encode_continuation(*item) for item in items]
        for row, one in enumerate(encoded):
            self._fits(len(one.input_ids), f"item {row}")
        results: list[AnswerLogprob | None] = [None] * len(encoded)
        for rows in _by_length(encoded, self._max_batch if self._forward.mergeable else 1, self._vocabulary):
            for row, result in zip(rows, self._score([encoded[row] for row in rows]), strict=True):
                results[row] = result
        return [result for result in results if result is not None]

    def close(self) -> None:
        """Cancel what is under way and end the worker's thread."""
        self._worker.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def _vocabulary(self) -> int:
        return int(self.backbone.model.config.get_text_config(decoder=True).vocab_size)

    def _job(
        self, prompt: Sequence[int], max_new_tokens: int, sampling: Sampling, sink: Sink, *, streaming: bool
    ) -> Job:
        if max_new_tokens < 1:
            raise BadInput("max_new_tokens must be at least 1", where="max_new_tokens", found=max_new_tokens)
        if not prompt:
            raise BadInput("the prompt is empty", next_step="give at least one message")
        self._fits(len(prompt) + 1, "prompt")
        limit = self.context_length
        budget = max_new_tokens if limit is None else min(max_new_tokens, limit - len(prompt))
        return Job(prompt, budget, sampling, sink, streaming)

    def _fits(self, tokens: int, where: str) -> None:
        limit = self.context_length
        if limit is not None and tokens > limit:
            raise BadInput(
                "the conversation is longer than the model's context",
                where=where,
                found=f"{tokens} tokens with room for an answer" if where == "prompt" else f"{tokens} tokens",
                allowed=f"{limit} tokens",
                next_step="shorten it",
            )

    def _score(self, batch: Sequence[Encoded]) -> list[AnswerLogprob]:
        width = max(len(one.input_ids) for one in batch)
        ids_BT = torch.full((len(batch), width), self.chat.pad_id, dtype=torch.long)
        mask_BT = torch.zeros((len(batch), width), dtype=torch.bool)
        trained_BT = torch.zeros((len(batch), width), dtype=torch.bool)
        for row, one in enumerate(batch):
            ids_BT[row, : len(one.input_ids)] = torch.as_tensor(one.input_ids.astype(np.int64))
            mask_BT[row, : len(one.input_ids)] = True
            trained_BT[row, : len(one.trained)] = torch.as_tensor(one.trained)
        trained_BT[:, 0] = False  # nothing predicts the first token
        keep = width - min(_first(one) for one in batch) + 1
        logits_BKV = self._forward.tail_logits(ids_BT, mask_BT, keep)[:, :-1].cpu()
        targets_BK, counted_BK = ids_BT[:, 1 - keep :], trained_BT[:, 1 - keep :]
        chosen_BK = logits_BKV.gather(-1, targets_BK[..., None])[..., 0] - logits_BKV.logsumexp(-1)
        sums_B = (chosen_BK.double() * counted_BK).sum(-1).tolist()
        counts_B = counted_BK.sum(-1).tolist()
        return [AnswerLogprob(logprob=s, tokens=n) for s, n in zip(sums_B, counts_B, strict=True)]


def _pieces(events: "queue.SimpleQueue[Event]", ticket: Ticket) -> Iterator[str]:
    try:
        while True:
            event = events.get()
            if isinstance(event, Failed):
                raise event.error
            if isinstance(event, Completion):
                return
            if isinstance(event, Piece):
                yield event.text
    finally:
        ticket.cancel()


def _first(one: Encoded) -> int:
    """The first position whose token is scored; at least 1."""
    marked = np.flatnonzero(one.trained[1:])
    return int(marked[0]) + 1 if len(marked) else max(1, len(one.input_ids) - 1)


def _by_length(encoded: Sequence[Encoded], max_batch: int, vocabulary: int) -> Iterator[list[int]]:
    """Rows in batches of similar length, each with logits within the budget."""
    order = sorted(range(len(encoded)), key=lambda row: (len(encoded[row].input_ids), row))
    batch: list[int] = []
    first = 0
    for row in order:
        first_here = min(first, _first(encoded[row])) if batch else _first(encoded[row])
        kept = len(encoded[row].input_ids) - first_here + 1
        if batch and (len(batch) >= max_batch or (len(batch) + 1) * kept * vocabulary > _LOGIT_BUDGET):
            yield batch
            batch, first_here = [], _first(encoded[row])
        batch.append(row)
        first = first_here
    if batch:
        yield batch
