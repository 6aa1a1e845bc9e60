"""PPO: a value head expects what an answer will be worth, and each token is held against what was expected of it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, ClassVar

import numpy as np
import torch
from pydantic import Field

from goldsmith.engines.training.data.batches import Batch, Plan
from goldsmith.engines.training.method import Metrics
from goldsmith.engines.training.model.policy import Policy
from goldsmith.engines.training.optimizer import Optimizer
from goldsmith.engines.training.reinforcement import learning, policy_losses
from goldsmith.engines.training.reinforcement.advantages import STEADY, discounted
from goldsmith.engines.training.reinforcement.base import OnlineMethod
from goldsmith.engines.training.reinforcement.playing import Prepared
from goldsmith.engines.training.reinforcement.rounds import Round
from goldsmith.engines.training.settings import Count, Positive
from goldsmith.types.artifact import Real


class Ppo(OnlineMethod):
    """Schulman et al. 2017, arXiv:1707.06347, as Ouyang et al. 2022 (arXiv:2203.02155) use it: the reward comes with
    the last token, and at every token `beta` times the log-ratio to the reference is taken off. The value head shares
    the model's layers."""

    id: ClassVar[str] = "ppo"
    version: ClassVar[int] = 1

    learning_rate: Positive = 1e-5
    group_size: Count = 1
    """Answers to each prompt; they are not compared with each other."""
    inner_epochs: Count = 4
    """Times that the answers of a round are learned from."""
    beta: Annotated[Real, Field(ge=0)] = 0.05
    """How dear it is to move away from the reference."""
    epsilon: Annotated[Real, Field(gt=0, lt=1)] = 0.2
    """How far a token's probability may move in a round, as a share, before it stops counting."""
    value_epsilon: Positive = 0.2
    """How far an expectation may move in a round before it stops counting."""
    value_weight: Annotated[Real, Field(ge=0)] = 0.1
    """What the value head's loss weighs beside the policy's."""
    discount: Annotated[Real, Field(gt=0, le=1)] = 1.0
    """What a reward one token later is worth."""
    smoothing: Annotated[Real, Field(ge=0, le=1)] = 0.95
    """Lambda of generalised advantage estimation: 1 trusts what came, 0 what was expected."""

    @property
    def has_value_head(self) -> bool:
        """Yes."""
        return True

    def steps(
        self, policy: Policy, plan: Plan, optimizer: Optimizer, prepared: Prepared, start: int = 0
    ) -> Iterator[Metrics]:
        """The loop."""
        for step in range(start, plan.steps):
            sampled = learning.sample_round(policy, plan, step, self, prepared)
            round_ = sampled.only(np.flatnonzero(sampled.counted(self.mask_unfinished)).tolist())
            rows = list(range(len(round_.rows)))
            known, values = learning.measure(policy, plan, round_, self, rows, references=self.beta > 0, own=True)
            expected = _values(policy, round_, plan, rows)
            turn = _Turn(policy, known, expected, *self._credit(round_, known, expected, rows))
            values |= {"value": float(torch.cat(list(expected.values())).mean())} if rows else {}
            losses = partial(self._losses, turn)
            yield learning.learn(plan, optimizer, step, round_, self, rows, losses, values)

    def _credit(
        self, round_: Round, known: learning.Known, expected: Mapping[int, torch.Tensor], rows: list[int]
    ) -> tuple[dict[int, torch.Tensor], dict[int, torch.Tensor], float]:
        """Each row's tokens' advantages, over the round at mean 0 and deviation 1, and value targets; tokens of an
        update."""
        rewards_A = round_.rewards_PG.ravel()
        advantages: dict[int, torch.Tensor] = {}
        targets: dict[int, torch.Tensor] = {}
        for row in rows:
            lengths = round_.lengths(row)
            cost_N = np.zeros(sum(lengths))
            if self.beta:
                cost_N = float(self.beta) * (known.old[row] - known.reference[row]).double().cpu().numpy()
            parts = np.split(np.arange(sum(lengths)), np.cumsum(lengths)[:-1])
            value_N = expected[row].double().cpu().numpy()
            found = []
            for answer, at in zip(round_.members[row], parts, strict=True):
                rewards_T = -cost_N[at]
                rewards_T[-1] += rewards_A[answer]
                found.append(
                    discounted(rewards_T, value_N[at], discount=float(self.discount), smoothing=float(self.smoothing))
                )
            advantages[row] = torch.from_numpy(np.concatenate([a for a, _ in found])).float()
            targets[row] = torch.from_numpy(np.concatenate([t for _, t in found])).float()
        every = torch.cat(list(advantages.values())) if advantages else torch.zeros(1)
        spread = every.std() if len(every) > 1 else torch.ones(())
        scaled = {row: (one - every.mean()) / (spread + STEADY) for row, one in advantages.items()}
        return scaled, targets, len(every) / int(self.minibatches)

    def _losses(self, turn: "_Turn", batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The forward's share of the update's loss, and of what is watched."""
        logprobs_N, values_N = turn.policy.logprobs_and_values(batch, float(self.temperature))

        def of(which: Mapping[int, torch.Tensor]) -> torch.Tensor:
            return torch.cat([which[row] for row in batch.rows]).to(logprobs_N.device)

        ratio_N, advantages_N = logprobs_N - of(turn.known.old), of(turn.advantages)
        bounds = {"epsilon_low": float(self.epsilon), "epsilon_high": float(self.epsilon)}
        policy_N = policy_losses.clipped(ratio_N, advantages_N, **bounds)
        value_N = policy_losses.value_loss(
            values_N, of(turn.expected), of(turn.targets), clip=float(self.value_epsilon)
        )
        with torch.no_grad():
            outside_N = policy_losses.outside(ratio_N, advantages_N, **bounds).float()
            watched = {
                "clip_fraction": outside_N.sum() / turn.tokens,
                "value_loss": value_N.sum() / turn.tokens,
            }
        return (policy_N + float(self.value_weight) * value_N).sum() / turn.tokens, watched


@dataclass(frozen=True, slots=True)
class _Turn:
    """A round under learning; by row, of its tokens: what was expected, advantages, what should have been."""

    policy: Policy
    known: learning.Known
    expected: Mapping[int, torch.Tensor]
    advantages: Mapping[int, torch.Tensor]
    targets: Mapping[int, torch.Tensor]
    tokens: float


def _values(policy: Policy, round_: Round, plan: Plan, rows: list[int]) -> dict[int, torch.Tensor]:
    """What the value head expects before each token, by row."""
    with policy.evaluating():
        return learning.by_row(round_, plan, rows, policy.device, lambda batch: policy.logprobs_and_values(batch)[1])
