"""The loss of a forward of sampled answers: clipped surrogate, divergence from the reference, put together.

Axes: A answers of the round, N tokens of the forward's answers.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from goldsmith.engines.training.data.batches import Batch
from goldsmith.engines.training.losses.answers import answer_tokens
from goldsmith.engines.training.model.policy import Policy
from goldsmith.engines.training.reinforcement import policy_losses
from goldsmith.engines.training.reinforcement.learning import Known
from goldsmith.engines.training.reinforcement.rounds import Round


@dataclass(frozen=True, slots=True)
class Surrogate:
    """How answers' tokens become a loss; the names are those of the methods' settings. `updates`: into how many a
    round's answers are dealt out. `beta` 0: the reference does not count."""

    together: policy_losses.Together
    ratio: policy_losses.Ratio
    epsilon_low: float
    epsilon_high: float
    ratio_at_most: float | None
    beta: float
    temperature: float
    longest: int
    updates: int


@dataclass(frozen=True, slots=True)
class Turn:
    """A round under learning. `advantages_A`: of each answer; `counted_A`: whether an update counts it."""

    policy: Policy
    round: Round
    known: Known
    advantages_A: NDArray[np.float64]
    counted_A: NDArray[np.bool_]


def loss(how: Surrogate, turn: Turn, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The forward's share of an update's loss, a scalar, and of what is watched."""
    logprobs_N = turn.policy.logprobs(batch, how.temperature)
    device = logprobs_N.device
    owners_N, lengths_A = batch.owners_N.to(device), answer_tokens(batch, device)
    answers = turn.round.answers_of(batch)
    advantages_N = torch.tensor(turn.advantages_A[answers], dtype=torch.float32, device=device)[owners_N]
    counted_N = torch.tensor(turn.counted_A[answers], dtype=torch.float32, device=device)[owners_N]
    # Where nothing was kept this is the round's only update, and the ratio is 1 with the gradient of the log-prob.
    old_N = turn.known.of(batch, turn.known.old) if turn.known.complete else logprobs_N.detach()
    ratio_N = policy_losses.log_ratio(logprobs_N, old_N, owners_N, lengths_A, how.ratio)
    bounds = {"epsilon_low": how.epsilon_low, "epsilon_high": how.epsilon_high}
    loss_N = policy_losses.clipped(ratio_N, advantages_N, ratio_at_most=how.ratio_at_most, **bounds)
    if how.beta:
        apart_N = policy_losses.divergence(logprobs_N, turn.known.of(batch, turn.known.reference))
        # Times the ratio, whose gradient makes that of the divergence unbiased (DeepSeek-V3.2, arXiv:2512.02556).
        loss_N = loss_N + how.beta * ratio_N.exp() * apart_N
    answers_in_all, tokens_in_all = turn.round.sizes(turn.counted_A)
    tokens = tokens_in_all / how.updates
    weights_N = counted_N * policy_losses.token_weights(
        owners_N, lengths_A, how.together, answers=answers_in_all / how.updates, tokens=tokens, longest=how.longest
    )
    with torch.no_grad():
        outside_N = policy_losses.outside(ratio_N, advantages_N, **bounds).float()
        watched = {"clip_fraction": (outside_N * counted_N).sum() / max(1.0, tokens)}
    return (loss_N * weights_N).sum(), watched
