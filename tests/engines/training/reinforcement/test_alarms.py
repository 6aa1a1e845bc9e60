"""Signs of a gamed reward, on histories made up to show one each, and none."""

import numpy as np
import pytest

from goldsmith.engines.training.reinforcement import alarms

RNG = np.random.default_rng(0)


def history(rounds: int = 40, **slopes: float) -> list[dict[str, float]]:
    """Noisy rounds in which the named values change by their slope per round."""
    start = {"reward": 0.3, "answer_tokens": 50.0, "repetition": 0.1, "reward/judge": 0.5}
    noise = {"reward": 0.01, "answer_tokens": 1.0, "repetition": 0.01, "reward/judge": 0.01}
    return [
        {
            name: value + slopes.get(name.replace("/", "_"), 0.0) * t + RNG.normal(0, noise[name])
            for name, value in start.items()
        }
        for t in range(rounds)
    ]


@pytest.mark.parametrize(
    ("slopes", "kind"),
    [
        ({"reward": 0.02, "answer_tokens": 5.0}, "length"),
        ({"reward": 0.02, "repetition": 0.02}, "repetition"),
        ({"reward": 0.02, "reward_judge": -0.01}, "held_out/judge"),
    ],
)
def test_each_sign_is_named_alone(slopes: dict[str, float], kind: str) -> None:
    assert set(alarms.warnings(history(**slopes), ["judge"])) == {kind}


@pytest.mark.parametrize(
    "slopes",
    [
        {},
        {"reward": 0.02},
        {"answer_tokens": 5.0},  # longer, but the reward does not rise with it
        {"reward": 0.02, "answer_tokens": 0.5},  # a little longer
        {"reward": 0.02, "reward_judge": 0.01},
    ],
)
def test_honest_progress_is_left_alone(slopes: dict[str, float]) -> None:
    assert alarms.warnings(history(**slopes), ["judge"]) == {}


def test_few_rounds_and_missing_values_say_nothing() -> None:
    gamed = history(reward=0.02, answer_tokens=5.0)
    assert alarms.warnings(gamed[: 2 * alarms.WINDOW - 1]) == {}
    del gamed[-3]["answer_tokens"]
    assert "length" not in alarms.warnings(gamed)


def test_repetition_is_the_share_of_n_grams_seen_before() -> None:
    assert alarms.repetition([1, 2, 3, 4, 5, 6]) == 0
    assert alarms.repetition([1] * 10) == pytest.approx(6 / 7)
    assert alarms.repetition([1, 2]) == 0
