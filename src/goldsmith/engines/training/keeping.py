"""Saves an opened job and brings it back: checkpoints, the best weights so far, the model folder."""

import json
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from goldsmith.engines.training.checkpointing import checkpoints, sharded
from goldsmith.engines.training.checkpointing.checkpoints import Checkpoint
from goldsmith.engines.training.checkpointing.folders import clean, new_folder
from goldsmith.engines.training.guards.finite import require_finite_weights
from goldsmith.engines.training.job import Progress
from goldsmith.engines.training.model.policy import open_policy
from goldsmith.engines.training.model.saving import save as write_model
from goldsmith.engines.training.opening import BEST, CHECKPOINTS, Opened
from goldsmith.engines.training.scale import parallel, sharding
from goldsmith.trust.canonical import file_digest
from goldsmith.types.errors import Tampered

log = logging.getLogger("goldsmith.training")


def save(run: Opened) -> None:
    """Everything needed to go on from here, once the processes were seen to hold the same weights; where they hold
    shards, each writes its own.

    Raises:
        Diverged: a weight is no finite number; the checkpoints before are untouched.
    """
    _require_finite(run)
    if run.sharded:
        run.progress.watched = run.watch.state()
        sharded.write(
            run.checkpoints_dir,
            _checkpoint(run, {}, {}),
            dict(run.policy.trainable()),
            run.optimizer.adamw,
            run.ranks,
        )
        return
    if run.ranks.size > 1:
        run.ranks.require_equal("weights", parallel.fingerprint(run.policy.trainable()))
    run.ranks.first_alone(lambda: _write(run))


def _write(run: Opened) -> None:
    run.progress.watched = run.watch.state()
    checkpoints.write(run.checkpoints_dir, _checkpoint(run, run.policy.weights(), run.optimizer.adamw.state_dict()))


def _checkpoint(run: Opened, weights: dict[str, torch.Tensor], optimizer: Mapping[str, Any]) -> Checkpoint:
    return Checkpoint(
        weights,
        optimizer,
        run.optimizer.scheduler.state_dict(),
        run.progress.as_dict(),
        run.contract,
        checkpoints.rng_state(),
    )


def _require_finite(run: Opened) -> None:
    """Of the last step nobody else would notice: no loss is taken after it."""
    where = f"after step {run.progress.step}"
    run.ranks.together(
        lambda: require_finite_weights(
            run.policy.trainable(), "the model", where, "lower learning_rate; the last good checkpoint is kept"
        )
    )


def restore(run: Opened) -> None:
    """Go back to the newest whole checkpoint, if there is one; also of another number of processes, with shards or
    without."""
    if not run.job.resume:
        run.ranks.first_alone(lambda: forget(run.job.scratch_dir))
        return
    run.ranks.first_alone(lambda: clean(run.job.scratch_dir))
    found, damaged = checkpoints.newest(run.checkpoints_dir, run.ranks)
    if damaged:
        run.facts["checkpoints_damaged"] = ", ".join(damaged)
        if run.ranks.first:
            _warn_of(damaged, found, run.checkpoints_dir)
    if found is not None:
        _take_up(run, found)
    run.ranks.require_equal("checkpoint", {"step": str(run.progress.step)})


def forget(scratch_dir: Path) -> None:
    """Remove what an unfinished run would go on from."""
    for name in (CHECKPOINTS, BEST):
        shutil.rmtree(scratch_dir / name, ignore_errors=True)


def _warn_of(damaged: Mapping[str, str], found: Checkpoint | None, folder: Path) -> None:
    instead = "no whole one is left: training begins anew" if found is None else f"going back to step {found.step}"
    for name, wrong in damaged.items():
        log.warning("checkpoint %s in %s is damaged and not used: %s; %s", name, folder, wrong, instead)


def _take_up(run: Opened, found: Checkpoint) -> None:
    checkpoints.require_same(run.contract, found.contract, run.checkpoints_dir)
    named, adamw = dict(run.policy.trainable()), run.optimizer.adamw
    if found.shards is not None:
        sharded.read(found, named, adamw)
    elif run.sharded:
        sharding.load(named, found.weights)
        sharding.load_optimizer(adamw, found.optimizer)
    else:
        run.policy.load_weights(found.weights)
        adamw.load_state_dict(dict(found.optimizer))
    run.optimizer.scheduler.load_state_dict(dict(found.scheduler))
    checkpoints.set_rng_state(found.rng)
    run.progress = Progress(**found.progress)
    run.watch.restore(run.progress.watched)
    run.facts["resumed_at_step"] = found.step


def save_best(run: Opened) -> None:
    """Keep the weights as they are, the best that validation has seen."""
    weights = _whole(run)
    run.ranks.first_alone(lambda: _save_best(run, weights))


def _whole(run: Opened) -> dict[str, torch.Tensor]:
    """The trained tensors; of shards in the first process alone."""
    return sharding.whole_weights(run.policy) if run.sharded else run.policy.weights()


def _save_best(run: Opened, weights: dict[str, torch.Tensor]) -> None:
    with new_folder(run.best_dir) as partial:
        save_file(weights, str(partial / "weights.safetensors"))
        digest = file_digest(partial / "weights.safetensors")
        (partial / "manifest.json").write_text(json.dumps({"step": run.progress.step, "weights": digest}))


def _best(run: Opened) -> dict[str, torch.Tensor]:
    """The best validated weights.

    Raises:
        Tampered: the file is not what was saved.
    """
    path = run.best_dir / "weights.safetensors"
    try:
        manifest = json.loads((run.best_dir / "manifest.json").read_text())
        whole = file_digest(path) == manifest["weights"] and manifest["step"] == run.progress.best_step
    except (OSError, ValueError, KeyError):
        whole = False
    if not whole:
        raise Tampered(
            "the best weights of this run are damaged or gone",
            where=str(path),
            next_step="put the file back, or begin this run again (resume=false): it gives the same weights",
        )
    return load_file(str(path))


def finish(run: Opened) -> None:
    """Write the model folder, the same whether there were shards or not."""
    best = bool((run.settings.early_stopping_patience or run.progress.stopped) and run.progress.best_step)
    if best:
        run.facts["weights_of_step"] = run.progress.best_step
    _require_finite(run)
    weights = _whole(run) if run.sharded and not best else {}

    def write() -> None:
        policy = run.policy
        if run.sharded:  # a model of its own to put them in; it reads no weight that it need not write
            policy = open_policy(run.job.base, run.chat, run.settings, seed=run.job.seed, device="cpu", in_parts=True)
        if best or run.sharded:
            policy.load_weights(_best(run) if best else weights)
        with new_folder(run.job.output_dir) as partial:
            write_model(policy, partial)

    run.ranks.first_alone(write)
