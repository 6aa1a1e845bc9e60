"""What methods have in common that learn from pairs of answers: the rows they take, their loop and their validation."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from goldsmith.engines.chat import Chat
from goldsmith.engines.training import updating
from goldsmith.engines.training.data.batches import Batch, Plan
from goldsmith.engines.training.data.rows import Row, comparison_row
from goldsmith.engines.training.method import Metrics
from goldsmith.engines.training.model.policy import Policy
from goldsmith.engines.training.optimizer import Optimizer
from goldsmith.engines.training.settings import TrainingSettings
from goldsmith.types.record import Comparison, Record


class PairwiseMethod(TrainingSettings):
    """A method whose loss is a mean over pairs; it adds its settings and `_losses`."""

    def accepts(self, record: Record) -> bool:
        """Comparisons."""
        return isinstance(record.content, Comparison)

    def encode(self, chat: Chat, record: Record, name: str, key: str) -> Row:
        """The prompt with its two branches."""
        return comparison_row(chat, record, name, key)

    def prepare(self, policy: Policy, rows: Sequence[Row], plan: Plan) -> Any:
        """What has to be known before the first step: nothing."""

    def steps(
        self, policy: Policy, plan: Plan, optimizer: Optimizer, prepared: Any, start: int = 0
    ) -> Iterator[Metrics]:
        """The loop."""
        for update in plan.updates(start):
            loss, means = updating.backward(
                update.batches, len(update.rows), lambda batch: self._losses(policy, plan.rows, batch, prepared)
            )
            yield updating.step(optimizer, plan, update, loss, means)

    @abstractmethod
    def _losses(
        self, policy: Policy, rows: Sequence[Row], batch: Batch, prepared: Any
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Loss of each pair [P], and sums over the batch of what is watched."""

    def evaluate(
        self, policy: Policy, rows: Sequence[Row], batches: Iterator[Batch], prepared: Any
    ) -> dict[str, float]:
        """Means over pairs."""
        return updating.means(batches, len(rows), lambda batch: self._losses(policy, rows, batch, prepared))
