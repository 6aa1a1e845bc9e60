"""Preferences of goldsmith-nano's order desk teach what is better in cases that were not trained on."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from goldsmith import nano, plugins
from goldsmith.engines.training.driver import TrainingJob, run_training
from goldsmith.nano import deliveries
from goldsmith.types.record import Record

pytestmark = pytest.mark.timeout(900)  # wall time: half a minute of one idle core each
SEEDS = [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (2, 3))]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def pairs(count: int, seed: int) -> list[Record]:
    """The right step in a conversation against a wrong one, or a curt answer."""
    source = plugins.build("sources", "openai_preference")
    return [Record(content=source.parse(row).content) for row in deliveries.expert_preferences(count, seed=seed)]


def lines_of(folder: Path, method: str, seed: int, **changes: Any) -> list[dict[str, Any]]:
    """What was logged while training on 160 pairs, with a look at 60 others at the end."""
    settings = {"learning_rate": 1e-3, "batch_size": 8, "adapter": {"kind": "lora", "rank": 8}, **changes}
    built = plugins.find("methods", method).model_validate({**settings, "overfit": {"act": "off"}})
    where = {"output_dir": folder / "out", "scratch_dir": folder / "scratch"}
    job = TrainingJob(
        built, str(nano.model_path()), pairs(160, 100 + seed), **where, validation=pairs(60, 900 + seed),
        seed=seed, progress=False, device="cpu",
    )  # fmt: skip
    run_training(job)
    return [json.loads(line) for line in (folder / "scratch" / "metrics.jsonl").read_text().splitlines()]


def aside(folder: Path, method: str, seed: int, **changes: Any) -> dict[str, float]:
    """What training on 160 pairs came to on 60 others."""
    lines = lines_of(folder, method, seed, **changes)
    last = [line for line in lines if "validation_loss" in line][-1]
    return {name.removeprefix("validation_"): value for name, value in last.items()}


@pytest.mark.parametrize("seed", SEEDS)
def test_dpo_wins_pairs_it_has_not_seen_by_a_margin(tmp_path: Path, seed: int) -> None:
    found = aside(tmp_path, "dpo", seed)
    assert found["reward_accuracy"] > 0.85
    assert found["reward_margin"] > 1.5
    assert found["chosen_logratio"] > 0 > found["rejected_logratio"]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_reward_model_tells_better_from_worse(tmp_path: Path, seed: int) -> None:
    found = aside(tmp_path, "reward_model", seed)
    assert found["score_accuracy"] > 0.68  # tossing coins gives 0.5, give or take 0.06
    assert found["score_difference"] > 1.0
    assert found["loss"] < 0.5  # tossing coins: 0.69


def test_models_that_learn_nothing_do_not_pass(tmp_path: Path) -> None:
    dpo = aside(tmp_path / "dpo", "dpo", 1, learning_rate=1e-12, max_steps=2)
    assert abs(dpo["reward_margin"]) < 1e-3
    reward = aside(tmp_path / "reward", "reward_model", 1, learning_rate=1e-12, max_steps=2)
    assert reward["score_accuracy"] < 0.66
    assert reward["loss"] > 0.6


@pytest.mark.slow
@pytest.mark.parametrize(("learning_rate", "degenerate"), [(1e-2, True), (1e-3, False)])
def test_a_step_far_too_large_is_called_degenerate(tmp_path: Path, learning_rate: float, degenerate: bool) -> None:
    lines = lines_of(tmp_path, "dpo", 1, learning_rate=learning_rate, epochs=2.0)
    assert any("degenerate" in str(line.get("warning")) for line in lines) == degenerate
