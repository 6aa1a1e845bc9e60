"""What is tuned and by which loss, in this installation's words; what it does not have is said, never guessed at."""

from collections.abc import Sequence

from goldsmith.engines.migration.draft import Draft, Outcome, number
from goldsmith.types.asking import PLACEHOLDER

PREFERENCE = ("dpo", "simpo", "orpo")
"""Methods that learn from pairs; also `reward_model`."""


def choose(
    draft: Draft, key: str, methods: Sequence[str], theirs: str, text: str = "", *, changed: bool = False
) -> bool:
    """Take the first of `methods` that this installation has; whether there is one."""
    for name in methods:
        if name in draft.targets.methods:
            draft.method = name
            outcome: Outcome = "changed" if changed else "taken" if draft.given.has(key) else "added"
            draft.note(key, outcome, text, to=f"method: {name}")
            return True
    draft.missing(
        key,
        f"{theirs} is not supported yet",
        f"train by another method ({', '.join(sorted(draft.targets.methods))}), or wait for a version that has it",
    )
    return False


def lora(
    draft: Draft,
    keys: dict[str, str],
    *,
    rank: int,
    alpha: float,
    dropout: float,
    targets: Sequence[str] | None,
    targets_text: str = "",
) -> None:
    """Low-rank adapters. `keys`: how they call `rank`, `alpha`, `dropout`, `targets`; no targets: all linear layers."""
    draft.adapter["kind"] = "lora"
    draft.put(keys["rank"], "adapter.rank", rank)
    draft.put(keys["alpha"], "adapter.alpha", float(alpha))
    draft.put(keys["dropout"], "adapter.dropout", float(dropout), "" if draft.given.has(keys["dropout"]) else "0 there")
    chosen = ("all-linear",) if targets is None else tuple(targets)
    draft.put(
        keys["targets"],
        "adapter.targets",
        list(chosen),
        targets_text or ("all linear layers but the head" if targets is None else ""),
    )


def option(draft: Draft, key: str, setting: str, value: object, what: str, instead: str) -> None:
    """A setting that exists in some versions only."""
    if draft.can(setting):
        draft.put(key, setting, value)
    else:
        draft.missing(key, f"{what} is not supported yet", instead)


def noise(draft: Draft, key: str) -> None:
    """Noise on the embeddings (NEFTune)."""
    size = number(draft.given.get(key))
    if not size:
        if draft.given.has(key):
            draft.note(key, "ignored", "switched off")
    elif "rewards" in draft.targets.methods.get(draft.method or "", ()):
        draft.missing(key, "NEFTune does not go with learning from rewards", "leave it out")
    elif draft.can("neftune_alpha"):
        draft.put(
            key,
            "neftune_alpha",
            size,
            "sized by each row's own length, not that of what it is padded to or packed with",
        )
    else:
        draft.missing(key, "NEFTune is not supported by this method", "leave it out")


def pair_loss(draft: Draft, key: str, loss: str, smoothing_key: str, smoothing: float) -> None:
    """A loss of DPO's family by the name both tools and TRL give it; label smoothing with it."""
    draft.put(key, "loss", loss)
    if smoothing:
        draft.put(
            smoothing_key,
            "label_smoothing",
            smoothing,
            "conservative DPO: the share of pairs believed to be the wrong way round",
        )
    elif draft.given.has(smoothing_key):
        draft.note(smoothing_key, "taken", "none")


def quantised(draft: Draft, key: str, bits: int) -> None:
    """A frozen base in few bits under an adapter."""
    if bits == 4 and "qlora" in draft.targets.adapter_kinds and draft.adapter.get("kind") == "lora":
        draft.put(key, "adapter.kind", "qlora", "the base in 4 bits (NF4, bitsandbytes), on a GPU")
        return
    draft.missing(
        key,
        f"a base in {bits} bits is not supported{' yet' if bits == 4 else ''}",
        "LoRA on a whole base is written; goldsmith fit says whether it fits your memory",
    )


def frozen_layers(draft: Draft, key: str = "finetuning_type") -> None:
    """Only some layers trained (`freeze`)."""
    draft.missing(
        key,
        "these weights cannot be named from this file",
        "LoRA is written; with adapter.kind none, last_layers or only (patterns of names) choose what is tuned",
    )
    draft.adapter["kind"] = "lora"


def rewards_to_name(draft: Draft, key: str, what: str) -> None:
    """Methods that learn from rewards want one. Theirs cannot be taken over, and any other would train for something
    else: a placeholder stands there, with which no run starts."""
    draft.settings["rewards"] = [{"reward": PLACEHOLDER}]
    draft.note(
        key,
        "changed",
        f"{what}; {PLACEHOLDER} stands in its place, and no run starts before you name a reward there",
        next_step="name the rewards you mean, such as {reward: string_check}: goldsmith show capabilities rewards",
        to="rewards",
    )
