"""DeepSpeed's and FSDP's settings: whether every process holds the whole model, or a shard of it."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from goldsmith.engines.migration.draft import Draft, Outcome, listed, truth, whole

_STAYS = "weights and optimiser stay where they are used, not in main memory"
_INSTEAD = "goldsmith fit says what would make the run fit"
_CUT = "weights, gradients and optimiser are cut into shards (FSDP2)"


def read_sharding(draft: Draft, devices: int, folder: Path) -> None:
    """How their processes share the model, and how many there are. `folder`: where their file lies."""
    if devices > 1:
        draft.parallel["processes"] = devices
        draft.note("--devices", "added", "one process for each device", to=f"parallel.processes: {devices}")
    if draft.given.has("deepspeed"):
        _deepspeed(draft, draft.given.get("deepspeed"), folder)
    if draft.given.has("fsdp"):
        _fsdp(draft)
    if draft.given.has("fsdp_config"):
        _fsdp_config(draft, folder)


def _deepspeed(draft: Draft, given: Any, folder: Path) -> None:
    config = given if isinstance(given, Mapping) else _read(folder / str(given))
    zero = config.get("zero_optimization") if isinstance(config, Mapping) else None
    if isinstance(zero, Mapping):
        stage = whole(zero.get("stage", 0))
        away = any(str(_device(zero.get(key))) in ("cpu", "nvme") for key in ("offload_optimizer", "offload_param"))
    else:
        named = re.search(r"z(?:ero)?[-_]?([0-3])", Path(str(given)).stem.lower())
        stage, away = (int(named[1]) if named else None), "offload" in str(given).lower()
    if stage is None:
        draft.missing("deepspeed", "its ZeRO stage cannot be told from here", "set parallel.shard to full, or leave it")
    elif stage == 0:
        draft.note("deepspeed", "taken", "every process holds the model", to="parallel.shard: none")
    else:
        text = "" if stage == 3 else f"ZeRO-{stage} leaves the weights whole"
        _shard(draft, "deepspeed", "taken" if stage == 3 else "changed", text)
    if away:
        draft.missing("deepspeed", _STAYS, _INSTEAD)


def _device(given: Any) -> Any:
    return given.get("device") if isinstance(given, Mapping) else given


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    except (OSError, ValueError, RecursionError):
        return None


def _fsdp(draft: Draft) -> None:
    given = draft.given.get("fsdp")
    words = {word for part in (listed(given) or [str(given)]) for word in part.lower().split()}
    _by_strategy(draft, "fsdp", words - {"auto_wrap", "offload"})
    if "offload" in words:
        draft.missing("fsdp", _STAYS, _INSTEAD)


def _by_strategy(draft: Draft, key: str, named: set[str]) -> None:
    """FSDP's strategy by its name."""
    if named & {"full_shard", "true"}:
        _shard(draft, key, "taken", "")
    elif "hybrid_shard" in named:
        _shard(draft, key, "changed", "hybrid_shard keeps the whole model in every node")
    elif named & {"shard_grad_op", "hybrid_shard_zero2"}:
        _shard(draft, key, "changed", "shard_grad_op leaves the weights whole")
    elif named <= {"no_shard", "false"}:
        draft.note(key, "taken", "every process holds the model", to="parallel.shard: none")
    else:
        draft.missing(key, "its strategy is none that FSDP has", "set parallel.shard to full, or leave it")


def _fsdp_config(draft: Draft, folder: Path) -> None:
    given = draft.given.get("fsdp_config")
    config = given if isinstance(given, Mapping) else _read(folder / str(given))
    if not isinstance(config, Mapping):
        draft.missing("fsdp_config", "it cannot be read from here", "set parallel.shard to full, or leave it")
        return
    found = {str(key).removeprefix("fsdp_"): value for key, value in config.items()}
    whole_after = found.get("reshard_after_forward", True) in (False, "false")
    if draft.given.has("fsdp"):
        draft.note("fsdp_config", "ignored", "layer by layer, as the model lists them")
    else:
        named = str(found.get("sharding_strategy", "shard_grad_op" if whole_after else "full_shard")).lower()
        _by_strategy(draft, "fsdp_config", {named})
    if truth(found.get("activation_checkpointing")):
        draft.put("fsdp_config", "activation_checkpointing", True, "activations are computed again")
    if truth(found.get("offload_params")) or truth(found.get("cpu_offload")):
        draft.missing("fsdp_config", _STAYS, _INSTEAD)


def _shard(draft: Draft, key: str, outcome: Outcome, theirs: str) -> None:
    """Take shards over where they go with what is tuned and how."""
    refused = [
        (draft.adapter.get("kind") == "qlora", "a base in four bits"),
        (draft.adapter.get("init") == "pissa", "a base that PiSSA has moved"),
        (draft.method == "ppo", "a value head that learns"),
    ]
    for holds, what in refused:
        if holds:
            draft.missing(key, f"{what} does not go with shards here", "every process holds the model, as written")
            return
    draft.parallel["shard"] = "full"
    draft.note(key, outcome, f"{theirs}; here {_CUT}" if theirs else _CUT, to="parallel.shard: full")
