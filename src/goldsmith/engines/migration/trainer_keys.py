"""The settings both tools hand on to transformers' Trainer, under its names or their own."""

from dataclasses import dataclass

from goldsmith.engines.migration.draft import Draft, number, truth, whole

_SCHEDULES = {
    "linear": "linear",
    "cosine": "cosine",
    "constant": "constant",
    "constant_with_warmup": "constant",
}


@dataclass(frozen=True, slots=True)
class Names:
    """How one tool calls what both have, with its own defaults."""

    epochs: str
    epochs_default: float
    schedule: str
    schedule_default: str
    batch: str
    batch_default: int
    length: str
    length_default: int
    rate_default: float | None
    seed_default: int
    optimiser: str


FACTORY = Names(
    "num_train_epochs", 3.0, "lr_scheduler_type", "linear", "per_device_train_batch_size", 8, "cutoff_len", 2048,
    5e-5, 42, "optim",
)  # fmt: skip
AXOLOTL = Names(
    "num_epochs", 1.0, "lr_scheduler", "cosine", "micro_batch_size", 1, "sequence_len", 512, None, 42, "optimizer"
)  # fmt: skip


def read_optimiser(draft: Draft, names: Names) -> None:
    """Learning rate, schedule, warm-up, AdamW's numbers, clipping, how long."""
    given = draft.given
    rate = number(given.get("learning_rate", names.rate_default))
    if rate is not None:
        draft.put("learning_rate", "learning_rate", rate)
    for key, setting in (
        ("weight_decay", "weight_decay"),
        ("max_grad_norm", "max_grad_norm"),
        ("adam_beta1", "adam_beta1"),
        ("adam_beta2", "adam_beta2"),
    ):
        value = number(given.get(key))
        if value is not None:
            draft.put(key, setting, value)
    steps = whole(given.get("max_steps"))
    if steps is not None and steps > 0:
        draft.put("max_steps", "max_steps", steps)
        if given.has(names.epochs):
            draft.note(names.epochs, "ignored", "max_steps overrides it, there and here")
    else:
        if given.has("max_steps"):
            draft.note("max_steps", "ignored", "no limit, there and here")
        draft.put(names.epochs, "epochs", number(given.get(names.epochs, names.epochs_default)))
    _schedule(draft, names)
    _warmup(draft)
    _optimiser(draft, names.optimiser)
    seed = whole(given.get("seed", names.seed_default))
    draft.seed = 0 if seed is None else seed
    draft.note("seed", "taken" if given.has("seed") else "added", "", to=f"seed: {draft.seed}")


def _schedule(draft: Draft, names: Names) -> None:
    wanted = str(draft.given.get(names.schedule, names.schedule_default)).lower()
    if wanted in _SCHEDULES:
        draft.put(names.schedule, "schedule", _SCHEDULES[wanted])
    else:
        draft.put(
            names.schedule,
            "schedule",
            "cosine",
            f"the schedule {wanted!r} is not known here; cosine falls to zero over the run instead",
            changed=True,
        )


def _optimiser(draft: Draft, key: str) -> None:
    if not draft.given.has(key):
        return
    name = str(draft.given.get(key)).lower()
    if name in ("adamw_torch", "adamw_torch_fused", "adamw_hf", "adamw"):
        draft.note(key, "taken", "AdamW with its moments in float32")
    elif "adamw" in name:
        text = "AdamW with its moments in float32: the same steps, and 8 bytes a trained weight instead of 2"
        draft.note(key, "changed", text, next_step="goldsmith fit says whether it fits")
    else:
        draft.missing(key, "AdamW is the optimiser here", "leave it out; another optimiser wants another learning rate")


def _warmup(draft: Draft) -> None:
    given = draft.given
    ratio, steps = number(given.get("warmup_ratio")), number(given.get("warmup_steps"))
    most = draft.settings.get("max_steps")
    if ratio is not None:
        draft.put("warmup_ratio", "warmup_share", ratio)
        if steps:
            draft.note("warmup_steps", "ignored", "warmup_ratio is taken instead")
    elif steps and steps < 1:
        draft.put("warmup_steps", "warmup_share", steps, "below 1 it is a share of the steps, there and here")
    elif steps and most:
        draft.put("warmup_steps", "warmup_share", round(min(0.99, steps / most), 6), f"{steps:g} of {most} steps")
    elif steps:
        draft.put(
            "warmup_steps",
            "warmup_share",
            0.03,
            f"{steps:g} steps are a share of the run here, and how many steps it has is not known before the data is "
            "read; 3 % is written instead",
            changed=True,
        )
    else:
        draft.put("warmup_ratio", "warmup_share", 0.0, "" if not given.has("warmup_ratio") else "no warm-up")
        if given.has("warmup_steps"):
            draft.note("warmup_steps", "taken", "no warm-up", to="warmup_share: 0.0")


