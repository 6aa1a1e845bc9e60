"""Runs a training method from records to a model folder: the same loop whether it ran through or was killed midway."""

import json
import shutil
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load_file, save_file

from goldsmith.engines.chat import open_chat
from goldsmith.engines.training import checkpoints, parallel
from goldsmith.engines.training.adapters import what_is_tuned
from goldsmith.engines.training.allocator import keep_pages
from goldsmith.engines.training.batches import Plan
from goldsmith.engines.training.checkpoints import Checkpoint
from goldsmith.engines.training.data import TrainingData, plan_of, prepare_data
from goldsmith.engines.training.folders import clean, new_folder
from goldsmith.engines.training.guards import choose_way, never_seen
from goldsmith.engines.training.journal import Journal
from goldsmith.engines.training.loading import base_digest
from goldsmith.engines.training.method import Method, Metrics
from goldsmith.engines.training.mixing import MAIN
from goldsmith.engines.training.optimizer import build_optimizer
from goldsmith.engines.training.policy import open_policy
from goldsmith.engines.training.reinforcement.base import OnlineMethod
from goldsmith.engines.training.rows import Row
from goldsmith.engines.training.saving import save
from goldsmith.engines.training.settings import TrainingSettings
from goldsmith.engines.training.watching import Watch
from goldsmith.trust.canonical import file_digest, spec_text
from goldsmith.trust.records import content_digest
from goldsmith.types.artifact import Digest
from goldsmith.types.errors import BadInput, Tampered, Unavailable
from goldsmith.types.record import Record

COMPILE_TOKENS = 20_000_000
"""A run of so many tokens wins back the minute that compiling takes, on a model of a billion weights or so."""


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """What to train, on what, and where to.

    `method`: a methods Spec (`plugins.build("methods", ...)`). `base`: a model folder or hub id. `row_names`: how
    messages call each record (file and line). `scratch_dir` holds checkpoints and metrics and is what `resume` goes
    on from; `output_dir` is made whole or not at all. `trust`: by record digest, what a row counts for under
    `trust_weighting`; 1 where it says nothing, and None where nobody looked.
    """

    method: Any
    base: str
    records: Sequence[Record]
    output_dir: Path
    scratch_dir: Path
    seed: int = 0
    validation: Sequence[Record] | None = None
    row_names: Sequence[str] | None = None
    cache_dir: Path | None = None
    trust: Mapping[Digest, float] | None = None
    trackers: tuple[str, ...] = ()
    resume: bool = True
    progress: bool = True
    device: Literal["auto", "cpu", "cuda"] = "auto"


