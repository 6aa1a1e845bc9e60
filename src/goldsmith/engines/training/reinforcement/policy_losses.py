"""Losses on the model's own answers, as pure functions. Axes: N answer tokens, A answers.

Log-probabilities are those of the tokens that were sampled, at the temperature they were sampled at. The results are
per token; `token_weights` says how they are put together, so that an update cut into any forwards gives one gradient.
"""

from typing import Literal

import torch

from goldsmith.engines.training.losses.cross_entropy import sum_by_owner

Together = Literal["grpo", "dapo", "dr_grpo"]
Ratio = Literal["token", "sequence", "product"]


def token_weights(
    owners_N: torch.Tensor, lengths_A: torch.Tensor, together: Together, *, answers: float, tokens: float, longest: int
) -> torch.Tensor:
    """What each token counts, [N]; `answers` and `tokens`: how many the update has (of a round, its share).

    `grpo`: mean over each answer, then over answers, so long answers' tokens weigh less. `dapo`: every token the same
    (Yu et al. 2025, arXiv:2503.14476). `dr_grpo`: a constant, the `longest` answer allowed (arXiv:2503.20783).
    """
    if together == "grpo":
        return 1.0 / (answers * lengths_A.clamp(min=1).to(torch.float32))[owners_N]
    weight = 1.0 / max(1.0, tokens) if together == "dapo" else 1.0 / (answers * longest)
    return torch.full(owners_N.shape, weight, device=owners_N.device)


def log_ratio(
    logprobs_N: torch.Tensor, old_N: torch.Tensor, owners_N: torch.Tensor, lengths_A: torch.Tensor, level: Ratio
) -> torch.Tensor:
    """How much likelier than when it was sampled, log, [N]: of the token; of the answer per token (`sequence`, GSPO;
    Zheng et al. 2025, arXiv:2507.18071); or of the whole answer (`product`)."""
    moved_N = logprobs_N - old_N
    if level == "token":
        return moved_N
    moved_A = sum_by_owner(moved_N, owners_N, len(lengths_A))
    if level == "sequence":
        moved_A = moved_A / lengths_A.clamp(min=1)
    return moved_A[owners_N]


def clipped(
    log_ratio_X: torch.Tensor,
    advantages_X: torch.Tensor,
    *,
    epsilon_low: float,
    epsilon_high: float,
    ratio_at_most: float | None = None,
) -> torch.Tensor:
    """PPO's clipped surrogate, [X] (Schulman et al. 2017, arXiv:1707.06347). `ratio_at_most` bounds it on the other
    side too, for answers that grew likely and turned out bad (dual clip)."""
    ratio_X = log_ratio_X.exp()
    bounded_X = ratio_X.clamp(1 - epsilon_low, 1 + epsilon_high)
    if ratio_at_most is not None:
        ratio_X = ratio_X.clamp(max=ratio_at_most)
    return -torch.minimum(ratio_X * advantages_X, bounded_X * advantages_X)


def outside(
    log_ratio_X: torch.Tensor, advantages_X: torch.Tensor, *, epsilon_low: float, epsilon_high: float
) -> torch.Tensor:
    """Where the clip stops the gradient, bool [X]."""
    ratio_X = log_ratio_X.exp()
    return ((ratio_X < 1 - epsilon_low) & (advantages_X < 0)) | ((ratio_X > 1 + epsilon_high) & (advantages_X > 0))


def divergence(logprobs_N: torch.Tensor, reference_N: torch.Tensor) -> torch.Tensor:
    """Estimate of KL(model || reference) at each sampled token, [N], never negative: exp(d) - d - 1 for d the
    reference's log-probability less the model's (Schulman 2020, "k3")."""
    apart_N = reference_N - logprobs_N
    return apart_N.exp() - apart_N - 1


def value_loss(values_N: torch.Tensor, old_N: torch.Tensor, targets_N: torch.Tensor, *, clip: float) -> torch.Tensor:
    """Half the squared error of the value head, [N], the worse of clipped and unclipped (PPO's own code)."""
    near_N = torch.clamp(values_N, old_N - clip, old_N + clip)
    return 0.5 * torch.maximum((values_N - targets_N) ** 2, (near_N - targets_N) ** 2)
