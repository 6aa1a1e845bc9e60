"""Saves an opened job and brings it back: checkpoints, the best weights so far, the model folder."""

import json
import shutil

from safetensors.torch import load_file, save_file

from goldsmith.engines.training import checkpoints, parallel
from goldsmith.engines.training.checkpoints import Checkpoint
from goldsmith.engines.training.folders import clean, new_folder
from goldsmith.engines.training.job import Progress
from goldsmith.engines.training.opening import Opened
from goldsmith.engines.training.saving import save as write_model
from goldsmith.trust.canonical import file_digest
from goldsmith.types.errors import Tampered


def save(run: Opened) -> None:
    """Everything needed to go on from here, once the processes were seen to hold the same weights."""
    if run.ranks.size > 1:
        run.ranks.require_equal("weights", parallel.fingerprint(run.policy.trainable()))
    run.ranks.first_alone(lambda: _write(run))


def _write(run: Opened) -> None:
    run.progress.watched = run.watch.state()
    checkpoints.write(
        run.checkpoints_dir,
        Checkpoint(
            run.policy.weights(),
            run.optimizer.adamw.state_dict(),
            run.optimizer.scheduler.state_dict(),
            run.progress.as_dict(),
            run.contract,
            checkpoints.rng_state(),
        ),
    )


def restore(run: Opened) -> None:
    """Go back to the newest whole checkpoint, if there is one; also of another number of processes."""
    run.ranks.first_before_others(lambda: _restore(run))
    run.ranks.require_equal("checkpoint", {"step": str(run.progress.step)})


def _restore(run: Opened) -> None:
    if not run.job.resume:
        if run.ranks.first:
            for folder in (run.checkpoints_dir, run.best_dir):
                shutil.rmtree(folder, ignore_errors=True)
        return
    found, damaged = checkpoints.newest(run.checkpoints_dir)
    if damaged:
        run.facts["checkpoints_damaged"] = ", ".join(damaged)
    if found is None:
        return
    checkpoints.require_same(run.contract, found.contract, run.checkpoints_dir)
    run.policy.load_weights(found.weights)
    run.optimizer.adamw.load_state_dict(dict(found.optimizer))
    run.optimizer.scheduler.load_state_dict(dict(found.scheduler))
    checkpoints.set_rng_state(found.rng)
    run.progress = Progress(**found.progress)
    run.watch.restore(run.progress.watched)
    run.facts["resumed_at_step"] = found.step


def save_best(run: Opened) -> None:
    """Keep the weights as they are, the best that validation has seen."""
    run.ranks.first_alone(lambda: _save_best(run))


def _save_best(run: Opened) -> None:
    with new_folder(run.best_dir) as partial:
        save_file(run.policy.weights(), str(partial / "weights.safetensors"))
        digest = file_digest(partial / "weights.safetensors")
        (partial / "manifest.json").write_text(json.dumps({"step": run.progress.step, "weights": digest}))


def _load_best(run: Opened) -> None:
    """Put the best validated weights in place.

    Raises:
        Tampered: the file is not what was saved.
    """
    path = run.best_dir / "weights.safetensors"
    manifest = json.loads((run.best_dir / "manifest.json").read_text())
    if file_digest(path) != manifest["weights"] or manifest["step"] != run.progress.best_step:
        raise Tampered("the best weights of this run are damaged", where=str(path))
    run.policy.load_weights(load_file(str(path)))


def finish(run: Opened) -> None:
    """Write the model folder."""
    run.ranks.first_alone(lambda: _finish(run))


def _finish(run: Opened) -> None:
    if run.settings.early_stopping_patience and run.progress.best_step:
        _load_best(run)
        run.facts["weights_of_step"] = run.progress.best_step
    clean(run.job.output_dir.parent)
    with new_folder(run.job.output_dir) as partial:
        write_model(run.policy, partial)
