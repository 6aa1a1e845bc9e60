"""Whole runs: repeatable to the byte, resumable after a kill, loud when something is wrong."""

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import goldsmith_test_processes as processes
import pytest
import torch
from goldsmith_test_processes import lines
from goldsmith_test_records import answered, said, yes_over_no

from goldsmith.engines.training import driver
from goldsmith.engines.training.checkpointing import folders
from goldsmith.engines.training.driver import TrainingJob, run_training, train_until
from goldsmith.engines.training.model.loading import load_model
from goldsmith.engines.training.model.policy import Policy
from goldsmith.engines.training.model.saving import merge
from goldsmith.methods.dpo import Dpo
from goldsmith.methods.sft import Sft
from goldsmith.types.errors import BadInput, Unavailable
from goldsmith.types.record import Conversation, Record

pytestmark = pytest.mark.usefixtures("one_thread")


LORA = {"kind": "lora", "rank": 4, "dropout": 0.1}


def conversations(n: int = 24) -> list[Record]:
    """Questions of different lengths with short answers."""
    return [answered(f"What is {'quick ' * (i % 4)}{i}?", f"It is {i}, {i}.") for i in range(n)]


def job(base: Path, folder: Path, method: Any = None, **changes: Any) -> TrainingJob:
    method = method or Sft(learning_rate=5e-3, batch_size=4, max_steps=6, checkpoint_every=2)
    return processes.job(base, folder, method, **{"records": conversations(), **changes})


def weights(folder: Path) -> str:
    path = next(folder.glob("*.safetensors"))
    return hashlib.sha256(path.read_bytes()).hexdigest()


METHODS: list[Any] = [
    Sft(learning_rate=5e-3, batch_size=4, max_steps=6, adapter=LORA, checkpoint_every=2),
    Sft(learning_rate=5e-3, batch_size=4, max_steps=6, checkpoint_every=2),
    Dpo(learning_rate=5e-3, batch_size=4, max_steps=6, checkpoint_every=2),
]


@pytest.mark.parametrize("method", METHODS, ids=["sft-lora", "sft-full", "dpo-full"])
def test_same_job_twice_gives_the_same_bytes(tiny_base: Path, tmp_path: Path, method: Any) -> None:
    records = conversations() + yes_over_no(12)
    first = run_training(job(tiny_base, tmp_path / "a", method, records=records))
    second = run_training(job(tiny_base, tmp_path / "b", method, records=records))
    other = run_training(job(tiny_base, tmp_path / "c", method, records=records, seed=4))
    assert weights(first.model_dir) == weights(second.model_dir) != weights(other.model_dir)
    assert lines(first.metrics_file) == lines(second.metrics_file)
    assert first.rows_used == (24 if method.id == "sft" else 12)
    assert first.facts["rows_other_kind"] == (12 if method.id == "sft" else 24)
    assert first.steps == 6
    assert first.stop == "done"
    assert first.label_tokens == sum(line["label_tokens"] for line in lines(first.metrics_file))


def test_validation_rows_that_are_all_too_long_are_left_out_and_counted(tiny_base: Path, tmp_path: Path) -> None:
    long = Record(content=Conversation(messages=(said("user", "quick " * 90), said("assistant", "It is."))))
    training = job(tiny_base, tmp_path, Sft(max_length=60, over_long="drop", batch_size=4, max_steps=2))
    done = run_training(replace(training, validation=[long, long]))
    assert (done.rows_validation, done.rows_dropped) == (0, 2)
    with pytest.raises(BadInput, match="no row is left"):
        run_training(job(tiny_base, tmp_path / "b", Sft(max_length=60, over_long="drop"), records=[long]))


# ---- resume ------------------------------------------------------------------------------------------------------


