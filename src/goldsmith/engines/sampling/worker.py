"""One thread writes all requests of a model: they join the running batch when there is room."""

import logging
import threading
from collections import deque
from collections.abc import Sequence

from goldsmith.engines.chat import Chat
from goldsmith.engines.sampling.batch import Forward, RunningBatch
from goldsmith.engines.sampling.choose import Chooser, choose
from goldsmith.engines.sampling.detokenise import TextStream, decode
from goldsmith.engines.sampling.request import Completion, Failed, Finish, Piece, Sampling, Sink
from goldsmith.types.errors import Unavailable

_log = logging.getLogger(__name__)

_PREFILL_TOKENS = 16_384
"""Padded prompt tokens read in one pass: bounds memory, and the wait of streams that are running."""

_IDLE_S = 30.0
"""How long the thread waits for work before it ends; the next job starts another."""


class Job:
    """A request and what has been written for it so far."""

    def __init__(
        self, prompt: Sequence[int], max_new_tokens: int, sampling: Sampling, sink: Sink, streaming: bool
    ) -> None:
        self.prompt = prompt
        self.max_new_tokens = max_new_tokens
        self.chooser = Chooser(sampling)
        self.sink = sink
        self.streaming = streaming
        self.written: list[int] = []
        self.text: TextStream | None = None
        self.shown: list[str] = []
        self.ended = False
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        self._cancelled.set()

    @property
    def cancelled(self) -> bool:
        return self._cancelled.is_set()