@dataclass(frozen=True, slots=True)
class TrainingOutcome:
    """A finished run. `tokens` went through the model, `label_tokens` of them were learned; both over all epochs."""

    model_dir: Path
    form: Literal["full", "adapter"]
    base: str
    method: str
    settings_json: str
    steps: int
    tokens: int
    label_tokens: int
    rows_used: int
    rows_validation: int
    rows_cut: int
    rows_dropped: int
    final_loss: float
    best_validation_loss: float | None
    stop: Literal["done", "early_stopping"]
    metrics_file: Path
    tokenizer_digest: str
    chat_template_digest: str
    facts: dict[str, str | int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reached:
    """Where a run stands after `train_until`. `seconds`: spent in updates by this call, start and validation left out.

    `step` is less than asked for where early stopping ended the run.
    """

    step: int
    steps: int
    loss: float
    validation_loss: float | None
    trained_steps: int
    seconds: float
    peak_device_bytes: int | None


@dataclass(slots=True)
class _Progress:
    """What changes from step to step besides weights; saved with every checkpoint."""

    step: int = 0
    tokens: int = 0
    label_tokens: int = 0
    loss: float = float("nan")
    best_loss: float | None = None
    best_step: int = 0
    bad_validations: int = 0
    stopped: bool = False
    watched: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


def _accelerator(job: TrainingJob) -> Any:
    """The device and the trackers. Precision is torch's own autocast, so that runs of several kinds share a process."""
    from accelerate import Accelerator

    try:
        accelerator = Accelerator(
            cpu=job.device == "cpu", log_with=list(job.trackers) or None, project_dir=str(job.scratch_dir)
        )
    except ValueError as error:
        raise BadInput("there is no such tracker", found=", ".join(job.trackers), allowed=str(error)) from error
    missing = set(job.trackers) - {str(name) for name in accelerator.log_with} - {"all"}
    if missing:
        raise Unavailable(
            "a tracker's package is not installed",
            found=", ".join(sorted(missing)),
            next_step="install it, or leave it out of trackers",
        )
    if job.device == "cuda" and accelerator.device.type != "cuda":
        raise Unavailable(
            "there is no CUDA device", found=str(accelerator.device), next_step="set device to cpu or auto"
        )
    return accelerator


class _Run:
    """One job with all that belongs to it."""

    def __init__(self, job: TrainingJob) -> None:
        self.job = job
        self.method: Method = job.method
        if not isinstance(job.method, TrainingSettings):
            raise BadInput("the job's method is no training method", found=type(job.method).__name__)
        self.settings: TrainingSettings = job.method
        self.ranks = parallel.join(job.device)
        if self.ranks.size > 1 and isinstance(job.method, OnlineMethod):
            raise BadInput(
                f"{self.method.id} samples and learns in one process",
                found=f"{self.ranks.size} processes",
                next_step="start it in one; methods that learn from given answers can be shared",
            )
        self.accelerator = _accelerator(job)
        if self.accelerator.device.type == "cpu":
            keep_pages()
        self.chat = open_chat(job.base, self.settings.new_tokens)
        self.data = self.ranks.first_before_others(self._data)
        self._require_mixable()
        self.policy = open_policy(
            job.base, self.chat, self.settings, seed=job.seed, device=str(self.accelerator.device)
        )
        self.facts: dict[str, str | int] = dict(self.chat.facts)
        self.facts |= what_is_tuned(self.policy.model, self.settings.adapter)
        self.facts |= never_seen(self.chat.tokenizer, self.settings.new_tokens, self.data.train)
        self.facts |= {"rows_weighted": n} if (n := sum(row.weight != 1.0 for row in self.data.train)) else {}
        self.facts |= choose_way(self.policy, self.data.train, self.settings.max_length)
        self.plan = self._plan()
        self._compile()
        self.optimizer = build_optimizer(
            self.policy, self.settings, self.plan.steps * self.settings.optimizer_steps_per_step
        )
        self.watch = Watch(self.settings)
        self.progress = _Progress()
        self.measured: tuple[int, float] | None = None  # the step and loss of the last validation here
        self.contract = self._contract()
        self._require_alike()
        # Reference values belong to the base: they are taken before a checkpoint's weights come in, also when going on.
        self.prepared = self._prepared((*self.data.train, *self.data.validation))

    def _require_mixable(self) -> None:
        """The method can mix, and what is bounded can be watched. Errors: BadInput."""
        if self.settings.mix and isinstance(self.job.method, OnlineMethod):
            raise BadInput(
                f"{self.method.id} learns from the model's own answers, so that nothing can be mixed in",
                where="mix",
                next_step="leave mix out, and bound the divergence instead (kl_at_most)",
            )
        if self.settings.trust_weighting and (self.job.trust is None or isinstance(self.job.method, OnlineMethod)):
            raise BadInput(
                "trust_weighting has nothing to go by",
                where="trust_weighting",
                found="a method that learns from its own answers" if self.job.trust is not None else "no findings",
                allowed="a method that learns from the rows of a checked release",
            )
        aside = {row.part for row in self.data.validation}
        for one in self.settings.mix:
            if one.rise_at_most is not None and one.part not in aside:
                raise BadInput(
                    f"the loss on {one.part} is bounded, but none of its rows is set aside to be watched",
                    where="mix, rise_at_most",
                    found=f"{sum(row.part == one.part for row in self.data.train)} rows, all trained on",
                    next_step="set a larger validation_share, or leave rise_at_most out",
                )

    def _data(self) -> TrainingData:
        job = self.job
        return prepare_data(
            self.method,
            self.settings,
            self.chat,
            job.records,
            job.validation,
            job.row_names,
            job.cache_dir or job.scratch_dir / "tokens",
            job.trust,
        )

    def _require_alike(self) -> None:
        """Processes that train together began alike."""
        if self.ranks.size == 1:
            return
        self.facts["processes"] = self.ranks.size
        run = {**self.contract, "batching": self.policy.way, "torch": torch.__version__}
        self.ranks.require_equal("run", run)
        self.ranks.require_equal("weights", parallel.fingerprint(self.policy.trainable()))

    def _prepared(self, rows: Sequence[Row]) -> Any:
        method = self.job.method
        if not isinstance(method, OnlineMethod):
            return self.method.prepare(self.policy, rows, self.plan)
        records = {content_digest(record): record for record in (*self.job.records, *(self.job.validation or ()))}
        return method.prepare(self.policy, rows, self.plan, records)

    def _plan(self) -> Plan:
        plan = plan_of(
            self.settings, self.data.train, self.job.seed, device=self.policy.device.type, share=self.policy.shares
        )
        return replace(plan, processes=self.ranks.size)

    def _compile(self) -> None:
        tokens = self.plan.steps * self.plan.rows_per_update * sum(row.tokens for row in self.data.train)
        long = tokens / len(self.data.train) >= COMPILE_TOKENS and self.policy.device.type == "cuda"
        if self.settings.compile == "on" or (self.settings.compile == "auto" and long):
            self.facts["compiled"] = self.policy.compile()

    def _contract(self) -> dict[str, str]:
        return {
            "method": f"{self.method.id} version {self.method.version}",
            "settings": spec_text(self.settings),
            "seed": str(self.job.seed),
            "data": self.data.digest,
            "base": base_digest(self.job.base),
            "tokenizer": self.chat.tokenizer_digest,
            "chat_template": self.chat.template_digest,
            "device": self.policy.device.type,
        }

    # ---- checkpoints -------------------------------------------------------------------------------------------

    @property
    def checkpoints_dir(self) -> Path:
        return self.job.scratch_dir / "checkpoints"

    @property
    def best_dir(self) -> Path:
        return self.job.scratch_dir / "best"

    def save(self) -> None:
        """Everything needed to go on from here, once the processes were seen to hold the same weights."""
        if self.ranks.size > 1:
            self.ranks.require_equal("weights", parallel.fingerprint(self.policy.trainable()))
        self.ranks.first_alone(self._write)

    def _write(self) -> None:
        self.progress.watched = self.watch.state()
        checkpoints.write(
            self.checkpoints_dir,
            Checkpoint(
                self.policy.weights(),
                self.optimizer.adamw.state_dict(),
                self.optimizer.scheduler.state_dict(),
                self.progress.as_dict(),
                self.contract,
                checkpoints.rng_state(),
            ),
        )

    def restore(self) -> None:
        """Go back to the newest whole checkpoint, if there is one; also of another number of processes."""
        self.ranks.first_before_others(self._restore)
        self.ranks.require_equal("checkpoint", {"step": str(self.progress.step)})

    def _restore(self) -> None:
        if not self.job.resume:
            if self.ranks.first:
                for folder in (self.checkpoints_dir, self.best_dir):
                    shutil.rmtree(folder, ignore_errors=True)
            return
        found, damaged = checkpoints.newest(self.checkpoints_dir)
        if damaged:
            self.facts["checkpoints_damaged"] = ", ".join(damaged)
        if found is None:
            return
        checkpoints.require_same(self.contract, found.contract, self.checkpoints_dir)
        self.policy.load_weights(found.weights)
        self.optimizer.adamw.load_state_dict(dict(found.optimizer))
        self.optimizer.scheduler.load_state_dict(dict(found.scheduler))
        checkpoints.set_rng_state(found.rng)
        self.progress = _Progress(**found.progress)
        self.watch.restore(self.progress.watched)
        self.facts["resumed_at_step"] = found.step

    def save_best(self) -> None:
        with new_folder(self.best_dir) as partial:
            save_file(self.policy.weights(), str(partial / "weights.safetensors"))
            digest = file_digest(partial / "weights.safetensors")
            (partial / "manifest.json").write_text(json.dumps({"step": self.progress.step, "weights": digest}))

    def load_best(self) -> None:
        """Put the best validated weights in place.

        Raises:
            Tampered: the file is not what was saved.
        """
        path = self.best_dir / "weights.safetensors"
        manifest = json.loads((self.best_dir / "manifest.json").read_text())
        if file_digest(path) != manifest["weights"] or manifest["step"] != self.progress.best_step:
            raise Tampered("the best weights of this run are damaged", where=str(path))
        self.policy.load_weights(load_file(str(path)))

    # ---- the run -----------------------------------------------------------------------------------------------

    def loop(self, journal: Journal, interrupted: threading.Event, until: int | None = None) -> None:
        """Drive the method's generator; log, validate, save and stop between its updates, at the latest at `until`."""
        start = self.progress.step
        last = self.plan.steps if until is None else min(until, self.plan.steps)
        if self.progress.stopped or start >= last:
            return
        if start == 0 and self.settings.mix and self.data.validation:
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
                self.save()
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
        if self.progress.best_loss is None or found["loss"] < self.progress.best_loss:
            self.progress.best_loss, self.progress.best_step = found["loss"], self.progress.step
            self.progress.bad_validations = 0
            if self.settings.early_stopping_patience:
                self.ranks.first_alone(self.save_best)
            return
        self.progress.bad_validations += 1
        patience = self.settings.early_stopping_patience
        self.progress.stopped = bool(patience) and self.progress.bad_validations >= patience

    def _losses_aside(self, journal: Journal) -> dict[str, float]:
        """What the method finds on the rows set aside: `loss` and its kin on the data itself, `loss/PART` on each part
        of the mix."""
        found: dict[str, float] = {}
        with self.policy.evaluating():
            for part in sorted({row.part for row in self.data.validation}):
                rows = [row for row in self.data.validation if row.part == part]
                told = self.method.evaluate(self.policy, rows, self.plan.over(rows), self.prepared)
                found |= told if part == MAIN else {f"loss/{part}": told["loss"]}
        for what, warning in self.watch.look_back(found, self.progress.step):
            self.facts[f"{what}_since_step"] = self.progress.step
            journal.warn(self.progress.step, warning)
        return found

    def finish(self) -> None:
        """Write the model folder."""
        self.ranks.first_alone(self._finish)

    def _finish(self) -> None:
        if self.settings.early_stopping_patience and self.progress.best_step:
            self.load_best()
            self.facts["weights_of_step"] = self.progress.best_step
        clean(self.job.output_dir.parent)
        with new_folder(self.job.output_dir) as partial:
            save(self.policy, partial)

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
    run.finish()
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
        run.finish()
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
    run.restore()
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
        yield journal, interrupted
