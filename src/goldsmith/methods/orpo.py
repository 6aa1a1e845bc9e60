"""ORPO: fine-tune on the chosen answer and push its odds above the rejected one's, in one loss, without a reference."""

from collections.abc import Sequence
from typing import ClassVar

import torch

from goldsmith.engines.training.data.batches import Batch
from goldsmith.engines.training.data.rows import Row
from goldsmith.engines.training.losses.answers import pairs_of
from goldsmith.engines.training.losses.preference import odds_ratio_loss
from goldsmith.engines.training.model.policy import Policy
from goldsmith.engines.training.pairwise import PairwiseMethod
from goldsmith.engines.training.settings import Positive


class Orpo(PairwiseMethod):
    """Hong et al. 2024, arXiv:2403.07691. The cross-entropy is that of the chosen answer alone, per token (TRL's counts
    the prompt too)."""

    id: ClassVar[str] = "orpo"
    version: ClassVar[int] = 1

    learning_rate: Positive = 8e-6
    odds_weight: Positive = 0.1
    """What the odds ratio weighs beside the cross-entropy (the paper's lambda, TRL's beta)."""

    def _losses(
        self, policy: Policy, rows: Sequence[Row], batch: Batch, _prepared: None
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Loss of each pair [P], and sums over the batch of what is watched."""
        pairs = pairs_of(policy, rows, batch, None)
        likelihood_P = -pairs.chosen_P / pairs.chosen_tokens_P.clamp(min=1)
        odds_P = odds_ratio_loss(pairs.chosen_P, pairs.rejected_P, pairs.chosen_tokens_P, pairs.rejected_tokens_P)
        return likelihood_P + float(self.odds_weight) * odds_P, {
            "chosen_cross_entropy": likelihood_P.detach().sum(),
            "odds_loss": odds_P.detach().sum(),
            "reward_accuracy": (pairs.per_token_P.detach() > 0).float().sum(),
        }
