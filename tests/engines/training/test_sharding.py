"""Weights in shards (FSDP2) train as one process does, and their checkpoints go on with any number of processes."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from goldsmith_test_processes import METHODS, job, same, together

from goldsmith.engines.training.driver import run_training


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """A forked child may not use a parent's thread pool."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", list(METHODS))
def test_shards_train_as_one_process_does(tiny_base: Path, tmp_path: Path, name: str) -> None:
    run_training(job(tiny_base, tmp_path / "one", METHODS[name]))
    sharded = job(tiny_base, tmp_path / "two", METHODS[name], shard="full")
    two = together(2, tmp_path / "meet", lambda: run_training(sharded))
    assert [getattr(outcome, "steps", outcome) for outcome in two] == [5, 5]
    assert two[0].facts["shard"] == "full"
    same(tmp_path / "one", tmp_path / "two")
