"""SimPO: preference training without a reference, on log-probability per token with a target margin."""

from collections.abc import Sequence
from typing import Annotated, ClassVar

import torch
from pydantic import Field

from goldsmith.engines.training.data.batches import Batch
from goldsmith.engines.training.data.rows import Row
from goldsmith.engines.training.losses.answers import pairs_of
from goldsmith.engines.training.losses.preference import simpo_loss
from goldsmith.engines.training.model.policy import Policy
from goldsmith.engines.training.pairwise import PairwiseMethod
from goldsmith.engines.training.settings import Positive
from goldsmith.types.artifact import Real


class Simpo(PairwiseMethod):
    """Meng et al. 2024, arXiv:2405.14734. Nothing holds the model near its base but the learning rate."""

    id: ClassVar[str] = "simpo"
    version: ClassVar[int] = 1

    learning_rate: Positive = 1e-6
    beta: Positive = 2.0
    """Scale of the log-probabilities per token."""
    gamma: Annotated[Real, Field(ge=0)] = 1.0
    """The margin aimed at, after scaling (the paper's gamma; TRL's `simpo_gamma` is the same number)."""

    def _losses(
        self, policy: Policy, rows: Sequence[Row], batch: Batch, _prepared: None
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Loss of each pair [P], and sums over the batch of what is watched."""
        pairs = pairs_of(policy, rows, batch, None)
        loss_P = simpo_loss(
            pairs.chosen_P,
            pairs.rejected_P,
            pairs.chosen_tokens_P,
            pairs.rejected_tokens_P,
            beta=float(self.beta),
            gamma=float(self.gamma),
        )
        margin_P = float(self.beta) * pairs.per_token_P.detach()
        return loss_P, {
            "chosen_logprob": pairs.chosen_P.detach().sum(),
            "rejected_logprob": pairs.rejected_P.detach().sum(),
            "margin_per_token": margin_P.sum(),
            "reward_accuracy": (margin_P > 0).float().sum(),
        }
