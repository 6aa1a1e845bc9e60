"""What methods that learn from rewards have in common: which records they take, and how they are validated."""

from collections.abc import Iterator, Sequence

from goldsmith.engines.chat import Chat
from goldsmith.engines.training.batches import Batch, Plan
from goldsmith.engines.training.policy import Policy
from goldsmith.engines.training.reinforcement import learning
from goldsmith.engines.training.reinforcement.rounds import Records, prompt_row, takes
from goldsmith.engines.training.reinforcement.settings import OnlineSettings
from goldsmith.engines.training.rows import Row
from goldsmith.types.record import Record


class OnlineMethod(OnlineSettings):
    """A method that is handed rewards with its rows; it adds its settings and its loop, `steps`."""

    def accepts(self, record: Record) -> bool:
        """Conversations and comparisons: what they ask."""
        return takes(record)

    def encode(self, chat: Chat, record: Record, name: str, key: str) -> Row:
        """The prompt alone."""
        return prompt_row(chat, record, name, key)

    def prepare(self, policy: Policy, _rows: Sequence[Row], _plan: Plan, records: Records) -> Records:
        """Remember where the model began; what rewards may read is handed on."""
        policy.keep_reference()
        return records

    def evaluate(
        self, policy: Policy, rows: Sequence[Row], _batches: Iterator[Batch], prepared: Records
    ) -> dict[str, float]:
        """Mean reward over the prompts of `rows`, always with the same draws; `loss` is its negative."""
        return learning.evaluate(policy, rows, self, prepared)
