"""LLaMA-Factory's YAML (`llamafactory-cli train FILE`), key by key.

What its keys mean is taken from its documentation and argument help; nothing of it is run or copied.
"""

from pathlib import Path

from goldsmith.engines.migration import trainer_keys, tuning
from goldsmith.engines.migration.draft import Draft, account_for_the_rest, listed, number, truth, whole
from goldsmith.engines.migration.factory_keys import IGNORED, KNOWN, UNSUPPORTED
from goldsmith.engines.migration.sharding import read_sharding

NAMES = trainer_keys.FACTORY


def read_factory(draft: Draft, devices: int, folder: Path) -> None:
    """Fill the draft from its file, which lies in `folder`."""
    draft.take_base("model_name_or_path")
    if _method(draft):
        _what_is_trained(draft, devices, folder)
    account_for_the_rest(draft, IGNORED, UNSUPPORTED, KNOWN)


def _what_is_trained(draft: Draft, devices: int, folder: Path) -> None:
    given = draft.given
    _what_is_tuned(draft)
    trainer_keys.read_optimiser(draft, NAMES)
    trainer_keys.read_batch(draft, NAMES, devices)
    trainer_keys.read_length(
        draft, NAMES, "longer rows are cut there without a count, the answer's end and its stop token with it"
    )
    trainer_keys.read_rhythm(draft)
    trainer_keys.read_precision(draft, ("bf16",), ("fp16",), frozen_in_half=True)
    _pure_half(draft)
    on = not truth(given.get("disable_gradient_checkpointing"))
    trainer_keys.read_checkpointing(
        draft, "disable_gradient_checkpointing", on, "" if given.has("disable_gradient_checkpointing") else "on there"
    )
    trackers = listed(given.get("report_to"))
    trainer_keys.read_tracking(draft, trackers, "report_to")
    _rows(draft)
    _adapter_options(draft)
    read_sharding(draft, devices, folder)


def _method(draft: Draft) -> bool:
    given = draft.given
    stage = str(given.get("stage", "sft"))
    if stage == "pt":
        return tuning.choose(
            draft,
            "stage",
            ("sft",),
            "continued pre-training",
            "on texts, every token is trained; texts are cut into blocks of cutoff_len there, kept whole here",
            changed=True,
        )
    if stage == "sft":
        return tuning.choose(draft, "stage", ("sft",), "supervised fine-tuning")
    if stage == "rm":
        return tuning.choose(draft, "stage", ("reward_model",), "reward modelling")
    if stage == "ppo":
        return tuning.choose(draft, "stage", ("ppo",), "PPO") and _ppo(draft)
    if stage == "kto":
        return tuning.choose(draft, "stage", ("kto",), "KTO") and _kto(draft)
    if stage == "dpo":
        return _preferences(draft)
    return tuning.choose(draft, "stage", (), f"the stage {stage!r}")


def _ppo(draft: Draft) -> bool:
    said = "a reward model of LLaMA-Factory's (a value head beside the weights) is not read here"
    tuning.rewards_to_name(draft, "reward_model", said)
    return True


def _kto(draft: Draft) -> bool:
    given = draft.given
    draft.put("pref_beta", "beta", number(given.get("pref_beta", 0.1)))
    for key, setting in (("kto_chosen_weight", "desirable_weight"), ("kto_rejected_weight", "undesirable_weight")):
        if given.has(key):
            draft.put(key, setting, number(given.get(key)))
    draft.note(
        "stage",
        "changed",
        "the reference point: mismatched answers of the same batch there; here of the whole update, fixed by content",
        to="method: kto",
    )
    return True


def _preferences(draft: Draft) -> bool:
    given = draft.given
    loss = str(given.get("pref_loss", "sigmoid"))
    beta = number(given.get("pref_beta", 0.1)) or 0.1
    if loss == "orpo":
        if not tuning.choose(draft, "stage", ("orpo",), "ORPO"):
            return False
        draft.note("pref_loss", "taken", "", to="method: orpo")
        draft.put("pref_beta", "odds_weight", beta, "what the odds ratio weighs (the paper's lambda)")
    elif loss == "simpo":
        if not tuning.choose(draft, "stage", ("simpo",), "SimPO"):
            return False
        draft.note("pref_loss", "taken", "", to="method: simpo")
        gamma = number(given.get("simpo_gamma", 0.5)) or 0.0
        draft.put("pref_beta", "beta", beta)
        draft.put("simpo_gamma", "gamma", gamma, "the margin after scaling, as there")
    elif loss == "kto_pair":
        draft.missing("pref_loss", "kto_pair, KTO on pairs, is gone from TRL too", "split the pairs into ratings: kto")
        return tuning.choose(draft, "stage", ("dpo",), "DPO", "with the sigmoid loss in its place", changed=True)
    else:
        if not tuning.choose(draft, "stage", ("dpo",), "DPO"):
            return False
        draft.put("pref_beta", "beta", beta)
        smoothing = number(given.get("dpo_label_smoothing", 0.0)) or 0.0
        tuning.pair_loss(draft, "pref_loss", loss, "dpo_label_smoothing", smoothing)
    if number(given.get("pref_ftx")):
        draft.missing("pref_ftx", "a share of plain fine-tuning loss beside DPO's", "train sft first, or orpo")
    return True


