"""Losses of reward models as pure functions of scores. Axes: P pairs, N steps. The caller takes the mean."""

import torch
import torch.nn.functional as F


def bradley_terry_loss(
    chosen_P: torch.Tensor, rejected_P: torch.Tensor, margin_P: torch.Tensor, *, centring: float = 0.0
) -> torch.Tensor:
    """-log sigmoid(chosen - rejected - margin) for each pair [P] (Bradley and Terry 1952; margins by strength as in
    Llama 2, arXiv:2307.09288, equation 2).

    `centring` adds its share of (chosen + rejected)^2, which keeps scores near 0 (Eisenstein et al. 2023,
    arXiv:2312.09244); TRL's `center_rewards_coefficient`.
    """
    loss_P = -F.logsigmoid(chosen_P - rejected_P - margin_P)
    return loss_P + centring * (chosen_P + rejected_P) ** 2 if centring else loss_P


def step_loss(score_N: torch.Tensor, good_N: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of whether each step is good [N] (Lightman et al. 2023, arXiv:2305.20050); `good_N` 0 to 1."""
    return F.binary_cross_entropy_with_logits(score_N, good_N, reduction="none")
