"""TRL as the oracle for reward models: on the same weights and batch, the same loss and gradients."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from goldsmith.engines.chat import Chat
from goldsmith.engines.training.attention.flat import register
from goldsmith.engines.training.data.batches import Plan
from goldsmith.engines.training.data.rows import Node, Row
from goldsmith.engines.training.model.loading import load_model
from goldsmith.engines.training.model.policy import Policy
from goldsmith.methods.reward_model import RewardModel

trl = pytest.importorskip("trl")
RNG = np.random.default_rng(7)


def _rows() -> list[Row]:
    def ids(n: int) -> np.ndarray:
        return RNG.integers(4, 380, size=n).astype(np.int32)

    yes = np.ones(64, dtype=np.bool_)
    rows = []
    for i, (p, c, r, margin) in enumerate([(6, 9, 4, 0.0), (12, 3, 20, 1.5), (3, 7, 7, 0.33), (5, 1, 2, 0.0)]):
        nodes = (Node(ids(p), ~yes[:p]), Node(ids(c), yes[:c], 0), Node(ids(r), yes[:r], 0))
        rows.append(Row(nodes, f"row {i}", str(i), margin))
    return rows


@pytest.mark.parametrize("way", ["flat", "packed", "padded"])
@pytest.mark.parametrize("centring", [0.0, 0.05])
def test_reward_loss_and_gradients_equal_trl(
    tiny: Any, tiny_base: Path, tmp_path: Path, centring: float, way: Any
) -> None:
    from datasets import Dataset

    rows = _rows()
    torch.manual_seed(4)
    model = load_model(tiny_base, ends_in="number")
    theirs = load_model(tiny_base, ends_in="number")
    theirs.load_state_dict(model.state_dict())
    theirs.config.pad_token_id = 3
    data = [
        {
            "chosen_ids": [*row.nodes[0].ids.tolist(), *row.nodes[1].ids.tolist()],
            "rejected_ids": [*row.nodes[0].ids.tolist(), *row.nodes[2].ids.tolist()],
            "margin": row.value,
        }
        for row in rows
    ]
    config = trl.RewardConfig(
        output_dir=str(tmp_path),
        use_cpu=True,
        bf16=False,
        max_length=None,
        center_rewards_coefficient=centring or None,
        per_device_train_batch_size=4,
        report_to=[],
        activation_checkpointing=False,
    )
    dummy = Dataset.from_list([{"chosen": "one two", "rejected": "one three"}])
    trainer = trl.RewardTrainer(model=theirs, args=config, train_dataset=dummy, processing_class=tiny.tokenizer())
    theirs.train()
    wanted = trainer.compute_loss(theirs, trainer.data_collator(data))
    wanted.backward()

    register()
    method = RewardModel(center_rewards_coefficient=centring)
    policy = Policy(model.train(), Chat(tiny.tokenizer()), method, "unused")
    policy.take(way)
    plan = method.prepare(policy, rows, Plan(tuple(rows), 0, len(rows), 1, 50, 0, share=policy.shares))
    update = plan.update(0)
    assert len(update.batches) > 1
    found = 0.0
    for part in update.batches:
        loss_P, _ = method._losses(policy, plan.rows, part)
        loss = loss_P.sum() / len(rows)
        loss.backward()
        found += loss.item()
    assert found == pytest.approx(wanted.item(), rel=1e-5)
    gradients = {name: p.grad for name, p in theirs.named_parameters() if p.grad is not None}
    ours = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert set(ours) == set(gradients)
    assert "score.weight" in ours
    for name, gradient in gradients.items():
        atol = max(1e-6, 5e-6 * float(gradient.abs().max()))
        torch.testing.assert_close(ours[name], gradient, rtol=1e-4, atol=atol, msg=lambda m, n=name: f"{n}: {m}")
