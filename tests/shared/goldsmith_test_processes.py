"""For tests with several processes: forked ones that meet over gloo, a small job, and what it is to train the same."""

import json
import os
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from goldsmith_test_records import answered, compared, said
from safetensors.torch import load_file

from goldsmith.engines.chat import open_chat
from goldsmith.engines.training.data.rows import Row
from goldsmith.engines.training.driver import TrainingJob, run_training
from goldsmith.engines.training.model.policy import Policy, open_policy
from goldsmith.methods.dpo import Dpo
from goldsmith.methods.kto import Kto
from goldsmith.methods.sft import Sft
from goldsmith.types.record import Rating, Record

LORA = {"kind": "lora", "rank": 4}


def records(n: int = 15) -> list[Record]:
    """Of each kind `n`, of uneven lengths; n is no multiple of the rows of an update."""
    found = []
    for i in range(n):
        question, answer = f"What is {'quick ' * (i % 7)}{i}?", f"It is {i}, {'so ' * (i % 5)}{i}."
        asked = (said("user", question),)
        found += [
            answered(question, answer),
            compared(question, answer, "no" * (1 + i % 3)),
            Record(content=Rating(prompt=asked, answer=(said("assistant", answer),), label=bool(i % 3))),
        ]
    return found


def job(base: Path, folder: Path, method: Any, **changes: Any) -> TrainingJob:
    given = {
        "method": method,
        "base": str(base),
        "records": records(),
        "output_dir": folder / "out",
        "scratch_dir": folder / "scratch",
        "seed": 3,
        "progress": False,
        "device": "cpu",
    }
    return TrainingJob(**(given | changes))


def opened(base: Path, method: Any, records: Sequence[Record]) -> tuple[Policy, list[Row]]:
    """The policy that a method trains, and the rows it makes of these records."""
    chat = open_chat(str(base))
    rows = [method.encode(chat, record, str(i), str(i)) for i, record in enumerate(records)]
    return open_policy(str(base), chat, method, seed=1), rows


def fork() -> int:
    """`os.fork`; in the child torch's pool of threads is made anew before anybody asks for it, since two threads that
    ask for it at once right after a fork are told "Invalid thread pool"."""
    pid = os.fork()
    if pid == 0:  # pragma: no cover - another process
        torch.set_num_threads(1)
    return pid


def together(size: int, folder: Path, work: Callable[[], Any]) -> list[Any]:
    """What `work` gives, or the error it ends in, in each of `size` forked processes that have met over gloo."""
    folder.mkdir(parents=True, exist_ok=True)
    children = []
    for rank in range(size):
        pid = fork()
        if pid == 0:  # pragma: no cover - another process
            try:
                dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=size)
                try:
                    answer: Any = work()
                except Exception as error:
                    answer = error.as_dict() if hasattr(error, "as_dict") else repr(error)
                (folder / f"{rank}.pickle").write_bytes(pickle.dumps(answer))
            finally:
                os._exit(0)
        children.append(pid)
    for pid in children:
        os.waitpid(pid, 0)
    files = [folder / f"{rank}.pickle" for rank in range(size)]
    return [pickle.loads(file.read_bytes()) if file.exists() else None for file in files]


def lines(path: Path) -> list[dict[str, Any]]:
    """The metrics without the clock."""
    found = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [{k: v for k, v in line.items() if k != "seconds"} for line in found]


def curve(folder: Path) -> list[dict[str, float]]:
    """The metrics of a `job`."""
    return lines(folder / "scratch" / "metrics.jsonl")


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(str(next((folder / "out").glob("*.safetensors"))))


def same(one: Path, other: Path, but: str = "-") -> None:
    """Equal up to the order of float32 sums, weights called `but` left out."""
    first, second = curve(one), curve(other)
    assert len(first) == len(second)
    for line, like in zip(first, second, strict=True):
        assert line.keys() == like.keys()
        assert line["step"] == like["step"]
        np.testing.assert_allclose([*line.values()], [*like.values()], rtol=1e-5, atol=2e-6)
    assert tensors(one).keys() == tensors(other).keys()
    for name, tensor in tensors(one).items():
        if but in name:
            continue
        torch.testing.assert_close(tensors(other)[name], tensor, rtol=1e-4, atol=2e-5)


COMMON: dict[str, Any] = {"batch_size": 4, "max_steps": 5, "validation_share": 0.2, "evaluate_every": 2}
METHODS: dict[str, Any] = {
    "sft-full": Sft(learning_rate=1e-3, **COMMON),
    "sft-lora": Sft(learning_rate=1e-3, adapter=LORA, **COMMON),
    "dpo-full": Dpo(learning_rate=1e-3, **COMMON),
    "dpo-lora": Dpo(learning_rate=1e-3, adapter=LORA, **COMMON),
    "kto-lora": Kto(learning_rate=1e-3, adapter=LORA, **COMMON),
}


def stopped_after(step: int, training: TrainingJob, when: Callable[[], bool] = lambda: True) -> Callable[[], Any]:
    """Run an SFT job in a forked process and fail after `step`, where `when` says so."""

    def work() -> Any:
        original = Sft.steps

        def steps(self: Any, *args: Any) -> Any:
            for metrics in original(self, *args):
                if metrics.step == step and when():
                    raise MemoryError("enough")
                yield metrics

        Sft.steps = steps  # type: ignore[method-assign]
        return run_training(training)

    return work
