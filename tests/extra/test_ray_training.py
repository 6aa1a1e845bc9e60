"""Real Ray workers train as one process does; a lost one is made good from the last checkpoint, or told."""

import builtins
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import goldsmith_test_processes as helpers
import pytest

from goldsmith.engines.training.driver import run_training
from goldsmith.methods.sft import Sft
from goldsmith.types.errors import BadInput, Unavailable

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    ray = pytest.importorskip("ray")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(
        num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR", object_store_memory=100 << 20,
        runtime_env={"env_vars": {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}},
    )  # fmt: skip
    yield
    ray.shutdown()


def worker_ids() -> list[int]:
    """Processes of the training workers that this process's cluster has."""
    import psutil

    return [one.pid for one in psutil.Process().children(recursive=True) if "TrainWorker" in " ".join(one.cmdline())]


def once(training: Any, step: int, act: Callable[[], None]) -> threading.Thread:
    """Do it when that step's checkpoint is there."""

    def wait() -> None:
        until = time.monotonic() + 120
        while not (training.scratch_dir / "checkpoints" / f"step-{step:09d}").exists():
            if time.monotonic() > until:
                return
            time.sleep(0.01)
        act()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("shard", ["none", "full"])
def test_ray_workers_train_as_one_process_does(cluster: None, tiny_base: Path, tmp_path: Path, shard: str) -> None:
    from goldsmith.engines.training.scale.ray_workers import train_on_ray

    method = helpers.METHODS["dpo-lora" if shard == "none" else "sft-full"]
    run_training(helpers.job(tiny_base, tmp_path / "one", method))
    outcome = train_on_ray(helpers.job(tiny_base, tmp_path / "two", method, shard=shard), 2)
    assert outcome.facts["processes"] == 2
    assert outcome.facts.get("shard", "none") == shard
    helpers.same(tmp_path / "one", tmp_path / "two")
    assert not (tmp_path / "two/scratch/ray").exists()


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("retries", [0, 1])
def test_a_lost_worker_is_told_or_made_good(cluster: None, tiny_base: Path, tmp_path: Path, retries: int) -> None:
    from goldsmith.engines.training.scale.ray_workers import train_on_ray

    method = Sft(learning_rate=1e-3, batch_size=4, max_steps=60, checkpoint_every=2, warmup_share=0)
    run_training(helpers.job(tiny_base, tmp_path / "one", method))
    training = helpers.job(tiny_base, tmp_path / "two", method, resume=False)
    killer = once(training, 4, lambda: os.kill(worker_ids()[1], signal.SIGKILL))
    try:
        if retries == 0:
            with pytest.raises(Unavailable, match="was lost") as caught:
                train_on_ray(training, 2)
            assert "last checkpoint is kept" in str(caught.value.next_step)
            assert not training.output_dir.exists()
            outcome = train_on_ray(replace(training, resume=True), 2)
        else:
            outcome = train_on_ray(training, 2, retries=retries)
    finally:
        killer.join()
    assert int(outcome.facts["resumed_at_step"]) >= 4
    helpers.same(tmp_path / "one", tmp_path / "two")


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_what_is_wrong_with_the_rows_is_told_and_not_tried_again(
    cluster: None, tiny_base: Path, tmp_path: Path
) -> None:
    from goldsmith.engines.training.scale.ray_workers import train_on_ray

    ratings = [record for record in helpers.records() if record.content.kind == "rating"]
    training = helpers.job(tiny_base, tmp_path, helpers.METHODS["sft-lora"], records=ratings)
    with pytest.raises(BadInput, match="can be trained on by sft"):
        train_on_ray(training, 2, retries=3)
    with pytest.raises(Unavailable, match="too small for so many") as caught:
        train_on_ray(training, 3)
    assert caught.value.found == "2 CPUs, 3 workers"


def test_without_ray_the_error_names_the_extra(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from goldsmith.engines.training.scale.ray_workers import train_on_ray

    real = builtins.__import__

    def absent(name: str, *rest: Any) -> Any:
        if name.partition(".")[0] == "ray":
            raise ImportError("No module named 'ray'", name="ray")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(Unavailable, match="needs Ray") as caught:
        train_on_ray(helpers.job(tiny_base, tmp_path, helpers.METHODS["sft-lora"]), 2)
    assert "goldsmith[ray]" in str(caught.value.next_step)
    assert caught.value.exit_code == 4


def test_ray_is_not_started_under_a_launcher(tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from goldsmith.engines.training.scale.ray_workers import train_on_ray

    for name, value in {"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(BadInput, match="Ray would start its own"):
        train_on_ray(helpers.job(tiny_base, tmp_path, helpers.METHODS["sft-lora"]), 2)
