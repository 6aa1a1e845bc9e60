"""Methods that learn from rewards on several processes: the answers, rewards, figures and weights of one process."""

import json
from pathlib import Path
from typing import Any

import pytest
from goldsmith_test_processes import LORA, curve, job, same, together
from goldsmith_test_records import answered
from goldsmith_test_rewards import Judge
from torch.distributed.tensor import DTensor

from goldsmith.engines.training import driver
from goldsmith.engines.training.driver import TrainingJob, run_training
from goldsmith.engines.training.scale import parallel
from goldsmith.methods.grpo import Grpo
from goldsmith.methods.ppo import Ppo
from goldsmith.methods.raft import Raft
from goldsmith.methods.rloo import Rloo
from goldsmith.types.record import Record
from goldsmith.types.reward import Rewarded, Sampled

pytestmark = pytest.mark.usefixtures("one_thread")

ONLINE: dict[str, Any] = {
    "rewards": [{"reward": "judge"}, {"reward": "judge", "name": "watched", "weight": 0}],
    "learning_rate": 3e-3,
    "group_size": 4,
    "max_new_tokens": 8,
    "batch_size": 5,
    "max_steps": 4,
    "unrewarded_at_most": 0.9,
    "validation_share": 0.2,
    "evaluate_every": 2,
    "adapter": LORA,
}
METHODS: dict[str, Any] = {
    "grpo": Grpo(**ONLINE, inner_epochs=2, minibatches=2, beta=0.01),
    "grpo-batch": Grpo(**{**ONLINE, "adapter": {"kind": "none"}}, scale="batch", loss="grpo", mask_unfinished=True),
    "rloo": Rloo(**ONLINE, normalise=True, inner_epochs=2),
    "ppo": Ppo(**ONLINE, inner_epochs=2, beta=0.01),
    "raft": Raft(**ONLINE),
}


def letters_that_are_vowels(sample: Sampled) -> Rewarded | None:
    """Of some answers it cannot tell."""
    text = sample.answer[0].text
    letters = [letter for letter in text if letter.isalpha()]
    if len(text) % 5 == 0:
        return None
    share = sum(letter in "aeiou" for letter in letters) / max(1, len(letters))
    return Rewarded(share, {"letters": float(len(letters))})


def prompts(n: int = 14) -> list[Record]:
    """Questions of uneven lengths."""
    asked = [f"Tell {'me so ' * (i % 5)} about {i}" for i in range(n)]
    return [answered(one, "yes") for one in asked]


def online(base: Path, folder: Path, method: Any, judge: Any = None, **changes: Any) -> TrainingJob:
    judge = judge or Judge(letters_that_are_vowels)
    given = method.given({"judge": judge, "watched": judge})
    return job(base, folder, given, **{"records": prompts(), **changes})


@pytest.mark.parametrize("name", list(METHODS))
def test_two_processes_sample_and_learn_as_one_does(tiny_base: Path, tmp_path: Path, name: str) -> None:
    one = run_training(online(tiny_base, tmp_path / "one", METHODS[name]))
    two = together(2, tmp_path / "meet", lambda: run_training(online(tiny_base, tmp_path / "two", METHODS[name])))
    assert [outcome.steps for outcome in two] == [4, 4]
    assert two[0].facts["processes"] == 2
    assert two[0].label_tokens == two[1].label_tokens == one.label_tokens > 0
    same(tmp_path / "one", tmp_path / "two")
    assert any(0 < line.get("unrewarded", 0) < 1 for line in curve(tmp_path / "one"))


def test_each_prompt_is_answered_and_judged_in_one_process_with_its_whole_group(
    tiny_base: Path, tmp_path: Path
) -> None:
    def work() -> list[str]:
        judge = Judge(letters_that_are_vowels)
        method = Grpo(**{**ONLINE, "rewards": [{"reward": "judge"}], "max_steps": 1, "validation_share": 0.0})
        run_training(online(tiny_base, tmp_path / "run", method, judge))
        return [sampled.prompt[0].text for sampled in judge.seen]

    first, second = together(2, tmp_path / "meet", work)
    assert not set(first) & set(second)
    assert len(first) + len(second) == 5 * 4
    assert all(seen.count(prompt) == 4 for seen in (first, second) for prompt in seen)
    assert {len(first), len(second)} == {8, 12}


