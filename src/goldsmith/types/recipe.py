"""A recipe: everything one run of the circle needs, in one YAML file. Unknown keys fail."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from goldsmith.types.artifact import Digest, Frozen, Real
from goldsmith.types.record import Maker

Settings = dict[str, Any]
"""Settings of a capability; the capability's own Spec checks them."""


class SourceEntry(Frozen):
    """One delivery: a `file` (or folder), or a `collection` that this workspace took in before.

    Beside a file may lie `NAME.delivery.json`, its source's signature. Without it the file is signed with the
    workspace's own key and everything built on it is marked self-attested.
    """

    name: str
    batch: str = "1"
    file: str | None = None
    collection: Digest | None = None
    format: str | None = None
    maker: Maker = Maker.UNKNOWN
    licence: str | None = None
    generator: str | None = None
    generation_depth: int | None = None
    domain: str | None = None
    language: str | None = None
    project: str | None = None
    trusted: bool = False
    """A trusted source is exempt from the caps on third parties, and from nothing else."""

    @model_validator(mode="after")
    def _one_of(self) -> "SourceEntry":
        if (self.file is None) == (self.collection is None):
            raise ValueError("give either `file` or `collection`")
        return self


class Without(Frozen):
    """What a recall keeps out: a whole source, one of its batches, or one record."""

    source: str | None = None
    batch: str | None = None
    record: Digest | None = None


class CheckEntry(Frozen):
    """Which checks run. `settings` by check name; `off` are named here so that leaving one out is on file."""

    settings: dict[str, Settings] = Field(default_factory=dict)
    off: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    """Checks of third parties, by dotted path."""
    engine: Literal["local", "ray"] = "local"
    """Where the rows are read and looked at one by one: on this machine, or on a Ray cluster."""
    workers: Annotated[int, Field(ge=0)] = 1
    """Processes of the local engine; 0 is one for each core. Each takes about half a gigabyte."""
    ray_address: str | None = None
    """The cluster; without it `RAY_ADDRESS`, and without that one started on this machine."""
    allowed_hosts: tuple[str, ...] | None = None
    allowed_tools: tuple[str, ...] | None = None
    use: tuple[Literal["train", "commercial", "research", "redistribution"], ...] = ()
    """What the data is wanted for; licences are held against it."""
    previous: str | None = None
    """The release before this one (name or digest): its human rows may not vanish, and drift is measured against it."""


class ReleasePolicy(Frozen):
    """What may enter a release.

    `quarantined`: `leave_out` the source x batch, `refuse` the whole release, or `accept` it all the same (on file, and
    shown wherever the release is). `excluded`: the same for single lines. `inconclusive`: checks that could not tell.
    `require_accept`: the sources whose deliveries a reviewer must have accepted, each as a whole (`goldsmith review
    accept --source S --batch B`), before any of their records are let in; or `all`.
    """

    kind: Literal["release_policy"] = "release_policy"
    quarantined: Literal["leave_out", "refuse", "accept"] = "leave_out"
    excluded: Literal["leave_out", "accept"] = "leave_out"
    faulty: Literal["leave_out", "refuse"] = "leave_out"
    inconclusive: Literal["accept", "refuse"] = "accept"
    min_records: int = 1
    without: tuple[Without, ...] = ()
    require_accept: tuple[str, ...] | Literal["all"] = ()

    def must_be_accepted(self, source: str) -> bool:
        """Whether a reviewer must have accepted a delivery of this source."""
        return self.require_accept == "all" or source in self.require_accept


class TrainStep(Frozen):
    """One training method with its settings; each step starts from the model of the step before."""

    method: str
    settings: Settings = Field(default_factory=dict)


class Parallel(Frozen):
    """How several processes share training. The model is that of one process, up to the order in which numbers are
    added, and a run that was stopped goes on with any other of these settings.

    `processes`: how many of this machine, one for each GPU; left at 1 where torchrun or accelerate launch start them.
    `shard`: every process holds the whole model (`none`), or a shard of its weights, gradients and optimiser (`full`:
    FSDP2), so that a larger model fits. With one process it has no meaning. `engine`: processes are started here
    (`local`), or are workers of a Ray cluster (`ray`) at `ray_address` (else `RAY_ADDRESS`, else one of this machine),
    where a lost worker is made good from the last checkpoint up to `retries` times.
    """

    processes: Annotated[int, Field(ge=1)] = 1
    shard: Literal["none", "full"] = "none"
    engine: Literal["local", "ray"] = "local"
    ray_address: str | None = None
    retries: Annotated[int, Field(ge=0)] = 0


class EvalEntry(Frozen):
    eval: str
    name: str | None = None
    settings: Settings = Field(default_factory=dict)


class Rule(Frozen):
    """A bound on one metric of the examination.

    `reads`: the bound is held against the `mean` or the cautious end of its 95 % interval (`interval`).
    `at_least` / `at_most` bound the tuned model; `below_base_at_most` bounds the loss against the base model on the
    same items (paired). A metric that is missing, or has fewer than `min_items` scored items, is inconclusive.
    """

    eval: str
    metric: str
    at_least: float | None = None
    at_most: float | None = None
    below_base_at_most: float | None = None
    reads: Literal["mean", "interval"] = "mean"
    min_items: int = 20
    unscored_share_at_most: float = 0.1

    @model_validator(mode="after")
    def _bounded(self) -> "Rule":
        if self.at_least is None and self.at_most is None and self.below_base_at_most is None:
            raise ValueError("a rule needs `at_least`, `at_most` or `below_base_at_most`")
        return self


