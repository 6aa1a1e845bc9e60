"""torchrun and accelerate launch start what `--processes` starts; what they are wrongly asked for is said."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from goldsmith_test_processes import METHODS, job, same

from goldsmith.engines.training.driver import run_training
from goldsmith.engines.training.scale import launcher
from goldsmith.engines.training.scale.launcher import launched, local_rank, require_followable
from goldsmith.types.errors import BadInput

MEETING = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, one_thread: None) -> None:
    for name in list(os.environ):
        if name in MEETING or name.startswith("ACCELERATE_"):
            monkeypatch.delenv(name)


def said(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def test_what_launchers_say_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not launched()
    said(monkeypatch, WORLD_SIZE="1", RANK="0")
    assert not launched()
    said(monkeypatch, **MEETING)
    assert launched()
    assert local_rank() == 0
    said(monkeypatch, ACCELERATE_MIXED_PRECISION="no", ACCELERATE_DYNAMO_BACKEND="NO", ACCELERATE_USE_FSDP="false")
    require_followable("float32")
    said(monkeypatch, ACCELERATE_MIXED_PRECISION="bf16")
    require_followable("bfloat16_mixed")


@pytest.mark.parametrize(
    ("variables", "what", "where"),
    [
        ({"WORLD_SIZE": "two"}, "no number of processes", "WORLD_SIZE"),
        ({"WORLD_SIZE": "0"}, "no number of processes", "WORLD_SIZE"),
        ({"WORLD_SIZE": "4"}, "not all is set", "environment"),
        ({**MEETING, "MASTER_PORT": ""}, "not all is set", "environment"),
        ({**MEETING, "MASTER_PORT": "0"}, "no port", "MASTER_PORT"),
        ({**MEETING, "RANK": "2"}, "none of WORLD_SIZE's", "RANK"),
        ({"ACCELERATE_MIXED_PRECISION": "no", "MASTER_ADDR": "127.0.0.1"}, "has started one", "WORLD_SIZE"),
    ],
)
def test_half_said_is_refused(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], what: str, where: str
) -> None:
    said(monkeypatch, **variables)
    with pytest.raises(BadInput, match=what) as caught:
        launched()
    assert caught.value.where == where
    assert "torchrun" in str(caught.value.next_step)


@pytest.mark.parametrize(
    ("name", "value", "what"),
    [
        ("ACCELERATE_USE_FSDP", "true", "--use_fsdp"),
        ("ACCELERATE_USE_DEEPSPEED", "true", "--use_deepspeed"),
        ("ACCELERATE_USE_MEGATRON_LM", "true", "--use_megatron_lm"),
        ("ACCELERATE_MIXED_PRECISION", "bf16", "another precision"),
        ("ACCELERATE_MIXED_PRECISION", "fp8", "another precision"),
        ("ACCELERATE_DYNAMO_BACKEND", "INDUCTOR", "torch.compile"),
    ],
)
def test_what_accelerate_would_do_to_the_model_is_refused(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, what: str
) -> None:
    said(monkeypatch, **{name: value})
    with pytest.raises(BadInput, match=what) as caught:
        run_training(job(tiny_base, tmp_path, METHODS["sft-lora"]))
    assert caught.value.where == name


def test_a_gpu_is_not_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadInput, match="which GPU"):
        launcher.local_rank()


SCRIPT = """
import json, pickle, sys
from pathlib import Path
import torch
from goldsmith.engines.training.scale import launch
training = pickle.loads(Path(sys.argv[1]).read_bytes())
torch.set_num_threads(1)
with launch.leading() as leads:
    if leads:
        outcome = launch.train_on(training)
        Path(sys.argv[2]).write_text(json.dumps(outcome.facts))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        ["torch.distributed.run", "--standalone", "--nproc-per-node", "2"],
        [
            *("accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1"),
            *("--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"),
        ],
    ],
    ids=["torchrun", "accelerate"],
)
@pytest.mark.parametrize("shard", ["none", "full"])
def test_launchers_train_as_one_process_does(tiny_base: Path, tmp_path: Path, command: list[str], shard: str) -> None:
    run_training(job(tiny_base, tmp_path / "one", METHODS["sft-lora"]))
    script, pickled, facts = tmp_path / "train.py", tmp_path / "job.pickle", tmp_path / "facts.json"
    script.write_text(SCRIPT)
    pickled.write_bytes(pickle.dumps(job(tiny_base, tmp_path / "two", METHODS["sft-lora"], shard=shard)))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    done = subprocess.run(
        [sys.executable, "-m", *command, str(script), str(pickled), str(facts)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(facts.read_text())
    assert found["processes"] == 2
    assert found.get("shard", "none") == shard
    same(tmp_path / "one", tmp_path / "two")
