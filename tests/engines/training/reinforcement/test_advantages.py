"""Advantages against the definitions, written out; losses against float64 formulas."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from goldsmith.engines.training.reinforcement import policy_losses
from goldsmith.engines.training.reinforcement.advantages import (
    discounted,
    group_relative,
    informative,
    leave_one_out,
)

REWARDS = arrays(
    np.float64,
    st.tuples(st.integers(1, 4), st.integers(2, 5)),
    elements=st.one_of(st.just(np.nan), st.floats(-10, 10, width=16)),
)


@given(REWARDS)
def test_leave_one_out_is_the_reward_less_the_mean_of_the_others(rewards_PG: np.ndarray) -> None:
    found = leave_one_out(rewards_PG)
    for p, group in enumerate(rewards_PG):
        for g, reward in enumerate(group):
            others = [r for k, r in enumerate(group) if k != g and not np.isnan(r)]
            wanted = 0.0 if np.isnan(reward) or not others else reward - np.mean(others)
            assert found[p, g] == pytest.approx(wanted, abs=1e-9)


@given(REWARDS, st.sampled_from(["group", "batch", "none"]))
def test_group_relative_advantages_sum_to_nothing_and_keep_the_order(rewards_PG: np.ndarray, scale: str) -> None:
    found = group_relative(rewards_PG, scale)  # type: ignore[arg-type]
    assert np.isfinite(found).all()
    for group, advantages in zip(rewards_PG, found, strict=True):
        known = ~np.isnan(group)
        assert advantages[known].sum() == pytest.approx(0, abs=1e-6)
        assert (advantages[~known] == 0).all()
        order = np.argsort(group[known])
        assert (np.diff(advantages[known][order]) >= -1e-9).all()


def test_group_relative_divides_by_what_it_says() -> None:
    rewards_PG = np.array([[0.0, 1.0, 1.0], [2.0, 8.0, 2.0]])
    centred = rewards_PG - rewards_PG.mean(1, keepdims=True)
    deviations = rewards_PG.std(1, ddof=1, keepdims=True)
    np.testing.assert_allclose(group_relative(rewards_PG, "group"), centred / (deviations + 1e-4))
    np.testing.assert_allclose(group_relative(rewards_PG, "batch"), centred / (rewards_PG.std(ddof=1) + 1e-4))
    np.testing.assert_allclose(group_relative(rewards_PG, "none"), centred)


def test_only_a_group_whose_known_rewards_differ_is_informative() -> None:
    nan = np.nan
    rewards_PG = np.array([[1.0, 1.0], [1.0, 2.0], [nan, 2.0], [nan, nan]])
    assert informative(rewards_PG).tolist() == [False, True, False, False]


@pytest.mark.parametrize("smoothing", [0.0, 0.6, 1.0])
def test_generalised_advantages_are_the_weighted_sum_of_later_surprises(smoothing: float) -> None:
    rng = np.random.default_rng(1)
    rewards, values, discount = rng.normal(size=6), rng.normal(size=6), 0.9
    surprise = rewards + discount * np.append(values[1:], 0.0) - values
    wanted = [sum((discount * smoothing) ** k * surprise[t + k] for k in range(6 - t)) for t in range(6)]
    advantages, targets = discounted(rewards, values, discount=discount, smoothing=smoothing)
    np.testing.assert_allclose(advantages, wanted)
    np.testing.assert_allclose(targets, np.array(wanted) + values)


OWNERS = torch.tensor([0, 0, 0, 1, 2, 2])
LENGTHS = torch.tensor([3.0, 1.0, 2.0])


@pytest.mark.parametrize("level", ["token", "sequence", "product"])
def test_ratios_at_each_level(level: str) -> None:
    new, old = torch.randn(6, dtype=torch.float64), torch.randn(6, dtype=torch.float64)
    found = policy_losses.log_ratio(new, old, OWNERS, LENGTHS.double(), level)  # type: ignore[arg-type]
    moved = (new - old).tolist()
    sums = [sum(moved[:3]), moved[3], sum(moved[4:])]
    wanted = {
        "token": moved,
        "sequence": [sums[o] / [3, 1, 2][o] for o in OWNERS.tolist()],
        "product": [sums[o] for o in OWNERS.tolist()],
    }[level]
    assert found.tolist() == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("together", "wanted"),
    [
        ("grpo", [1 / 9] * 3 + [1 / 3] + [1 / 6] * 2),
        ("dapo", [1 / 6] * 6),
        ("dr_grpo", [1 / 30] * 6),
    ],
)
def test_tokens_weigh_what_the_method_says(together: str, wanted: list[float]) -> None:
    found = policy_losses.token_weights(OWNERS, LENGTHS, together, answers=3, tokens=6, longest=10)  # type: ignore[arg-type]
    assert found.tolist() == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("moved", "advantage", "wanted"),
    [
        (0.1, 2.0, -np.exp(0.1) * 2.0),  # inside: the plain policy gradient
        (1.0, 2.0, -1.3 * 2.0),  # risen too far and good: held
        (1.0, -2.0, np.exp(1.0) * 2.0),  # risen and bad: counts in full
        (2.0, -2.0, 4.0 * 2.0),  # … up to the other bound
        (-1.0, -2.0, 0.8 * 2.0),  # fallen too far and bad: held
        (-1.0, 2.0, -np.exp(-1.0) * 2.0),
    ],
)
def test_the_clip_holds_on_the_right_side(moved: float, advantage: float, wanted: float) -> None:
    ratio, gain = torch.tensor([moved], dtype=torch.float64), torch.tensor([advantage], dtype=torch.float64)
    found = policy_losses.clipped(ratio, gain, epsilon_low=0.2, epsilon_high=0.3, ratio_at_most=4.0)
    assert found.item() == pytest.approx(wanted)
    outside = policy_losses.outside(ratio, gain, epsilon_low=0.2, epsilon_high=0.3)
    assert outside.item() is ((moved, advantage) in [(1.0, 2.0), (-1.0, -2.0)])


def test_divergence_estimates_the_kl_of_two_distributions() -> None:
    torch.manual_seed(0)
    model, reference = torch.randn(2, 30, dtype=torch.float64).log_softmax(-1)
    exact = (model.exp() * (model - reference)).sum().item()
    drawn = torch.multinomial(model.exp(), 200_000, replacement=True)
    found = policy_losses.divergence(model[drawn], reference[drawn])
    assert (found >= 0).all()
    assert found.mean().item() == pytest.approx(exact, rel=0.02)


def test_the_value_loss_takes_the_worse_of_clipped_and_not() -> None:
    values, old, targets = torch.tensor([1.0, 0.05]), torch.tensor([0.0, 0.0]), torch.tensor([1.0, 1.0])
    found = policy_losses.value_loss(values, old, targets, clip=0.1)
    assert found.tolist() == pytest.approx([0.5 * 0.9**2, 0.5 * 0.95**2])
