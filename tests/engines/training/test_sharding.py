"""Weights in shards (FSDP2) train as one process does, and their checkpoints go on with any number of processes."""

import hashlib
import logging
import os
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from goldsmith_test_processes import LORA, METHODS, curve, job, records, same, stopped_after, tensors, together
from safetensors.torch import load_file

from goldsmith.engines.training import driver
from goldsmith.engines.training.checkpointing import checkpoints, sharded
from goldsmith.engines.training.driver import run_training
from goldsmith.engines.training.scale import parallel
from goldsmith.engines.training.scale.sharding import local, require_shardable
from goldsmith.methods.dpo import Dpo
from goldsmith.methods.reward_model import RewardModel
from goldsmith.methods.sft import Sft
from goldsmith.types.errors import BadInput
from goldsmith.types.record import Conversation, Record

pytestmark = pytest.mark.usefixtures("one_thread")

SIX: dict[str, Any] = {"learning_rate": 1e-3, "batch_size": 4, "max_steps": 6, "checkpoint_every": 2, "warmup_share": 0}


def conversations(n: int = 15) -> list[Record]:
    return [record for record in records(n) if isinstance(record.content, Conversation)]


def alike(base: Path, folder: Path, method: Any, size: int = 2, but: str = "-", **changes: Any) -> None:
    """One process and `size` with shards train the same."""
    run_training(job(base, folder / "one", method, **changes))
    sharded = job(base, folder / "sharded", method, shard="full", **changes)
    found = together(size, folder / "meet", lambda: run_training(sharded))
    assert all(hasattr(one, "steps") for one in found), found
    assert found[0].facts["shard"] == "full"
    same(folder / "one", folder / "sharded", but)


# ---- the mathematics of one process ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(METHODS))
def test_shards_train_as_one_process_does(tiny_base: Path, tmp_path: Path, name: str) -> None:
    alike(tiny_base, tmp_path, METHODS[name])


def test_accumulated_at_once_or_in_shards_is_one_update(tiny_base: Path, tmp_path: Path) -> None:
    """4 x 1, 1 x 4 in shards, and packed in three shards, of which one has nothing to do in an epoch's last update."""
    at_once = {"learning_rate": 1e-3, "max_steps": 5, "packing": "off", "batch_size": 4}
    run_training(job(tiny_base, tmp_path / "4x1", Sft(**at_once), records=records(14)))
    for size, name, changes in (
        (2, "1x4", {"batch_size": 1, "gradient_accumulation": 4}),
        (3, "packed", {"packing": "best_fit"}),
    ):
        shared = job(tiny_base, tmp_path / name, Sft(**{**at_once, **changes}), records=records(14), shard="full")
        found = together(size, tmp_path / f"meet{size}", lambda training=shared: run_training(training))
        assert all(hasattr(one, "steps") for one in found), found
        same(tmp_path / "4x1", tmp_path / name)


def test_gradients_are_clipped_by_the_norm_of_the_whole_model(tiny_base: Path, tmp_path: Path) -> None:
    method = Sft(learning_rate=1e-2, batch_size=4, max_steps=4, max_grad_norm=0.05, warmup_share=0)
    alike(tiny_base, tmp_path, method, records=conversations())
    norms = [line["grad_norm"] for line in curve(tmp_path / "sharded")]
    assert min(norms) > 0.5, "it clips in every step"


def test_each_process_holds_its_shard_alone(tiny_base: Path, tmp_path: Path) -> None:
    """Between forwards: weights, moments and gradients of a half."""

    def work() -> Any:
        seen: list[tuple[int, int, int]] = []
        account = driver._Run._account

        def counted(self: Any, *args: Any) -> None:
            account(self, *args)
            mine = [p for _, p in self.policy.model.named_parameters()]
            moments = [state["exp_avg"] for state in self.optimizer.adamw.state.values()]
            seen.append(
                (
                    sum(p.numel() for p in mine),
                    sum(local(p.detach()).numel() for p in mine),
                    sum(local(moment).numel() for moment in moments),
                )
            )

        driver._Run._account = counted  # type: ignore[method-assign]
        run_training(job(tiny_base, tmp_path / "run", METHODS["sft-full"], shard="full"))
        return seen

    for steps in together(2, tmp_path / "meet", work):
        for whole, weights, moments in steps:
            assert 0.45 * whole < weights < 0.55 * whole
            assert weights == moments


