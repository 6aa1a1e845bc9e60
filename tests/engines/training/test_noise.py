"""Noise on the embeddings (NEFTune): sized by a row's own length, only where something is learnt, and repeatable."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from goldsmith_test_processes import job, opened, same, together
from goldsmith_test_records import short_and_long, yes_over_no
from pydantic import ValidationError

from goldsmith.engines.training.data.batches import Batch, Plan, flat_batch
from goldsmith.engines.training.data.rows import Row
from goldsmith.engines.training.driver import TrainingJob, run_training, train_until
from goldsmith.engines.training.model.noise import noise_of, seed_of
from goldsmith.engines.training.model.policy import Policy
from goldsmith.methods.dpo import Dpo
from goldsmith.methods.grpo import Grpo
from goldsmith.methods.sft import Sft

ALPHA = 7.0
CPU = torch.device("cpu")


def updated(rows: Sequence[Row], capacity: int, step: int = 0, seed: int = 3) -> tuple[Batch, ...]:
    return Plan(tuple(rows), seed, len(rows), 2, capacity, 2, share=False).update(step).batches


def by_row(policy: Policy, batches: Sequence[Batch]) -> dict[int, torch.Tensor]:
    """Log-probabilities of each row's labels."""
    found = {}
    for batch in batches:
        logprobs = policy.logprobs(batch).detach()
        for number, row in enumerate(batch.owner_rows):
            found[row] = logprobs[batch.owners_N == number]
    return found


def test_the_noise_is_uniform_within_alpha_over_the_root_of_the_rows_own_length(tiny_base: Path) -> None:
    _, rows = opened(tiny_base, Sft(), short_and_long())
    (batch,) = updated(rows, 4000)
    noise = noise_of(batch, ALPHA, 64, CPU)
    assert noise.shape == (batch.tokens, 64)
    at = 0
    for length in batch.layout.lengths:
        bound = ALPHA / math.sqrt((length + 1) * 64)  # the row's last label is not computed, but is part of its length
        part = noise[at : at + length].double()
        assert part.abs().max() <= bound
        assert part.abs().max() > 0.98 * bound
        assert part.mean().abs() < 4 * bound / math.sqrt(3 * part.numel())
        assert part.var().item() == pytest.approx(bound**2 / 3, rel=0.1)
        at += length
    assert len(set(batch.layout.lengths)) > 3  # rows of many lengths in one pack


@pytest.mark.parametrize("way", ["flat", "packed", "padded"])
def test_packed_rows_have_the_noise_of_the_row_alone_in_every_way(tiny_base: Path, way: Any) -> None:
    policy, rows = opened(tiny_base, Sft(neftune_alpha=ALPHA), short_and_long())
    policy.take("padded")
    alone = by_row(policy, [replace(flat_batch(rows, [i]), draw=(3, 0)) for i in range(len(rows))])
    policy.take(way)
    packed = by_row(policy, updated(rows, 4000))
    assert sorted(packed) == sorted(alone)
    for row, logprobs in alone.items():
        torch.testing.assert_close(packed[row], logprobs, rtol=1e-5, atol=1e-5)


def test_one_row_equals_a_plain_formula_and_transformers_own_hook(tiny_base: Path) -> None:
    """Same seed, same draws, float32 throughout."""
    from transformers.integrations.neftune import neftune_post_forward_hook

    policy, rows = opened(tiny_base, Sft(neftune_alpha=ALPHA), short_and_long())
    (batch,) = Plan((rows[4],), 3, 1, 1, 0, 1).update(0).batches
    ours = policy.logprobs(batch)
    length = batch.tokens + 1
    ids = torch.from_numpy(rows[4].nodes[0].ids[:length].astype("int64"))[None]
    labels, places = batch.labels_N, batch.predictors_N
    seed = seed_of((3, 0), 0, 0)

    plain, _ = opened(tiny_base, Sft(), short_and_long()[:1])
    table = plain.inner.get_input_embeddings()
    torch.manual_seed(seed)
    size = ALPHA / math.sqrt(length * table.weight.shape[1])
    moved = table(ids) + torch.empty(1, length, table.weight.shape[1]).uniform_(-size, size)
    formula = plain.inner(inputs_embeds=moved).logits[0].log_softmax(-1)[places].gather(1, labels[:, None])[:, 0]
    torch.testing.assert_close(ours, formula, rtol=1e-5, atol=1e-5)

    table.neftune_noise_alpha = ALPHA
    table.register_forward_hook(neftune_post_forward_hook)
    plain.model.train()
    torch.manual_seed(seed)
    theirs = plain.inner(input_ids=ids).logits[0].log_softmax(-1)[places].gather(1, labels[:, None])[:, 0]
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    with torch.no_grad():
        quiet = policy.logprobs(batch)
    assert (quiet - ours).abs().max() > 1e-3  # there is noise at all


