"""Metrics reach the file and any tracker accelerate knows by name."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
from accelerate.tracking import GeneralTracker, on_main_process, register_tracker_class

from goldsmith.engines.training.driver import TrainingJob, run_training, train_until
from goldsmith.methods.sft import Sft
from goldsmith.types.errors import BadInput, Unavailable
from goldsmith.types.record import Conversation, Message, Record, Role, TextPart


class MemoryTracker(GeneralTracker):  # type: ignore[misc]
    """Keeps what it is told."""

    name = "goldsmith-memory"
    requires_logging_directory = False
    seen: ClassVar[list[tuple[int, dict[str, float]]]] = []

    def __init__(self, run_name: str, **_: Any) -> None:
        super().__init__()
        self.run_name = run_name

    @property
    def tracker(self) -> "MemoryTracker":
        return self

    @on_main_process
    def store_init_configuration(self, values: dict[str, Any]) -> None:
        pass

    @on_main_process
    def log(self, values: dict[str, float], step: int | None = None, **_: Any) -> None:
        self.seen.append((int(step or 0), values))


def job(base: Path, folder: Path, trackers: tuple[str, ...]) -> TrainingJob:
    turns = (
        Message(role=Role.USER, parts=(TextPart(text="a"),)),
        Message(role=Role.ASSISTANT, parts=(TextPart(text="b"),)),
    )
    method = Sft(max_steps=2, batch_size=4)
    records = [Record(content=Conversation(messages=turns))] * 8
    return TrainingJob(
        method, str(base), records, folder / "out", folder / "s", trackers=trackers, progress=False, device="cpu"
    )


def test_a_tracker_sees_what_the_file_says(tiny_base: Path, tmp_path: Path) -> None:
    register_tracker_class(MemoryTracker)
    outcome = run_training(job(tiny_base, tmp_path, ("goldsmith-memory",)))
    lines = [json.loads(line) for line in outcome.metrics_file.read_text().splitlines()]
    assert [step for step, _ in MemoryTracker.seen] == [1, 2]
    assert [values["loss"] for _, values in MemoryTracker.seen] == [line["loss"] for line in lines]


def test_trackers_that_do_not_exist_are_not_passed_over(tiny_base: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such tracker"):
        run_training(job(tiny_base, tmp_path, ("wundb",)))
    with pytest.raises(Unavailable, match="not installed"):
        run_training(job(tiny_base, tmp_path, ("dvclive",)))


def test_a_run_without_a_terminal_says_how_far_it_is_and_where_its_figures_are(
    tiny_base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = replace(job(tiny_base, tmp_path, ()), progress=True)
    train_until(whole, 1)
    first = capsys.readouterr().err
    assert f"2 updates; metrics of each: {tmp_path / 's' / 'metrics.jsonl'}" in first
    outcome = run_training(whole)
    told = capsys.readouterr().err
    assert "going on after update 1 of 2" in told
    assert f"update 2 of 2: loss {outcome.final_loss:.4f}" in told
    run_training(job(tiny_base, tmp_path / "quiet", ()))
    assert "update" not in capsys.readouterr().err
