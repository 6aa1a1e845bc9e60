"""TRL as the oracle: on the same weights and batch, the same losses and gradients."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch

from goldsmith.engines.chat import Chat
from goldsmith.engines.training.attention import register
from goldsmith.engines.training.batches import Plan
from goldsmith.engines.training.policy import Policy
from goldsmith.engines.training.preference_losses import PairLoss, simpo_loss
from goldsmith.engines.training.rows import Node, Row
from goldsmith.engines.training.settings import TrainingSettings
from goldsmith.methods.dpo import Dpo
from goldsmith.methods.kto import Kto
from goldsmith.methods.simpo import Simpo

trl = pytest.importorskip("trl")
RNG = np.random.default_rng(5)


def _ids(n: int) -> np.ndarray:
    return RNG.integers(4, 380, size=n).astype(np.int32)


def _policy(tiny: Any, model: Any, settings: TrainingSettings) -> Policy:
    register()
    policy = Policy(model.train(), Chat(tiny.tokenizer()), settings, "unused")
    policy.take("flat")
    return policy


def _gradients(model: Any) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def _same_gradients(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    assert set(ours) == set(theirs)
    for name, gradient in theirs.items():
        atol = max(1e-6, 5e-6 * float(gradient.abs().max()))  # float32's own error grows with the sums it is left of
        torch.testing.assert_close(ours[name], gradient, rtol=1e-4, atol=atol, msg=lambda m, n=name: f"{n}: {m}")


def _plan(rows: Sequence[Row], capacity: int) -> Plan:
    return Plan(tuple(rows), 0, len(rows), 1, capacity, 0)


@pytest.mark.parametrize("capacity", [1000, 40])
@pytest.mark.parametrize("tied", [False, True])
def test_sft_loss_and_gradients_equal_trl(tiny: Any, tmp_path: Path, capacity: int, tied: bool) -> None:
    from datasets import Dataset

    masks = [np.arange(n) >= n // 2 for n in (9, 17, 30, 5)]
    rows = [Row((Node(_ids(len(m)), m),), f"row {i}", str(i)) for i, m in enumerate(masks)]
    data = Dataset.from_list(
        [
            {
                "input_ids": row.nodes[0].ids.tolist(),
                "labels": np.where(row.nodes[0].trained, row.nodes[0].ids, -100).tolist(),
            }
            for row in rows
        ]
    )
    model = tiny.model(tie_word_embeddings=tied)
    theirs = tiny.model(tie_word_embeddings=tied)
    config = trl.SFTConfig(
        output_dir=str(tmp_path),
        use_cpu=True,
        bf16=False,
        max_length=None,
        per_device_train_batch_size=4,
        report_to=[],
        activation_checkpointing=False,
        shuffle_dataset=False,
        dataset_kwargs={"skip_prepare_dataset": True},
        remove_unused_columns=False,
    )
    trainer = trl.SFTTrainer(model=theirs, args=config, train_dataset=data, processing_class=tiny.tokenizer())
    batch = trainer.data_collator([data[i] for i in range(4)])
    theirs.train()
    wanted = trainer.compute_loss(theirs, batch)
    wanted.backward()

    policy = _policy(tiny, model, TrainingSettings())
    update = _plan(rows, capacity).update(0)
    assert len(update.batches) == (1 if capacity == 1000 else 2)
    found = 0.0
    for part in update.batches:
        loss = policy.cross_entropy(part, update.labels)
        loss.backward()
        found += loss.item()
    assert found == pytest.approx(wanted.item(), rel=1e-5)
    _same_gradients(_gradients(model), _gradients(theirs))


@pytest.mark.parametrize("kind", get_args(PairLoss))
def test_dpo_loss_and_gradients_equal_trl(tiny: Any, tmp_path: Path, kind: str) -> None:
    from datasets import Dataset

    rows = []
    for i, (p, c, r) in enumerate([(6, 9, 4), (12, 3, 20), (3, 7, 7)]):
        yes = np.ones(64, dtype=np.bool_)
        nodes = (Node(_ids(p), ~yes[:p]), Node(_ids(c), yes[:c], 0), Node(_ids(r), yes[:r], 0))
        rows.append(Row(nodes, f"row {i}", str(i)))
    data = Dataset.from_list(
        [
            {
                "prompt_ids": row.nodes[0].ids.tolist(),
                "chosen_ids": row.nodes[1].ids.tolist(),
                "rejected_ids": row.nodes[2].ids.tolist(),
            }
            for row in rows
        ]
    )
    model, theirs = tiny.model(seed=1), tiny.model(seed=1)
    reference = tiny.model(seed=2)
    smoothing = 0.1 if kind in ("robust", "exo_pair") else 0.0
    config = trl.DPOConfig(
        output_dir=str(tmp_path),
        use_cpu=True,
        bf16=False,
        beta=0.3,
        loss_type=[kind],
        label_smoothing=smoothing,
        max_length=None,
        per_device_train_batch_size=3,
        report_to=[],
        activation_checkpointing=False,
    )
    dummy = Dataset.from_list([{"prompt": "one", "chosen": " two", "rejected": " three"}])
    trainer = trl.DPOTrainer(
        model=theirs,
        ref_model=tiny.model(seed=2),
        args=config,
        train_dataset=dummy,
        processing_class=tiny.tokenizer(),
    )
    batch = trainer.data_collator([data[i] for i in range(3)])
    theirs.train()
    wanted = trainer.compute_loss(theirs, batch)
    wanted.backward()

    method = Dpo(beta=0.3, loss=kind, label_smoothing=smoothing)
    plan = _plan(rows, 50)
    references = method.prepare(_policy(tiny, reference, method), rows, plan)
    policy = _policy(tiny, model, method)
    update = plan.update(0)
    assert len(update.batches) == 2
    found = 0.0
    for part in update.batches:
        loss_P, _ = method._losses(policy, rows, part, references)
        loss = loss_P.sum() / len(rows)
        loss.backward()
        found += loss.item()
    assert found == pytest.approx(wanted.item(), rel=1e-4)
    _same_gradients(_gradients(model), _gradients(theirs))


@pytest.mark.parametrize("weights", [(1.0, 1.0), (0.7, 1.6)])
def test_kto_loss_and_gradients_equal_trl(tiny: Any, tmp_path: Path, weights: tuple[float, float]) -> None:
    from datasets import Dataset

    yes = np.ones(64, dtype=np.bool_)
    sizes = [(6, 9), (12, 3), (3, 7), (8, 8)]
    rows = [
        Row((Node(_ids(p), ~yes[:p]), Node(_ids(a), yes[:a], 0)), f"row {i}", str(i), float(i % 2))
        for i, (p, a) in enumerate(sizes)
    ]
    model, theirs = tiny.model(seed=1), tiny.model(seed=1)
    reference = tiny.model(seed=2)
    method = Kto(beta=0.3, desirable_weight=weights[0], undesirable_weight=weights[1])
    plan = _plan(rows, 30)
    prepared = method.prepare(_policy(tiny, reference, method), rows, plan)
    data = Dataset.from_list(
        [
            {
                "prompt_ids": row.nodes[0].ids.tolist(),
                "completion_ids": row.nodes[1].ids.tolist(),
                "KL_completion_ids": prepared.strangers[row.key].nodes[1].ids.tolist(),
                "label": bool(row.value),
            }
            for row in rows
        ]
    )
    config = trl.KTOConfig(
        output_dir=str(tmp_path),
        use_cpu=True,
        bf16=False,
        beta=0.3,
        desirable_weight=weights[0],
        undesirable_weight=weights[1],
        max_length=None,
        per_device_train_batch_size=4,
        report_to=[],
        activation_checkpointing=False,
    )
    dummy = Dataset.from_list([{"prompt": "one", "completion": " two", "label": bool(i % 2)} for i in range(4)])
    trainer = trl.KTOTrainer(
        model=theirs, ref_model=tiny.model(seed=2), args=config, train_dataset=dummy, processing_class=tiny.tokenizer()
    )
    batch = trainer.data_collator([data[i] for i in range(4)])
    theirs.train()
    wanted = trainer.compute_loss(theirs, batch)
    wanted.backward()

    policy = _policy(tiny, model, method)
    update = plan.update(0)
    assert len(update.batches) > 1
    kl = method._kl(policy, [rows[i] for i in update.rows], plan, prepared)
    found = 0.0
    for part in update.batches:
        loss_B, _ = method._losses(policy, rows, part, prepared, kl)
        loss = loss_B.sum() / len(rows)
        loss.backward()
        found += loss.item()
    assert found == pytest.approx(wanted.item(), rel=1e-4)
    _same_gradients(_gradients(model), _gradients(theirs))


def test_simpo_loss_equals_trl() -> None:
    """On log-probabilities per token, as TRL's CPO trainer takes them."""
    import os
    from types import SimpleNamespace

    os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
    cpo = pytest.importorskip("trl.experimental.cpo")
    chosen, rejected = torch.tensor([-20.0, -3.0, -44.0]), torch.tensor([-10.0, -9.0, -44.0])
    lengths = torch.tensor([10.0, 4.0, 30.0]), torch.tensor([7.0, 3.0, 11.0])
    trainer = SimpleNamespace(
        accelerator=SimpleNamespace(device="cpu"), loss_type="simpo", simpo_gamma=0.5, beta=2.0, label_smoothing=0.0,
        alpha=0.0,
    )  # fmt: skip
    wanted = cpo.CPOTrainer.cpo_loss(trainer, chosen / lengths[0], rejected / lengths[1])[0]
    found = simpo_loss(chosen, rejected, *lengths, beta=2.0, gamma=0.5)
    torch.testing.assert_close(found, wanted)
    assert Simpo(beta=2.0, gamma=0.5).gamma == 0.5
