"""GRPO, RLOO, PPO and RAFT: rewards rise near the reference, runs repeat and resume, what is wrong stops them."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from goldsmith_test_records import WORDS, answered, said
from goldsmith_test_rewards import Judge, vowels
from safetensors.torch import load_file

from goldsmith import plugins
from goldsmith.engines.training import driver
from goldsmith.engines.training.driver import TrainingJob, run_training
from goldsmith.engines.training.guards.finite import Diverged
from goldsmith.engines.training.model.loading import load_model
from goldsmith.engines.training.watching import RewardGamed
from goldsmith.types.errors import BadInput
from goldsmith.types.record import Conversation, Record, Role
from goldsmith.types.reward import Sampled

pytestmark = pytest.mark.usefixtures("one_thread")

METHODS = ("grpo", "rloo", "ppo", "raft")


def asked(word: str) -> Record:
    return answered(f"Tell me about {word}", f"yes {word}").model_copy(update={"extra": json.dumps({"word": word})})


def job(base: Path, folder: Path, name: str, judge: Judge | None = None, **settings: Any) -> TrainingJob:
    more: dict[str, Any] = {
        "rewards": [{"reward": "judge"}],
        "learning_rate": 3e-3,
        "group_size": 8,
        "max_new_tokens": 10,
        "batch_size": 4,
        "max_steps": 3,
        "adapter": {"kind": "lora", "rank": 8},
        **settings,
    }
    return handed(
        TrainingJob(
            plugins.find("methods", name).model_validate(more),
            str(base),
            [asked(word) for word in WORDS],
            folder / "out",
            folder / "scratch",
            progress=False,
            device="cpu",
        ),
        judge=judge or Judge(),
    )


def handed(one: TrainingJob, **judges: Judge) -> TrainingJob:
    """The job with these rewards in its method's hands."""
    return replace(one, method=one.method.given(judges))


def logged(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "scratch" / "metrics.jsonl").read_text().splitlines()]


def digest(folder: Path) -> str:
    return hashlib.sha256((folder / "out" / "adapter_model.safetensors").read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("grpo", {"inner_epochs": 2, "beta": 0.01}),
        ("grpo", {"loss": "dr_grpo", "scale": "none", "minibatches": 2, "epsilon_high": 0.28, "learning_rate": 5e-3}),
        ("grpo", {"ratio": "sequence", "loss": "grpo", "adapter": {"kind": "none"}, "learning_rate": 2e-3}),
        ("rloo", {"beta": 0.01, "normalise": True, "learning_rate": 2e-2}),
        ("ppo", {"inner_epochs": 2, "beta": 0.005, "smoothing": 1.0}),
        ("raft", {"group_size": 32}),
    ],
    ids=["grpo", "dr_grpo", "gspo-full", "rloo", "ppo", "raft"],
)
def test_the_reward_rises_near_the_reference(
    tiny_base: Path, tmp_path: Path, name: str, settings: dict[str, Any]
) -> None:
    common = {"max_steps": 20, "batch_size": 8, "group_size": 16, "learning_rate": 1e-2}
    run_training(job(tiny_base, tmp_path, name, **{**common, **settings}))
    rounds = [line for line in logged(tmp_path) if "reward" in line]
    rewards = [one["reward"] for one in rounds]
    before, after = rewards[:5], rewards[-5:]
    error = np.sqrt((np.var(before, ddof=1) + np.var(after, ddof=1)) / 5)
    assert np.mean(after) > np.mean(before) + max(0.03, 3 * error)
    assert rounds[0]["kl"] == pytest.approx(0, abs=1e-5)
    assert 0 < rounds[-1]["kl"] < 3
    assert max(one["logprob_gap"] for one in rounds) < 1e-4


@pytest.mark.parametrize("name", ["grpo", "rloo", "raft"])
def test_a_reward_that_is_the_same_for_all_teaches_nothing(tiny_base: Path, tmp_path: Path, name: str) -> None:
    base = load_model(tiny_base).state_dict()
    full = {"adapter": {"kind": "none"}}
    more = {"beta": 0.0} if name == "rloo" else {}
    run_training(job(tiny_base, tmp_path, name, Judge(lambda _: 0.5), **full, **more))
    after = load_model(tmp_path / "out").state_dict()
    assert all(torch.equal(base[key], after[key]) for key in base)
    assert logged(tmp_path)[0]["informative_groups"] == 0


