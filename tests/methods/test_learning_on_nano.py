"""Each method that learns from rewards teaches goldsmith-nano a call that it hardly ever makes, and stays near it; over
several turns GRPO teaches it to say what a tool answered."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from goldsmith import plugins
from goldsmith.engines.training.driver import TrainingJob, run_training
from goldsmith.evals.nano_tasks import NanoTasks
from goldsmith.methods.grpo import Grpo
from goldsmith.nano import model_path
from goldsmith.nano.exam import exam_task
from goldsmith.nano.tasks import generate
from goldsmith.types.record import Conversation, Message, Record, Role, TextPart
from goldsmith.types.reward import Rewarded, Sampled, Unrewarded

ROUNDS = 13
COMMON: dict[str, Any] = {
    "learning_rate": 2e-3,
    "group_size": 8,
    "max_new_tokens": 48,
    "batch_size": 8,
    "max_steps": ROUNDS,
    "adapter": {"kind": "lora", "rank": 8},
}
SETTINGS: dict[str, dict[str, Any]] = {
    "grpo": {},
    "rloo": {"beta": 0.01},
    "ppo": {"beta": 0.01, "group_size": 8, "inner_epochs": 2, "smoothing": 1.0},
    "raft": {},
}


pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.timeout(1500),
]  # wall time: about a minute of one idle core each


class FirstCall:
    """1 where the answer looks the order up, as the task wants it to begin; half of that for the right tool."""

    id = "first_call"
    version = 1
    bounds = (0.0, 1.0)
    needs_reference = True

    def __call__(self, samples: Sequence[Sampled]) -> list[Rewarded | Unrewarded]:
        return [Rewarded(self._worth(one)) for one in samples]

    @staticmethod
    def _worth(sampled: Sampled) -> float:
        calls = [call for message in sampled.answer for call in message.calls]
        if len(calls) != 1 or calls[0].name != "order_get":
            return 0.0
        return 0.5 + 0.5 * (json.loads(calls[0].arguments) == {"order_id": sampled.item["order"]})


def orders(seed: int) -> list[Record]:
    """Requests of the one skill that goldsmith-nano was never taught."""
    records = []
    for task in generate("order_support", 64, seed):
        asked = exam_task(task)
        answer = Message(role=Role.ASSISTANT, parts=(TextPart(text=task.answer),))
        records.append(
            Record(
                content=Conversation(messages=(*asked.messages, answer), tools=asked.tools),
                extra=json.dumps(
                    {"order": task.steps[0][0].mapping()["order_id"], "expected": json.loads(asked.expected)}
                ),
            )
        )
    return records


def curve(folder: Path, name: str, seed: int, **changes: Any) -> list[dict[str, Any]]:
    """What each round logged."""
    settings = {**COMMON, "rewards": [{"reward": "first_call"}], **SETTINGS[name], **changes}
    method: Any = plugins.find("methods", name).model_validate(settings)
    return run(folder, method.given({"first_call": FirstCall()}), orders(seed), seed)


def run(folder: Path, method: Any, records: Sequence[Record], seed: int) -> list[dict[str, Any]]:
    where = {"output_dir": folder / "out", "scratch_dir": folder / "scratch"}
    run_training(TrainingJob(method, str(model_path()), records, **where, seed=seed, progress=False, device="cpu"))
    lines = [json.loads(line) for line in (folder / "scratch" / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if "reward" in line]


def rise(rounds: list[dict[str, Any]]) -> float:
    """By how much the mean reward of the last three rounds is above the first, before anything was learned."""
    rewards = [one["reward"] for one in rounds]
    return float(np.mean(rewards[-3:])) - float(rewards[0])


@pytest.mark.parametrize(
    ("method", "seed"),
    [
        ("grpo", 1),
        *(pytest.param("grpo", seed, marks=pytest.mark.slow) for seed in (2, 3)),
        *(pytest.param(method, 1, marks=pytest.mark.slow) for method in ("rloo", "ppo", "raft")),
    ],
)
def test_the_reward_rises_far_beyond_its_noise_at_a_bounded_divergence(tmp_path: Path, method: str, seed: int) -> None:
    rounds = curve(tmp_path, method, seed)
    assert rise(rounds) > 0.4  # rounds of a model that learns nothing scatter by 0.05
    assert rounds[0]["reward"] < 0.3
    assert 0.001 < rounds[-1]["kl"] < 0.6
    assert max(one["logprob_gap"] for one in rounds) < 1e-4


def test_a_model_that_learns_nothing_does_not_pass(tmp_path: Path) -> None:
    rounds = curve(tmp_path, "grpo", 1, learning_rate=1e-12)
    assert rise(rounds) < 0.2
    assert np.std([one["reward"] for one in rounds], ddof=1) < 0.1
    assert rounds[-1]["kl"] < 1e-6


# ---- over several turns ---------------------------------------------------------------------------------------------


class ToolUsed:
    """Half for looking the order up, half for an answer in words that says what the tool said: the order's item."""

    id = "tool_used"
    version = 1
    bounds = (0.0, 1.0)
    needs_reference = True

    def __call__(self, samples: Sequence[Sampled]) -> list[Rewarded | Unrewarded]:
        return [Rewarded(self._worth(one)) for one in samples]

    @staticmethod
    def _worth(sampled: Sampled) -> float:
        assert sampled.episode is not None
        told = [
            call.result
            for call in sampled.episode.trajectory.calls
            if call.name == "order_get" and not call.result.startswith("error:")
        ]
        if not told:
            return 0.0
        said = sampled.answer[-1]
        items = [item for item in items_of(sampled.item) if any(item in result for result in told)]
        used = said.role is Role.ASSISTANT and not said.calls and any(item in said.text for item in items)
        return 0.5 + 0.5 * used


