"""Process reward model: from steps labelled right or wrong, a model that judges each step of an answer."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import torch
from pydantic import model_validator

from goldsmith.engines.chat import Chat
from goldsmith.engines.training import updating
from goldsmith.engines.training.data.batches import Batch, Plan
from goldsmith.engines.training.data.rows import Row
from goldsmith.engines.training.data.steps import step_row, steps_of
from goldsmith.engines.training.losses.reward import step_loss
from goldsmith.engines.training.method import Metrics
from goldsmith.engines.training.model.policy import Policy
from goldsmith.engines.training.optimizer import Optimizer
from goldsmith.engines.training.settings import EndsIn, Positive, TrainingSettings
from goldsmith.trust.records import record_digest
from goldsmith.types.artifact import Digest
from goldsmith.types.errors import BadInput
from goldsmith.types.record import Record


class ProcessReward(TrainingSettings):
    """Cross-entropy of whether each step is right, read where the step ends (Lightman et al. 2023, arXiv:2305.20050).

    A row is a conversation whose last assistant turn is the steps, each a text part of its own or divided by blank
    lines (`delimiter`), with `labels`, one for each step (true, false, or null for not judged), among its extra fields:
    TRL's stepwise rows. The result scores steps and cannot write any.
    """

    id: ClassVar[str] = "process_reward"
    version: ClassVar[int] = 1
    ends_in: ClassVar[EndsIn] = "number"

    learning_rate: Positive = 1e-5
    delimiter: str = "\n\n"
    """What divides the steps of a turn that is one text."""
    up_to_first_wrong: bool = False
    """Leave out what comes after the first wrong step, whose labels say little."""

    @model_validator(mode="after")
    def _whole_rows(self) -> "ProcessReward":
        if self.over_long == "cut_keep_stop":
            raise ValueError("over_long cut_keep_stop would part steps from their labels: choose refuse or drop")
        if not self.delimiter:
            raise ValueError("delimiter must not be empty")
        return self

    @property
    def encoding(self) -> str:
        """Both decide what a row holds."""
        return json.dumps([self.delimiter, self.up_to_first_wrong])

    def row_key(self, record: Record) -> Digest:
        """The labels are no part of the content."""
        return record_digest(record)

    def accepts(self, record: Record) -> bool:
        """Conversations with `labels`."""
        return steps_of(record) is not None

    def encode(self, chat: Chat, record: Record, name: str, key: str) -> Row:
        """Prompt and steps, asked at the end of each labelled step."""
        found = steps_of(record)
        if found is None:
            raise BadInput("a row without labelled steps", where=name, allowed="a conversation with `labels`")
        labels = list(found.labels)
        if self.up_to_first_wrong and False in labels:
            first = labels.index(False) + 1
            labels[first:] = [None] * (len(labels) - first)
        return step_row(chat, found, labels, self.delimiter, name, key)

    def prepare(self, _policy: Policy, _rows: Sequence[Row], _plan: Plan) -> None:
        """Nothing."""

    def steps(
        self, policy: Policy, plan: Plan, optimizer: Optimizer, _prepared: Any, start: int = 0
    ) -> Iterator[Metrics]:
        """The loop. The mean is over the update's steps, however many each row has."""
        for update in plan.updates(start):
            loss, means = updating.backward(
                update.batches, update.labels, lambda batch: self._losses(policy, plan.rows, batch), per_label=True
            )
            yield updating.step(optimizer, plan, update, loss, means)

    def _losses(
        self, policy: Policy, rows: Sequence[Row], batch: Batch
    ) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
        """Loss of each step [N], and sums over the batch of what is watched."""
        score_N = policy.numbers(batch)
        good_N = torch.tensor([value for i in batch.rows for value in rows[i].values]).to(score_N)
        with torch.no_grad():
            right_N = (score_N > 0) == (good_N > 0.5)
            sums = {"step_accuracy": right_N.float().sum(), "said_good_share": (score_N > 0).float().sum()}
        return step_loss(score_N, good_N), sums

    def evaluate(
        self, policy: Policy, rows: Sequence[Row], batches: Iterator[Batch], _prepared: Any
    ) -> dict[str, float]:
        """Means over steps."""
        steps = sum(len(row.values) for row in rows)
        return updating.means(batches, steps, lambda batch: self._losses(policy, rows, batch))
