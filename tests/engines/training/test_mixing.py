"""Replay and anchors: the stated share in every update, each part's loss apart, and a bound on what is forgotten."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import goldsmith_test_processes as processes
import numpy as np
import pytest
import torch
from goldsmith_test_processes import lines
from goldsmith_test_records import answered, compared
from hypothesis import given
from hypothesis import strategies as st

from goldsmith.engines.training.data import mixing
from goldsmith.engines.training.data.batches import Plan
from goldsmith.engines.training.data.rows import Node, Row
from goldsmith.engines.training.driver import TrainingJob, run_training
from goldsmith.engines.training.watching import Forgets
from goldsmith.methods.dpo import Dpo
from goldsmith.methods.grpo import Grpo
from goldsmith.methods.sft import Sft
from goldsmith.types.errors import BadInput
from goldsmith.types.record import Origin, Record

REPLAY = {"part": "replay", "sources": ["old"], "share": 0.25}
ANCHORS = {"part": "anchors", "sources": ["safe"], "share": 0.25}


def record(source: str, question: str, answer: str) -> Record:
    return from_source(source, answered(question, answer))


def from_source(source: str, record: Record) -> Record:
    return record.model_copy(update={"origin": Origin(source=source)})


def records() -> list[Record]:
    new = [record("new", f"What is {i}?", f"It is {i}, {i}.") for i in range(24)]
    old = [record("old", f"Who is {i}?", f"Nobody, {i}.") for i in range(10)]
    return [*new, *old, *(record("safe", f"Break {i}", "I will not.") for i in range(6))]


def method(**changes: Any) -> Sft:
    plain = {"learning_rate": 5e-3, "batch_size": 4, "max_steps": 6, "checkpoint_every": 2, "evaluate_every": 2}
    return Sft(**{**plain, "mix": [REPLAY, ANCHORS], "validation_share": 0.4, **changes})


def job(base: Path, folder: Path, how: Any, data: list[Record] | None = None) -> TrainingJob:
    return processes.job(base, folder, how, records=data or records())


shares = st.lists(st.sampled_from([0.05, 0.1, 0.15, 0.2, 0.25, 0.3]), min_size=1, max_size=2)


@given(shares=shares, rows=st.integers(3, 64), steps=st.integers(1, 60))
def test_after_any_number_of_updates_each_part_has_had_its_share(shares: list[float], rows: int, steps: int) -> None:
    if not mixing.room_for(rows, shares):
        return
    counts = np.array([mixing.counts_of(step, rows, shares) for step in range(steps)])
    assert (counts >= 0).all()
    assert (counts.sum(1) < rows).all()
    assert (abs(counts.sum(0) - steps * rows * np.array(shares)) <= 0.5 + 1e-9).all()
    if all(float(share * rows).is_integer() for share in shares):
        assert (counts == np.array(shares) * rows).all()


def rows_of(counts: dict[str, int]) -> list[Row]:
    ids, trained = np.array([1, 2, 3], dtype=np.int32), np.array([False, True, True])
    return [
        Row((Node(ids, trained),), f"{part} {i}", f"{part} {i}", part=part)
        for part, n in counts.items()
        for i in range(n)
    ]


def test_an_update_holds_the_share_and_every_row_comes_once_before_any_comes_twice() -> None:
    rows = tuple(rows_of({"": 30, "replay": 7, "anchors": 5}))
    plan = Plan(rows, 4, 10, 20, 100, 10, mix=(("replay", 0.2), ("anchors", 0.1)))
    assert plan.steps_per_epoch == 5  # 30 rows, 7 of them in an update
    seen: Counter[str] = Counter()
    for update in plan.updates():
        assert Counter(rows[i].part for i in update.rows) == {"": 7, "replay": 2, "anchors": 1}
        assert all(batch.part == rows[i].part for batch in update.batches for i in batch.rows)
        seen.update(rows[i].name for i in update.rows)
    for part, taken, size in (("", 140, 30), ("replay", 40, 7), ("anchors", 20, 5)):
        times = [seen[row.name] for row in rows if row.part == part]
        assert sum(times) == taken
        assert {taken // size, -(-taken // size)} >= set(times)
    assert plan.rows_of(7) == plan.rows_of(7)
    assert plan.rows_of(7) != replace(plan, seed=5).rows_of(7)


def test_each_parts_loss_is_logged_and_makes_up_the_whole(tiny_base: Path, tmp_path: Path) -> None:
    done = run_training(job(tiny_base, tmp_path, method(max_steps=2)))
    told = lines(done.metrics_file)
    assert told[0]["step"] == 0
    assert {"validation_loss", "validation_loss/replay", "validation_loss/anchors"} <= set(told[0])
    update = told[1]
    parts = [update[f"loss/{name}"] for name in ("main", "replay", "anchors")]
    assert min(parts) <= update["loss"] <= max(parts)
    assert len(set(parts)) == 3


def test_a_resumed_run_with_a_mix_equals_a_straight_one(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.set_num_threads(1)
    straight = run_training(job(tiny_base, tmp_path / "straight", method()))
    killed = job(tiny_base, tmp_path / "killed", method())
    original = Sft.steps

    def steps(self: Any, *args: Any) -> Any:
        for metrics in original(self, *args):
            if metrics.step == 5:
                raise RuntimeError("killed")
            yield metrics

    with monkeypatch.context() as patch:
        patch.setattr(Sft, "steps", steps)
        with pytest.raises(RuntimeError, match="killed"):
            run_training(killed)
    resumed = run_training(killed)
    assert resumed.facts["resumed_at_step"] == 4
    assert lines(resumed.metrics_file) == lines(straight.metrics_file)
    for path in straight.model_dir.glob("*.safetensors"):
        assert path.read_bytes() == (resumed.model_dir / path.name).read_bytes()


def forgetful(**changes: Any) -> Sft:
    """What is learned says the contrary of what shall be kept, fast, with little replay."""
    bound = {**REPLAY, "share": 0.125, "rise_at_most": 0.05, **changes}
    return method(mix=[bound], batch_size=8, learning_rate=3e-2, max_steps=8, evaluate_every=2, schedule="constant")


def old_rows() -> list[Record]:
    return [record("old", f"Say {i}", "The answer is here.") for i in range(16)]


def opposed() -> list[Record]:
    return [*(record("new", f"Say {i}", "zzzz qqqq xxxx") for i in range(100, 132)), *old_rows()]


@pytest.fixture(scope="module")
def learned(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that has learned the old rows."""
    how = method(mix=[], max_steps=12)
    return run_training(job(tiny_base, tmp_path_factory.mktemp("learned"), how, old_rows())).model_dir


