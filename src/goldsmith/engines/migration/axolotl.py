"""Axolotl's YAML (`axolotl train FILE`), key by key.

What its keys mean is taken from its documentation and published schema; nothing of it is run or copied.
"""

from pathlib import Path
from typing import Any

from goldsmith.engines.migration import trainer_keys, tuning
from goldsmith.engines.migration.axolotl_keys import IGNORED, KNOWN, UNSUPPORTED
from goldsmith.engines.migration.draft import Draft, account_for_the_rest, number, truth, whole
from goldsmith.engines.migration.sharding import read_sharding

NAMES = trainer_keys.AXOLOTL
_LONG = {
    "drop": "longer rows are left out there, and counted in the log",
    "truncate": "longer rows are cut there, the answer's end and its stop token with them",
    "raise": "a longer row stops the run there too",
}


def read_axolotl(draft: Draft, devices: int, folder: Path) -> None:
    """Fill the draft from its file, which lies in `folder`."""
    draft.take_base("base_model")
    if _method(draft):
        _what_is_trained(draft, devices, folder)
    account_for_the_rest(draft, IGNORED, UNSUPPORTED, KNOWN)


def _what_is_trained(draft: Draft, devices: int, folder: Path) -> None:
    given = draft.given
    _what_is_tuned(draft)
    trainer_keys.read_optimiser(draft, NAMES)
    trainer_keys.read_batch(draft, NAMES, devices)
    _length(draft)
    trainer_keys.read_rhythm(draft)
    for key in ("evals_per_epoch", "saves_per_epoch"):
        if given.has(key):
            what = "validation" if key.startswith("eval") else "a checkpoint"
            every = "at the end of each epoch" if key.startswith("eval") else "every 100 steps"
            draft.note(key, "changed", f"{what} comes {every} here", next_step="set evaluate_every, checkpoint_every")
    _precision(draft)
    on = given.get("gradient_checkpointing", False)
    trainer_keys.read_checkpointing(draft, "gradient_checkpointing", bool(on) and on != "false")
    if on == "offload" or (on and truth(given.get("activation_offloading"))):
        draft.put("gradient_checkpointing" if on == "offload" else "activation_offloading", "activation_offload", True)
    _tracking(draft)
    _rows(draft)
    _adapter_options(draft)
    read_sharding(draft, devices, folder)


def _method(draft: Draft) -> bool:
    given = draft.given
    if truth(given.get("reward_model")):
        return tuning.choose(draft, "reward_model", ("reward_model",), "reward modelling")
    if truth(given.get("process_reward_model")):
        return tuning.choose(draft, "process_reward_model", ("process_reward",), "process reward modelling")
    kind = given.get("rl")
    if kind is None:
        if given.has("pretraining_dataset"):
            text = "texts are streamed there; here they are a file, every token is trained"
            return tuning.choose(draft, "pretraining_dataset", ("sft",), "pre-training", text, changed=True)
        return tuning.choose(draft, "datasets", ("sft",), "supervised fine-tuning")
    readers = {"dpo": _dpo, "ipo": _dpo, "kto": _kto, "orpo": _orpo, "simpo": _simpo, "grpo": _grpo}
    reader = readers.get(str(kind))
    return tuning.choose(draft, "rl", (), f"rl: {kind}") if reader is None else reader(draft)


def _beta(draft: Draft, setting: str, default: float) -> None:
    key = "rl_beta" if draft.given.has("rl_beta") or not draft.given.has("dpo_beta") else "dpo_beta"
    draft.put(key, setting, number(draft.given.get(key, default)))


def _dpo(draft: Draft) -> bool:
    if not tuning.choose(draft, "rl", ("dpo",), "DPO"):
        return False
    _beta(draft, "beta", 0.1)
    given = draft.given
    if given.get("rl") == "ipo":
        draft.put("rl", "loss", "ipo")
        return True
    loss = given.get("dpo_loss_type", "sigmoid")
    names = [str(one) for one in loss] if isinstance(loss, list) else [str(loss)]
    if len(names) > 1:
        draft.missing("dpo_loss_type", "several losses at once are not supported", f"{names[0]} is written")
    smoothing = number(given.get("dpo_label_smoothing", 0.0)) or 0.0
    tuning.pair_loss(draft, "dpo_loss_type", names[0], "dpo_label_smoothing", smoothing)
    return True