def test_no_noise_without_a_gradient_nor_in_batches_that_are_not_learnt_from(tiny_base: Path) -> None:
    policy, rows = opened(tiny_base, Sft(neftune_alpha=ALPHA), short_and_long())
    plain, _ = opened(tiny_base, Sft(), short_and_long())
    (learnt,) = updated(rows, 4000)
    (watched,) = Plan(tuple(rows), 3, 6, 2, 4000, 2, share=False).over(rows)
    wanted = plain.logprobs(watched)
    assert torch.equal(policy.logprobs(watched), wanted)
    with policy.evaluating(), policy.reference():
        assert torch.equal(by_row(policy, [learnt])[2], by_row(plain, [learnt])[2])
    assert not torch.equal(by_row(policy, [learnt])[2], by_row(plain, [learnt])[2])


def test_each_step_seed_row_and_branch_has_noise_of_its_own(tiny_base: Path) -> None:
    policy, rows = opened(tiny_base, Dpo(neftune_alpha=ALPHA), yes_over_no())
    policy.take("flat")
    assert not policy.shares
    batches = updated(rows, 4000)
    assert all(parent == -1 for batch in batches for parent in batch.layout.parents)
    assert (
        len({seed_of(draw, row, place) for draw in ((3, 0), (3, 1), (4, 0)) for row in (0, 1) for place in (0, 1)})
        == 12
    )
    (one,) = updated(rows, 4000, step=0)
    again = noise_of(one, ALPHA, 32, CPU)
    assert torch.equal(noise_of(one, ALPHA, 32, CPU), again)
    assert not torch.equal(noise_of(replace(one, draw=(3, 1)), ALPHA, 32, CPU), again)
    assert not torch.equal(noise_of(replace(one, draw=(4, 0)), ALPHA, 32, CPU), again)


@pytest.mark.parametrize("method", [Sft, Dpo])
def test_a_run_is_repeatable_differs_from_one_without_and_goes_on_as_if_never_stopped(
    tiny_base: Path, tmp_path: Path, method: Any
) -> None:
    records = short_and_long() if method is Sft else yes_over_no()

    def made(name: str, **settings: Any) -> TrainingJob:
        built = method(learning_rate=5e-3, batch_size=2, max_steps=6, checkpoint_every=2, **settings)
        return job(tiny_base, tmp_path / name, built, records=records)

    def weights(path: Path) -> bytes:
        return (path / "model.safetensors").read_bytes()

    noisy = run_training(made("noisy", neftune_alpha=ALPHA))
    assert weights(run_training(made("again", neftune_alpha=ALPHA)).model_dir) == weights(noisy.model_dir)
    assert weights(run_training(made("plain")).model_dir) != weights(noisy.model_dir)
    stopped = made("stopped", neftune_alpha=ALPHA)
    train_until(stopped, 3)
    assert weights(run_training(stopped).model_dir) == weights(noisy.model_dir)


def test_packing_does_not_change_a_noisy_run(tiny_base: Path, tmp_path: Path) -> None:
    losses = []
    for packing in ("best_fit", "off"):
        built = Sft(learning_rate=5e-3, batch_size=3, max_steps=6, packing=packing, neftune_alpha=ALPHA)
        training = job(tiny_base, tmp_path / packing, built, records=short_and_long())
        losses.append(run_training(training).final_loss)
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_learning_from_rewards_refuses_it() -> None:
    with pytest.raises(ValidationError, match="neftune_alpha does not go with"):
        Grpo.model_validate({"rewards": [{"reward": "length"}], "neftune_alpha": 5})


def test_two_processes_draw_the_noise_of_one(tiny_base: Path, tmp_path: Path) -> None:
    method = Sft(
        neftune_alpha=ALPHA, learning_rate=1e-2, max_steps=4, batch_size=2, gradient_accumulation=2, packing="off"
    )

    def run(name: str) -> Any:
        return run_training(job(tiny_base, tmp_path / name, method, records=short_and_long()))

    run("one")
    together(2, tmp_path / "meet", lambda: run("two"))
    same(tmp_path / "one", tmp_path / "two")