def test_a_rise_beyond_the_bound_warns_or_stops(learned: Path, tmp_path: Path) -> None:
    warned = run_training(job(learned, tmp_path / "warns", forgetful(), opposed()))
    told = lines(warned.metrics_file)
    values = {one["step"]: one["validation_loss/replay"] for one in told if "validation_loss/replay" in one}
    since = int(warned.facts["forgets_replay_since_step"])
    assert since == next(step for step, value in values.items() if value - values[0] > 0.05)
    assert [one["step"] for one in told if "warning" in one] == [since]
    with pytest.raises(Forgets, match="loss on replay"):
        run_training(job(learned, tmp_path / "stops", forgetful(on_rise="stop"), opposed()))
    assert not (tmp_path / "stops" / "out").exists()
    calm = run_training(job(learned, tmp_path / "calm", forgetful(rise_at_most=50.0), opposed()))
    assert "forgets_replay_since_step" not in calm.facts


def test_more_replay_keeps_more(learned: Path, tmp_path: Path) -> None:
    """The loss on what the model had learned ends lower with half of each update than with an eighth."""
    losses = []
    for share in (0.125, 0.5):
        how = method(mix=[{**REPLAY, "share": share}], batch_size=8, max_steps=12, evaluate_every=12)
        told = lines(run_training(job(learned, tmp_path / str(share), how, opposed())).metrics_file)
        losses.append([one["validation_loss/replay"] for one in told if "validation_loss/replay" in one][-1])
    assert losses[1] < losses[0]


def test_preferences_are_mixed_too(tiny_base: Path, tmp_path: Path) -> None:
    pairs = [from_source("new" if i % 3 else "old", compared(f"Say {i}", f"yes, {i}", "no")) for i in range(24)]
    how = Dpo(batch_size=4, max_steps=2, mix=[REPLAY], validation_share=0.3, learning_rate=1e-3)
    update = lines(run_training(job(tiny_base, tmp_path, how, pairs)).metrics_file)[1]
    assert update["loss"] == pytest.approx(0.75 * update["loss/main"] + 0.25 * update["loss/replay"])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"mix": [REPLAY, REPLAY]}, "replay stands twice"),
        ({"mix": [REPLAY, {**ANCHORS, "sources": ["old"]}]}, "source old stands twice"),
        ({"mix": [{**REPLAY, "share": 0.9}]}, "leave no row"),
        ({"mix": [{**REPLAY, "share": 0.0}]}, "greater than 0"),
    ],
)
def test_a_mix_that_cannot_be_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        method(**changes)


def test_a_part_without_rows_is_refused(tiny_base: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no row of replay") as caught:
        run_training(job(tiny_base, tmp_path, method(mix=[{**REPLAY, "sources": ["gone"]}])))
    assert "new, old, safe" in str(caught.value)
    with pytest.raises(BadInput, match="no row of the data itself"):
        run_training(job(tiny_base, tmp_path, method(mix=[{**REPLAY, "sources": ["new", "old", "safe"]}])))
    with pytest.raises(BadInput, match="none of its rows is set aside"):
        run_training(job(tiny_base, tmp_path, method(mix=[{**REPLAY, "rise_at_most": 1.0}], validation_share=0)))


def test_what_samples_its_own_answers_mixes_nothing(tiny_base: Path, tmp_path: Path) -> None:
    how = Grpo(rewards=[{"reward": "length", "settings": {"free": 2}}], mix=[REPLAY], batch_size=4)
    with pytest.raises(BadInput, match="own answers"):
        run_training(job(tiny_base, tmp_path, how))
