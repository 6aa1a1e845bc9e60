"""A training job: what is asked for, how far it has got, and what came of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from goldsmith.types.artifact import Digest
from goldsmith.types.record import Record


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """What to train, on what, and where to.

    `method`: a methods Spec (`plugins.build("methods", ...)`). `base`: a model folder or hub id. `row_names`: how
    messages call each record (source, batch and line); `validation_names`: the same of `validation`. `scratch_dir`
    holds checkpoints and metrics and is what `resume` goes on from; `output_dir` is made whole or not at all. `trust`:
    by record digest, what a row counts for under `trust_weighting`; 1 where it says nothing, and None where nobody
    looked. `shard`: whether several processes hold the whole model each, or a shard of it; what comes out is the same,
    so a run goes on either way.
    """

    method: Any
    base: str
    records: Sequence[Record]
    output_dir: Path
    scratch_dir: Path
    seed: int = 0
    validation: Sequence[Record] | None = None
    row_names: Sequence[str] | None = None
    validation_names: Sequence[str] | None = None
    cache_dir: Path | None = None
    trust: Mapping[Digest, float] | None = None
    trackers: tuple[str, ...] = ()
    resume: bool = True
    progress: bool = True
    device: Literal["auto", "cpu", "cuda"] = "auto"
    shard: Literal["none", "full"] = "none"


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
class Progress:
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