@pytest.mark.parametrize("shard", ["none", "full"])
def test_more_processes_than_prompts(tiny_base: Path, tmp_path: Path, shard: Any) -> None:
    method = Grpo(**{**ONLINE, "batch_size": 1, "max_steps": 2, "validation_share": 0.0})
    run_training(online(tiny_base, tmp_path / "one", method))
    shared = online(tiny_base, tmp_path / "two", method, shard=shard)
    found = together(2, tmp_path / "meet", lambda: run_training(shared))
    assert [outcome.steps for outcome in found] == [2, 2], found
    same(tmp_path / "one", tmp_path / "two")


def test_a_reward_that_fails_in_one_process_stops_all(tiny_base: Path, tmp_path: Path) -> None:
    def work() -> Any:
        def fails_in_one(sample: Sampled) -> Rewarded | None:
            if parallel.here().rank == 1:
                raise MemoryError("the judge is gone")
            return letters_that_are_vowels(sample)

        return run_training(online(tiny_base, tmp_path / "run", METHODS["grpo"], Judge(fails_in_one)))

    first, second = together(2, tmp_path / "meet", work)
    assert "process 2 of 2 failed" in first["what"]
    assert "the judge is gone" in json.dumps(first)
    assert "the judge is gone" in json.dumps(second)


SHARDED: dict[str, Any] = {
    **{name: METHODS[name] for name in ("grpo", "grpo-batch", "rloo", "raft")},
    "grpo-full": Grpo(**{**ONLINE, "adapter": {"kind": "none"}}, inner_epochs=2, minibatches=2, beta=0.05),
}


@pytest.mark.parametrize(("name", "size"), [*((name, 2) for name in SHARDED), ("grpo", 3)])
def test_shards_sample_and_learn_as_one_process_does(tiny_base: Path, tmp_path: Path, name: str, size: int) -> None:
    """Weights are whole while answers are written, and no longer; a full model's reference is kept in shards too."""
    run_training(online(tiny_base, tmp_path / "one", SHARDED[name]))
    sharded = online(tiny_base, tmp_path / "two", SHARDED[name], shard="full")

    def work() -> Any:
        held: list[bool] = []
        account = driver._Run._account

        def counted(self: Any, *args: Any) -> None:
            account(self, *args)
            held.extend(isinstance(p, DTensor) for p in self.policy.model.parameters())

        driver._Run._account = counted  # type: ignore[method-assign]
        return run_training(sharded).facts, all(held) and bool(held)

    found = together(size, tmp_path / "meet", work)
    assert all(isinstance(one, tuple) and one[1] for one in found), found
    assert found[0][0]["shard"] == "full"
    same(tmp_path / "one", tmp_path / "two")


def test_a_reward_that_fails_under_shards_stops_all(tiny_base: Path, tmp_path: Path) -> None:
    def work() -> Any:
        def fails_in_one(sample: Sampled) -> Rewarded | None:
            if parallel.here().rank == 1:
                raise MemoryError("the judge is gone")
            return letters_that_are_vowels(sample)

        return run_training(online(tiny_base, tmp_path / "run", METHODS["grpo"], Judge(fails_in_one), shard="full"))

    found = together(2, tmp_path / "meet", work)
    assert all("the judge is gone" in json.dumps(one) for one in found)


@pytest.mark.parametrize(
    ("method", "what"),
    [
        (METHODS["ppo"], "ppo learns a value head, which is not cut"),
        (Grpo(**ONLINE, generate={"engine": "vllm"}), "vLLM takes whole weights"),
    ],
)
def test_shards_are_refused(tiny_base: Path, tmp_path: Path, method: Any, what: str) -> None:
    sharded = online(tiny_base, tmp_path / "run", method, shard="full")
    assert {one["what"] for one in together(2, tmp_path / "meet", lambda: run_training(sharded))} == {what}
