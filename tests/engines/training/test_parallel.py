"""Several processes train as one does: the same loss curve and weights, one writer, no process left waiting."""

import hashlib
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from goldsmith_test_processes import COMMON, LORA, METHODS, curve, job, records, same, stopped_after, together
from hypothesis import given, settings
from hypothesis import strategies as st

from goldsmith.engines.training.data.batches import dealt
from goldsmith.engines.training.driver import run_training
from goldsmith.engines.training.guards.finite import Diverged
from goldsmith.engines.training.scale import launch, parallel
from goldsmith.engines.training.scale.launch import train_on
from goldsmith.engines.training.scale.parallel import Ranks
from goldsmith.methods.sft import Sft
from goldsmith.types.errors import BadInput, Unavailable
from goldsmith.types.record import Conversation, Origin

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("name", list(METHODS))
def test_two_processes_train_as_one_does(tiny_base: Path, tmp_path: Path, name: str) -> None:
    one = run_training(job(tiny_base, tmp_path / "one", METHODS[name]))
    two = together(2, tmp_path / "meet", lambda: run_training(job(tiny_base, tmp_path / "two", METHODS[name])))
    assert [outcome.steps for outcome in two] == [5, 5]
    assert two[0].facts["processes"] == 2
    assert two[0].label_tokens == two[1].label_tokens == one.label_tokens
    same(tmp_path / "one", tmp_path / "two")


def test_a_mix_of_parts_is_shared_as_well(tiny_base: Path, tmp_path: Path) -> None:
    """Each part's loss is the mean over its own rows in all processes."""
    asked = [record for record in records(24) if isinstance(record.content, Conversation)]
    named = [
        one.model_copy(update={"origin": Origin(source="old" if number % 3 == 0 else "new")})
        for number, one in enumerate(asked)
    ]
    part = {"part": "replay", "sources": ["old"], "share": 0.25}
    method = Sft(learning_rate=1e-3, mix=[part], **{**COMMON, "validation_share": 0.4})
    run_training(job(tiny_base, tmp_path / "one", method, records=named))
    found = together(
        2, tmp_path / "meet", lambda: run_training(job(tiny_base, tmp_path / "two", method, records=named))
    )
    assert all(hasattr(one, "steps") for one in found), found
    assert any("loss/replay" in line for line in curve(tmp_path / "two"))
    same(tmp_path / "one", tmp_path / "two")


def test_accumulated_at_once_or_dealt_out_is_one_update(tiny_base: Path, tmp_path: Path) -> None:
    """4 x 1, 1 x 4, packed, and three processes, one of which has nothing to do in the last update of an epoch."""
    at_once = {"learning_rate": 1e-3, "max_steps": 5, "packing": "off", "batch_size": 4}
    run_training(job(tiny_base, tmp_path / "4x1", Sft(**at_once), records=records(14)))
    piecewise = Sft(**{**at_once, "batch_size": 1, "gradient_accumulation": 4})
    run_training(job(tiny_base, tmp_path / "1x4", piecewise, records=records(14)))
    packed = Sft(**{**at_once, "packing": "best_fit"})
    shared = job(tiny_base, tmp_path / "three", packed, records=records(14))
    assert all(hasattr(one, "steps") for one in together(3, tmp_path / "meet", lambda: run_training(shared)))
    same(tmp_path / "4x1", tmp_path / "1x4")
    same(tmp_path / "4x1", tmp_path / "three")


def test_a_run_goes_on_with_another_number_of_processes(tiny_base: Path, tmp_path: Path) -> None:
    method = Sft(learning_rate=1e-3, batch_size=4, max_steps=6, checkpoint_every=2, warmup_share=0)
    run_training(job(tiny_base, tmp_path / "straight", method))

    moved = job(tiny_base, tmp_path / "moved", method)
    assert together(2, tmp_path / "meet2", stopped_after(3, moved)) == [repr(MemoryError("enough"))] * 2
    assert not (tmp_path / "moved" / "out").exists()
    assert "MemoryError" in str(together(3, tmp_path / "meet3", stopped_after(5, moved)))
    assert run_training(moved).facts["resumed_at_step"] == 4
    same(tmp_path / "straight", tmp_path / "moved")


def test_dropout_draws_the_same_after_a_resume(tiny_base: Path, tmp_path: Path) -> None:
    """With dropout two processes draw other masks than one, but always the same ones."""
    method = Sft(learning_rate=1e-3, batch_size=4, max_steps=4, checkpoint_every=2, adapter={**LORA, "dropout": 0.2})
    together(2, tmp_path / "meet1", lambda: run_training(job(tiny_base, tmp_path / "straight", method)))

    def broken() -> Any:
        original = parallel.Ranks.sum_gradients

        def sum_gradients(self: Any, parameters: Any) -> None:
            if (tmp_path / "broken" / "scratch" / "checkpoints" / "step-000000002").exists():
                raise MemoryError("enough")
            original(self, parameters)

        parallel.Ranks.sum_gradients = sum_gradients  # type: ignore[method-assign]
        return run_training(job(tiny_base, tmp_path / "broken", method))

    together(2, tmp_path / "meet2", broken)
    found = together(2, tmp_path / "meet3", lambda: run_training(job(tiny_base, tmp_path / "broken", method)))
    assert found[0].facts["resumed_at_step"] == 2
    digests = [
        hashlib.sha256(next((tmp_path / name / "out").glob("*.safetensors")).read_bytes()).hexdigest()
        for name in ("straight", "broken")
    ]
    assert digests[0] == digests[1]


# ---- what goes wrong ---------------------------------------------------------------------------------------------


