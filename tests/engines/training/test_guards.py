"""The alarm for degenerate preference training."""

from goldsmith.engines.training.guards import DegeneratePairs


def values(chosen: float, rejected: float, margin: float) -> dict[str, float]:
    return {"chosen_logratio": chosen, "rejected_logratio": rejected, "reward_margin": margin}


def test_both_falling_with_an_exploding_margin_is_degenerate() -> None:
    alarm = DegeneratePairs(window=5)
    warnings = [alarm.watch(values(-40.0, -400.0, 36.0)) for _ in range(5)]
    assert warnings[:4] == [None] * 4
    assert warnings[4] is not None
    assert "degenerate" in warnings[4]


def test_healthy_training_is_left_alone() -> None:
    alarm = DegeneratePairs(window=5)
    for chosen, rejected, margin in ((5.0, -400.0, 40.0), (-1.0, -5.0, 0.4)):
        assert not any(alarm.watch(values(chosen, rejected, margin)) for _ in range(20))
