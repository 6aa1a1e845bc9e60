"""The settings every training method shares. A method's Spec derives from `TrainingSettings` and adds its own."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from goldsmith.engines.training.data.mixing import MAIN, room_for
from goldsmith.trust.records import content_digest
from goldsmith.types.artifact import Digest, Frozen, Real, Spec
from goldsmith.types.record import Record

Positive = Annotated[Real, Field(gt=0)]
Share = Annotated[Real, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
EndsIn = Literal["words", "number"]


class AdapterSettings(Frozen):
    """What is tuned: the whole model (`none`) or low-rank factors beside its layers (`lora`; Hu et al. 2021,
    arXiv:2106.09685), also over a base in four bits (`qlora`; Dettmers et al. 2023, arXiv:2305.14314; on a GPU).

    `targets`: names of linear layers, or `all-linear` (all but the head); `exclude`: names left out of them;
    `parameters`: stacked weights, such as `experts.gate_up_proj` of a mixture of experts. The update is scaled by
    `alpha / rank`, or where `rank_stabilised` by `alpha / sqrt(rank)` (Kalajdzievski 2023, arXiv:2312.03732). `dora`
    learns each row's length apart from its direction (Liu et al. 2024, arXiv:2402.09353). `init`: the factors start at
    nothing (`zero`), or at the main part of the weights (`pissa`; Meng et al. 2024, arXiv:2404.02948), which is saved
    as a plain adapter of twice the rank. `last_layers`: tune only so many layers, the last ones. `only`, where the
    whole model is tuned: patterns of the names of weights, such as `*.mlp.*`; the rest stays as it is.
    """

    kind: Literal["none", "lora", "qlora"] = "none"
    rank: Count = 16
    alpha: Positive = 32.0
    dropout: Share = 0.0
    targets: tuple[str, ...] = ("all-linear",)
    exclude: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()
    rank_stabilised: bool = False
    dora: bool = False
    init: Literal["zero", "pissa"] = "zero"
    last_layers: Count | None = None
    only: tuple[str, ...] = ()

    @property
    def names_parts(self) -> bool:
        """Whether these settings name, or count, parts of a model, which it may not have."""
        named = self.targets != ("all-linear",) or self.exclude or self.parameters or self.only
        return bool(named) or self.last_layers is not None

    @model_validator(mode="after")
    def _means_something(self) -> "AdapterSettings":
        fields = type(self).model_fields.items()
        changed = {name for name, field in fields if getattr(self, name) != field.default}
        idle = sorted(changed - {"kind", "last_layers", "only"})
        if self.kind == "none" and idle:
            raise ValueError(
                f"{', '.join(idle)} has no meaning where the whole model is tuned: set adapter.kind to lora, or leave "
                "it out"
            )
        if self.kind != "none" and self.only:
            raise ValueError("only names weights of a model tuned as a whole; an adapter has targets and exclude")
        if self.init == "pissa":
            clash = [name for name in ("dora", "parameters") if getattr(self, name)]
            clash += ["kind qlora"] if self.kind == "qlora" else []
            if clash:
                raise ValueError(
                    f"init pissa does not go with {', '.join(clash)}: it moves part of the weights into the adapter"
                )
        if self.parameters and (self.dora or self.dropout):
            raise ValueError("parameters (stacked weights) take neither dora nor dropout")
        return self


class MixedPart(Frozen):
    """Rows that are mixed into every update at a stated `share` of its rows: those of some `sources` of the release.

    `replay`: a reference mix that the model shall not forget. `anchors`: answers to hold on to, such as refusals of
    what is unsafe. Their losses are logged apart (`loss/replay`), and so is the loss on those of their rows that are
    set aside for validation, from before the first step on. Where that rises by more than `rise_at_most` (in the loss's
    own unit; nats per token for SFT) above what it was then, `on_rise` says whether the run warns or stops.
    """

    part: Literal["replay", "anchors"]
    sources: tuple[str, ...] = Field(min_length=1)
    share: Annotated[Real, Field(gt=0, lt=1)]
    rise_at_most: Positive | None = None
    on_rise: Literal["warn", "stop"] = "warn"


class OverfitSettings(Frozen):
    """Whether the run learns its rows by heart, watched where at least 8 rows of the data itself are set aside.

    Before the first step and at each validation the loss is taken on `rows` of the rows trained on, on all set aside,
    and on `rows` of those whose questions are changed on the surface (case, space, a typo, a synonym, another way to
    begin, options in another order; the answer stays). `gap_at_most`: share of the loss that rows trained on have lost,
    and rows set aside have not; it counts once their loss is above its lowest. `surface_at_most`: times the loss that
    changed twins have over their plain rows, over what that was at first. Beyond a bound `act` says whether the run
    warns, or stops and keeps the best validated weights within
    bounds. None: no bound. Watching never changes what is trained.
    """

    act: Literal["warn", "stop", "off"] = "warn"
    gap_at_most: Positive | None = 0.25
    surface_at_most: Positive | None = 2.0
    rows: Annotated[int, Field(ge=8)] = 128


class TrainingSettings(Spec):
    """How a model is tuned. Unknown keys fail."""

    ends_in: ClassVar[EndsIn] = "words"
    """What the trained model gives: the next word, or one number (a reward model)."""

    @property
    def encoding(self) -> str:
        """What a row depends on besides its record and the method's id: settings that enter `encode`, as text."""
        return ""

    def row_key(self, record: Record) -> Digest:
        """Equal for records that give equal rows."""
        return content_digest(record)

    learning_rate: Positive = 2e-5
    """Peak step size of AdamW."""
    epochs: Positive = 1.0
    """Passes over the training rows; a fraction ends within a pass."""
    max_steps: Count | None = None
    """Optimiser steps; overrides `epochs`."""
    batch_size: Count = 8
    """Rows of one forward where rows are not packed; rows of an update are this times `gradient_accumulation`."""
    gradient_accumulation: Count = 1
    """Forwards of one update. 4 x 1 and 1 x 4 give the same update: the loss is divided by its label tokens at once."""
    warmup_share: Share = 0.03
    """Share of the steps in which the step size rises to its peak."""
    schedule: Literal["linear", "cosine", "constant"] = "cosine"
    """How the step size falls after that: to zero, or not at all."""
    weight_decay: Annotated[Real, Field(ge=0)] = 0.0
    """AdamW's decoupled weight decay, on matrices only."""
    adam_beta1: Share = 0.9
    adam_beta2: Share = 0.999
    neftune_alpha: Annotated[Real, Field(ge=0)] = 0.0
    """Noise on the embeddings while learning, uniform within +- this / sqrt(L x H), L a row's own length and H the
    embeddings' width (NEFTune; Jain et al. 2023, arXiv:2310.05914, who take 5 to 15). Never in validation, nor in a
    reference's log-probabilities. 0: none. A prompt with several branches is then computed once for each."""
    max_grad_norm: Annotated[Real, Field(ge=0)] = 1.0
    """Gradients of an update are scaled down to this norm; 0 leaves them alone."""
    max_length: Count = 1024
    """Tokens a row may have."""
    over_long: Literal["refuse", "drop", "cut_keep_stop"] = "refuse"
    """What happens to longer rows: nothing is trained, they are left out, or the answer's text gives way (the prompt
    and the stop token stay). All are counted."""
    packing: Literal["best_fit", "off"] = "best_fit"
    """How the rows of an update are put into forwards: by tokens, best fit, or `batch_size` rows at a time. Rows never
    see each other, and the update is the same."""
    forward_tokens: Count | None = None
    """Tokens of a packed forward: what bounds memory. None: 2,048 on a CPU, 16,384 on a GPU."""
    compile: Literal["auto", "on", "off"] = "auto"
    """Fuse the decoder's layers with torch.compile. `auto`: on a GPU, for runs long enough to win back the minute that
    it takes."""
    adapter: AdapterSettings = AdapterSettings()
    new_tokens: tuple[str, ...] = ()
    """Texts that become one token each; their rows of the embeddings are trained, under an adapter too."""
    precision: Literal["float32", "bfloat16_mixed", "bfloat16"] = "float32"
    """`bfloat16_mixed`: weights in float32, matrix products in bfloat16. `bfloat16`: the frozen base in bfloat16,
    adapters in float32 (adapters only)."""
    validation_share: Share = 0.0
    """Share of the rows set aside for validation, where no validation records are given."""
    evaluate_every: Annotated[int, Field(ge=0)] = 0
    """Steps between validations; 0: at the end of each epoch."""
    early_stopping_patience: Annotated[int, Field(ge=0)] = 0
    """Validations without a better loss after which training stops; 0: never. The best weights are what is kept."""
    overfit: OverfitSettings = OverfitSettings()
    checkpoint_every: Annotated[int, Field(ge=0)] = 100
    """Steps between checkpoints; 0: only on Ctrl-C and at the end."""
    activation_checkpointing: bool = False
    """Compute activations again in the backward pass instead of keeping them: less memory, about a third more time."""
    activation_offload: bool = False
    """What is still kept then, the input of each layer, waits for the backward pass in main memory: for long rows on a
    small GPU. Needs `activation_checkpointing`; on a CPU it is there already."""

    mix: tuple[MixedPart, ...] = ()
    """Sources whose rows make up a stated share of every update (`replay`, `anchors`); the other rows are what epochs
    count. A share that is no whole number of rows is carried over to the next update."""

    trust_weighting: bool = False
    """Rows in which the checks found something count for less: a row's loss is multiplied by 1 - the highest score of
    the findings that name it, and the update's sum is divided by that of its weights. Validation counts all alike."""
    lowest_weight: Annotated[Real, Field(gt=0, le=1)] = 0.1
    """What a row counts for at least under `trust_weighting`."""

    @property
    def keeps_best(self) -> bool:
        """Whether the best validated weights are kept beside the checkpoints."""
        return self.early_stopping_patience > 0 or self.overfit.act == "stop"

    @property
    def has_value_head(self) -> bool:
        """Whether a head that expects rewards is trained beside the model."""
        return False

    @property
    def optimizer_steps_per_step(self) -> int:
        """Updates that one step of the method's loop takes."""
        return 1

    @model_validator(mode="after")
    def _consistent(self) -> "TrainingSettings":
        self._require_mix()
        if self.precision == "bfloat16" and self.adapter.kind == "none":
            raise ValueError("precision bfloat16 needs an adapter: small updates vanish in bfloat16 weights")
        if self.activation_offload and not self.activation_checkpointing:
            raise ValueError(
                "activation_offload needs activation_checkpointing: without it all of a layer would cross the bus"
            )
        if self.adapter.init == "pissa" and self.precision == "bfloat16":
            raise ValueError("init pissa needs float32 weights to be undone exactly: set precision to bfloat16_mixed")
        if self.adapter.kind == "qlora" and self.precision != "bfloat16":
            raise ValueError("adapter.kind qlora computes in bfloat16: set precision to bfloat16")
        if self.new_tokens and self.adapter.kind == "none" and (self.adapter.last_layers or self.adapter.only):
            raise ValueError("new_tokens need their rows of the embeddings trained: use an adapter, or tune everything")
        return self

    def part_of(self, record: Record) -> str:
        """What a record is mixed in as; "" where it is of the data itself."""
        source = record.origin.source
        return next((one.part for one in self.mix if source in one.sources), MAIN)

    def _require_mix(self) -> None:
        parts: list[str] = [one.part for one in self.mix]
        sources = [source for one in self.mix for source in one.sources]
        for listed, what in ((parts, "part"), (sources, "source")):
            if twice := next((name for name in listed if listed.count(name) > 1), None):
                raise ValueError(f"mix: the {what} {twice} stands twice")
        rows = self.batch_size * self.gradient_accumulation
        if not room_for(rows, [float(one.share) for one in self.mix]):
            raise ValueError(
                f"mix: the shares leave no row of an update's {rows} for the data itself; raise batch_size or "
                "gradient_accumulation, or lower a share"
            )
