"""Direct preference optimisation: make chosen answers likelier than rejected ones, against the model as it was."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, ClassVar

import torch
from pydantic import Field, model_validator

from goldsmith.engines.chat import Chat
from goldsmith.engines.training.batches import Batch, Plan
from goldsmith.engines.training.guards import require_finite
from goldsmith.engines.training.losses import PairLoss, pair_loss
from goldsmith.engines.training.method import Metrics
from goldsmith.engines.training.optimizer import Optimizer
from goldsmith.engines.training.policy import Policy
from goldsmith.engines.training.rows import Row, from_comparison
from goldsmith.engines.training.settings import Positive, TrainingSettings
from goldsmith.types.artifact import Real
from goldsmith.types.errors import BadInput
from goldsmith.types.record import Comparison, Record

References = Mapping[str, tuple[float, float]]
"""By row key: the reference's summed log-probabilities of chosen and rejected."""


class Dpo(TrainingSettings):
    """Rafailov et al. 2023, arXiv:2305.18290. The reference is the base model before the first step; its
    log-probabilities are worked out once."""

    id: ClassVar[str] = "dpo"
    version: ClassVar[int] = 1

    learning_rate: Positive = 1e-6
    beta: Positive = 0.1
    """How dear it is to move away from the reference."""
    loss: PairLoss = "sigmoid"
    """sigmoid (DPO), hinge (SLiC) or robust (to wrong labels; see `label_smoothing`)."""
    label_smoothing: Annotated[Real, Field(ge=0, lt=0.5)] = 0.0
    """Share of pairs believed to be the wrong way round."""

    @model_validator(mode="after")
    def _loss_fits(self) -> "Dpo":
        if self.loss == "hinge" and self.label_smoothing:
            raise ValueError("label_smoothing has no meaning for the hinge loss")
        return self

    def accepts(self, record: Record) -> bool:
        """Comparisons."""
        return isinstance(record.content, Comparison)

    def encode(self, chat: Chat, record: Record, name: str, key: str) -> Row:
        """The prompt with its two branches."""
        if not isinstance(record.content, Comparison):
            raise BadInput(f"a {record.content.kind} holds no preference", where=name, allowed="comparison")
        return from_comparison(chat.encode_comparison(record.content), name, key)

    def prepare(self, policy: Policy, rows: Sequence[Row], plan: Plan) -> References:
        """Reference log-probabilities of all rows."""
        found: dict[str, tuple[float, float]] = {}
        with policy.evaluating(), policy.reference():
            for batch in plan.over(rows):
                pairs_P2 = policy.sequence_logprobs(batch).view(-1, 2).tolist()
                for index, (chosen, rejected) in zip(batch.rows, pairs_P2, strict=True):
                    found[rows[index].key] = (chosen, rejected)
        return found

    def steps(
        self, policy: Policy, plan: Plan, optimizer: Optimizer, prepared: References, start: int = 0
    ) -> Iterator[Metrics]:
        """The loop."""
        for update in plan.updates(start):
            pairs = len(update.rows)
            loss = 0.0
            parts: list[dict[str, float]] = []
            for batch in update.batches:
                loss_P, values = self._losses(policy, plan.rows, batch, prepared)
                part = loss_P.sum() / pairs
                part.backward()  # type: ignore[no-untyped-call]
                loss += part.item()
                parts.append(values)
            norm, rate = optimizer.clip(), optimizer.learning_rate
            require_finite(loss, norm, update, plan.rows)
            optimizer.step()
            means = {key: sum(values[key] for values in parts) / pairs for key in parts[0]}
            yield Metrics(update.step + 1, update.epoch, loss, norm, rate, update.tokens, update.labels, means)

    def _losses(
        self, policy: Policy, rows: Sequence[Row], batch: Batch, references: References
    ) -> tuple[torch.Tensor, dict[str, float]]:
        """Loss of each pair [P], and sums over the batch of what is watched."""
        chosen_P, rejected_P = policy.sequence_logprobs(batch).view(-1, 2).unbind(1)
        known = torch.tensor([references[rows[i].key] for i in batch.rows], dtype=chosen_P.dtype)
        reference_chosen_P, reference_rejected_P = known.to(chosen_P.device).unbind(1)
        loss_P = pair_loss(
            chosen_P,
            rejected_P,
            reference_chosen_P,
            reference_rejected_P,
            beta=float(self.beta),
            kind=self.loss,
            label_smoothing=float(self.label_smoothing),
        )
        with torch.no_grad():
            up_P, down_P = chosen_P - reference_chosen_P, rejected_P - reference_rejected_P
            values = {
                "chosen_logratio": up_P.sum().item(),
                "rejected_logratio": down_P.sum().item(),
                "reward_margin": float(self.beta) * (up_P - down_P).sum().item(),
                "reward_accuracy": (up_P > down_P).float().sum().item(),
            }
        return loss_P, values

    def evaluate(
        self, policy: Policy, rows: Sequence[Row], batches: Iterator[Batch], prepared: References
    ) -> dict[str, float]:
        """Means over pairs."""
        sums: dict[str, float] = {"loss": 0.0}
        for batch in batches:
            loss_P, values = self._losses(policy, rows, batch, prepared)
            for key, value in {"loss": loss_P.double().sum().item(), **values}.items():
                sums[key] = sums.get(key, 0.0) + value
        return {key: value / len(rows) for key, value in sums.items()}
