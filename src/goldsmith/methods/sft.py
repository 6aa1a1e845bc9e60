"""Supervised fine-tuning: learn to write the assistant's turns of conversations, or plain text."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Annotated, ClassVar

import torch
from pydantic import Field

from goldsmith.engines.chat import Chat
from goldsmith.engines.training import updating
from goldsmith.engines.training.data.batches import Batch, Plan
from goldsmith.engines.training.data.rows import Row, from_conversation
from goldsmith.engines.training.method import Metrics
from goldsmith.engines.training.model.policy import Policy
from goldsmith.engines.training.optimizer import Optimizer
from goldsmith.engines.training.settings import TrainingSettings
from goldsmith.types.artifact import Real
from goldsmith.types.errors import BadInput
from goldsmith.types.record import Conversation, Record, Text


class Sft(TrainingSettings):
    """Cross-entropy on the trained turns' tokens, each token weighing the same in an update."""

    id: ClassVar[str] = "sft"
    version: ClassVar[int] = 1

    router_balance: Annotated[Real, Field(ge=0)] = 0.0
    """Weight of the load balance in the loss of a mixture of experts (0.001 to 0.02 is usual), worked out over each
    forward; 0 leaves the routing to the data."""

    def accepts(self, record: Record) -> bool:
        """Conversations and texts."""
        return isinstance(record.content, Conversation | Text)

    def encode(self, chat: Chat, record: Record, name: str, key: str) -> Row:
        """One path of tokens."""
        content = record.content
        if isinstance(content, Conversation):
            return from_conversation(chat.encode_conversation(content), name, key)
        if isinstance(content, Text):
            return from_conversation(chat.encode_text(content), name, key)
        raise BadInput(f"a {content.kind} is nothing to fine-tune on", where=name, allowed="conversation, text")

    def prepare(self, policy: Policy, rows: Sequence[Row], plan: Plan) -> None:
        """Nothing."""

    def steps(
        self, policy: Policy, plan: Plan, optimizer: Optimizer, _prepared: None, start: int = 0
    ) -> Iterator[Metrics]:
        """The loop."""
        for update in plan.updates(start):
            labels = sum(updating.weight_of(batch, per_label=True) for batch in update.batches)
            losses, _ = updating.gradients(update.batches, partial(self._loss, policy, labels))
            parts = updating.loss_by_part(update.batches, losses, labels, per_label=True) if plan.mix else {}
            yield updating.step(optimizer, plan, update, sum(losses), parts)

    def _loss(self, policy: Policy, labels: float, batch: Batch) -> tuple[torch.Tensor, updating.Sums]:
        """The forward's share of the mean over the update's labels."""
        return policy.cross_entropy(batch, labels, balance=float(self.router_balance)), {}

    def evaluate(
        self, policy: Policy, _rows: Sequence[Row], batches: Iterator[Batch], _prepared: None
    ) -> dict[str, float]:
        """Cross-entropy per trained token."""

        def lost(batch: Batch) -> tuple[torch.Tensor, updating.Sums]:
            return -policy.logprobs(batch), {"labels": torch.tensor(batch.labels_N.numel())}

        found = updating.means(batches, 1, lost)
        return {"loss": found["loss"] / found["labels"]}
