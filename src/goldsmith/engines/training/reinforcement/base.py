"""What methods that learn from rewards have in common: which records they take, and how they are validated."""

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, Self

from pydantic import model_validator

from goldsmith.engines.chat import Chat
from goldsmith.engines.training.data.batches import Batch, Plan
from goldsmith.engines.training.data.rows import Row
from goldsmith.engines.training.model.policy import Policy
from goldsmith.engines.training.reinforcement import learning, worlds
from goldsmith.engines.training.reinforcement.generate import BuiltIn, Writer
from goldsmith.engines.training.reinforcement.playing import Prepared
from goldsmith.engines.training.reinforcement.rounds import prompt_of, prompt_row, takes
from goldsmith.engines.training.reinforcement.settings import OnlineSettings
from goldsmith.engines.training.reinforcement.vllm_writer import VllmWriter
from goldsmith.types.errors import BadInput
from goldsmith.types.record import Record


class OnlineMethod(OnlineSettings):
    """A method that is handed rewards with its rows; it adds its settings and its loop, `steps`."""

    id: ClassVar[str]
    compares_answers: ClassVar[bool] = False
    """Whether an answer is held against the others to its prompt, so that one alone teaches nothing."""

    @model_validator(mode="after")
    def _has_something_to_compare(self) -> Self:
        if self.compares_answers and self.group_size < 2:
            raise ValueError(f"{self.id} compares the answers to one prompt: group_size must be at least 2")
        return self

    def accepts(self, record: Record) -> bool:
        """Conversations and comparisons: what they ask."""
        return takes(record)

    def encode(self, chat: Chat, record: Record, name: str, key: str) -> Row:
        """The prompt alone."""
        return prompt_row(chat, record, name, key, episode=self.plays_episodes)

    def prepare(self, policy: Policy, rows: Sequence[Row], _plan: Plan, records: Mapping[str, Record]) -> Prepared:
        """Remember where the model began; what rounds are played with is handed on.

        Raises:
            BadInput: prompts that leave no room for an answer in the model's context, or that have no tools.
        """
        self._require_room(policy, rows)
        if self.plays_episodes:
            worlds.require_worlds(self, {row.name: prompt_of(records[row.key], episode=True) for row in rows})
        policy.keep_reference()
        return Prepared(records, self._writer(policy))

    def _writer(self, policy: Policy) -> Writer:
        if self.generate.engine == "builtin":
            return BuiltIn()
        return VllmWriter(policy.base, self)

    def _require_room(self, policy: Policy, rows: Sequence[Row]) -> None:
        limit = getattr(policy.inner.config.get_text_config(), "max_position_embeddings", None)
        long = [row for row in rows if limit and row.longest + int(self.max_new_tokens) > limit]
        if long:
            worst = max(long, key=lambda row: row.longest)
            raise BadInput(
                f"{len(long)} of {len(rows)} prompts and an answer do not fit the model's context",
                where=", ".join(row.name for row in long[:5]) + (", …" if len(long) > 5 else ""),
                found=f"up to {worst.longest} tokens and max_new_tokens of {self.max_new_tokens}",
                allowed=f"{limit} tokens together",
                next_step="lower max_new_tokens, or set max_length to what a prompt may have and over_long to drop",
            )

    def evaluate(
        self, policy: Policy, rows: Sequence[Row], _batches: Iterator[Batch], prepared: Prepared
    ) -> dict[str, float]:
        """Mean reward over the prompts of `rows`, always with the same draws; `loss` is its negative."""
        return learning.evaluate(policy, rows, self, prepared)