class Worker:
    """Runs jobs on its own thread, from the first one until closed. `max_batch`: rows that share a pass."""

    def __init__(self, forward: Forward, chat: Chat, max_batch: int) -> None:
        self._forward = forward
        self._chat = chat
        self._max_batch = max_batch if forward.mergeable else 1
        self._waiting: deque[Job] = deque()
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False

    def submit(self, jobs: Sequence[Job]) -> None:
        """Queue jobs together: they are seen at once, so that the same call makes the same batches."""
        with self._wake:
            if self._closed:
                raise Unavailable("the model has been closed", next_step="open it again")
            self._waiting.extend(jobs)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="goldsmith-sampler", daemon=True)
                self._thread.start()
            self._wake.notify()

    def close(self) -> None:
        """Cancel what is left and end the thread. Safe to call twice."""
        with self._wake:
            self._closed = True
            self._wake.notify()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _run(self) -> None:
        try:
            self._loop()
        except BaseException as error:
            # never leave anybody waiting for a thread that is gone
            with self._wake:
                left, self._thread = list(self._waiting), None
                self._waiting.clear()
            for job in left:
                _tell(job, Failed(RuntimeError(f"the sampler's thread died: {type(error).__name__}")))
            raise

    def _loop(self) -> None:
        batch = RunningBatch(self._forward, self._chat.pad_id)
        rows: list[Job | None] = []
        tokens: list[int] = []
        while True:
            with self._wake:
                while not self._waiting and not self._closed and not rows:
                    # an answerer that nobody closed must not live for ever through its thread
                    if not self._wake.wait(_IDLE_S) and not self._waiting:
                        self._thread = None
                        return
                closed = self._closed
                newcomers = [] if closed else self._admit(sum(job is not None for job in rows))
                if closed:
                    left = [job for job in rows if job] + list(self._waiting)
                    self._waiting.clear()
            if closed:
                for job in left:
                    _end(job, self._chat, Finish.CANCELLED)
                return
            try:
                rows, tokens = self._advance(batch, rows, tokens, newcomers)
            except Exception as error:
                # whoever waits must hear of it; the next request starts afresh
                _log.warning("generation failed: %s", type(error).__name__)
                for job in {id(job): job for job in [*rows, *newcomers] if job}.values():
                    _tell(job, Failed(error))
                batch, rows, tokens = RunningBatch(self._forward, self._chat.pad_id), [], []

    def _admit(self, live: int) -> list[Job]:
        """Jobs that join now. Joining copies the cache, so a full batch waits until a quarter is free."""
        free = self._max_batch - live
        if not self._waiting or free <= 0:
            return []
        if live and len(self._waiting) > free and free * 4 < self._max_batch:
            return []
        chosen: list[Job] = []
        widest = 0
        while self._waiting and len(chosen) < free:
            widest = max(widest, len(self._waiting[0].prompt))
            if chosen and widest * (len(chosen) + 1) > _PREFILL_TOKENS:
                break
            chosen.append(self._waiting.popleft())
        return chosen

    def _advance(
        self, batch: RunningBatch, rows: list[Job | None], tokens: list[int], newcomers: list[Job]
    ) -> tuple[list[Job | None], list[int]]:
        """One token for every row, then the newcomers' first. Finished rows stay until they are a quarter."""
        if rows:
            chosen = choose(batch.step(tokens), [job.chooser if job else _IDLE for job in rows])
            rows, tokens = self._record(rows, chosen), chosen
        joining = [job for job in newcomers if not self._cancelled(job)]
        done = sum(job is None for job in rows)
        if done and (joining or done * 4 >= len(rows)):
            keep = [row for row, job in enumerate(rows) if job]
            batch.keep(keep)
            rows, tokens = [rows[row] for row in keep], [tokens[row] for row in keep]
        if joining:
            chosen = choose(batch.join([job.prompt for job in joining]), [job.chooser for job in joining])
            rows, tokens = rows + self._record([*joining], chosen), tokens + chosen
            if not any(rows):
                batch.keep([])
                rows, tokens = [], []
        return rows, tokens

    def _record(self, rows: list[Job | None], chosen: Sequence[int]) -> list[Job | None]:
        return [job if job and self._write(job, token) else None for job, token in zip(rows, chosen, strict=True)]

    def _cancelled(self, job: Job) -> bool:
        if job.cancelled:
            _end(job, self._chat, Finish.CANCELLED)
        return job.cancelled

    def _write(self, job: Job, token: int) -> bool:
        """Take a token into the job; False when that was its last."""
        if self._cancelled(job):
            return False
        if token in self._chat.stop_ids:
            _end(job, self._chat, Finish.STOP)
            return False
        job.written.append(token)
        if job.streaming or job.chooser.sampling.stop:
            if job.text is None:
                job.text = TextStream(self._chat.tokenizer, job.chooser.sampling.stop)
            if not _show(job, job.text.push(token)):
                return False
            if job.text.stopped:
                _end(job, self._chat, Finish.STOP)
                return False
        if len(job.written) >= job.max_new_tokens:
            _end(job, self._chat, Finish.LENGTH)
            return False
        return True


_IDLE = Chooser(Sampling())


def _show(job: Job, text: str) -> bool:
    if not text:
        return True
    job.shown.append(text)
    return not job.streaming or _tell(job, Piece(text))


def _end(job: Job, chat: Chat, finish: Finish) -> None:
    if job.text is not None:
        if not _show(job, job.text.finish()):
            return
        text, at_text = "".join(job.shown), job.text.stopped
    else:
        text, at_text = decode(chat.tokenizer, job.written), False
    if at_text and finish is Finish.LENGTH:
        finish = Finish.STOP
    _tell(
        job,
        Completion(
            token_ids=tuple(job.written),
            text=text,
            finish=finish,
            prompt_tokens=len(job.prompt),
            completion_tokens=len(job.written) + (finish is Finish.STOP and not at_text),
            stopped_at_text=at_text,
        ),
    )


def _tell(job: Job, event: Piece | Completion | Failed) -> bool:
    """Hand an event over, at most one that ends the job; False when the listener broke: others go on."""
    if job.ended:
        return False
    job.ended = not isinstance(event, Piece)
    try:
        job.sink(event)
    except Exception as error:
        _log.warning("a listener failed: %s", type(error).__name__)
        job.cancel()
        return False
    return True
