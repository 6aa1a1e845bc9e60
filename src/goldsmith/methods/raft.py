"""RAFT: of several answers to a prompt the best is imitated, if it is good enough (best of n)."""

from collections.abc import Iterator
from functools import partial
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import model_validator

from goldsmith.engines.training.data.batches import Batch, Plan
from goldsmith.engines.training.method import Metrics
from goldsmith.engines.training.model.policy import Policy
from goldsmith.engines.training.optimizer import Optimizer
from goldsmith.engines.training.reinforcement import learning
from goldsmith.engines.training.reinforcement.base import OnlineMethod
from goldsmith.engines.training.reinforcement.playing import Prepared
from goldsmith.engines.training.reinforcement.rounds import Round
from goldsmith.types.artifact import Real


class Raft(OnlineMethod):
    """Dong et al. 2023, arXiv:2304.06767. A prompt none of whose answers is worth more than another teaches nothing,
    nor does one whose best answer is worth less than `at_least`."""

    id: ClassVar[str] = "raft"
    version: ClassVar[int] = 1

    at_least: Real | None = None
    """What an answer must be worth to be imitated."""

    @model_validator(mode="after")
    def _several(self) -> "Raft":
        if self.group_size < 2:
            raise ValueError("raft picks the best of several answers: group_size must be at least 2")
        return self

    def steps(
        self, policy: Policy, plan: Plan, optimizer: Optimizer, prepared: Prepared, start: int = 0
    ) -> Iterator[Metrics]:
        """The loop."""
        for step in range(start, plan.steps):
            sampled = learning.sample_round(policy, plan, step, self, prepared)
            best = best_answers(
                np.where(
                    sampled.counted(self.mask_unfinished).reshape(sampled.rewards_PG.shape), sampled.rewards_PG, np.nan
                ),
                None if self.at_least is None else float(self.at_least),
            )
            round_ = sampled.only(best)
            rows = range(len(round_.rows))
            _, values = learning.measure(policy, plan, sampled, self, [], references=False)
            losses = partial(self._losses, policy, round_)
            values |= {"imitated": len(best) / len(sampled.rewards_PG)}
            yield learning.learn(plan, optimizer, step, round_, self, rows, losses, values)

    def _losses(self, policy: Policy, round_: Round, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The forward's share of the update's mean cross-entropy over tokens."""
        tokens = sum(round_.written[a].tokens for those in round_.members for a in those) / int(self.minibatches)
        return -policy.logprobs(batch).sum() / max(1.0, tokens), {}


def best_answers(rewards_PG: NDArray[np.float64], at_least: float | None) -> list[int]:
    """Of each group the first of its best answers, by its place in all; none of a group of equals."""
    found = []
    for group, rewards_G in enumerate(rewards_PG):
        known_G = rewards_G[~np.isnan(rewards_G)]
        if len(known_G) < 2 or known_G.max() == known_G.min() or (at_least is not None and known_G.max() < at_least):
            continue
        found.append(group * rewards_PG.shape[1] + int(np.nanargmax(rewards_G)))
    return found
