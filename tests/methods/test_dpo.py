"""Direct preference optimisation moves the model towards what was chosen."""

from pathlib import Path
from typing import Any

import pytest
from goldsmith_test_records import WORDS, preference, said

from goldsmith import plugins
from goldsmith.engines.chat import open_chat
from goldsmith.engines.training.data.batches import Plan
from goldsmith.engines.training.data.rows import Row
from goldsmith.engines.training.driver import TrainingJob, run_training
from goldsmith.engines.training.guards.self_test import choose_way
from goldsmith.engines.training.model.loading import load_model
from goldsmith.engines.training.model.policy import Policy
from goldsmith.methods.dpo import Dpo
from goldsmith.types.errors import BadInput
from goldsmith.types.record import Conversation, Record


@pytest.mark.parametrize("adapter", [{"kind": "none"}, {"kind": "lora", "rank": 8}], ids=["full", "lora"])
def test_chosen_wins_on_prompts_not_trained_on(tiny_base: Path, tmp_path: Path, adapter: dict[str, Any]) -> None:
    settings = {"learning_rate": 3e-3, "batch_size": 6, "max_steps": 25, "adapter": adapter}
    records, unseen = [preference(word) for word in WORDS[:6]], [preference(word) for word in WORDS[6:]]
    outcome = run_training(
        TrainingJob(
            plugins.build("methods", "dpo", settings),
            str(tiny_base),
            records,
            tmp_path / "out",
            tmp_path / "scratch",
            validation=unseen,
            progress=False,
            device="cpu",
        )
    )
    assert outcome.final_loss < 0.2
    assert outcome.best_validation_loss is not None
    assert outcome.best_validation_loss < 0.5
    assert outcome.rows_validation == 2
    chat = open_chat(outcome.model_dir)
    method = Dpo()
    rows = [method.encode(chat, record, "r", str(i)) for i, record in enumerate(unseen)]
    before, after = (_margins(load_model(folder), chat, rows) for folder in (tiny_base, outcome.model_dir))
    assert all(b > a + 5 for a, b in zip(before, after, strict=True))


def _margins(model: Any, chat: Any, rows: list[Row]) -> list[float]:
    method = Dpo()
    policy = Policy(model, chat, method, "unused")
    choose_way(policy, rows, 100)
    found = method.prepare(policy, rows, Plan(tuple(rows), 0, 2, 1, 500, 2))
    return [chosen - rejected for chosen, rejected in (found[row.key] for row in rows)]


def test_it_starts_at_the_reference(tiny_base: Path, tmp_path: Path) -> None:
    """Before the first step the policy is its reference, so every pair's loss is log 2."""
    method = Dpo(learning_rate=1e-9, max_steps=1, adapter={"kind": "lora", "rank": 4})
    outcome = run_training(
        TrainingJob(
            method,
            str(tiny_base),
            [preference(word) for word in WORDS],
            tmp_path / "out",
            tmp_path / "scratch",
            progress=False,
            device="cpu",
        )
    )
    assert outcome.final_loss == pytest.approx(0.693147, abs=1e-4)


def test_settings_that_mean_nothing_are_refused() -> None:
    with pytest.raises(BadInput, match="label_smoothing"):
        plugins.build("methods", "dpo", {"loss": "hinge", "label_smoothing": 0.1})
    with pytest.raises(BadInput):
        plugins.build("methods", "dpo", {"beta": 0})


def test_only_comparisons_are_taken(tiny_base: Path) -> None:
    conversation = Record(content=Conversation(messages=(said("user", "a"), said("assistant", "b"))))
    method = Dpo()
    assert not method.accepts(conversation)
    with pytest.raises(BadInput, match="no preference"):
        method.encode(open_chat(tiny_base), conversation, "r", "k")