def run_and_die_at(step: int, training: TrainingJob, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run in a forked child that kills itself with SIGKILL inside `step`."""
    pid = processes.fork()
    if pid == 0:  # pragma: no cover - another process
        original = Sft.steps

        def steps(self: Any, *args: Any, **named: Any) -> Iterator[Any]:
            for metrics in original(self, *args, **named):
                if metrics.step == step:
                    os.kill(os.getpid(), signal.SIGKILL)
                yield metrics

        Sft.steps = steps  # type: ignore[method-assign]
        try:
            run_training(training)
        finally:
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == signal.SIGKILL


@pytest.mark.parametrize("adapter", [LORA, {"kind": "none"}], ids=["lora", "full"])
def test_kill_and_resume_equals_the_straight_run(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, adapter: dict[str, Any]
) -> None:
    method = Sft(
        learning_rate=5e-3,
        batch_size=4,
        epochs=3,
        checkpoint_every=2,
        adapter=adapter,
        validation_share=0.2,
        evaluate_every=3,
        early_stopping_patience=5,
    )
    straight = run_training(job(tiny_base, tmp_path / "straight", method))
    killed = job(tiny_base, tmp_path / "killed", method)
    run_and_die_at(5, killed, monkeypatch)
    assert not killed.output_dir.exists()
    run_and_die_at(8, killed, monkeypatch)
    resumed = run_training(killed)
    assert resumed.facts["resumed_at_step"] == 6
    assert weights(resumed.model_dir) == weights(straight.model_dir)
    assert lines(resumed.metrics_file) == lines(straight.metrics_file)
    assert replace(resumed, facts={}, model_dir=straight.model_dir, metrics_file=straight.metrics_file) == replace(
        straight, facts={}
    )


def test_resume_refuses_anything_else(
    tiny: Any, tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = job(tiny_base, tmp_path)
    run_and_die_at(3, training, monkeypatch)
    other_base = tiny.base(tmp_path / "other", seed=9)
    other_template = tiny.base(tmp_path / "template", template=tiny.tagged_template)
    for change, named in (
        ({"records": conversations(23)}, "data"),
        ({"seed": 4}, "seed"),
        ({"method": Sft(learning_rate=6e-3, batch_size=4, max_steps=6, checkpoint_every=2)}, "settings"),
        ({"base": str(other_base)}, "base"),
        ({"base": str(other_template)}, "chat_template"),
    ):
        with pytest.raises(BadInput) as caught:
            run_training(replace(training, **change))
        assert caught.value.what.endswith(named)
    assert run_training(training).facts["resumed_at_step"] == 2
    fresh = run_training(replace(training, seed=4, resume=False))
    assert "resumed_at_step" not in fresh.facts


def test_ctrl_c_saves_and_a_rerun_goes_on(tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    method = Sft(learning_rate=5e-3, batch_size=4, max_steps=6, checkpoint_every=0)
    straight = run_training(job(tiny_base, tmp_path / "straight", method))
    training = job(tiny_base, tmp_path / "stopped", method)
    original = Sft.steps

    def steps(self: Any, *args: Any) -> Iterator[Any]:
        for metrics in original(self, *args):
            if metrics.step == 4:
                signal.raise_signal(signal.SIGINT)
            yield metrics

    with monkeypatch.context() as patch:
        patch.setattr(Sft, "steps", steps)
        with pytest.raises(KeyboardInterrupt):
            run_training(training)
    assert not training.output_dir.exists()
    resumed = run_training(training)
    assert resumed.facts["resumed_at_step"] == 4
    assert weights(resumed.model_dir) == weights(straight.model_dir)


# ---- bad input (faults: see test_faults.py) ----------------------------------------------------------------------


def test_a_safetensors_io_error_is_a_full_disk(tmp_path: Path) -> None:
    from safetensors import SafetensorError

    with pytest.raises(Unavailable, match="disk is full"), folders.new_folder(tmp_path / "x"):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
    assert list(tmp_path.iterdir()) == []


def test_bad_rows_are_named(tiny_base: Path, tmp_path: Path) -> None:
    records = conversations(3)
    records[1] = Record(content=Conversation(messages=(said("user", "hi"),)))
    with pytest.raises(BadInput) as caught:
        run_training(job(tiny_base, tmp_path, records=records, row_names=["a:1", "a:2", "a:3"]))
    assert caught.value.where == "a:2"
    with pytest.raises(BadInput, match="none of the 12 records"):
        run_training(job(tiny_base, tmp_path, records=yes_over_no(12)))


def test_missing_and_damaged_bases(tiny: Any, tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        run_training(job(tmp_path / "nowhere", tmp_path))
    base = tiny.base(tmp_path / "base")
    path = base / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(Unavailable):
        run_training(job(base, tmp_path))


def test_over_long_rows_are_counted(tiny_base: Path, tmp_path: Path) -> None:
    def method(policy: str) -> Sft:
        return Sft(learning_rate=5e-3, max_steps=1, max_length=70, over_long=policy)

    long = Record(content=Conversation(messages=(said("user", "hi"), said("assistant", "very " * 90))))
    records = [*conversations(8), long]
    with pytest.raises(BadInput, match="1 of 9 rows"):
        run_training(job(tiny_base, tmp_path / "a", method("refuse"), records=records))
    dropped = run_training(job(tiny_base, tmp_path / "b", method("drop"), records=records))
    cut = run_training(job(tiny_base, tmp_path / "c", method("cut_keep_stop"), records=records))
    assert (dropped.rows_used, dropped.rows_dropped, dropped.rows_cut) == (8, 1, 0)
    assert (cut.rows_used, cut.rows_dropped, cut.rows_cut) == (9, 0, 1)


# ---- the same mathematics however it is cut up -------------------------------------------------------------------


def test_four_by_one_equals_one_by_four(tiny_base: Path, tmp_path: Path) -> None:
    shapes: list[dict[str, Any]] = [
        {"batch_size": 4, "gradient_accumulation": 1, "packing": "off"},
        {"batch_size": 1, "gradient_accumulation": 4, "packing": "off"},
        {"batch_size": 4, "gradient_accumulation": 1, "forward_tokens": 40},
    ]
    found = []
    for number, shape in enumerate(shapes):
        method = Sft(learning_rate=1e-3, max_steps=3, **shape)
        outcome = run_training(job(tiny_base, tmp_path / str(number), method))
        model = load_model(outcome.model_dir)
        found.append((lines(outcome.metrics_file), dict(model.named_parameters())))
    for other_lines, other in found[1:]:
        for mine, theirs in zip(found[0][0], other_lines, strict=True):
            assert theirs["loss"] == pytest.approx(mine["loss"], rel=1e-5)
            assert theirs["grad_norm"] == pytest.approx(mine["grad_norm"], rel=1e-4)
        for name, parameter in found[0][1].items():
            torch.testing.assert_close(other[name], parameter, rtol=1e-3, atol=2e-4)


# ---- early stopping ----------------------------------------------------------------------------------------------


def test_early_stopping_keeps_the_best_weights(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = iter([3.0, 2.0, 2.5, 2.2, 1.0])
    seen: dict[int, str] = {}

    def evaluate(self: Any, policy: Policy, rows: Any, batches: Any, prepared: Any) -> dict[str, float]:
        value = next(losses)
        seen[len(seen) + 1] = hashlib.sha256(repr([p.sum().item() for _, p in policy.trainable()]).encode()).hexdigest()
        return {"loss": value}

    monkeypatch.setattr(Sft, "evaluate", evaluate)
    method = Sft(
        learning_rate=5e-3,
        batch_size=4,
        max_steps=20,
        validation_share=0.2,
        evaluate_every=1,
        early_stopping_patience=2,
    )
    outcome = run_training(job(tiny_base, tmp_path, method))
    assert outcome.stop == "early_stopping"
    assert outcome.steps == 4
    assert outcome.best_validation_loss == 2.0
    assert outcome.facts["weights_of_step"] == 2
    model = load_model(outcome.model_dir)
    sums = repr([p.sum().item() for _, p in model.named_parameters()])
    assert hashlib.sha256(sums.encode()).hexdigest() == seen[2]


def test_early_stopping_without_validation_rows_is_refused(tiny_base: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="needs validation rows"):
        run_training(job(tiny_base, tmp_path, Sft(early_stopping_patience=2)))


# ---- what comes out ----------------------------------------------------------------------------------------------


def test_output_is_what_plain_libraries_load(tiny_base: Path, tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

    method = Sft(learning_rate=5e-2, batch_size=4, max_steps=4, adapter=LORA)
    outcome = run_training(job(tiny_base, tmp_path, method))
    assert outcome.form == "adapter"
    plain = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_base), outcome.model_dir).eval()
    ids = torch.arange(4, 30)[None]
    with torch.no_grad():
        wanted = plain(ids).logits
        base = AutoModelForCausalLM.from_pretrained(tiny_base).eval()(ids).logits
        merged = AutoModelForCausalLM.from_pretrained(merge(outcome.model_dir, tmp_path / "merged")).eval()(ids).logits
    assert (wanted - base).abs().max() > 1e-2
    torch.testing.assert_close(merged, wanted, rtol=1e-4, atol=1e-4)
    for folder in (outcome.model_dir, tmp_path / "merged"):
        tokenizer = AutoTokenizer.from_pretrained(folder)
        stops = GenerationConfig.from_pretrained(folder).eos_token_id
        assert stops == sorted(tokenizer.convert_tokens_to_ids(["<|endoftext|>", "<|im_end|>"]))
        assert tokenizer.chat_template == AutoTokenizer.from_pretrained(tiny_base).chat_template


def test_dpo_on_the_adapter_that_sft_made(tiny_base: Path, tmp_path: Path) -> None:
    first = run_training(
        job(tiny_base, tmp_path / "sft", Sft(learning_rate=5e-3, batch_size=4, max_steps=3, adapter=LORA))
    )
    method = Dpo(learning_rate=5e-3, batch_size=4, max_steps=4, adapter=LORA)
    second = run_training(job(first.model_dir, tmp_path / "dpo", method, records=yes_over_no(12)))
    start = lines(second.metrics_file)[0]
    assert start["loss"] == pytest.approx(0.6931, abs=1e-3)  # the reference is the SFT model, not its base
    assert second.base == str(first.model_dir)
    load_model(second.model_dir)


def test_bfloat16_needs_an_adapter_and_trains(tiny_base: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs an adapter"):
        Sft(precision="bfloat16")
    for number, precision in enumerate(("bfloat16", "bfloat16_mixed")):
        method = Sft(learning_rate=5e-3, batch_size=4, max_steps=3, precision=precision, adapter=LORA)
        assert run_training(job(tiny_base, tmp_path / str(number), method)).final_loss < 8


def test_nobody_is_told(tiny_base: Path) -> None:
    code = (
        "import os, goldsmith.engines.training.model.policy as p; "
        "assert os.environ['HF_HUB_DISABLE_TELEMETRY'] == '1'; assert p is not None"
    )
    root = Path(driver.__file__).parents[3]
    env = {k: v for k, v in os.environ.items() if k != "HF_HUB_DISABLE_TELEMETRY"} | {"PYTHONPATH": str(root)}
    assert subprocess.run([sys.executable, "-c", code], env=env, check=False).returncode == 0


@pytest.mark.parametrize("adapter", [{"kind": "none"}, LORA])
def test_a_run_taken_in_parts_is_the_same_run(tiny_base: Path, tmp_path: Path, adapter: dict[str, Any]) -> None:
    """Stopped at two steps on the way, validated there, and finished: the bytes of the run that was never stopped."""
    method = Sft(learning_rate=5e-3, batch_size=4, max_steps=5, adapter=adapter)
    more = {"validation": conversations(30)[24:]}
    whole = run_training(job(tiny_base, tmp_path / "whole", method, **more))
    parts = job(tiny_base, tmp_path / "parts", method, **more)
    first = train_until(parts, 2)
    assert (first.step, first.steps, first.trained_steps) == (2, 5, 2)
    assert first.validation_loss is not None
    assert not parts.output_dir.exists()
    again = train_until(parts, 2)
    assert (again.trained_steps, again.validation_loss) == (0, first.validation_loss)
    second = train_until(parts, 4, save=True)
    assert (second.step, second.trained_steps) == (4, 2)
    assert parts.output_dir.is_dir()
    finished = run_training(parts)
    assert weights(finished.model_dir) == weights(whole.model_dir)
    assert finished.best_validation_loss == whole.best_validation_loss
    assert lines(whole.metrics_file)[-1] == lines(finished.metrics_file)[-1]