def items_of(row: Mapping[str, Any]) -> list[str]:
    """The items of the world's orders."""
    return [order["item"] for order in row["expected"]["state"]["orders"]]


def untold(seed: int) -> list[Record]:
    """Requests that name no item: whoever says one has it from the tool."""
    found = []
    for record in orders(seed):
        assert isinstance(record.content, Conversation)
        asked = " ".join(message.text for message in record.content.messages[:-1])
        if not any(item in asked for item in items_of(json.loads(record.extra or "{}"))):
            found.append(record)
    return found


def episodes(folder: Path, seed: int, **changes: Any) -> list[dict[str, Any]]:
    """What each round of GRPO logged, where the model may call the nano world's tools and go on."""
    world = {"turns": 3, "tools": {"kind": "eval", "eval": "nano_tasks"}, "rewards": [{"reward": "tool_used"}]}
    method = Grpo.model_validate({**COMMON, **world, **changes}).given({"tool_used": ToolUsed(), "tools": NanoTasks()})
    return run(folder, method, untold(seed), seed)


@pytest.mark.slow
def test_over_several_turns_the_reward_rises_and_the_tool_is_used(tmp_path: Path) -> None:
    rounds = episodes(tmp_path, 1)
    assert rise(rounds) > 0.5
    assert rounds[0]["reward"] < 0.2
    assert (
        np.mean([one["reward"] for one in rounds[-3:]]) > 0.65
    )  # half is for the call alone: the rest is what was said
    assert np.mean([one["tool_calls"] for one in rounds[-3:]]) > rounds[0]["tool_calls"] + 0.15
    assert 0.001 < rounds[-1]["kl"] < 0.6
    assert max(one["logprob_gap"] for one in rounds) < 1e-4


@pytest.mark.slow
def test_over_several_turns_a_model_that_learns_nothing_does_not_pass(tmp_path: Path) -> None:
    rounds = episodes(tmp_path, 1, learning_rate=1e-12, max_steps=5)
    assert rise(rounds) < 0.15
    assert rounds[-1]["kl"] < 1e-6
