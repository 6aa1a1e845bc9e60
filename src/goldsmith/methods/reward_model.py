"""Reward model: from comparisons, a model that gives any answer a number, higher for what people would prefer."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, ClassVar

import torch
from pydantic import Field, model_validator

from goldsmith.engines.chat import Chat
from goldsmith.engines.training import updating
from goldsmith.engines.training.data.batches import Batch, Plan
from goldsmith.engines.training.data.judged import judged, judged_plan
from goldsmith.engines.training.data.rows import Row, comparison_row
from goldsmith.engines.training.losses.reward import bradley_terry_loss
from goldsmith.engines.training.method import Metrics
from goldsmith.engines.training.model.policy import Policy
from goldsmith.engines.training.optimizer import Optimizer
from goldsmith.engines.training.settings import EndsIn, Positive, TrainingSettings
from goldsmith.trust.canonical import encode
from goldsmith.types.artifact import Real
from goldsmith.types.errors import BadInput
from goldsmith.types.record import Comparison, Record

_NUMBER = re.compile(r"[-+]?\d{1,9}(\.\d{1,9})?")
Margin = Annotated[Real, Field(ge=0)]


class RewardModel(TrainingSettings):
    """Bradley-Terry on the scores of chosen and rejected answers, each read at its end; the prompt is computed once for
    both. The result scores answers and cannot write any: use it in a reward, or to choose among answers."""

    id: ClassVar[str] = "reward_model"
    version: ClassVar[int] = 1
    ends_in: ClassVar[EndsIn] = "number"

    learning_rate: Positive = 1e-5
    margins: dict[str, Margin] = Field(default_factory=dict)
    """By how much the chosen answer's score must be higher for each word of strength that the comparisons use, such as
    {"slightly": 0.33, "much": 1}. Comparisons without a strength have no margin."""
    margin_scale: Margin = 0.0
    """The same where strengths are numbers: margin for each unit."""
    center_rewards_coefficient: Margin = 0.0
    """What (chosen + rejected)^2 weighs, so that scores stay near 0; TRL's setting of this name, often 0.01."""

    @model_validator(mode="after")
    def _one_scale(self) -> "RewardModel":
        if self.margins and self.margin_scale:
            raise ValueError("strengths are either words (margins) or numbers (margin_scale)")
        return self

    @property
    def encoding(self) -> str:
        """Margins go into the rows."""
        named = {name: repr(float(value)) for name, value in self.margins.items()}
        return encode([named, repr(float(self.margin_scale))]).decode() if self.margins or self.margin_scale else ""

    def accepts(self, record: Record) -> bool:
        """Comparisons."""
        return isinstance(record.content, Comparison)

    def encode(self, chat: Chat, record: Record, name: str, key: str) -> Row:
        """The prompt with its two branches, and the margin."""
        row = comparison_row(chat, record, name, key)
        strength = record.content.strength if isinstance(record.content, Comparison) else None
        return Row(row.nodes, row.name, row.key, self._margin(strength))

    def _margin(self, strength: str | None) -> float:
        if strength is None or not (self.margins or self.margin_scale):
            return 0.0
        if self.margins:
            if strength not in self.margins:
                raise BadInput(
                    "a comparison's strength has no margin",
                    found=repr(strength[:60]),
                    allowed=", ".join(self.margins),
                    next_step="add it to margins",
                )
            return float(self.margins[strength])
        if not _NUMBER.fullmatch(strength) or float(strength) < 0:
            raise BadInput(
                "a comparison's strength is no number from 0 up", found=repr(strength[:60]), allowed="2 or 0.5"
            )
        return float(self.margin_scale) * float(strength)

    def prepare(self, _policy: Policy, _rows: Sequence[Row], plan: Plan) -> Plan:
        """The same steps, each answer asked at its end."""
        return judged_plan(plan)

    def steps(self, policy: Policy, _plan: Plan, optimizer: Optimizer, plan: Plan, start: int = 0) -> Iterator[Metrics]:
        """The loop."""
        for update in plan.updates(start):
            loss, means = updating.backward(
                update.batches, len(update.rows), lambda batch: self._losses(policy, plan.rows, batch)
            )
            yield updating.step(optimizer, plan, update, loss, means)

    def _losses(
        self, policy: Policy, rows: Sequence[Row], batch: Batch
    ) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
        """Loss of each pair [P], and sums over the batch of what is watched."""
        chosen_P, rejected_P = policy.numbers(batch).view(-1, 2).unbind(1)
        margin_P = torch.tensor([rows[i].value or 0.0 for i in batch.rows]).to(chosen_P)
        loss_P = bradley_terry_loss(chosen_P, rejected_P, margin_P, centring=float(self.center_rewards_coefficient))
        with torch.no_grad():
            sums = {
                "score_accuracy": (chosen_P > rejected_P).float().sum(),
                "score_difference": (chosen_P - rejected_P).sum(),
                "score_mean": (chosen_P + rejected_P).sum() / 2,
            }
        return loss_P, sums

    def evaluate(self, policy: Policy, rows: Sequence[Row], _batches: Iterator[Batch], plan: Plan) -> dict[str, float]:
        """Means over pairs."""
        read = [judged(row) for row in rows]
        return updating.means(plan.over(read), len(rows), lambda batch: self._losses(policy, read, batch))