class PromotionPolicy(Frozen):
    """All rules must hold. `accept_unchecked`: whether a model trained on an unchecked release may pass at all."""

    rules: tuple[Rule, ...] = Field(min_length=1)
    accept_unchecked: bool = False


Positive = Annotated[Real, Field(gt=0)]


class SweepBudget(Frozen):
    """What a sweep may take: `hours` of this machine, or `euros` at `euros_per_hour`. With a price, costs are told."""

    hours: Positive | None = None
    euros: Positive | None = None
    euros_per_hour: Positive | None = None

    @model_validator(mode="after")
    def _one_bound(self) -> "SweepBudget":
        if (self.hours is None) == (self.euros is None):
            raise ValueError("give either `hours` or `euros`")
        if self.euros is not None and self.euros_per_hour is None:
            raise ValueError("`euros` need `euros_per_hour`, the price of this machine")
        return self

    @property
    def seconds(self) -> float:
        """The budget as seconds of this machine."""
        hours = self.hours if self.hours is not None else (self.euros or 0.0) / (self.euros_per_hour or 1.0)
        return 3600.0 * hours


class SweepObjective(Frozen):
    """An eval's metric, in place of the loss on the validation rows. The eval may be none of the recipe's `examine`."""

    eval: str
    metric: str
    settings: Settings = Field(default_factory=dict)
    best: Literal["highest", "lowest"] = "highest"


class Sweep(Frozen):
    """`goldsmith sweep RECIPE`: which settings of one training step are tried, and for how long.

    Every combination of the lists is tried; with `draw` so many drawn at random, by the recipe's seed, the learning
    rate log-uniform between its least and greatest. `tune`: `full` has neither rank nor dropout; `full_learning_rate`,
    where it is not given, is a tenth of `learning_rate`. Of the candidates of a rung one in `eta` goes on, with `eta`
    times the steps; none has fewer than `min_steps`. `validation_share`: of the rows that the recipe trains on. `base`:
    the model that a step after the first starts from, by its name or digest in the workspace.
    """

    step: Annotated[int, Field(ge=1)] = 1
    base: str | None = None
    tune: tuple[Literal["lora", "qlora", "full"], ...] = Field(("lora", "full"), min_length=1)
    rank: tuple[Annotated[int, Field(ge=1)], ...] = Field((8, 32), min_length=1)
    learning_rate: tuple[Positive, ...] = Field((1e-4, 5e-4), min_length=1)
    full_learning_rate: tuple[Positive, ...] = ()
    dropout: tuple[Annotated[Real, Field(ge=0, lt=1)], ...] = Field((0.0,), min_length=1)
    weight_decay: tuple[Annotated[Real, Field(ge=0)], ...] = Field((0.0,), min_length=1)
    neftune_alpha: tuple[Annotated[Real, Field(ge=0)], ...] = ()
    """Noise on the embeddings (NEFTune; 0 is none). Nothing given: as the step has it."""
    draw: Annotated[int, Field(ge=1, le=10_000)] | None = None
    eta: Annotated[int, Field(ge=2)] = 2
    min_steps: Annotated[int, Field(ge=1)] = 10
    validation_share: Annotated[float, Field(gt=0, lt=0.5)] = 0.1
    objective: Literal["validation_loss"] | SweepObjective = "validation_loss"
    budget: SweepBudget | None = None


class Recipe(Frozen):
    """`goldsmith run RECIPE`: sources in, verdict out."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    base: str = "goldsmith-nano"
    """`goldsmith-nano`, a folder in Hugging Face layout, or a hub id."""
    seed: int = 0
    sources: tuple[SourceEntry, ...] = Field(min_length=1)
    checks: CheckEntry = CheckEntry()
    release: ReleasePolicy = ReleasePolicy()
    validation_share: Annotated[float, Field(ge=0, lt=0.5)] = 0.05
    """Share of the released records kept from training to measure the train/validation gap."""
    train: tuple[TrainStep, ...] = Field(min_length=1)
    examine: tuple[EvalEntry, ...] = Field(min_length=1)
    promote: PromotionPolicy | None = None
    policy: str | None = None
    """A YAML file with the promotion policy, in place of `promote`."""
    trackers: tuple[str, ...] = ()
    parallel: Parallel = Parallel()
    sweep: Sweep | None = None
    """What `goldsmith sweep` tries; `goldsmith run` leaves it alone."""

    @model_validator(mode="after")
    def _decidable(self) -> "Recipe":
        if (self.promote is None) == (self.policy is None):
            raise ValueError("give either `promote` (the rules) or `policy` (a file with them)")
        units = [(one.name, one.batch) for one in self.sources]
        if twice := next((unit for unit in units if units.count(unit) > 1), None):
            raise ValueError(f"{twice[0]} / {twice[1]} stands twice: each delivery of a source is a batch of its own")
        if self.release.require_accept != "all":
            known = {one.name for one in self.sources}
            if unknown := next((name for name in self.release.require_accept if name not in known), None):
                raise ValueError(f"release.require_accept names {unknown!r}, which is no source of this recipe")
        if self.sweep is not None and self.sweep.step > len(self.train):
            raise ValueError(f"sweep.step is {self.sweep.step}, but the recipe has {len(self.train)} training step(s)")
        return self