@pytest.mark.parametrize(
    "method",
    [
        Sft(batch_size=4, max_steps=3, learning_rate=1e-3, activation_checkpointing=True),
        Sft(batch_size=4, max_steps=3, learning_rate=1e-3, adapter={**LORA, "last_layers": 1}),
        Sft(batch_size=4, max_steps=3, learning_rate=1e-3, adapter={"kind": "none", "last_layers": 1}),
        Sft(batch_size=4, max_steps=3, learning_rate=1e-3, new_tokens=["<unit>"], adapter=LORA),
        RewardModel(batch_size=4, max_steps=3, learning_rate=1e-3),
        RewardModel(batch_size=4, max_steps=3, learning_rate=1e-3, adapter=LORA),
        Dpo(batch_size=4, max_steps=3, learning_rate=1e-3, adapter=LORA, packing="off", loss="ipo"),
    ],
    ids=["checkpointed", "lora-last", "full-last", "new-token", "reward", "reward-lora", "dpo-ipo"],
)
def test_what_else_is_tuned(tiny_base: Path, tmp_path: Path, method: Any) -> None:
    alike(tiny_base, tmp_path, method)


def test_half_precision_adapters(tiny_base: Path, tmp_path: Path) -> None:
    """A frozen base in bfloat16 beside adapters in float32 lies in the same units."""
    method = Sft(batch_size=4, max_steps=3, learning_rate=1e-3, adapter=LORA, precision="bfloat16")
    run_training(job(tiny_base, tmp_path / "one", method))
    sharded = job(tiny_base, tmp_path / "two", method, shard="full")
    found = together(2, tmp_path / "meet", lambda: run_training(sharded))
    assert all(hasattr(one, "steps") for one in found), found
    losses = [[line["loss"] for line in curve(tmp_path / name)] for name in ("one", "two")]
    torch.testing.assert_close(torch.tensor(losses[1]), torch.tensor(losses[0]), rtol=2e-2, atol=0)


QUICK = ("llama", "gemma3", "mixtral")


def _architecture(families: ModuleType, family: str, folder: Path) -> None:
    """But for biases of keys: what a softmax leaves out of account has no gradient but rounding."""
    base = families.save(family, folder / "base")
    method = Sft(learning_rate=1e-3, batch_size=4, max_steps=3)
    alike(base, folder, method, records=conversations(), but="k_proj.bias")


@pytest.mark.parametrize("name", QUICK)
def test_tied_windowed_and_mixed_architectures(families: ModuleType, name: str, tmp_path: Path) -> None:
    _architecture(families, name, tmp_path)


@pytest.mark.slow
def test_every_architecture(families: ModuleType, family: str, tmp_path: Path) -> None:
    _architecture(families, family, tmp_path)


