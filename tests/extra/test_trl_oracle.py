"""TRL as the oracle: on the same weights and batch, the same losses and gradients."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch

from goldsmith.engines.chat import Chat
from goldsmith.engines.training.attention.flat import register
from goldsmith.engines.training.data.batches import Plan
from goldsmith.engines.training.data.rows import Node, Row
from goldsmith.engines.training.losses.preference import PairLoss, simpo_loss
from goldsmith.engines.training.model.policy import Policy
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


def _sampled(seed: int) -> tuple[Any, list[Row], Any, Any]:
    """Three prompts with two answers each: our round, and the same padded for TRL, with old and reference values."""
    from goldsmith.engines.training.reinforcement.generate import Sampled
    from goldsmith.engines.training.reinforcement.rounds import Round

    rng = np.random.default_rng(seed)
    prompts, written, rows, members = [5, 11, 3], [], [], []
    for i, n in enumerate(prompts):
        answers = [
            Sampled(_ids(m), rng.normal(-2, 0.5, m).astype(np.float32), True, np.ones(m, dtype=np.bool_))
            for m in (4 + i, 9 - 2 * i)
        ]
        root = Node(_ids(n), np.zeros(n, dtype=np.bool_))
        branches = (Node(a.ids, np.ones(len(a.ids), dtype=np.bool_), 0) for a in answers)
        rows.append(Row((root, *branches), f"row {i}", str(i)))
        members.append((2 * i, 2 * i + 1))
        written += answers
    round_ = Round(tuple(rows), tuple(members), tuple(written), rng.normal(size=(3, 2)), {})
    width, length = max(prompts), max(len(a.ids) for a in written)
    batch: dict[str, Any] = {
        "prompt_ids": torch.full((6, width), 3),
        "prompt_mask": torch.zeros(6, width, dtype=torch.long),
        "completion_ids": torch.full((6, length), 3),
        "completion_mask": torch.zeros(6, length, dtype=torch.long),
    }
    for a, one in enumerate(written):
        prompt = rows[a // 2].nodes[0].ids
        batch["prompt_ids"][a, width - len(prompt) :] = torch.from_numpy(prompt.astype(np.int64))
        batch["prompt_mask"][a, width - len(prompt) :] = 1
        batch["completion_ids"][a, : len(one.ids)] = torch.from_numpy(one.ids.astype(np.int64))
        batch["completion_mask"][a, : len(one.ids)] = 1
    return round_, rows, batch, length


def _padded(round_: Any, values: dict[int, torch.Tensor], length: int) -> torch.Tensor:
    """Our values by row as TRL's [answers, tokens]."""
    out = torch.zeros(len(round_.written), length)
    for row, those in enumerate(round_.members):
        parts = values[row].split([len(round_.written[a].ids) for a in those])
        for a, part in zip(those, parts, strict=True):
            out[a, : len(part)] = part
    return out


