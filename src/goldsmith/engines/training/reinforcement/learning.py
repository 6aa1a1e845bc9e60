"""The loop that methods learning from rewards share: a round of answers, then updates on them.

Axes: A answers of the round, N tokens of a forward's answers.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from goldsmith.engines.training import updating
from goldsmith.engines.training.data.batches import Batch, Plan, Update
from goldsmith.engines.training.data.rows import Row
from goldsmith.engines.training.guards.finite import Diverged
from goldsmith.engines.training.method import Metrics
from goldsmith.engines.training.model.policy import Policy
from goldsmith.engines.training.optimizer import Optimizer
from goldsmith.engines.training.reinforcement import policy_losses
from goldsmith.engines.training.reinforcement.playing import Prepared, play
from goldsmith.engines.training.reinforcement.rounds import Round
from goldsmith.engines.training.reinforcement.settings import OnlineSettings
from goldsmith.engines.training.scale import parallel

WATCHED_ANSWERS = 32
"""Answers of a round whose distance from the reference is measured where the loss does not need it."""


@dataclass(frozen=True, slots=True)
class Known:
    """Log-probabilities of a round's tokens that stay as they are during its updates, by row [its tokens].

    `complete`: whether `old` holds all rows; the only update of a round computes its own.
    """

    old: Mapping[int, torch.Tensor]
    reference: Mapping[int, torch.Tensor]
    complete: bool

    def of(self, batch: Batch, which: Mapping[int, torch.Tensor]) -> torch.Tensor:
        """The forward's tokens [N]."""
        return torch.cat([which[row] for row in batch.rows])


Losses = Callable[[Batch], tuple[torch.Tensor, dict[str, torch.Tensor]]]
"""Of a forward: its share of the update's loss (a scalar), and what is watched, as shares of the update's means."""


def by_row(
    round_: Round, plan: Plan, rows: Sequence[int], device: torch.device, work: Callable[[Batch], torch.Tensor]
) -> dict[int, torch.Tensor]:
    """What `work` gives for each token [N] of forwards of `rows`, by row; several processes share the forwards."""
    ranks = parallel.here()
    batches = round_.forwards(plan, rows)
    mine, besides = ranks.deal(batches)

    def share() -> dict[int, torch.Tensor]:
        found: dict[int, torch.Tensor] = {}
        for batch in (batches[i] for i in mine):
            parts = torch.split(work(batch), [sum(round_.lengths(row)) for row in batch.rows])
            found |= dict(zip(batch.rows, parts, strict=True))
        for i in besides:
            work(batches[i])
        return found if ranks.size == 1 else {row: part.cpu() for row, part in found.items()}

    found = ranks.merged(ranks.forwards(share))
    return {row: found[row].to(device) for row in sorted(found)}


def token_logprobs(
    policy: Policy, round_: Round, plan: Plan, rows: Sequence[int], temperature: float
) -> dict[int, torch.Tensor]:
    """The model's present log-probabilities of the answers of `rows`, without gradients or dropout."""
    with policy.evaluating():
        return by_row(round_, plan, rows, policy.device, lambda batch: policy.logprobs(batch, temperature))


def sample_round(policy: Policy, plan: Plan, step: int, settings: OnlineSettings, prepared: Prepared) -> Round:
    """The answers of 0-based round `step`; the same for the same weights, also after a resume."""
    chosen = plan.rows_of(step)
    return play(
        policy,
        settings,
        [plan.rows[i] for i in chosen],
        prepared,
        group_size=int(settings.group_size),
        capacity=plan.forward_tokens or 2**31,
        seeds=[(plan.seed, step, 1, i) for i in chosen],
    )


def measure(
    policy: Policy,
    plan: Plan,
    round_: Round,
    settings: OnlineSettings,
    rows: Sequence[int],
    *,
    references: bool,
    own: bool = False,
) -> tuple[Known, dict[str, float]]:
    """Log-probabilities before the round's updates, and how far the model is from its reference and its sampler.

    `references`: whether the method needs the reference's for all `rows`, otherwise some of the round's are enough to
    watch; `own`: the same of the model's own, which a round of a single update computes anyway.

    Raises:
        Diverged: farther than the settings allow; the weights are as before the round.
    """
    temperature = float(settings.temperature)
    some = _some(round_)
    complete = own or settings.optimizer_steps_per_step > 1
    old = token_logprobs(policy, round_, plan, sorted({*rows, *some}) if complete else some, temperature)
    with policy.reference():
        reference = token_logprobs(policy, round_, plan, sorted({*rows, *some}) if references else some, temperature)
    values = {"logprob_gap": _gap(round_, old), "kl": _kl(old, reference)}
    for name, bound in (("logprob_gap", settings.logprob_gap_at_most), ("kl", settings.kl_at_most)):
        if bound is not None and values[name] > float(bound):
            meaning = {
                "logprob_gap": "sampler and trainer disagree about the sampled tokens",
                "kl": "the model has moved too far from its reference",
            }[name]
            raise Diverged(
                f"training stopped: {meaning}",
                where=name,
                found=f"{values[name]:.4f} nats a token",
                allowed=f"{float(bound)} ({name}_at_most)",
                next_step="lower learning_rate or raise beta; the last checkpoint is kept",
            )
    return Known(old, reference, complete), values


