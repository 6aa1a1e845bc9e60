"""Direct preference optimisation: make chosen answers likelier than rejected ones, against the model as it was."""

from collections.abc import Sequence
from typing import Annotated, ClassVar

import torch
from pydantic import Field, model_validator

from goldsmith.engines.training.data.batches import Batch, Plan
from goldsmith.engines.training.data.rows import Row
from goldsmith.engines.training.losses.answers import References, pairs_of, reference_pairs
from goldsmith.engines.training.losses.preference import SMOOTHS, PairLoss, pair_loss
from goldsmith.engines.training.model.policy import Policy
from goldsmith.engines.training.pairwise import PairwiseMethod
from goldsmith.engines.training.settings import Positive
from goldsmith.types.artifact import Real


class Dpo(PairwiseMethod):
    """Rafailov et al. 2023, arXiv:2305.18290, and its kin. The reference is the base model before the first step; its
    log-probabilities are worked out once."""

    id: ClassVar[str] = "dpo"
    version: ClassVar[int] = 1

    learning_rate: Positive = 1e-6
    beta: Positive = 0.1
    """How dear it is to move away from the reference."""
    loss: PairLoss = "sigmoid"
    """sigmoid (DPO), hinge (SLiC), ipo, robust (to wrong labels; see `label_smoothing`), sigmoid_norm (per token),
    exo_pair, nca_pair, bco_pair, sppo_hard, apo_zero (chosen answers are better than the model's own) or apo_down
    (even they are worse)."""
    label_smoothing: Annotated[Real, Field(ge=0, lt=0.5)] = 0.0
    """Share of pairs believed to be the wrong way round; for sigmoid, robust and exo_pair."""

    @model_validator(mode="after")
    def _loss_fits(self) -> "Dpo":
        if self.label_smoothing and self.loss not in SMOOTHS:
            raise ValueError(f"label_smoothing has no meaning for the {self.loss} loss")
        if self.loss == "exo_pair" and not self.label_smoothing:
            raise ValueError("the exo_pair loss needs label_smoothing above 0")
        return self

    def prepare(self, policy: Policy, rows: Sequence[Row], plan: Plan) -> References:
        """Reference log-probabilities of all rows."""
        return reference_pairs(policy, rows, plan)

    def _losses(
        self, policy: Policy, rows: Sequence[Row], batch: Batch, references: References
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Loss of each pair [P], and sums over the batch of what is watched."""
        pairs = pairs_of(policy, rows, batch, references)
        loss_P = pair_loss(pairs, self.loss, beta=float(self.beta), label_smoothing=float(self.label_smoothing))
        with torch.no_grad():
            up_P, down_P = pairs.up_P, pairs.down_P
            sums = {
                "chosen_logratio": up_P.sum(),
                "rejected_logratio": down_P.sum(),
                "reward_margin": float(self.beta) * (up_P - down_P).sum(),
                "reward_accuracy": (up_P > down_P).float().sum(),
            }
        return loss_P, sums
