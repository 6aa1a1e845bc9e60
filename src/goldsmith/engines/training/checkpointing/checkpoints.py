"""Checkpoints: everything a run needs to go on as if nothing had happened, and nothing that can run code.

Tensors are safetensors, the rest JSON; the manifest with all digests is written last. A checkpoint whose bytes are
not what its manifest says is passed over for the one before it.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from goldsmith.engines.training.checkpointing.folders import clean, new_folder
from goldsmith.engines.training.scale.parallel import Ranks
from goldsmith.types.errors import BadInput

KEPT = 2
SHARDS = "shards"
"""The folder of a checkpoint whose tensors lie in shards (see `sharded_checkpoints`)."""
TENSORS = {"weights.safetensors", "optimizer.safetensors", "rng.safetensors"}
"""What the manifest of any other names beside its state."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A run at the end of a step. `progress`: step, counts, early stopping; `contract`: what must not change.

    `shards`: the folder with the tensors called `names`, where they lie in shards; `weights` is empty then.
    """

    weights: dict[str, torch.Tensor]
    optimizer: Mapping[str, Any]
    scheduler: Mapping[str, Any]
    progress: Mapping[str, Any]
    contract: Mapping[str, str]
    rng: dict[str, torch.Tensor] = field(default_factory=dict)
    shards: Path | None = None
    names: tuple[str, ...] = ()

    @property
    def step(self) -> int:
        return int(self.progress["step"])


def rng_state() -> dict[str, torch.Tensor]:
    """The states of torch's generators, which dropout draws from."""
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states |= {f"cuda{i}": state for i, state in enumerate(torch.cuda.get_rng_state_all())}
    return states


def set_rng_state(states: Mapping[str, torch.Tensor]) -> None:
    """Go back to what `rng_state` gave."""
    torch.set_rng_state(states["cpu"])
    for i in range(torch.cuda.device_count()):
        if f"cuda{i}" in states:
            torch.cuda.set_rng_state(states[f"cuda{i}"], i)


def write(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint and forget all but the newest.

    Raises:
        Unavailable: the disk is full; the checkpoints before are untouched.
    """
    target = folder / f"step-{checkpoint.step:09d}"
    tensors, shape = _flat(checkpoint.optimizer)
    with new_folder(target) as partial:
        save_file(checkpoint.weights, str(partial / "weights.safetensors"))
        save_file(tensors, str(partial / "optimizer.safetensors"))
        save_file(checkpoint.rng, str(partial / "rng.safetensors"))
        state = {
            "optimizer": shape,
            "scheduler": dict(checkpoint.scheduler),
            "progress": dict(checkpoint.progress),
            "contract": dict(checkpoint.contract),
        }
        (partial / "state.json").write_text(json.dumps(state, sort_keys=True))
        digests = {path.name: file_sha256(path) for path in sorted(partial.iterdir())}
        (partial / "manifest.json").write_text(json.dumps(digests, sort_keys=True))
    for old in sorted(folder.glob("step-*"))[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    return target


def newest(folder: Path, ranks: Ranks = Ranks()) -> tuple[Checkpoint | None, dict[str, str]]:
    """The newest whole checkpoint (None: there is none), and damaged ones that were passed over, each with what is
    wrong with it. Processes look together, each at a share of the files, and find the same."""
    if ranks.first and folder.is_dir():
        clean(folder)
    damaged: dict[str, str] = {}
    for name in ranks.gather(sorted((path.name for path in folder.glob("step-*")), reverse=True))[0]:
        wrong = _wrong(folder / name, ranks)
        if wrong is None:
            found = _read(folder / name)
            if not ranks.any(found is None):
                return found, damaged
        damaged[name] = wrong or "its contents cannot be read"
    return None, damaged


def _wrong(path: Path, ranks: Ranks) -> str | None:
    """What is wrong with a checkpoint's bytes, the same answer in every process."""
    try:
        manifest = json.loads((path / "manifest.json").read_text())
        names = sorted(manifest)[ranks.rank :: ranks.size]
        found = next((text for name in names if (text := _differs(path / name, manifest[name]))), None)
        whole = any(name.startswith(f"{SHARDS}/") for name in manifest) or set(manifest) >= TENSORS
        if not whole or "state.json" not in manifest:
            found = "its manifest is not one"
    except (OSError, ValueError, TypeError) as error:
        found = f"its manifest cannot be read ({type(error).__name__})"
    return next((text for text in ranks.gather(found) if text is not None), None)


def _differs(path: Path, digest: str) -> str | None:
    try:
        return None if file_sha256(path) == digest else f"{path.name} has other bytes than were written"
    except FileNotFoundError:
        return f"{path.name} is missing"
    except OSError as error:
        return f"{path.name} cannot be read ({error})"


def _read(path: Path) -> Checkpoint | None:
    try:
        state = json.loads((path / "state.json").read_text())
        sharded = bool(state.get("sharded"))
        return Checkpoint(
            weights={} if sharded else load_file(str(path / "weights.safetensors")),
            optimizer=state["optimizer"]
            if sharded
            else _unflat(load_file(str(path / "optimizer.safetensors")), state["optimizer"]),
            scheduler=state["scheduler"],
            progress=state["progress"],
            contract=state["contract"],
            rng=load_file(str(path / "rng.safetensors")),
            shards=path / SHARDS if sharded else None,
            names=tuple(state.get("names", ())),
        )
    except (OSError, ValueError, KeyError, AttributeError):
        return None


def require_same(contract: Mapping[str, str], saved: Mapping[str, str], where: Path) -> None:
    """A run goes on only with the data, base, template and settings it began with.

    Raises:
        BadInput: naming what differs.
    """
    differing = sorted(k for k in {*contract, *saved} if contract.get(k) != saved.get(k))
    if differing:
        raise BadInput(
            "the unfinished run in this folder was begun with something else: " + ", ".join(differing),
            where=str(where),
            found="; ".join(f"{key} {_short(contract.get(key))}" for key in differing),
            allowed="; ".join(f"{key} {_short(saved.get(key))}" for key in differing),
            next_step="restore what differs to go on, or start afresh in an empty scratch folder (resume=false)",
        )


def _short(value: str | None) -> str:
    text = value or "absent"
    return text if len(text) <= 120 else text[:117] + "..."


def file_sha256(path: Path) -> str:
    """Of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flat(state: Mapping[str, Any]) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """An optimiser's state as named tensors and JSON."""
    tensors: dict[str, torch.Tensor] = {}
    plain: dict[str, dict[str, Any]] = {}
    for number, values in state["state"].items():
        for name, value in values.items():
            if isinstance(value, torch.Tensor):
                tensors[f"{number}.{name}"] = value.detach().cpu().contiguous()
            else:
                plain.setdefault(str(number), {})[name] = value
    return tensors, {"state": plain, "param_groups": state["param_groups"]}


def _unflat(tensors: Mapping[str, torch.Tensor], shape: Mapping[str, Any]) -> dict[str, Any]:
    state: dict[int, dict[str, Any]] = {}
    for key, tensor in tensors.items():
        number, _, name = key.partition(".")
        state.setdefault(int(number), {})[name] = tensor
    for number, values in shape["state"].items():
        state.setdefault(int(number), {}).update(values)
    return {"state": state, "param_groups": groups(shape)}


def groups(shape: Mapping[str, Any]) -> list[dict[str, Any]]:
    """An optimiser's parameter groups, as they were before they became JSON."""
    return [{**g, "betas": tuple(g["betas"])} if "betas" in g else g for g in shape["param_groups"]]
