"""Opens a job: device, data, model, plan and optimiser, each checked against the others before the first step."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from goldsmith.engines.chat import open_chat
from goldsmith.engines.training.checkpointing.folders import require_writable
from goldsmith.engines.training.data.batches import Plan
from goldsmith.engines.training.data.prepare import TrainingData, plan_of, prepare_data
from goldsmith.engines.training.data.rows import Row
from goldsmith.engines.training.guards.finite import require_finite_weights
from goldsmith.engines.training.guards.overfitting import Watched, watched_rows
from goldsmith.engines.training.guards.self_test import choose_way
from goldsmith.engines.training.job import Progress, TrainingJob
from goldsmith.engines.training.memory.allocator import grow_segments, keep_pages
from goldsmith.engines.training.method import Method
from goldsmith.engines.training.model.adapters import what_is_tuned
from goldsmith.engines.training.model.loading import context_of
from goldsmith.engines.training.model.policy import open_policy
from goldsmith.engines.training.model.vocabulary import never_seen
from goldsmith.engines.training.optimizer import build_optimizer
from goldsmith.engines.training.reinforcement.base import OnlineMethod
from goldsmith.engines.training.scale import parallel, sharding
from goldsmith.engines.training.scale.launcher import require_followable
from goldsmith.engines.training.settings import TrainingSettings
from goldsmith.engines.training.watching import Watch
from goldsmith.trust.canonical import spec_text
from goldsmith.trust.records import content_digest
from goldsmith.types.errors import BadInput, Unavailable

log = logging.getLogger("goldsmith.training")

CHECKPOINTS, BEST = "checkpoints", "best"
"""Folders of a run's scratch folder."""
COMPILE_TOKENS = 20_000_000
"""A run of so many tokens wins back the minute that compiling takes, on a model of a billion weights or so."""


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


