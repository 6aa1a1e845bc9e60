"""Each loss of preference training equals its paper's formula in float64, over generated log-probabilities."""

import math
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from goldsmith.engines.training.losses.preference import (
    PairLoss,
    Pairs,
    kto_loss,
    odds_ratio_loss,
    pair_loss,
    simpo_loss,
)

finite = st.floats(-30, -0.01)
lengths = st.integers(1, 50)
betas = st.floats(0.01, 2)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def log_sigmoid(x: float) -> float:
    return -math.log1p(math.exp(-x)) if x >= 0 else x - math.log1p(math.exp(x))


def formula(kind: str, up: float, down: float, n: int, m: int, beta: float, eps: float) -> float:
    margin, mean = beta * (up - down), up / n - down / m
    return {
        "sigmoid": lambda: -(1 - eps) * log_sigmoid(margin) - eps * log_sigmoid(-margin),
        "hinge": lambda: max(0.0, 1 - margin),
        "ipo": lambda: (mean - 1 / (2 * beta)) ** 2,
        "robust": lambda: (-(1 - eps) * log_sigmoid(margin) + eps * log_sigmoid(-margin)) / (1 - 2 * eps),
        "sigmoid_norm": lambda: -log_sigmoid(beta * mean),
        "exo_pair": lambda: (
            sigmoid(margin) * (log_sigmoid(margin) - math.log(1 - eps))
            + sigmoid(-margin) * (log_sigmoid(-margin) - math.log(eps))
        ),
        "nca_pair": lambda: -log_sigmoid(beta * up) - 0.5 * log_sigmoid(-beta * up) - 0.5 * log_sigmoid(-beta * down),
        "bco_pair": lambda: -log_sigmoid(beta * up) - log_sigmoid(-beta * down),
        "sppo_hard": lambda: (up - 0.5 / beta) ** 2 + (down + 0.5 / beta) ** 2,
        "apo_zero": lambda: 1 - sigmoid(beta * up) + sigmoid(beta * down),
        "apo_down": lambda: sigmoid(beta * up) + 1 - sigmoid(margin),
    }[kind]()


@pytest.mark.parametrize("kind", get_args(PairLoss))
@settings(derandomize=True, max_examples=60, deadline=None)
@given(
    c=finite, r=finite, rc=finite, rr=finite, n=lengths, m=lengths, beta=st.floats(0.01, 2), eps=st.floats(0.01, 0.4)
)
def test_pair_losses(
    kind: PairLoss, c: float, r: float, rc: float, rr: float, n: int, m: int, beta: float, eps: float
) -> None:
    smoothing = eps if kind in ("sigmoid", "robust", "exo_pair") else 0.0
    pairs = Pairs(*(torch.tensor([x], dtype=torch.float64) for x in (c, r, rc, rr, n, m)))
    found = pair_loss(pairs, kind, beta=beta, label_smoothing=smoothing)
    assert found.item() == pytest.approx(formula(kind, c - rc, r - rr, n, m, beta, smoothing), rel=1e-6, abs=1e-9)


@settings(derandomize=True, max_examples=60, deadline=None)
@given(c=finite, r=finite, n=lengths, m=lengths)
def test_odds_ratio_and_simpo(c: float, r: float, n: int, m: int) -> None:
    values = [torch.tensor([x], dtype=torch.float64) for x in (c, r, n, m)]
    odds = [math.log(math.exp(x) / -math.expm1(x)) for x in (c / n, r / m)]
    found = odds_ratio_loss(*values).item()
    assert found == pytest.approx(-log_sigmoid(odds[0] - odds[1]), rel=1e-4, abs=1e-9)
    found = simpo_loss(*values, beta=2.0, gamma=0.7).item()
    assert found == pytest.approx(-log_sigmoid(2 * (c / n - r / m) - 0.7), rel=1e-6, abs=1e-9)


@settings(derandomize=True, max_examples=60, deadline=None)
@given(ratio=st.floats(-40, 40), good=st.booleans(), kl=st.floats(0, 20), beta=st.floats(0.01, 1))
def test_kto(ratio: float, good: bool, kl: float, beta: float) -> None:
    found = kto_loss(
        torch.tensor([ratio], dtype=torch.float64), torch.tensor([good]), kl,
        beta=beta, desirable_weight=1.5, undesirable_weight=0.5,
    )  # fmt: skip
    wanted = 1.5 * (1 - sigmoid(beta * (ratio - kl))) if good else 0.5 * (1 - sigmoid(beta * (kl - ratio)))
    assert found.item() == pytest.approx(wanted, rel=1e-6, abs=1e-9)
