"""Methods that learn from rewards on several processes: the answers, rewards, figures and weights of one process."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from goldsmith_test_processes import LORA, curve, job, said, same, together

from goldsmith.engines.training.driver import TrainingJob, run_training
from goldsmith.engines.training.scale import parallel
from goldsmith.methods.grpo import Grpo
from goldsmith.methods.ppo import Ppo
from goldsmith.methods.raft import Raft
from goldsmith.methods.rloo import Rloo
from goldsmith.types.record import Conversation, Record
from goldsmith.types.reward import Rewarded, Sampled, Unrewarded

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


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """A forked child may not use a parent's thread pool."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Vowels:
    """The share of vowels; of some answers it cannot tell."""

    id = "judge"
    version = 1
    bounds = (0.0, 1.0)
    needs_reference = False

    def __init__(self) -> None:
        self.seen: list[Sampled] = []

    def __call__(self, samples: Sequence[Sampled]) -> list[Rewarded | Unrewarded]:
        self.seen += samples
        return [self._of(one.answer[0].text) for one in samples]

    @staticmethod
    def _of(text: str) -> Rewarded | Unrewarded:
        letters = [letter for letter in text if letter.isalpha()]
        if len(text) % 5 == 0:
            return Unrewarded("no idea")
        share = sum(letter in "aeiou" for letter in letters) / max(1, len(letters))
        return Rewarded(share, {"letters": float(len(letters))})


def prompts(n: int = 14) -> list[Record]:
    """Questions of uneven lengths."""
    asked = [f"Tell {'me so ' * (i % 5)} about {i}" for i in range(n)]
    return [Record(content=Conversation(messages=(said("user", one), said("assistant", "yes")))) for one in asked]


def online(base: Path, folder: Path, method: Any, judge: Any = None, **changes: Any) -> TrainingJob:
    judge = judge or Vowels()
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
        judge = Vowels()
        method = Grpo(**{**ONLINE, "rewards": [{"reward": "judge"}], "max_steps": 1, "validation_share": 0.0})
        run_training(online(tiny_base, tmp_path / "run", method, judge))
        return [sampled.prompt[0].text for sampled in judge.seen]

    first, second = together(2, tmp_path / "meet", work)
    assert not set(first) & set(second)
    assert len(first) + len(second) == 5 * 4
    assert all(seen.count(prompt) == 4 for seen in (first, second) for prompt in seen)
    assert {len(first), len(second)} == {8, 12}


def test_more_processes_than_prompts(tiny_base: Path, tmp_path: Path) -> None:
    method = Grpo(**{**ONLINE, "batch_size": 1, "max_steps": 2, "validation_share": 0.0})
    run_training(online(tiny_base, tmp_path / "one", method))
    found = together(2, tmp_path / "meet", lambda: run_training(online(tiny_base, tmp_path / "two", method)))
    assert [outcome.steps for outcome in found] == [2, 2]
    same(tmp_path / "one", tmp_path / "two")


def test_a_reward_that_fails_in_one_process_stops_all(tiny_base: Path, tmp_path: Path) -> None:
    def work() -> Any:
        class Broken(Vowels):
            def __call__(self, samples: Sequence[Sampled]) -> list[Rewarded | Unrewarded]:
                if parallel.here().rank == 1:
                    raise MemoryError("the judge is gone")
                return super().__call__(samples)

        return run_training(online(tiny_base, tmp_path / "run", METHODS["grpo"], Broken()))

    first, second = together(2, tmp_path / "meet", work)
    assert "process 2 of 2 failed" in first["what"]
    assert "the judge is gone" in json.dumps(first)
    assert "the judge is gone" in json.dumps(second)


def test_shards_are_refused(tiny_base: Path, tmp_path: Path) -> None:
    found = together(
        2, tmp_path / "meet", lambda: run_training(online(tiny_base, tmp_path / "run", METHODS["grpo"], shard="full"))
    )
    assert {one["what"] for one in found} == {"grpo writes answers with the whole model"}
