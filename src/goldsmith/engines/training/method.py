"""What a training method is: settings, how a record becomes a row, and one visible loop."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from goldsmith.engines.chat import Chat
from goldsmith.engines.training.data.batches import Batch, Plan
from goldsmith.engines.training.data.rows import Row
from goldsmith.engines.training.model.policy import Policy
from goldsmith.engines.training.optimizer import Optimizer
from goldsmith.types.record import Record


@dataclass(frozen=True, slots=True)
class Metrics:
    """One update, measured. `loss` is the mean the method minimises; `values` are the method's own means."""

    step: int
    epoch: float
    loss: float
    grad_norm: float
    learning_rate: float
    tokens: int
    labels: int
    values: Mapping[str, float] = field(default_factory=dict)


class Method(Protocol):
    """A training method is its settings (fields shared by all: `TrainingSettings`) with these four functions."""

    id: ClassVar[str]
    version: ClassVar[int]

    def accepts(self, record: Record) -> bool:
        """Whether this kind of record can be trained on."""
        ...

    def encode(self, chat: Chat, record: Record, name: str, key: str) -> Row:
        """The record as tokens. Raises BadInput where it cannot be trained."""
        ...

    def prepare(self, policy: Policy, rows: Sequence[Row], plan: Plan, /) -> Any:
        """What has to be worked out for `rows` before the first step, such as reference log-probs; handed on as is."""
        ...

    def steps(
        self, policy: Policy, plan: Plan, optimizer: Optimizer, prepared: Any, start: int, /
    ) -> Iterator[Metrics]:
        """The loop: one update, one yield. It neither logs nor saves nor looks at the clock."""
        ...

    def evaluate(
        self, policy: Policy, rows: Sequence[Row], batches: Iterator[Batch], prepared: Any, /
    ) -> dict[str, float]:
        """Means over validation rows; `loss` among them."""
        ...