class Opened:
    """One job with all that belongs to it."""

    def __init__(self, job: TrainingJob) -> None:
        self.job = job
        self.method: Method = job.method
        if not isinstance(job.method, TrainingSettings):
            raise BadInput("the job's method is no training method", found=type(job.method).__name__)
        self.settings: TrainingSettings = job.method
        require_followable(self.settings.precision)
        self.ranks = parallel.join(job.device)
        self.ranks.first_alone(lambda: require_writable(job.output_dir))
        self.sharded = job.shard == "full" and self.ranks.size > 1
        if self.sharded:
            self._require_shardable()
        self.ranks = parallel.keep_step(self.sharded)
        self.accelerator = _accelerator(job)
        if self.accelerator.device.type == "cpu":
            keep_pages(short=self.sharded)
        else:
            grow_segments(grow=not self._asks_vllm())  # vLLM's pools of memory do not go with it
        self.chat = open_chat(job.base, self.settings.new_tokens)
        self.data = self.ranks.first_before_others(self._data)
        self._require_mixable()
        device = "cpu" if self.sharded else str(self.accelerator.device)
        self.policy = open_policy(
            job.base, self.chat, self.settings, seed=job.seed, device=device, in_parts=self.sharded
        )
        if not self.sharded:
            self._require_finite_base()
        self.facts: dict[str, str | int] = dict(self.chat.facts)
        self.facts |= what_is_tuned(self.policy.model, self.settings.adapter)
        self.contract = self._contract()
        if self.ranks.size > 1:
            self._share()
        self.facts |= never_seen(self.chat.tokenizer, self.settings.new_tokens, self.data.train)
        self.facts |= {"rows_weighted": n} if (n := sum(row.weight != 1.0 for row in self.data.train)) else {}
        self.facts |= choose_way(self.policy, self.data.train, self.settings.max_length)
        self.plan = self._plan()
        self._compile()
        self.optimizer = build_optimizer(
            self.policy, self.settings, self.plan.steps * self.settings.optimizer_steps_per_step
        )
        self.watch = Watch(self.settings)
        self.progress = Progress()
        self.measured: tuple[int, float] | None = None  # the step and loss of the last validation here
        self.ranks.require_equal("way of batching", {"batching": self.policy.way})
        # Reference values belong to the base: they are taken before a checkpoint's weights come in, also when going on.
        self.prepared = self._prepared((*self.data.train, *self.data.validation))
        self.watched = self._watched()
        self.prepared_perturbed = self._prepared(self.watched.perturbed) if self.watched else None

    def _require_shardable(self) -> None:
        """Nothing of the method needs whole weights but the moment of writing. Errors: BadInput."""
        sharding.require_shardable(self.settings)
        method = self.job.method
        if not isinstance(method, OnlineMethod):
            return
        vllm = self._asks_vllm()
        if vllm or self.settings.has_value_head:
            raise BadInput(
                "vLLM takes whole weights" if vllm else f"{self.method.id} learns a value head, which is not cut",
                where="generate.engine" if vllm else "shard",
                found=method.generate.engine if vllm else self.job.shard,
                allowed="builtin" if vllm else "none",
                next_step="let every process hold the model (shard: none)",
            )

    def _asks_vllm(self) -> bool:
        method = self.job.method
        return isinstance(method, OnlineMethod) and method.generate.engine != "builtin"

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
            validation_names=job.validation_names,
            context=context_of(job.base),
        )

    def _share(self) -> None:
        """Processes begin alike, and with equal weights; where they shall, each keeps its shard of them."""
        self.facts["processes"] = self.ranks.size
        self.ranks.require_equal("run", {**self.contract, "shard": self.job.shard, "torch": torch.__version__})
        unread = self.policy.unread
        # what is still in the files is equal where those are, and their digest is part of the contract
        here = [(name, p) for name, p in self.policy.trainable() if unread is None or name not in unread]
        self.ranks.require_equal("weights", parallel.fingerprint(here))
        if self.sharded:
            self._cut()

    def _cut(self) -> None:
        """Into shards, each process's read from the files by itself where that can be."""
        whole = self.policy.read_whole
        self.facts |= {"shard": "full", "weights_read": f"whole: {whole}" if whole else "in shards"}
        if whole and self.ranks.first:
            log.warning("every process first reads the whole base into main memory: %s", whole)
        sharding.shard(self.policy, self.accelerator.device)
        self.ranks.together(lambda: sharding.fill(self.policy))
        self.ranks.together(self._require_finite_base)

    def _require_finite_base(self) -> None:
        require_finite_weights(
            self.policy.model.named_parameters(),
            "the base model",
            self.job.base,
            "fetch the model again, or name the one that it was trained from",
        )

    def _prepared(self, rows: Sequence[Row]) -> Any:
        method = self.job.method
        if not isinstance(method, OnlineMethod):
            return self.method.prepare(self.policy, rows, self.plan)
        records = {content_digest(record): record for record in (*self.job.records, *(self.job.validation or ()))}
        return method.prepare(self.policy, rows, self.plan, records)

    def _watched(self) -> Watched | None:
        """Rows by which overfitting shows; prepared apart, so that watching changes nothing that is trained."""
        job, settings = self.job, self.settings
        if isinstance(job.method, OnlineMethod):
            return None
        records = {settings.row_key(r): r for r in (*job.records, *(job.validation or ())) if self.method.accepts(r)}
        return watched_rows(
            settings.overfit,
            self.data.train,
            self.data.validation,
            records,
            lambda record, name, key: self.method.encode(self.chat, record, name, key),
            max_length=settings.max_length,
            seed=job.seed,
        )

    def _plan(self) -> Plan:
        plan = plan_of(
            self.settings, self.data.train, self.job.seed, device=self.policy.device.type, share=self.policy.shares
        )
        return replace(plan, processes=self.ranks.size)

    def _compile(self) -> None:
        tokens = self.plan.steps * self.plan.rows_per_update * sum(row.tokens for row in self.data.train)
        long = tokens / len(self.data.train) >= COMPILE_TOKENS and self.policy.device.type == "cuda"
        if self.sharded:
            return
        if self.settings.compile == "on" or (self.settings.compile == "auto" and long):
            self.facts["compiled"] = self.policy.compile()

    def _contract(self) -> dict[str, str]:
        return {
            "method": f"{self.method.id} version {self.method.version}",
            "settings": spec_text(self.settings),
            "seed": str(self.job.seed),
            "data": self.data.digest,
            "base": self.policy.base_digest,
            "tokenizer": self.chat.tokenizer_digest,
            "chat_template": self.chat.template_digest,
            "device": self.accelerator.device.type,
        }

    @property
    def checkpoints_dir(self) -> Path:
        return self.job.scratch_dir / CHECKPOINTS

    @property
    def best_dir(self) -> Path:
        return self.job.scratch_dir / BEST