@pytest.mark.parametrize(
    ("together", "ratio", "beta", "most", "temperature"),
    [
        ("grpo", "token", 0.0, None, 1.0),
        ("grpo", "sequence", 0.0, None, 1.0),
        ("dapo", "token", 0.1, None, 1.0),
        ("dapo", "token", 0.0, 1.5, 0.7),
        ("dr_grpo", "token", 0.1, None, 1.3),
        ("dr_grpo", "sequence", 0.05, None, 1.0),
    ],
)
def test_grpo_loss_and_gradients_equal_trl(
    tiny: Any, tmp_path: Path, together: str, ratio: str, beta: float, most: float | None, temperature: float
) -> None:
    from datasets import Dataset

    from goldsmith.engines.training.reinforcement import learning, surrogate

    round_, rows, batch, length = _sampled(3)
    model, theirs = tiny.model(seed=1), tiny.model(seed=1)
    config = trl.GRPOConfig(
        output_dir=str(tmp_path),
        use_cpu=True,
        bf16=False,
        beta=0.0,
        delta=most,
        epsilon=0.2,
        epsilon_high=0.28,
        loss_type=together,
        importance_sampling_level=ratio,
        temperature=temperature,
        max_completion_length=length,
        per_device_train_batch_size=6,
        num_generations=2,
        report_to=[],
        activation_checkpointing=False,
    )
    trainer = trl.GRPOTrainer(
        model=theirs,
        reward_funcs=lambda completions, **_: [0.0] * len(completions),
        args=config,
        train_dataset=Dataset.from_list([{"prompt": "one"}]),
        processing_class=tiny.tokenizer(),
    )
    trainer.current_gradient_accumulation_steps = 1
    trainer.beta = beta  # set late: a trainer with a reference wants a model on disk
    settings = TrainingSettings()
    other = _policy(tiny, tiny.model(seed=2), settings)
    plan = _plan(rows, 1000)
    old = learning.token_logprobs(other, round_, plan, range(3), temperature)
    reference = learning.token_logprobs(
        _policy(tiny, tiny.model(seed=4), settings), round_, plan, range(3), temperature
    )
    advantages = np.random.default_rng(1).normal(size=6)
    batch |= {
        "advantages": torch.tensor(advantages, dtype=torch.float32),
        "old_per_token_logps": _padded(round_, old, length),
        "ref_per_token_logps": _padded(round_, reference, length),
        "num_items_in_batch": batch["completion_mask"].sum(),
    }
    theirs.train()
    wanted = trainer._compute_loss(theirs, batch)
    wanted.backward()

    policy = _policy(tiny, model, settings)
    how = surrogate.Surrogate(together, ratio, 0.2, 0.28, most, beta, temperature, length, 1)  # type: ignore[arg-type]
    known = learning.Known(old, reference, True)
    turn = surrogate.Turn(policy, round_, known, advantages, np.ones(6, dtype=np.bool_))
    found = 0.0
    for part in round_.forwards(_plan(rows, 40), range(3)):
        loss, _ = surrogate.loss(how, turn, part)
        loss.backward()
        found += loss.item()
    assert found == pytest.approx(wanted.item(), rel=1e-4, abs=1e-6)
    _same_gradients(_gradients(model), _gradients(theirs))


def test_rloo_loss_and_gradients_equal_trl(tiny: Any, tmp_path: Path) -> None:
    from datasets import Dataset

    from goldsmith.engines.training.reinforcement import learning, surrogate
    from goldsmith.methods.rloo import Rloo

    round_, rows, batch, length = _sampled(4)
    model, theirs = tiny.model(seed=1), tiny.model(seed=1)
    config = trl.RLOOConfig(
        output_dir=str(tmp_path),
        use_cpu=True,
        bf16=False,
        epsilon=0.2,
        beta=0.0,
        max_completion_length=length,
        per_device_train_batch_size=6,
        num_generations=2,
        report_to=[],
        activation_checkpointing=False,
    )
    trainer = trl.RLOOTrainer(
        model=theirs,
        reward_funcs=lambda completions, **_: [0.0] * len(completions),
        args=config,
        train_dataset=Dataset.from_list([{"prompt": "one"}]),
        processing_class=tiny.tokenizer(),
    )
    plan = _plan(rows, 1000)
    policy = _policy(tiny, model, TrainingSettings())
    old = learning.token_logprobs(policy, round_, plan, range(3), 1.0)
    old = {row: values + 0.02 * torch.randn(len(values)) for row, values in old.items()}  # inside the clip and outside
    advantages = np.random.default_rng(1).normal(size=6)
    batch |= {
        "advantages": torch.tensor(advantages, dtype=torch.float32),
        "old_logps": (_padded(round_, old, length) * batch["completion_mask"]).sum(1),
    }
    theirs.train()
    wanted = trainer._compute_loss(theirs, batch)
    wanted.backward()
    settings = {"rewards": [{"reward": "length"}], "max_new_tokens": length}
    turn = surrogate.Turn(policy, round_, learning.Known(old, {}, True), advantages, np.ones(6, dtype=np.bool_))
    model.train()
    loss, _ = surrogate.loss(Rloo.model_validate(settings)._surrogate, turn, round_.forwards(plan, range(3))[0])
    loss.backward()
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-4)
    _same_gradients(_gradients(model), _gradients(theirs))