def test_a_forward_that_fails_in_one_process_stops_all_and_is_named(tiny_base: Path, tmp_path: Path) -> None:
    def work() -> Any:
        if parallel.here().rank == 1:

            def fails(*_: Any, **__: Any) -> Any:
                raise MemoryError("no room for the forward")

            Sft._loss = fails  # type: ignore[method-assign]
        return run_training(job(tiny_base, tmp_path / "run", METHODS["sft-lora"]))

    first, second = together(2, tmp_path / "meet", work)
    assert first["error"] == "Elsewhere"
    assert first["what"] == "training process 2 of 2 failed"
    assert "no room for the forward" in first["found"]
    assert "no room for the forward" in second
    assert not (tmp_path / "run" / "out").exists()


@pytest.mark.parametrize("shard", ["none", "full"])
def test_a_loss_that_is_no_number_in_one_process_stops_all(tiny_base: Path, tmp_path: Path, shard: str) -> None:
    def work() -> Any:
        if parallel.here().rank == 1:
            plain = Sft._loss
            Sft._loss = lambda *args: (plain(*args)[0] * float("nan"), {})  # type: ignore[method-assign]
        return run_training(job(tiny_base, tmp_path / "run", METHODS["sft-lora"], shard=shard))

    found = together(2, tmp_path / "meet", work)
    assert [one["error"] for one in found] == [Diverged.__name__] * 2
    assert not (tmp_path / "run" / "out").exists()


def test_processes_that_began_with_different_things_stop(tiny_base: Path, tmp_path: Path) -> None:
    def seeded() -> Any:
        return run_training(job(tiny_base, tmp_path / "run", METHODS["sft-lora"], seed=parallel.here().rank))

    def apart() -> Any:
        return Ranks(parallel.here().rank, 2).require_equal("weights", {"w": str(parallel.here().rank)})

    first, second = together(2, tmp_path / "meet1", seeded)
    assert first == second
    assert first["error"] == "BadInput"
    assert first["what"] == "the training processes do not have the same run: seed"
    assert "process 1: 0; process 2: 1" in together(2, tmp_path / "meet2", apart)[1]["found"]


# ---- what is dealt out -------------------------------------------------------------------------------------------


def test_an_update_that_fits_one_forward_is_still_shared(tiny_base: Path, tmp_path: Path) -> None:
    def work() -> int:
        seen: list[int] = []
        plain = Sft._loss

        def counted(self: Any, policy: Any, labels: int, batch: Any) -> Any:
            seen.append(batch.tokens)
            return plain(self, policy, labels, batch)

        Sft._loss = counted  # type: ignore[method-assign]
        run_training(job(tiny_base, tmp_path / "run", METHODS["sft-full"]))
        return sum(seen)

    first, second = together(2, tmp_path / "meet", work)
    assert first + second == sum(line["tokens"] for line in curve(tmp_path / "run") if "tokens" in line)
    assert abs(first - second) < 0.2 * first


@settings(deadline=None)
@given(st.lists(st.integers(1, 5000), max_size=40), st.integers(1, 8))
def test_every_item_is_dealt_once_and_evenly(tokens: list[int], size: int) -> None:
    parts = dealt(tokens, size)
    assert sorted(item for part in parts for item in part) == list(range(len(tokens)))
    loads = [sum(tokens[item] for item in part) for part in parts]
    assert max(loads) - min(loads) <= max(tokens, default=0)
    assert parts == dealt(tokens, size)


def test_equal_bits_have_equal_fingerprints() -> None:
    weights = torch.randn(64, 3, generator=torch.Generator().manual_seed(1))
    other = weights.clone()
    other[5, 1] = torch.nextafter(other[5, 1], torch.tensor(10.0))
    assert parallel.fingerprint([("w", weights)]) == parallel.fingerprint([("w", weights.clone())])
    assert parallel.fingerprint([("w", weights)]) != parallel.fingerprint([("w", other)])
    assert parallel.fingerprint([("b", weights.bfloat16())]) == parallel.fingerprint([("b", weights.bfloat16())])


# ---- started here: whole processes -------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_lost_process_ends_the_run_and_the_same_job_goes_on(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = Sft(learning_rate=1e-3, batch_size=4, max_steps=60, checkpoint_every=2, warmup_share=0)
    run_training(job(tiny_base, tmp_path / "straight", method))
    training = job(tiny_base, tmp_path / "killed", method)
    start, workers = launch._start, []

    def noted(*args: Any) -> Any:
        workers.append(start(*args))
        return workers[-1]

    def kill() -> None:
        while not (training.scratch_dir / "checkpoints" / "step-000000004").exists():
            time.sleep(0.01)
        os.kill(workers[1].process.pid, signal.SIGKILL)

    monkeypatch.setattr(launch, "_start", noted)
    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(Unavailable, match="training process 2 of 2 was lost") as caught:
        train_on(training, 2)
    killer.join()
    assert caught.value.found == "ended by SIGKILL"
    assert not training.output_dir.exists()
    outcome = train_on(training, 2)
    assert int(outcome.facts["resumed_at_step"]) >= 4
    same(tmp_path / "straight", tmp_path / "killed")


@pytest.mark.slow
def test_an_error_in_a_started_process_is_raised_here(tiny_base: Path, tmp_path: Path) -> None:
    ratings = [record for record in records() if record.content.kind == "rating"]
    with pytest.raises(BadInput, match="can be trained on by sft"):
        train_on(job(tiny_base, tmp_path, METHODS["sft-lora"], records=ratings), 2)


def test_processes_are_not_asked_for_beside_a_launchers(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(BadInput, match="a launcher has started"):
        train_on(job(tiny_base, tmp_path, METHODS["sft-lora"]), 2)
