"""Checkpoints in shards: every process writes and reads its own part, through `torch.distributed.checkpoint`.

The files are safetensors (torch's other format is pickle, which runs code when it is read). They appear in a folder of
another name, which takes the checkpoint's name once it is whole and flushed, its manifest last; what was there before
is untouched until then. Any number of processes can read them, also one that holds the whole model.
"""

import json
import shutil
import warnings
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from goldsmith.engines.training.checkpointing import checkpoints
from goldsmith.engines.training.checkpointing.checkpoints import SHARDS, Checkpoint
from goldsmith.engines.training.checkpointing.folders import new_folder
from goldsmith.engines.training.scale import parallel
from goldsmith.engines.training.scale.parallel import Ranks
from goldsmith.engines.training.scale.sharding import is_sharded
from goldsmith.trust.durable import sync_folder
from goldsmith.types.errors import BadInput, Unavailable

MOMENTS = ("exp_avg", "exp_avg_sq")

Named = Mapping[str, torch.nn.Parameter]


def write(folder: Path, checkpoint: Checkpoint, named: Named, adamw: torch.optim.Optimizer, ranks: Ranks) -> None:
    """Write a checkpoint together, and forget all but the newest. `checkpoint` brings what is no tensor of the model.

    Raises:
        Unavailable: a process could not write its part; the checkpoints before are untouched.
        Elsewhere: a process is gone.
    """
    target = folder / f"step-{checkpoint.step:09d}"
    with ExitStack() as stack:
        made: list[str] = []
        ranks.first_alone(lambda: made.append(str(stack.enter_context(new_folder(target)))))
        partial = Path(ranks.gather(made)[0][0])
        _save(partial / SHARDS, _tensors(named, adamw), target)
        mine = sorted((partial / SHARDS).glob(f"shard-{ranks.rank + 1:05d}-*"))
        digests = ranks.together(lambda: {f"{SHARDS}/{path.name}": checkpoints.file_sha256(path) for path in mine})
        every = ranks.merged(digests)

        def finish() -> None:
            save_file(checkpoint.rng, str(partial / "rng.safetensors"))
            (partial / "state.json").write_text(json.dumps(_state(checkpoint, named, adamw), sort_keys=True))
            own = {path.name: checkpoints.file_sha256(path) for path in sorted(partial.iterdir()) if path.is_file()}
            (partial / "manifest.json").write_text(json.dumps(every | own, sort_keys=True))
            sync_folder(partial / SHARDS)
            stack.close()
            for old in sorted(folder.glob("step-*"))[: -checkpoints.KEPT]:
                shutil.rmtree(old, ignore_errors=True)

        ranks.first_alone(finish)


def _state(checkpoint: Checkpoint, named: Named, adamw: torch.optim.Optimizer) -> dict[str, Any]:
    groups = adamw.state_dict()["param_groups"]
    steps = {name: float(adamw.state[p]["step"]) for name, p in named.items() if p in adamw.state}
    return {
        "sharded": True,
        "names": list(named),
        "optimizer": {"steps": steps, "param_groups": groups},
        "scheduler": dict(checkpoint.scheduler),
        "progress": dict(checkpoint.progress),
        "contract": dict(checkpoint.contract),
    }


def _tensors(named: Named, adamw: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """Weights and moments by name; they share memory with the run's own."""
    found = {f"weights.{name}": p.detach() for name, p in named.items()}
    for name, p in named.items():
        found |= {f"{moment}.{name}": adamw.state[p][moment] for moment in MOMENTS if p in adamw.state}
    return found


def _save(folder: Path, tensors: dict[str, torch.Tensor], target: Path) -> None:
    from torch.distributed.checkpoint.api import CheckpointException
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
    from torch.distributed.checkpoint.state_dict_saver import save as save_shards

    writer = HuggingFaceStorageWriter(path=str(folder), save_distributed=True)
    try:
        save_shards(tensors, storage_writer=writer, process_group=parallel.control())
    except CheckpointException as error:  # no Exception: it tells of what failed in any process, in all of them
        rank, (cause, _) = next(iter(sorted(error.failures.items())))
        raise Unavailable(
            "a shard of the checkpoint could not be written; the last whole checkpoint is kept",
            where=str(target),
            found=f"process {rank + 1}: {type(cause).__name__}: {cause}"[:300],
            next_step="free some space, or see to the file system; the same command goes on from the last checkpoint",
        ) from error
    except RuntimeError as error:
        raise parallel.lost(error) from error


def read(found: Checkpoint, named: Named, adamw: torch.optim.Optimizer) -> None:
    """Put a sharded checkpoint's weights and moments in place, into shards of any number or into whole tensors.

    Raises:
        BadInput: it holds other weights than this model trains.
    """
    from torch.distributed.checkpoint.api import CheckpointException
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
    from torch.distributed.checkpoint.state_dict_loader import load as load_shards

    assert found.shards is not None
    steps, names = found.optimizer["steps"], found.names
    if set(names) != set(named):
        raise BadInput("the checkpoint holds other weights than this model trains", found=f"{len(names)} tensors")
    adamw.load_state_dict({"state": {}, "param_groups": checkpoints.groups(found.optimizer)})
    for name, p in named.items():
        if name in steps:
            adamw.state[p] = {
                "step": torch.tensor(steps[name], dtype=torch.float32, device=p.device),
                **{moment: torch.zeros_like(p, memory_format=torch.preserve_format) for moment in MOMENTS},
            }
    alone = not is_sharded(list(named.values()))
    reader = HuggingFaceStorageReader(path=str(found.shards))
    group = None if alone else parallel.control()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it reads alone
            load_shards(_tensors(named, adamw), storage_reader=reader, process_group=group, no_dist=alone)
    except CheckpointException as error:
        rank, (cause, _) = next(iter(sorted(error.failures.items())))
        raise Unavailable(
            "a shard of the checkpoint could not be read",
            where=str(found.shards),
            found=f"process {rank + 1}: {type(cause).__name__}: {cause}"[:300],
        ) from error