def log_ratios(round_: Round, known: Known) -> NDArray[np.float64]:
    """How much likelier the model makes each answer than its reference does, log, [A]."""
    out = np.zeros(len(round_.written))
    for row, those in enumerate(round_.members):
        parts = torch.split((known.old[row] - known.reference[row]).cpu(), round_.lengths(row))
        out[list(those)] = [float(part.double().sum()) for part in parts]
    return out


def _some(round_: Round) -> list[int]:
    """The first rows of the round, whether they teach anything or not: a round of equals is watched too."""
    chosen: list[int] = []
    answers = 0
    for row, those in enumerate(round_.members):
        if answers >= WATCHED_ANSWERS:
            break
        chosen.append(row)
        answers += len(those)
    return chosen


def _gap(round_: Round, old: Mapping[int, torch.Tensor]) -> float:
    apart = [
        (logprobs.cpu() - torch.from_numpy(np.concatenate([round_.written[a].logprobs for a in round_.members[row]])))
        for row, logprobs in old.items()
    ]
    return float(torch.cat(apart).abs().mean()) if apart else 0.0


def _kl(old: Mapping[int, torch.Tensor], reference: Mapping[int, torch.Tensor]) -> float:
    parts = [policy_losses.divergence(old[row], logprobs) for row, logprobs in reference.items() if row in old]
    return float(torch.cat(parts).mean()) if parts else 0.0


def learn(
    plan: Plan,
    optimizer: Optimizer,
    step: int,
    round_: Round,
    settings: OnlineSettings,
    rows: Sequence[int],
    losses: Losses,
    values: Mapping[str, float],
) -> Metrics:
    """The round's updates on its `rows`; what they came to.

    Raises:
        Diverged: loss or gradient is not finite; the weights are those before that update.
    """
    done: list[Metrics] = []
    watched: list[dict[str, float]] = []
    order = np.random.Generator(np.random.PCG64([plan.seed, step, 2]))
    for _ in range(int(settings.inner_epochs)):
        for chosen in _dealt(order.permutation(len(rows)), int(settings.minibatches)):
            members = tuple(rows[i] for i in chosen)
            batches = tuple(round_.forwards(plan, members))
            update = Update(step, (step + 1) / plan.steps_per_epoch, members, batches)
            loss, means = updating.backward(batches, 1, losses)
            own = Plan(round_.rows, 0, 1, 1, 0, 1)  # names the round's rows where the update fails
            done.append(updating.step(optimizer, own, update, loss))
            watched.append(means)
    names = watched[0] if watched else {}
    means = {name: float(np.mean([one[name] for one in watched])) for name in names}
    return Metrics(
        step + 1,
        (step + 1) / plan.steps_per_epoch,
        float(np.mean([one.loss for one in done])) if done else 0.0,
        max((one.grad_norm for one in done), default=0.0),
        done[-1].learning_rate if done else optimizer.learning_rate,
        sum(one.tokens for one in done) + round_.tokens,
        sum(one.labels for one in done),
        {**round_.values, **values, **means},
    )


def _dealt(order: NDArray[np.int64], parts: int) -> Iterator[list[int]]:
    for part in np.array_split(order, min(parts, max(1, len(order)))):
        if len(part):
            yield sorted(int(i) for i in part)


def evaluate(policy: Policy, rows: Sequence[Row], settings: OnlineSettings, prepared: Prepared) -> dict[str, float]:
    """Mean reward over validation prompts, always with the same draws; `loss` is its negative."""
    group_size, seeds = int(settings.validation_group), [(0, place) for place in range(len(rows))]
    round_ = play(policy, settings, rows, prepared, group_size=group_size, capacity=2**31, seeds=seeds)
    return {"loss": -round_.values["reward"], **round_.values}
