"""KTO: learn from single answers marked good or bad, as people weigh gains and losses against a reference point."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, ClassVar

import torch
from pydantic import Field

from goldsmith.engines.chat import Chat
from goldsmith.engines.training import updating
from goldsmith.engines.training.data.batches import Batch, Plan
from goldsmith.engines.training.data.rows import Row, from_rating
from goldsmith.engines.training.losses.preference import kto_loss
from goldsmith.engines.training.method import Metrics
from goldsmith.engines.training.model.policy import Policy
from goldsmith.engines.training.optimizer import Optimizer
from goldsmith.engines.training.scale import parallel
from goldsmith.engines.training.settings import Positive, TrainingSettings
from goldsmith.types.artifact import Real
from goldsmith.types.errors import BadInput
from goldsmith.types.record import Rating, Record

Weight = Annotated[Real, Field(ge=0)]


@dataclass(frozen=True, slots=True)
class Reference:
    """By row key: the reference's log-probability of the row's answer; a row of its prompt with somebody else's
    answer; the reference's log-probability of that."""

    own: Mapping[str, float]
    strangers: Mapping[str, Row]
    stranger_logprobs: Mapping[str, float]


class Kto(TrainingSettings):
    """Ethayarajh et al. 2024, arXiv:2402.01306. The reference point, how far the model has moved on the whole, is
    estimated in each update on its prompts with other rows' answers; which, is fixed by the rows' content."""

    id: ClassVar[str] = "kto"
    version: ClassVar[int] = 1

    learning_rate: Positive = 1e-6
    beta: Positive = 0.1
    """How dear it is to move away from the reference."""
    desirable_weight: Weight = 1.0
    """What a good answer weighs; weights times counts should be within 1 to 4/3 of each other."""
    undesirable_weight: Weight = 1.0
    """What a bad answer weighs."""

    def accepts(self, record: Record) -> bool:
        """Ratings that say good or bad."""
        return isinstance(record.content, Rating) and record.content.label is not None

    def encode(self, chat: Chat, record: Record, name: str, key: str) -> Row:
        """The prompt with its answer, and 1 for good or 0 for bad."""
        content = record.content
        if not isinstance(content, Rating) or content.label is None:
            raise BadInput(f"a {content.kind} without a label says neither good nor bad", where=name, allowed="rating")
        encoded = chat.encode_continuation(content.prompt, content.answer, content.tools)
        return from_rating(encoded, name, key, float(content.label))

    def prepare(self, policy: Policy, rows: Sequence[Row], plan: Plan) -> Reference:
        """Reference log-probabilities of every answer after its own and after another prompt.

        Raises:
            BadInput: all rows have one prompt, so that there is no other.
        """
        strangers = _strangers(rows)
        with policy.evaluating(), policy.reference():
            own = _logprobs(policy, rows, plan)
            other = _logprobs(policy, list(strangers.values()), plan)
        return Reference(own, strangers, other)

    def steps(
        self, policy: Policy, plan: Plan, optimizer: Optimizer, prepared: Reference, start: int = 0
    ) -> Iterator[Metrics]:
        """The loop."""
        for update in plan.updates(start):
            kl = self._kl(policy, [plan.rows[i] for i in update.rows], plan, prepared)
            losses = partial(self._losses, policy, plan.rows, reference=prepared, kl=kl)
            loss, means = updating.backward(update.batches, len(update.rows), losses)
            yield updating.step(optimizer, plan, update, loss, {**means, "kl": kl})

    def _kl(self, policy: Policy, rows: Sequence[Row], plan: Plan, reference: Reference) -> float:
        """The reference point, at least 0."""
        with torch.no_grad():
            found = _logprobs(policy, [reference.strangers[row.key] for row in rows], plan)
        moved = [logprob - reference.stranger_logprobs[key] for key, logprob in found.items()]
        return max(0.0, sum(moved) / len(moved))

    def _losses(
        self, policy: Policy, rows: Sequence[Row], batch: Batch, reference: Reference, kl: float
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Loss of each answer [B], and sums over the batch of what is watched."""
        logprobs_B = policy.sequence_logprobs(batch)
        known_B = torch.tensor([reference.own[rows[i].key] for i in batch.rows]).to(logprobs_B)
        good_B = torch.tensor([rows[i].value == 1.0 for i in batch.rows], device=logprobs_B.device)
        logratio_B = logprobs_B - known_B
        loss_B = kto_loss(
            logratio_B,
            good_B,
            kl,
            beta=float(self.beta),
            desirable_weight=float(self.desirable_weight),
            undesirable_weight=float(self.undesirable_weight),
        )
        with torch.no_grad():
            sums = {
                "good_logratio_share": (logratio_B * good_B).sum(),
                "bad_logratio_share": (logratio_B * ~good_B).sum(),
                "reward_accuracy": ((logratio_B > kl) == good_B).float().sum(),
            }
        return loss_B, sums

    def evaluate(
        self, policy: Policy, rows: Sequence[Row], batches: Iterator[Batch], prepared: Reference
    ) -> dict[str, float]:
        """Means over answers, with one reference point for all."""
        listed = list(batches)
        capacity = max(batch.tokens for batch in listed)
        plan = Plan(tuple(rows), 0, len(rows), 1, capacity, 1, share=policy.shares)
        kl = self._kl(policy, rows, plan, prepared)
        found = updating.means(listed, len(rows), lambda batch: self._losses(policy, rows, batch, prepared, kl))
        return {**found, "kl": kl}


def _strangers(rows: Sequence[Row]) -> dict[str, Row]:
    """For each row its prompt with the answer of the next row, in an order that only content decides, that has another
    prompt."""
    order = sorted({row.key: row for row in rows}.values(), key=lambda row: hashlib.sha256(row.key.encode()).digest())
    found: dict[str, Row] = {}
    for place, row in enumerate(order):
        other = next(
            (
                o
                for o in (order[(place + step) % len(order)] for step in range(1, len(order)))
                if o.prompt != row.prompt
            ),
            None,
        )
        if other is None:
            raise BadInput(
                "the reference point needs rows with different prompts",
                found=f"{len(order)} rows, one prompt",
                allowed="at least two prompts",
            )
        found[row.key] = Row((row.nodes[0], other.nodes[1]), row.name, row.key)
    return found


def _logprobs(policy: Policy, rows: Sequence[Row], plan: Plan) -> dict[str, float]:
    """Summed log-probability of each row's answer, by key."""
    found: dict[str, float] = {}
    ranks = parallel.here()
    for batch, _ in ranks.every_nth(plan.over(rows)):
        for index, value in zip(batch.rows, policy.sequence_logprobs(batch).tolist(), strict=True):
            found[rows[index].key] = value
    found = ranks.merged(found)
    return {row.key: found[row.key] for row in rows}
