"""The alarm for degenerate preference training."""

import numpy as np
import pytest
import torch

from goldsmith import nano
from goldsmith.engines.chat import open_chat
from goldsmith.engines.training.data.rows import Node, Row
from goldsmith.engines.training.guards.degenerate import DegeneratePairs
from goldsmith.engines.training.guards.self_test import allowance, choose_way
from goldsmith.engines.training.model.loading import load_model
from goldsmith.engines.training.model.policy import Policy
from goldsmith.methods.sft import Sft


def values(chosen: float, rejected: float, margin: float) -> dict[str, float]:
    return {"chosen_logratio": chosen, "rejected_logratio": rejected, "reward_margin": margin}


def test_both_falling_with_an_exploding_margin_is_degenerate() -> None:
    alarm = DegeneratePairs(window=5)
    warnings = [alarm.watch(values(-40.0, -400.0, 36.0)) for _ in range(5)]
    assert warnings[:4] == [None] * 4
    assert warnings[4] is not None
    assert "degenerate" in warnings[4]


def test_both_falling_alike_is_degenerate() -> None:
    alarm = DegeneratePairs(window=5)
    assert [alarm.watch(values(-160.0, -182.0, 2.2)) is not None for _ in range(5)] == [False] * 4 + [True]


def test_healthy_training_is_left_alone() -> None:
    alarm = DegeneratePairs(window=5)
    for chosen, rejected, margin in ((5.0, -400.0, 40.0), (-1.0, -5.0, 0.4), (-12.0, -50.0, 3.8), (-40.0, -90.0, 5.0)):
        assert not any(alarm.watch(values(chosen, rejected, margin)) for _ in range(20))


def test_rounding_widens_what_is_allowed_and_never_hides_a_leak() -> None:
    assert allowance("bfloat16_mixed", None) == (0.5, 0.02)
    assert allowance("bfloat16_mixed", torch.full((4,), 0.001)) == (0.5, 0.02)
    assert allowance("bfloat16_mixed", torch.full((4,), -0.03)) == (0.5, pytest.approx(0.06))
    assert allowance("bfloat16_mixed", torch.full((4,), 9.0)) == (2.0, 0.2)
    assert allowance("bfloat16_mixed", torch.tensor([0.1, float("nan")])) == (0.5, 0.02)


def test_half_precision_alone_is_no_reason_to_refuse_a_model() -> None:
    """Rounding puts a long row's worst label further off than a leak between short rows would."""
    chat = open_chat(nano.model_path())
    method = Sft(precision="bfloat16_mixed")
    policy = Policy(load_model(nano.model_path()), chat, method, "unused")
    ids = np.random.default_rng(0).integers(5, 500, size=480).astype(np.int32)
    rows = [Row((Node(ids[low:], np.ones(480 - low, dtype=np.bool_)),), str(low), str(low)) for low in (0, 300, 460)]
    facts = choose_way(policy, rows, 1024)
    assert facts["batching"] == "flat"
    assert float(facts["packed_equals_alone_flat"]) < 2e-4
    assert policy.mixed
