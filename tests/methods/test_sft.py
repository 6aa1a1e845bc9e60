"""Supervised fine-tuning teaches: answers are learned, and so is to stop."""

from pathlib import Path
from typing import Any

import pytest
import torch
from goldsmith_test_records import said

from goldsmith import plugins
from goldsmith.engines.chat import open_chat
from goldsmith.engines.training.driver import TrainingJob, run_training
from goldsmith.engines.training.model.loading import load_model
from goldsmith.types.errors import BadInput
from goldsmith.types.record import Conversation, Record, Text


def greedy(model: Any, prompt: list[int], stops: frozenset[int], most: int = 30) -> list[int]:
    """The model's answer, token by token, by plain forwards."""
    ids, written = list(prompt), []
    while len(written) < most:
        with torch.no_grad():
            token = int(model(torch.tensor([ids])).logits[0, -1].argmax())
        written.append(token)
        ids.append(token)
        if token in stops:
            break
    return written


@pytest.mark.parametrize("adapter", [{"kind": "none"}, {"kind": "lora", "rank": 16}], ids=["full", "lora"])
def test_answers_are_learned_and_they_end(tiny_base: Path, tmp_path: Path, adapter: dict[str, Any]) -> None:
    """A no-op, a wrong mask or an untrained stop token fails here."""
    pairs = [("two plus two", "four"), ("the dog", "is lazy"), ("mail Ann", "Done, the mail is sent!")]
    records = [Record(content=Conversation(messages=(said("user", q), said("assistant", a)))) for q, a in pairs] * 4
    rate = 5e-3 if adapter["kind"] == "none" else 2e-2
    method = plugins.build(
        "methods", "sft", {"learning_rate": rate, "batch_size": 6, "max_steps": 70, "adapter": adapter}
    )
    outcome = run_training(
        TrainingJob(
            method, str(tiny_base), records, tmp_path / "out", tmp_path / "scratch", progress=False, device="cpu"
        )
    )
    chat, model, base = open_chat(outcome.model_dir), load_model(outcome.model_dir), load_model(tiny_base)
    for question, answer in pairs:
        prompt = chat.encode_prompt([said("user", question)]).tolist()
        turn = chat.parse_turn(greedy(model, prompt, chat.stop_ids))
        assert turn.finished
        assert turn.text == answer
        assert chat.parse_turn(greedy(base, prompt, chat.stop_ids)).text != answer


def test_texts_are_trained_on_too(tiny_base: Path, tmp_path: Path) -> None:
    records = [Record(content=Text(text="The quick brown fox jumps over the lazy dog."))] * 4
    method = plugins.build("methods", "sft", {"learning_rate": 5e-3, "batch_size": 4, "max_steps": 30})
    outcome = run_training(
        TrainingJob(
            method, str(tiny_base), records, tmp_path / "out", tmp_path / "scratch", progress=False, device="cpu"
        )
    )
    assert outcome.final_loss < 1.0


def test_a_misspelt_setting_fails_with_a_suggestion() -> None:
    with pytest.raises(BadInput, match="did you mean 'learning_rate'"):
        plugins.build("methods", "sft", {"learning_rat": 1e-4})
    with pytest.raises(BadInput):
        plugins.build("methods", "sft", {"learning_rate": -1.0})
    with pytest.raises(BadInput):
        plugins.build("methods", "sft", {"adapter": {"kind": "lora", "ranks": 3}})