@pytest.mark.parametrize("name", METHODS)
def test_runs_repeat_and_a_resumed_one_ends_the_same(
    tiny_base: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"max_steps": 4, "checkpoint_every": 1, "inner_epochs": 2}
    run_training(job(tiny_base, tmp_path / "straight", name, **settings))
    stop_after(monkeypatch, 2)
    with pytest.raises(KeyboardInterrupt):
        run_training(job(tiny_base, tmp_path / "broken", name, **settings))
    monkeypatch.undo()
    outcome = run_training(job(tiny_base, tmp_path / "broken", name, **settings))
    assert outcome.facts["resumed_at_step"] == 2
    assert digest(tmp_path / "broken") == digest(tmp_path / "straight")

    def told(folder: Path) -> list[dict[str, Any]]:
        return [{k: v for k, v in line.items() if k != "seconds"} for line in logged(folder)]

    assert told(tmp_path / "broken") == told(tmp_path / "straight")


def stop_after(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    real = driver._Run._account

    def account(self: Any, metrics: Any, journal: Any) -> None:
        if metrics.step > step:
            raise KeyboardInterrupt
        real(self, metrics, journal)

    monkeypatch.setattr(driver._Run, "_account", account)


def test_the_reward_sees_prompt_answer_item_and_reference(tiny_base: Path, tmp_path: Path) -> None:
    judge = Judge()
    run_training(job(tiny_base, tmp_path, "grpo", judge, max_steps=1, batch_size=8))
    assert len(judge.seen) == 64
    for sample in judge.seen:
        word = sample.item["word"]
        assert [m.text for m in sample.prompt] == [f"Tell me about {word}"]
        assert [m.text for m in sample.reference] == [f"yes {word}"]
        assert sample.answer[0].role is Role.ASSISTANT
        assert sample.tokens is not None
        assert 1 <= sample.tokens <= 10


def test_rewards_are_summed_by_weight_and_weight_0_only_watches(tiny_base: Path, tmp_path: Path) -> None:
    one = Judge(lambda s: float(s.tokens or 0))
    constant, watched = Judge(lambda _: 3.0), Judge(lambda s: -float(s.tokens or 0))
    rewards = [
        {"reward": "judge", "name": "long", "weight": 2},
        {"reward": "judge", "name": "constant"},
        {"reward": "judge", "name": "watched", "weight": 0},
    ]
    base = job(tiny_base, tmp_path, "grpo", max_steps=1, rewards=rewards)
    run_training(handed(base, long=one, constant=constant, watched=watched))
    first = logged(tmp_path)[0]
    assert first["reward"] == pytest.approx(2 * first["answer_tokens"] + 3)
    assert first["reward/watched"] == pytest.approx(-first["answer_tokens"])
    assert first["reward/constant"] == 3


def test_answers_that_cannot_be_judged_teach_nothing_and_too_many_stop_the_run(tiny_base: Path, tmp_path: Path) -> None:
    some = Judge(lambda s: None if len(s.answer[0].text) % 3 == 0 else vowels(s))
    run_training(job(tiny_base, tmp_path / "some", "grpo", some, max_steps=1, unrewarded_at_most=0.99))
    assert 0 < logged(tmp_path / "some")[0]["unrewarded"] < 1
    with pytest.raises(Diverged, match="could not be rewarded") as stopped:
        run_training(job(tiny_base, tmp_path / "none", "grpo", Judge(lambda _: None)))
    assert "no idea" in str(stopped.value)
    with pytest.raises(Diverged, match="could not be rewarded"):
        run_training(job(tiny_base, tmp_path / "nan", "grpo", Judge(lambda _: float("nan"))))
    assert not (tmp_path / "nan" / "out").exists()


def test_a_model_that_moves_too_far_stops_before_it_moves_on(tiny_base: Path, tmp_path: Path) -> None:
    with pytest.raises(Diverged, match="too far from its reference"):
        run_training(job(tiny_base, tmp_path, "grpo", learning_rate=0.3, max_steps=20, kl_at_most=0.05))


def test_a_gamed_reward_is_warned_of_and_stops_where_the_settings_say(tiny_base: Path, tmp_path: Path) -> None:
    """What it is trained on rises while a judge that is only watched likes the answers less and less."""
    settings = {
        "rewards": [{"reward": "judge"}, {"reward": "judge", "name": "consonants", "weight": 0}],
        "max_steps": 30,
        "inner_epochs": 2,
        "learning_rate": 1e-2,
        "batch_size": 8,
        "group_size": 16,
    }

    def gamed(folder: Path, **more: Any) -> TrainingJob:
        one = job(tiny_base, folder, "grpo", **{**settings, **more})
        return handed(one, judge=Judge(), consonants=Judge(lambda s: 1 - vowels(s)))

    outcome = run_training(gamed(tmp_path / "warned"))
    since = outcome.facts["held_out/consonants_since_step"]
    warned = [
        line for line in logged(tmp_path / "warned") if "consonants, which it is not trained on" in json.dumps(line)
    ]
    assert [line["step"] for line in warned] == [since]
    with pytest.raises(RewardGamed, match="consonants"):
        run_training(gamed(tmp_path / "stopped", stop_on=["held_out"]))
    assert not (tmp_path / "stopped" / "out").exists()


def test_validation_rewards_pick_the_best_weights(tiny_base: Path, tmp_path: Path) -> None:
    base = job(tiny_base, tmp_path, "grpo", max_steps=6, evaluate_every=2, early_stopping_patience=5)
    outcome = run_training(replace(base, validation=[asked("hat"), asked("sea")]))
    assert outcome.best_validation_loss is not None
    assert outcome.rows_validation == 2
    found = [line for line in logged(tmp_path) if "validation_loss" in json.dumps(line) or "validation" in line]
    assert len(found) == 3


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"rewards": []}, "rewards"),
        ({"rewards": [{"reward": "judge"}, {"reward": "judge"}]}, "one name"),
        ({"rewards": [{"reward": "judge", "weight": 0}]}, "other than 0"),
        ({"rewards": [{"reward": "judge"}], "group_size": 1}, "at least 2"),
        ({"rewards": [{"reward": "judge"}], "temperature": 0}, "temperature"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        plugins.build("methods", "grpo", settings)


def test_a_missing_reward_and_a_record_that_asks_nothing_are_named(tiny_base: Path, tmp_path: Path) -> None:
    one = job(tiny_base, tmp_path, "grpo")
    with pytest.raises(BadInput, match="not handed its rewards"):
        run_training(handed(one))
    mute = Record(content=Conversation(messages=(said("assistant", "I begin."),)))
    with pytest.raises(BadInput, match="nothing is asked"):
        run_training(replace(one, records=[mute]))


def test_the_value_head_learns_what_to_expect(tiny_base: Path, tmp_path: Path) -> None:
    """Every answer is worth 2, so that is what its tokens lead one to expect, and no answer is better than expected."""
    run_training(
        job(
            tiny_base,
            tmp_path,
            "ppo",
            Judge(lambda _: 2.0),
            beta=0.0,
            max_steps=30,
            value_weight=1.0,
            value_epsilon=10.0,
            learning_rate=1e-2,
            smoothing=1.0,
        )
    )
    rounds = logged(tmp_path)
    assert rounds[0]["value"] == 0
    assert rounds[-1]["value"] == pytest.approx(2, abs=0.3)
    assert rounds[-1]["value_loss"] < rounds[0]["value_loss"] / 10
    names = set(load_file(str(tmp_path / "out" / "adapter_model.safetensors")))
    assert not any("value" in name for name in names)


@pytest.mark.parametrize("name", METHODS)
def test_how_far_the_model_is_shows_in_rounds_that_teach_nothing_too(
    tiny_base: Path, tmp_path: Path, name: str
) -> None:
    """After two rounds all answers are worth the same; the divergence that there is must not be logged as none."""
    calls = []

    def worth(sample: Sampled) -> float:
        calls.append(sample)
        return vowels(sample) if len(calls) <= 64 else 0.5

    run_training(job(tiny_base, tmp_path, name, Judge(worth), max_steps=4, learning_rate=1e-2))
    assert logged(tmp_path)[-1]["informative_groups"] == 0
    assert logged(tmp_path)[-1]["kl"] > 1e-4


def test_a_prompt_that_leaves_no_room_for_an_answer_is_named(tiny_base: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="do not fit the model's context") as refused:
        run_training(job(tiny_base, tmp_path, "grpo", max_new_tokens=250))
    assert "256 tokens together" in str(refused.value)
