"""Runs a training method from records to a model folder: the same loop whether it ran through or was killed midway."""

import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from goldsmith.engines.training import keeping
from goldsmith.engines.training.data.mixing import MAIN
from goldsmith.engines.training.data.prepare import TrainingData
from goldsmith.engines.training.data.rows import Row
from goldsmith.engines.training.job import Reached, TrainingJob, TrainingOutcome
from goldsmith.engines.training.journal import Journal
from goldsmith.engines.training.method import Metrics
from goldsmith.engines.training.opening import Opened
from goldsmith.engines.training.watching import Overfits
from goldsmith.trust.canonical import spec_text

__all__ = ["Reached", "TrainingJob", "TrainingOutcome", "run_training", "train_until"]


class _Run(Opened):
    """An opened job under way. `beyond`: what the last validation found beyond a bound of `overfit`, with warnings."""

    def __init__(self, job: TrainingJob) -> None:
        super().__init__(job)
        self.beyond: dict[str, str] = {}

    def loop(self, journal: Journal, interrupted: threading.Event, until: int | None = None) -> None:
        """Drive the method's generator; log, validate, save and stop between its updates, at the latest at `until`."""
        start = self.progress.step
        last = self.plan.steps if until is None else min(until, self.plan.steps)
        if self.progress.stopped or start >= last:
            return
        if start == 0 and self.data.validation and (self.settings.mix or self.watched):
            if self.watched:
                journal.note(0, self.watched.told(self.job.seed))
            journal.validation(0, self._losses_aside(journal))
        self.ranks.seed(self.job.seed, start)
        for metrics in self.method.steps(self.policy, self.plan, self.optimizer, self.prepared, start):
            self._account(metrics, journal)
            if self._is_time_to_validate(metrics.step):
                self._validate(journal)
            done = metrics.step >= last or self.progress.stopped
            every = self.settings.checkpoint_every
            stop = self.ranks.any(interrupted.is_set())
            if done or stop or (every and metrics.step % every == 0):
                keeping.save(self)
            if stop:
                raise KeyboardInterrupt
            if done:
                return
            self.ranks.seed(self.job.seed, metrics.step)

    def _account(self, metrics: Metrics, journal: Journal) -> None:
        self.progress.step = metrics.step
        self.progress.tokens += metrics.tokens
        self.progress.label_tokens += metrics.labels
        self.progress.loss = metrics.loss
        journal.update(metrics)
        for what, warning in self.watch.look(metrics):
            self.facts[f"{what}_since_step"] = metrics.step
            journal.warn(metrics.step, warning)

    def _is_time_to_validate(self, step: int) -> bool:
        if not self.data.validation:
            return False
        every = self.settings.evaluate_every or self.plan.steps_per_epoch
        return step % every == 0 or step >= self.plan.steps

    def measure(self, journal: Journal) -> dict[str, float]:
        """What the rows set aside say of the weights as they are, written down; what is best so far does not change."""
        found = self._losses_aside(journal)
        journal.validation(self.progress.step, found)
        if "loss" in found:
            self.measured = (self.progress.step, found["loss"])
        return found

    def _validate(self, journal: Journal) -> None:
        found = self.measure(journal)
        if "loss" not in found:
            return
        if self.beyond and self.settings.overfit.act == "stop":
            self._stop_overfitting()
            return
        if self.progress.best_loss is None or found["loss"] < self.progress.best_loss:
            self.progress.best_loss, self.progress.best_step = found["loss"], self.progress.step
            self.progress.bad_validations = 0
            if self.settings.keeps_best:
                keeping.save_best(self)
            return
        self.progress.bad_validations += 1
        patience = self.settings.early_stopping_patience
        self.progress.stopped = bool(patience) and self.progress.bad_validations >= patience

    def _stop_overfitting(self) -> None:
        """End here, with the best weights that a validation found within bounds."""
        if self.progress.best_loss is None:
            raise Overfits(
                f"training stopped at step {self.progress.step}: {next(iter(self.beyond.values()))}",
                where="overfit",
                found="no validation before this one, so that no better weights were kept",
                next_step="validate more often (evaluate_every), or lower learning_rate",
            )
        self.facts["stopped_for"] = ", ".join(self.beyond)
        self.progress.stopped = True

    def _fit_watched(self, loss: float, journal: Journal) -> dict[str, float]:
        """Losses on the rows by which overfitting shows, and the shares that they come to."""
        watched = self.watched
        if watched is None:
            return {}
        losses = {"aside": loss, "trained": self._loss_on(watched.trained, self.prepared)}
        if watched.perturbed:
            losses["plain"] = self._loss_on(watched.plain, self.prepared)
            losses["perturbed"] = self._loss_on(watched.perturbed, self.prepared_perturbed)
        shares, self.beyond = self.watch.look_at_fit(losses)
        for what, warning in self.watch.fresh(self.beyond):
            self.facts[f"{what}_since_step"] = self.progress.step
            journal.warn(self.progress.step, warning)
        return {f"loss/{name}": value for name, value in losses.items() if name != "aside"} | shares

    def _loss_on(self, rows: Sequence[Row], prepared: Any) -> float:
        return self.method.evaluate(self.policy, rows, self.plan.over(rows), prepared)["loss"]

    def _losses_aside(self, journal: Journal) -> dict[str, float]:
        """What the method finds on the rows set aside: `loss` and its kin on the data itself, `loss/PART` on each part
        of the mix."""
        found: dict[str, float] = {}
        with self.policy.evaluating():
            for part in sorted({row.part for row in self.data.validation}):
                rows = [row for row in self.data.validation if row.part == part]
                told = self.method.evaluate(self.policy, rows, self.plan.over(rows), self.prepared)
                found |= told if part == MAIN else {f"loss/{part}": told["loss"]}
            if "loss" in found:
                found |= self._fit_watched(found["loss"], journal)
        for what, warning in self.watch.look_back(found, self.progress.step):
            self.facts[f"{what}_since_step"] = self.progress.step
            journal.warn(self.progress.step, warning)
        return found

    def outcome(self) -> TrainingOutcome:
        """What happened."""
        data: TrainingData = self.data
        self.facts |= {
            "rows_other_kind": data.other_kind,
            "token_cache_damaged": data.cache_damaged,
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "device": str(self.policy.device),
        }
        return TrainingOutcome(
            model_dir=self.job.output_dir,
            form="adapter" if self.policy.is_adapter else "full",
            base=self.job.base,
            method=self.method.id,
            settings_json=spec_text(self.settings),
            steps=self.progress.step,
            tokens=self.progress.tokens,
            label_tokens=self.progress.label_tokens,
            rows_used=len(data.train),
            rows_validation=len(data.validation),
            rows_cut=len(data.cut),
            rows_dropped=len(data.dropped),
            final_loss=self.progress.loss,
            best_validation_loss=self.progress.best_loss,
            stop="early_stopping" if self.progress.stopped else "done",
            metrics_file=self.job.scratch_dir / "metrics.jsonl",
            tokenizer_digest=self.chat.tokenizer_digest,
            chat_template_digest=self.chat.template_digest,
            facts=self.facts,
        )


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """Turns the first Ctrl-C into an event, so that a step is never torn; the second acts at once."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    before = signal.getsignal(signal.SIGINT)

    def note(*_: Any) -> None:
        if event.is_set():
            raise KeyboardInterrupt
        event.set()

    signal.signal(signal.SIGINT, note)
    try:
        yield event
    finally:
        signal.signal(signal.SIGINT, before)


def run_training(job: TrainingJob) -> TrainingOutcome:
    """Train, and write `job.output_dir`.

    On one machine the same job gives the same bytes of weights on the CPU, also when it was killed and resumed. Where
    a launcher started several processes, each calls this with the same job: they share every update, the first one
    writes, and what comes out is that of one process up to the order of float32 sums.

    Raises:
        BadInput: rows, settings or base that cannot be trained, or a resume with other ones; Diverged (a BadInput) at
            a non-finite loss or gradient. Unavailable: no such base, a full disk (the last checkpoint is kept);
            Elsewhere (an Unavailable) where another process failed or is gone.
        KeyboardInterrupt: Ctrl-C, after a checkpoint.
    """
    run = _Run(job)
    with _going_on(run) as (journal, interrupted):
        run.loop(journal, interrupted)
    keeping.finish(run)
    return run.outcome()


def train_until(job: TrainingJob, step: int, *, save: bool = False) -> Reached:
    """Go on with a run until `step`, checkpoint and validate; `save`: also write the model as it stands then.

    Nothing else differs from `run_training`: the schedule is that of the whole run, so a later call, or `run_training`
    itself, goes on as if there had been no stop. Errors: as `run_training`.
    """
    run = _Run(job)
    if run.policy.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    with _going_on(run) as (journal, interrupted):
        start, before = run.progress.step, time.perf_counter()
        run.loop(journal, interrupted, step)
        seconds = time.perf_counter() - before
        if run.data.validation and (run.measured is None or run.measured[0] != run.progress.step):
            run.measure(journal)
    if save:
        keeping.finish(run)
    cuda = run.policy.device.type == "cuda"
    return Reached(
        step=run.progress.step,
        steps=run.plan.steps,
        loss=run.progress.loss,
        validation_loss=None if run.measured is None else run.measured[1],
        trained_steps=run.progress.step - start,
        seconds=seconds,
        peak_device_bytes=int(torch.cuda.max_memory_allocated()) if cuda else None,
    )


@contextmanager
def _going_on(run: _Run) -> Iterator[tuple[Journal, threading.Event]]:
    """The run at its newest checkpoint, its journal open, Ctrl-C kept for between its updates."""
    job = run.job
    keeping.restore(run)
    if job.trackers:
        run.accelerator.init_trackers("goldsmith", config={"method": run.method.id, "seed": job.seed})
    with (
        _interruptible() as interrupted,
        Journal(
            job.scratch_dir / "metrics.jsonl",
            run.accelerator,
            step=run.progress.step,
            steps=run.plan.steps,
            trackers=job.trackers,
            progress=job.progress,
            silent=not run.ranks.first,
        ) as journal,
    ):
        if journal.missing:
            run.facts["metrics_lines_missing"] = journal.missing
            journal.warn(run.progress.step, f"the metrics of {journal.missing} updates before this one are lost")
        yield journal, interrupted
