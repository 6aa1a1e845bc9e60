"""Training by workers of a Ray cluster, through Ray Train: it starts them, notices a lost one, and starts them again.

Each worker calls `run_training` with the same job, as torchrun's processes do. Ray's own checkpoints are not used: a
worker group that is started again goes on from the run's last whole checkpoint, which lies in the job's scratch folder.
"""

import os
import pickle
import secrets
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from goldsmith.engines.dataflow.ray_cluster import RayCluster
from goldsmith.engines.training.driver import TrainingJob, TrainingOutcome, run_training
from goldsmith.engines.training.keeping import forget
from goldsmith.engines.training.scale import parallel
from goldsmith.engines.training.scale.launch import raise_told, tell
from goldsmith.engines.training.scale.launcher import launched
from goldsmith.types.errors import BadInput, GoldsmithError, Unavailable

PATIENCE_S = 2 * 24 * 3600
"""How long processes wait for one another, as in `parallel`."""


def train_on_ray(job: TrainingJob, workers: int, *, address: str | None = None, retries: int = 0) -> TrainingOutcome:
    """Train on `workers` of the cluster at `address` (else at `RAY_ADDRESS`, else one of this machine's cores).

    A GPU for each where the cluster has that many, else a core. All of them, and this process, need the job's folders
    and its base under the same paths. `retries`: how often a lost worker or a crash is made good from the last
    checkpoint; what is wrong with rows or settings is never tried again.

    Raises:
        What `run_training` raises in any worker. Unavailable: no Ray, no cluster, too few of its cores, or a worker was
            lost for good (the last checkpoint is kept). BadInput: under another launcher.
    """
    if launched():
        raise BadInput(
            "a launcher has started several processes already, and Ray would start its own",
            where="parallel.engine",
            found="ray",
            next_step="start goldsmith without the launcher, or set parallel.engine to local",
        )
    with RayCluster(address).connected() as ray:
        train = _ray_train()
        if not job.resume:  # once, and not again when workers are started again
            forget(job.scratch_dir)
        place = job.scratch_dir / "ray"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        (place / "job").write_bytes(pickle.dumps(replace(job, resume=True)))
        gpus = int(ray.cluster_resources().get("GPU", 0)) >= workers and job.device != "cpu"
        _require_room(ray, workers, "GPU" if gpus else "CPU")
        try:
            _fit(train, place, workers, gpus=gpus, retries=retries)
            raise_told(sorted(place.glob("said-*.json")))
            return pickle.loads((place / "outcome").read_bytes())  # type: ignore[no-any-return]
        finally:
            shutil.rmtree(place, ignore_errors=True)


def _fit(train: Any, place: Path, workers: int, *, gpus: bool, retries: int) -> None:
    from ray.train.torch import TorchConfig, TorchTrainer

    trainer = TorchTrainer(
        work,
        train_loop_config={"place": str(place)},
        torch_config=TorchConfig(backend="cpu:gloo,cuda:nccl" if gpus else "gloo", timeout_s=PATIENCE_S),
        scaling_config=train.ScalingConfig(num_workers=workers, use_gpu=gpus),
        run_config=train.RunConfig(
            name=f"goldsmith-{secrets.token_hex(4)}",
            storage_path=str(place / "storage"),
            failure_config=train.FailureConfig(max_failures=retries),
        ),
    )
    try:
        trainer.fit()
    except train.TrainingFailedError as error:
        raise_told(sorted(place.glob("said-*.json")))
        failures = getattr(error, "worker_failures", None) or {}
        which = ", ".join(str(rank + 1) for rank in sorted(failures)) or "one"
        raise Unavailable(
            f"training worker {which} of {workers} was lost" + (f", {retries + 1} times" if retries else ""),
            found=_last_line(next(iter(failures.values()), error)),
            next_step="look for what ended it (memory? a machine?); the last checkpoint is kept, and the same command "
            "goes on from it, with any number of workers; parallel.retries lets Ray do so by itself",
        ) from error


def work(config: dict[str, str]) -> None:
    """A worker: read the job, train, say how it went.

    What the user must see to ends the run, so it is told and not raised, which would have Ray try again.
    """
    place = Path(config["place"])
    for said in place.glob(f"said-{parallel.here().rank}.json"):
        said.unlink()  # of a worker before this one
    job: TrainingJob = pickle.loads((place / "job").read_bytes())
    try:
        outcome = run_training(job)
    except GoldsmithError as error:
        if isinstance(error, parallel.Elsewhere) and error.gone:
            raise
        tell(place / f"said-{parallel.here().rank}.json", error)
        return
    if parallel.here().first:
        (place / "outcome").write_bytes(pickle.dumps(outcome))


def _ray_train() -> Any:
    os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
    try:
        import ray.train
        import ray.train.torch
    except ImportError as error:
        raise Unavailable(
            "--engine ray needs Ray Train, which cannot be imported",
            found=error,
            next_step="pip install 'goldsmith[ray]', or use --engine local",
        ) from error
    return ray.train


def _require_room(ray: Any, workers: int, kind: str) -> None:
    """The cluster has a core or GPU for each; Ray itself would wait for one for ever. Errors: Unavailable."""
    there = int(ray.cluster_resources().get(kind, 0))
    if there < workers:
        raise Unavailable(
            "the Ray cluster is too small for so many training workers",
            found=f"{there} {kind}s, {workers} workers",
            next_step=f"ask for at most {there} processes, or add machines",
        )


def _last_line(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:300]