def _kto(draft: Draft) -> bool:
    if not tuning.choose(draft, "rl", ("kto",), "KTO"):
        return False
    _beta(draft, "beta", 0.1)
    for key, setting in (
        ("kto_desirable_weight", "desirable_weight"),
        ("kto_undesirable_weight", "undesirable_weight"),
    ):
        if draft.given.has(key):
            draft.put(key, setting, number(draft.given.get(key)))
    return True


def _orpo(draft: Draft) -> bool:
    if not tuning.choose(draft, "rl", ("orpo",), "ORPO"):
        return False
    text = "what the odds ratio weighs; the cross-entropy is the chosen answer's alone here, TRL's counts the prompt"
    draft.put("orpo_alpha", "odds_weight", number(draft.given.get("orpo_alpha", 0.1)), text, changed=True)
    return True


def _simpo(draft: Draft) -> bool:
    if not tuning.choose(draft, "rl", ("simpo",), "SimPO"):
        return False
    given = draft.given
    _beta(draft, "beta", 0.1)
    draft.put("simpo_gamma", "gamma", number(given.get("simpo_gamma", 0.5)))
    if number(given.get("cpo_alpha")):
        draft.missing("cpo_alpha", "a share of plain fine-tuning loss beside SimPO's", "train sft first, or orpo")
    elif given.has("cpo_alpha"):
        draft.note("cpo_alpha", "taken", "0: SimPO alone")
    return True


def _grpo(draft: Draft) -> bool:
    if not tuning.choose(draft, "rl", ("grpo",), "GRPO"):
        return False
    settings = draft.given.get("trl", {})
    settings = settings if isinstance(settings, dict) else {}
    taken = []
    for theirs, ours in (
        ("beta", "beta"),
        ("num_generations", "group_size"),
        ("max_completion_length", "max_new_tokens"),
        ("temperature", "temperature"),
        ("epsilon", "epsilon"),
        ("top_p", "top_p"),
    ):
        if theirs in settings and draft.can(ours):
            draft.settings[ours] = settings[theirs]
            taken.append(f"{theirs} as {ours}")
    said = f"taken: {', '.join(taken) or 'nothing'}; reward functions in Python files are not imported"
    tuning.rewards_to_name(draft, "trl", said)
    return True


def _what_is_tuned(draft: Draft) -> None:
    given = draft.given
    kind = given.get("adapter")
    if kind is None:
        draft.adapter["kind"] = "none"
        draft.note(
            "adapter",
            "taken" if "adapter" in given.values else "added",
            "the whole model is tuned",
            to="adapter.kind: none",
        )
        if given.has("unfrozen_parameters"):
            tuning.frozen_layers(draft, "unfrozen_parameters")
        return
    if kind not in ("lora", "qlora"):
        draft.missing("adapter", f"the adapter {kind!r} is not supported", "LoRA is written instead")
    else:
        draft.note("adapter", "taken", "", to="adapter.kind: lora")
    rank = whole(given.get("lora_r", 8)) or 8
    targets: Any = given.get("lora_target_modules")
    chosen = [targets] if isinstance(targets, str) else [str(t) for t in targets] if targets else None
    every = truth(given.get("lora_target_linear")) or chosen == ["all-linear"] or chosen is None
    key = "lora_target_linear" if given.has("lora_target_linear") else "lora_target_modules"
    tuning.lora(
        draft,
        {"rank": "lora_r", "alpha": "lora_alpha", "dropout": "lora_dropout", "targets": key},
        rank=rank,
        alpha=number(given.get("lora_alpha")) or float(rank),
        dropout=number(given.get("lora_dropout", 0.0)) or 0.0,
        targets=None if every else chosen,
    )
    if every and chosen not in (None, ["all-linear"]):
        draft.note("lora_target_modules", "ignored", "lora_target_linear takes all linear layers")
    if kind == "qlora":
        tuning.quantised(draft, "adapter", 4)
    for key, bits in (("load_in_4bit", 4), ("load_in_8bit", 8)):
        if not given.has(key):
            continue
        if not truth(given.get(key)):
            draft.note(key, "ignored", "switched off")
        elif kind == "qlora" and bits == 4:
            draft.note(key, "ignored", "said by adapter: qlora")
        else:
            tuning.quantised(draft, key, bits)


