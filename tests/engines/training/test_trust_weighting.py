"""Rows weighted by trust: the weighted mean of the update, exactly, and weights from the findings of a release."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from goldsmith_test_processes import job, opened
from goldsmith_test_records import short_and_long, yes_over_no

from goldsmith.engines.training import updating
from goldsmith.engines.training.data.batches import Plan
from goldsmith.engines.training.data.rows import Row
from goldsmith.engines.training.driver import run_training
from goldsmith.engines.training.model.policy import Policy
from goldsmith.methods.dpo import Dpo
from goldsmith.methods.sft import Sft
from goldsmith.trust.records import record_digest
from goldsmith.types.errors import BadInput

WEIGHTS = (1.0, 0.1, 0.5, 0.75, 1.0, 0.3)


def gradients(policy: Policy) -> torch.Tensor:
    found = torch.cat([p.grad.flatten() for _, p in policy.trainable() if p.grad is not None])
    for _, p in policy.trainable():
        p.grad = None
    return found.double()


def weighted(rows: Sequence[Row]) -> tuple[Row, ...]:
    return tuple(replace(row, weight=weight) for row, weight in zip(rows, WEIGHTS, strict=True))


@pytest.mark.parametrize("capacity", [0, 30, 500])
def test_sft_is_the_weighted_mean_over_tokens_however_it_is_packed(tiny_base: Path, capacity: int) -> None:
    policy, rows = opened(tiny_base, Sft(), short_and_long())
    total, sums = 0.0, torch.zeros(())
    for weight, row in zip(WEIGHTS, rows, strict=True):
        (batch,) = Plan((row,), 0, 1, 1, 0, 1).update(0).batches
        sums = sums - weight * policy.logprobs(batch).sum()
        total += weight * batch.labels_N.numel()
    (sums / total).backward()
    wanted = gradients(policy)
    update = Plan(weighted(rows), 0, 6, 1, capacity, 2).update(0)
    labels = sum(updating.weight_of(batch, per_label=True) for batch in update.batches)
    loss = torch.zeros(())
    for batch in update.batches:
        loss = loss + policy.cross_entropy(batch, labels)
    loss.backward()
    assert labels == pytest.approx(total)
    assert loss.item() == pytest.approx(sums.item() / total, rel=1e-5)
    assert torch.allclose(gradients(policy), wanted, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("capacity", [0, 60, 500])
def test_preferences_are_the_weighted_mean_over_pairs(tiny_base: Path, capacity: int) -> None:
    method = Dpo()
    policy, rows = opened(tiny_base, method, yes_over_no())
    plan = Plan(weighted(rows), 0, 6, 1, capacity, 2, share=policy.shares)
    known = method.prepare(policy, rows, plan)
    known = {key: (chosen - 1.0, rejected + 2.0 * int(key)) for key, (chosen, rejected) in known.items()}
    each = [method.evaluate(policy, [row], plan.over([row]), known)["loss"] for row in rows]
    wanted = sum(w * loss for w, loss in zip(WEIGHTS, each, strict=True)) / sum(WEIGHTS)
    update = plan.update(0)
    loss, _ = updating.backward(update.batches, 6, lambda batch: method._losses(policy, plan.rows, batch, known))
    assert len(set(each)) == 6
    assert loss == pytest.approx(wanted, rel=1e-5)


def run(base: Path, folder: Path, trust: dict[str, float] | None, **settings: Any) -> Any:
    how = {"learning_rate": 5e-3, "batch_size": 6, "max_steps": 2, "trust_weighting": True}
    return run_training(job(base, folder, Sft(**{**how, **settings}), records=short_and_long(), trust=trust))


def test_weights_count_only_beside_each_other_and_never_vanish(tiny_base: Path, tmp_path: Path) -> None:
    digests = [record_digest(record) for record in short_and_long()]
    plain = run(tiny_base, tmp_path / "plain", {})
    even = run(tiny_base, tmp_path / "even", dict.fromkeys(digests, 0.5))
    floor = run(tiny_base, tmp_path / "floor", dict.fromkeys(digests, 0.0))
    one = run(tiny_base, tmp_path / "one", {digests[0]: 0.2})
    assert "rows_weighted" not in plain.facts
    assert even.facts["rows_weighted"] == floor.facts["rows_weighted"] == 6
    assert one.facts["rows_weighted"] == 1
    assert even.final_loss == pytest.approx(plain.final_loss, rel=1e-4)
    assert floor.final_loss == pytest.approx(plain.final_loss, rel=1e-4)
    assert one.final_loss != pytest.approx(plain.final_loss, rel=1e-4)


def test_without_findings_there_is_nothing_to_go_by(tiny_base: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="nothing to go by"):
        run(tiny_base, tmp_path, None)