def _what_is_tuned(draft: Draft) -> None:
    given = draft.given
    kind = str(given.get("finetuning_type", "lora"))
    if kind == "lora":
        rank = whole(given.get("lora_rank", 8)) or 8
        wanted = listed(given.get("lora_target", "all"))
        draft.note("finetuning_type", "taken" if given.has("finetuning_type") else "added", "", to="adapter.kind: lora")
        tuning.lora(
            draft,
            {"rank": "lora_rank", "alpha": "lora_alpha", "dropout": "lora_dropout", "targets": "lora_target"},
            rank=rank,
            alpha=number(given.get("lora_alpha")) or 2.0 * rank,
            dropout=number(given.get("lora_dropout", 0.0)) or 0.0,
            targets=None if "all" in wanted else wanted,
        )
    elif kind == "full":
        draft.adapter["kind"] = "none"
        draft.note("finetuning_type", "taken", "", to="adapter.kind: none")
    elif kind == "freeze":
        _frozen(draft)
    else:
        draft.missing("finetuning_type", f"{kind} adapters are not supported", "use lora")
        draft.adapter["kind"] = "lora"
    bits = whole(given.get("quantization_bit"))
    if bits is not None:
        tuning.quantised(draft, "quantization_bit", bits)


def _frozen(draft: Draft) -> None:
    """The last layers of the whole model; theirs can also train the first ones, or parts of each."""
    given = draft.given
    layers = whole(given.get("freeze_trainable_layers", 2)) or 0
    whole_layers = listed(given.get("freeze_trainable_modules", "all")) == ["all"]
    if layers < 1 or not whole_layers or given.get("freeze_extra_modules") or not draft.can("adapter.last_layers"):
        tuning.frozen_layers(draft)
        return
    draft.adapter["kind"] = "none"
    draft.note("finetuning_type", "taken", "the last layers of the whole model", to="adapter.kind: none")
    draft.put("freeze_trainable_layers", "adapter.last_layers", layers)
    if given.has("freeze_trainable_modules"):
        draft.note("freeze_trainable_modules", "taken", "whole layers")


def _adapter_options(draft: Draft) -> None:
    given = draft.given
    for key, setting, value, what in (
        ("use_rslora", "adapter.rank_stabilised", True, "rank-stabilised LoRA"),
        ("use_dora", "adapter.dora", True, "DoRA"),
        ("pissa_init", "adapter.init", "pissa", "PiSSA"),
    ):
        if truth(given.get(key)):
            tuning.option(draft, key, setting, value, what, "plain LoRA is written; take it, or wait")
        elif given.has(key):
            draft.note(key, "ignored", "switched off")
    tuning.noise(draft, "neftune_noise_alpha")


def _pure_half(draft: Draft) -> None:
    given = draft.given
    if not given.has("pure_bf16"):
        return
    if not truth(given.get("pure_bf16")):
        draft.note("pure_bf16", "ignored", "switched off")
    elif draft.adapter.get("kind", "none") == "none":
        text = "small updates vanish in bfloat16 weights; the weights stay in float32, products are in bfloat16"
        draft.put("pure_bf16", "precision", "bfloat16_mixed", text, changed=True)
    else:
        draft.put("pure_bf16", "precision", "bfloat16", "the adapters stay in float32", changed=True)


def _rows(draft: Draft) -> None:
    """The template, packing, and which turns are trained."""
    given = draft.given
    if given.has("template"):
        draft.note(
            "template",
            "changed",
            "prompts are written there by a template of LLaMA-Factory's own; here by the chat template in the model's "
            "tokenizer, which is what serving uses (look at it: goldsmith show batch)",
        )
    if given.has("enable_thinking") or given.has("default_system"):
        for key in ("enable_thinking", "default_system"):
            if given.has(key):
                draft.missing(key, "the tokenizer's own template decides", "put it in the rows, or in the template")
    _packing(draft)
    if truth(given.get("train_on_prompt")):
        draft.missing("train_on_prompt", "only the assistant's turns are trained here", "leave it out")
    elif given.has("train_on_prompt"):
        draft.note("train_on_prompt", "taken", "the prompt is masked, there and here")
    if truth(given.get("mask_history")):
        draft.missing(
            "mask_history",
            "every assistant turn of a conversation is trained here",
            'mark the earlier turns with "weight": 0 in the rows',
        )
    elif given.has("mask_history"):
        draft.note("mask_history", "taken", "every assistant turn is trained, there and here")
    size = number(given.get("val_size", 0.0)) or 0.0
    if 0 < size < 0.5:
        draft.validation_share = size
        draft.note("val_size", "taken", "which rows are set aside follows from their content", to="validation_share")
    elif size >= 0.5:
        draft.missing("val_size", "a number of rows, or more than half", "set validation_share to a share below 0.5")


def _packing(draft: Draft) -> None:
    given = draft.given
    stage = given.get("stage", "sft")
    neat, packs = truth(given.get("neat_packing")), truth(given.get("packing", stage == "pt"))
    if neat or packs:
        key = "neat_packing" if neat else "packing"
        what = "rows of a block do not see each other" if neat else "rows of a block see each other (contamination)"
        draft.rows_per_block = True
        draft.put(
            key,
            "packing",
            "best_fit",
            f"{what} there; here rows never see each other, and a batch counts rows, not blocks of cutoff_len tokens",
            changed=True,
        )
        if neat and given.has("packing"):
            draft.note("packing", "taken", "as neat_packing")
    else:
        for key in ("packing", "neat_packing"):
            if given.has(key):
                draft.note(key, "changed", "padded rows there; here rows are packed and the update is the same")