def _length(draft: Draft) -> None:
    how = str(draft.given.get("excess_length_strategy", "drop"))
    cut = how == "truncate"
    trainer_keys.read_length(draft, NAMES, _LONG.get(how, _LONG["drop"]), same=not cut)
    over = {"drop": "drop", "raise": "refuse"}.get(how, "refuse")
    text = "an answer cut off without its stop token teaches never to stop" if cut else ""
    draft.put("excess_length_strategy", "over_long", over, text, changed=cut)


def _precision(draft: Draft) -> None:
    given = draft.given
    if not any(given.has(key) for key in ("bf16", "bfloat16", "fp16", "float16", "float32")):
        wanted = "bfloat16" if draft.adapter["kind"] != "none" else "bfloat16_mixed"
        draft.put("bf16", "precision", wanted, "bf16: auto is its default (float32 on a CPU without bfloat16)")
        return
    trainer_keys.read_precision(draft, ("bf16", "bfloat16"), ("fp16", "float16"), frozen_in_half=True)
    if given.has("float32"):
        draft.note("float32", "taken", "")


def _tracking(draft: Draft) -> None:
    given = draft.given
    for key, tracker in (
        ("wandb_project", "wandb"),
        ("use_wandb", "wandb"),
        ("use_tensorboard", "tensorboard"),
        ("use_mlflow", "mlflow"),
        ("use_comet", "comet_ml"),
    ):
        value = given.get(key)
        wanted = bool(value) if key == "wandb_project" else truth(value)
        if wanted or given.has(key):
            trainer_keys.read_tracking(draft, [tracker] if wanted else [], key)


def _rows(draft: Draft) -> None:
    given = draft.given
    for key in ("chat_template", "chat_template_jinja"):
        if not given.has(key):
            continue
        if key == "chat_template" and given.get(key) == "tokenizer_default":
            draft.note(key, "taken", "the tokenizer's own template, there and here")
        else:
            text = (
                "prompts are written there by this template; here by the chat template in the model's tokenizer, "
                "which is what serving uses (look at it: goldsmith show batch)"
            )
            draft.note(key, "changed", text, next_step="save the template with the tokenizer if you want this one")
    if truth(given.get("sample_packing")):
        draft.rows_per_block = True
        text = "a batch counts blocks of sequence_len tokens there, rows here; here rows never see each other"
        draft.put("sample_packing", "packing", "best_fit", text, changed=True)
    elif given.has("sample_packing"):
        draft.note("sample_packing", "changed", "padded rows there; here rows are packed and the update is the same")
    if truth(given.get("train_on_inputs")):
        draft.missing("train_on_inputs", "only the assistant's turns are trained here", "leave it out")
    elif given.has("train_on_inputs"):
        draft.note("train_on_inputs", "taken", "prompts are masked, there and here")
    size = number(given.get("val_set_size", 0.0)) or 0.0
    if 0 < size < 0.5:
        draft.validation_share = size
        draft.note("val_set_size", "taken", "which rows follows from their content", to="validation_share")
    elif size:
        draft.missing("val_set_size", "a number of rows, or more than half", "set validation_share to less than 0.5")


def _adapter_options(draft: Draft) -> None:
    given = draft.given
    for key, setting, what in (
        ("peft_use_rslora", "adapter.rank_stabilised", "rank-stabilised LoRA"),
        ("peft_use_dora", "adapter.dora", "DoRA"),
    ):
        if truth(given.get(key)):
            tuning.option(draft, key, setting, True, what, "plain LoRA is written; take it, or wait")
        elif given.has(key):
            draft.note(key, "ignored", "switched off")
    start = given.get("peft_init_lora_weights")
    if isinstance(start, str) and start != "default":
        tuning.option(draft, "peft_init_lora_weights", "adapter.init", start, f"the start {start!r}", "leave it out")
    tuning.noise(draft, "neftune_noise_alpha")
    tuning.noise(draft, "noisy_embedding_alpha")  # its older name