def read_batch(draft: Draft, names: Names, devices: int) -> None:
    """Rows of an update: per device x accumulation x devices, there and here."""
    given = draft.given
    each = whole(given.get(names.batch, names.batch_default)) or 1
    total = whole(given.get("batch_size")) if draft.tool == "axolotl" else None
    accumulation = whole(given.get("gradient_accumulation_steps")) or (max(1, (total or each) // (each * devices)))
    rows = each * devices
    text = f"{each} rows on {devices} device(s) x {accumulation} = {rows * accumulation} rows of an update"
    if devices == 1:
        text += "; name --devices where the file ran on several"
    draft.put(names.batch, "batch_size", rows, text)
    draft.put("gradient_accumulation_steps", "gradient_accumulation", accumulation, "1 there and here" * (
        not given.has("gradient_accumulation_steps")))  # fmt: skip
    if total is not None:
        draft.note("batch_size", "taken", f"{rows * accumulation} rows of an update", to="gradient_accumulation")


def read_length(draft: Draft, names: Names, what_theirs_does: str, *, same: bool = False) -> None:
    """The most tokens of a row. `same`: what becomes of longer ones is taken over as `over_long`."""
    length = whole(draft.given.get(names.length, names.length_default)) or names.length_default
    text = (
        f"{what_theirs_does}; here a longer row stops the run before it starts, and over_long (drop, cut_keep_stop) "
        "decides otherwise, counted"
    )
    draft.put(names.length, "max_length", length, what_theirs_does if same else text, changed=not same)


def read_rhythm(draft: Draft) -> None:
    """When to validate and to save."""
    given = draft.given
    strategy = str(given.get("eval_strategy", given.get("evaluation_strategy", ""))).lower()
    for key in ("eval_strategy", "evaluation_strategy"):
        if given.has(key):
            draft.note(key, "taken", "validation at the end of each epoch" if strategy == "epoch" else "")
    every = number(given.get("eval_steps"))
    if every is not None and every >= 1:
        draft.put("eval_steps", "evaluate_every", int(every))
    elif every:
        draft.put("eval_steps", "evaluate_every", 0, "a share of the run is not known here: each epoch", changed=True)
    saving = number(given.get("save_steps"))
    if saving is not None and saving >= 1:
        draft.put("save_steps", "checkpoint_every", int(saving), "only the newest checkpoint is kept")
    elif saving:
        draft.put("save_steps", "checkpoint_every", 100, "a share of the run is not known here", changed=True)
    patience = whole(given.get("early_stopping_patience", given.get("early_stopping_steps")))
    key = "early_stopping_patience" if draft.tool == "axolotl" else "early_stopping_steps"
    if patience:
        draft.put(key, "early_stopping_patience", patience, "validations without a better loss; the best weights stay")


def read_precision(draft: Draft, keys: tuple[str, ...], half: tuple[str, ...], *, frozen_in_half: bool) -> None:
    """bfloat16 as they use it; float16 does not exist here. `frozen_in_half`: a frozen base is kept in half
    precision under an adapter."""
    given = draft.given
    wanted = "bfloat16" if frozen_in_half and draft.adapter.get("kind", "none") != "none" else "bfloat16_mixed"
    on = [key for key in keys if truth(given.get(key)) or given.get(key) == "auto"]
    for key in keys:
        if not given.has(key) or key in on[:1]:
            continue
        draft.note(key, "ignored", "the same as " + on[0] if key in on else "switched off")
    for key in half:
        if truth(given.get(key)):
            draft.put(key, "precision", wanted, "float16 overflows; bfloat16 is used in its place", changed=True)
        elif given.has(key):
            draft.note(key, "ignored", "switched off")
    if on:
        auto = given.get(on[0]) == "auto"
        text = "the device is asked there; here it is written down (float32 on a CPU without bfloat16)" if auto else ""
        draft.put(on[0], "precision", wanted, text, changed=auto)


def read_checkpointing(draft: Draft, key: str, on: bool, text: str = "") -> None:
    """Activations computed again in the backward pass."""
    if on or draft.given.has(key):
        draft.put(key, "activation_checkpointing", on, text)


def read_tracking(draft: Draft, wanted: list[str], key: str) -> None:
    """Trackers by the names accelerate knows."""
    names = [name for name in wanted if name not in ("none", "all", "")]
    draft.trackers += [name for name in names if name not in draft.trackers]
    if names:
        draft.note(key, "taken", "the tracker's package must be installed", to=f"trackers: {', '.join(names)}")
    elif draft.given.has(key):
        draft.note(key, "ignored", "no tracker is named; every step is in the run's metrics all the same")