def test_early_stopping_keeps_the_best_weights(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = Sft(**SIX, validation_share=0.3, evaluate_every=1, early_stopping_patience=2)

    def judged(self: Any, policy: Any, *_: Any) -> dict[str, float]:
        """Best at the third step."""
        policy.steps_seen = getattr(policy, "steps_seen", 0) + 1
        return {"loss": abs(policy.steps_seen - 3.0)}

    monkeypatch.setattr(Sft, "evaluate", judged)
    alike(tiny_base, tmp_path, method, records=conversations(20))
    assert curve(tmp_path / "sharded")[-1]["step"] == 5
    best = load_file(str(tmp_path / "sharded/scratch/best/weights.safetensors"))
    written = tensors(tmp_path / "sharded")
    assert all(torch.equal(written[name], tensor) for name, tensor in best.items() if name in written)
    last = checkpoints.newest(tmp_path / "one/scratch/checkpoints")[0]
    assert last is not None
    assert not all(torch.equal(written[name], tensor) for name, tensor in last.weights.items() if name in written)


# ---- checkpoints -------------------------------------------------------------------------------------------------


def test_a_sharded_run_goes_on_with_any_number_of_processes(tiny_base: Path, tmp_path: Path) -> None:
    """Two shards, three shards, one whole, two whole, two shards: one run."""
    method = Sft(**{**SIX, "max_steps": 10, "adapter": LORA})
    run_training(job(tiny_base, tmp_path / "straight", method))
    sharded, whole = (job(tiny_base, tmp_path / "moved", method, shard=shard) for shard in ("full", "none"))
    assert "MemoryError" in str(together(2, tmp_path / "meet1", stopped_after(3, sharded)))
    assert "MemoryError" in str(together(3, tmp_path / "meet2", stopped_after(5, sharded)))
    assert "MemoryError" in str(together(1, tmp_path / "alone", stopped_after(7, whole)))
    assert "MemoryError" in str(together(2, tmp_path / "meet3", stopped_after(9, whole)))
    found = together(2, tmp_path / "meet4", lambda: run_training(sharded))
    assert [one.facts["resumed_at_step"] for one in found] == [8, 8]
    same(tmp_path / "straight", tmp_path / "moved")


def test_all_weights_are_resharded(tiny_base: Path, tmp_path: Path) -> None:
    method = Sft(**SIX)
    run_training(job(tiny_base, tmp_path / "straight", method))
    moved = job(tiny_base, tmp_path / "moved", method, shard="full")
    assert "MemoryError" in str(together(2, tmp_path / "meet1", stopped_after(3, moved)))
    files = sorted(p.name for p in (tmp_path / "moved/scratch/checkpoints/step-000000002/shards").iterdir())
    assert len(files) == 2
    found = together(3, tmp_path / "meet2", lambda: run_training(moved))
    assert found[0].facts["resumed_at_step"] == 2
    same(tmp_path / "straight", tmp_path / "moved")


def test_the_same_shards_give_the_same_bytes_after_a_resume(tiny_base: Path, tmp_path: Path) -> None:
    """With dropout, on as many processes."""
    method = Sft(**{**SIX, "max_steps": 4, "adapter": {**LORA, "dropout": 0.2}})
    straight, broken = (job(tiny_base, tmp_path / name, method, shard="full") for name in ("straight", "broken"))
    together(2, tmp_path / "meet1", lambda: run_training(straight))
    together(2, tmp_path / "meet2", stopped_after(3, broken))
    found = together(2, tmp_path / "meet3", lambda: run_training(broken))
    assert found[0].facts["resumed_at_step"] == 2
    first, second = (
        hashlib.sha256(next((tmp_path / name / "out").glob("*.safetensors")).read_bytes()).hexdigest()
        for name in ("straight", "broken")
    )
    assert first == second


def _stopped(base: Path, folder: Path) -> tuple[Any, Path]:
    """A sharded run with checkpoints of the steps 2 and 4."""
    training = job(base, folder / "run", Sft(**SIX), shard="full", records=conversations())
    together(2, folder / "meet0", stopped_after(5, training))
    place = training.scratch_dir / "checkpoints"
    assert sorted(path.name for path in place.iterdir()) == ["step-000000002", "step-000000004"]
    return training, place


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("how", ["flipped", "missing", "no-manifest", "other-manifest"])
def test_a_damaged_shard_is_refused_and_the_checkpoint_before_is_named(
    tiny_base: Path, tmp_path: Path, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    training, place = _stopped(tiny_base, tmp_path)
    last = place / "step-000000004"
    shard = sorted((last / "shards").iterdir())[1]
    match how:
        case "flipped":
            _flip(shard)
        case "missing":
            shard.unlink()
        case "no-manifest":
            (last / "manifest.json").unlink()
        case _:
            (last / "manifest.json").write_text("[]")

    def work() -> Any:
        said: list[str] = []
        handler = logging.Handler()
        handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
        logging.getLogger("goldsmith.training").addHandler(handler)
        return run_training(training).facts, said

    (facts, said), (others, silent) = together(2, tmp_path / "meet1", work)
    assert facts["resumed_at_step"] == others["resumed_at_step"] == 2
    assert facts["checkpoints_damaged"] == "step-000000004"
    assert len(said) == 1
    assert not silent, "one process says it"
    assert "step-000000004" in said[0]
    assert "going back to step 2" in said[0]
    wrong = {"flipped": "other bytes", "missing": "is missing", "no-manifest": "manifest cannot be read"}
    assert wrong.get(how, "its manifest is not one") in said[0]


@pytest.mark.parametrize("moment", ["before", "between", "after", "manifest"])
def test_a_process_killed_while_it_writes_costs_no_checkpoint(tiny_base: Path, tmp_path: Path, moment: str) -> None:
    """The second process dies before its shard, or after it; the first before or after the manifest."""
    training = job(tiny_base, tmp_path / "run", Sft(**SIX), shard="full", records=conversations())
    run_training(job(tiny_base, tmp_path / "straight", Sft(**SIX), records=conversations()))

    def work() -> Any:
        rank = parallel.here().rank
        save, close = sharded._save, sharded.sync_folder

        def dies(folder: Path, state: Any, target: Path) -> None:
            fourth = target.name == "step-000000004"
            if fourth and rank == 1 and moment == "before":
                os._exit(9)
            save(folder, state, target)
            if fourth and ((rank == 1 and moment == "after") or (rank == 0 and moment == "between")):
                os._exit(9)

        def ends(folder: Path) -> None:
            if "step-000000004" in str(folder) and moment == "manifest":
                os._exit(9)
            close(folder)

        sharded._save, sharded.sync_folder = dies, ends
        return run_training(training)

    killed = 1 if moment in ("before", "after") else 0
    found = together(2, tmp_path / "meet1", work)
    assert found[killed] is None
    assert found[1 - killed]["error"] == "Elsewhere"
    place = training.scratch_dir / "checkpoints"
    assert [path.name for path in place.glob("step-*")] == ["step-000000002"]
    again = together(2, tmp_path / "meet2", lambda: run_training(training))
    assert again[0].facts["resumed_at_step"] == 2
    assert not list(place.glob(".partial*")), "what the dead writer left is gone"
    same(tmp_path / "straight", tmp_path / "run")


def test_a_full_disk_in_one_process_is_told_by_all(tiny_base: Path, tmp_path: Path) -> None:
    training = job(tiny_base, tmp_path / "run", Sft(**SIX), shard="full", records=conversations())

    def work() -> Any:
        from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter

        write = HuggingFaceStorageWriter.write_data

        def full(self: Any, *args: Any) -> Any:
            if parallel.here().rank == 1 and "step-000000004" in str(self.path):
                raise OSError(28, "No space left on device")
            return write(self, *args)

        HuggingFaceStorageWriter.write_data = full
        return run_training(training)

    found = together(2, tmp_path / "meet", work)
    assert [one["error"] for one in found] == ["Unavailable"] * 2
    assert all("process 2: OSError" in one["found"] and "No space left" in one["found"] for one in found)
    place = training.scratch_dir / "checkpoints"
    assert [path.name for path in place.iterdir()] == ["step-000000002"]


def test_another_seed_is_refused_as_ever(tiny_base: Path, tmp_path: Path) -> None:
    _, place = _stopped(tiny_base, tmp_path)
    other = job(tiny_base, tmp_path / "run", Sft(**SIX), shard="full", seed=4, records=conversations())
    found = together(2, tmp_path / "meet1", lambda: run_training(other))
    assert [one["error"] for one in found] == ["BadInput"] * 2
    assert "begun with something else: seed" in found[0]["what"]
    assert len(list(place.iterdir())) == 2
    fresh = job(tiny_base, tmp_path / "run", Sft(**SIX), shard="full", seed=4, records=conversations(), resume=False)
    assert "resumed_at_step" not in together(2, tmp_path / "meet2", lambda: run_training(fresh))[0].facts


def test_shards_on_disk_are_no_pickles_and_hold_the_weights(tiny_base: Path, tmp_path: Path) -> None:
    _, place = _stopped(tiny_base, tmp_path)
    kinds = {path.suffix for path in place.rglob("*") if path.is_file()}
    assert kinds == {".safetensors", ".json"}
    found: dict[str, int] = {}
    for path in (place / "step-000000004" / "shards").iterdir():
        for name, tensor in load_file(str(path)).items():
            found[name] = found.get(name, 0) + tensor.numel()
    shutil.rmtree(place)
    run_training(job(tiny_base, tmp_path / "one", Sft(**SIX), records=conversations()))
    weights = checkpoints.newest(tmp_path / "one/scratch/checkpoints")[0]
    assert weights is not None
    sizes = {name: tensor.numel() for name, tensor in weights.weights.items()}
    assert {name.removeprefix("weights."): n for name, n in found.items() if name.startswith("weights.")} == sizes
    assert set(tensors(tmp_path / "one")) >= set(sizes)


# ---- what goes wrong ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "where"),
    [
        (Sft(adapter={"kind": "qlora"}, precision="bfloat16"), "adapter.kind"),
        (Sft(adapter={"kind": "lora", "init": "pissa"}), "adapter.init"),
        (Sft(compile="on"), "compile"),
        (Sft(activation_offload=True, activation_checkpointing=True), "activation_offload"),
    ],
)
def test_settings_that_do_not_go_with_shards_are_refused(
    tiny_base: Path, tmp_path: Path, method: Any, where: str
) -> None:
    with pytest.raises(BadInput, match="does not go with shards") as caught:
        require_shardable(method)
    assert caught.value.where == where
    training = job(tiny_base, tmp_path / "run", method, shard="full")
    assert [one["where"] for one in together(2, tmp_path / "meet", lambda: run_training(training))] == [where] * 2


def test_one_process_has_nothing_to_shard(tiny_base: Path, tmp_path: Path) -> None:
    facts = run_training(job(tiny_base, tmp_path, METHODS["sft-lora"], shard="full")).facts
    assert "shard" not in facts


def test_processes_that_do_not_all_shard_stop(tiny_base: Path, tmp_path: Path) -> None:
    def work() -> Any:
        shard = "full" if parallel.here().rank else "none"
        return run_training(job(tiny_base, tmp_path / "run", METHODS["sft-lora"], shard=shard))

    found = together(2, tmp_path / "meet", work)
    assert {one["what"] for one in found} == {"the training processes do not have the same run: shard"}


def test_a_forward_that_fails_in_one_process_ends_all(tiny_base: Path, tmp_path: Path) -> None:
    """It cannot be named to processes that wait within a layer; that it is gone can."""

    def work() -> Any:
        if parallel.here().rank == 1:

            def fails(*_: Any, **__: Any) -> Any:
                raise MemoryError("no room for the forward")

            Sft._loss = fails  # type: ignore[method-assign]
        return run_training(job(tiny_base, tmp_path / "run", METHODS["sft-lora"], shard="full"))

    first, second = together(2, tmp_path / "meet", work)
    assert first["error"] == "Elsewhere"
    assert "is gone" in first["what"]
    assert "no room for the forward" in second
    assert not (tmp_path / "run" / "out").exists()


def test_a_run_without_shards_follows_one_with(tiny_base: Path, tmp_path: Path) -> None:
    """In the same processes, as the steps of a recipe are; the first leaves nothing behind in the second."""
    run_training(job(tiny_base, tmp_path / "one", METHODS["dpo-full"]))

    def work() -> Any:
        run_training(job(tiny_base, tmp_path / "first", METHODS["sft-lora"], shard="full"))
        return run_training(job(tiny_base, tmp_path / "second", METHODS["dpo-full"])).facts

    assert all("shard" not in facts for facts in together(2, tmp_path / "meet", work))
    same(tmp_path / "one", tmp_path / "second")
