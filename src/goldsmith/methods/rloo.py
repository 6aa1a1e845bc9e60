"""RLOO: each answer is held against the mean of the others to its prompt; distance from the reference costs reward."""

from collections.abc import Iterator
from functools import partial
from typing import Annotated, ClassVar

from pydantic import Field

from goldsmith.engines.training.data.batches import Plan
from goldsmith.engines.training.method import Metrics
from goldsmith.engines.training.model.policy import Policy
from goldsmith.engines.training.optimizer import Optimizer
from goldsmith.engines.training.reinforcement import learning, surrogate
from goldsmith.engines.training.reinforcement.advantages import leave_one_out
from goldsmith.engines.training.reinforcement.base import OnlineMethod
from goldsmith.engines.training.reinforcement.playing import Prepared
from goldsmith.engines.training.settings import Positive
from goldsmith.types.artifact import Real


class Rloo(OnlineMethod):
    """Ahmadian et al. 2024, arXiv:2402.14740. An answer is one action: its probability as a whole is held against the
    clip, and `beta` times its log-ratio to the reference is taken off its reward."""

    id: ClassVar[str] = "rloo"
    version: ClassVar[int] = 1
    compares_answers: ClassVar[bool] = True

    learning_rate: Positive = 1e-6
    beta: Annotated[Real, Field(ge=0)] = 0.05
    """How dear it is to move away from the reference."""
    normalise: bool = False
    """Advantages of a round to mean 0 and deviation 1."""
    epsilon: Annotated[Real, Field(gt=0, lt=1)] = 0.2
    """How far an answer's probability may move in a round, as a share, before it stops counting."""

    def steps(
        self, policy: Policy, plan: Plan, optimizer: Optimizer, prepared: Prepared, start: int = 0
    ) -> Iterator[Metrics]:
        """The loop."""
        for step in range(start, plan.steps):
            round_ = learning.sample_round(policy, plan, step, self, prepared)
            rows = range(len(round_.rows))
            known, values = learning.measure(policy, plan, round_, self, rows, references=self.beta > 0, own=True)
            rewards_PG = round_.rewards_PG
            if self.beta:
                rewards_PG = rewards_PG - float(self.beta) * learning.log_ratios(round_, known).reshape(
                    rewards_PG.shape
                )
            advantages_A = leave_one_out(rewards_PG, normalise=self.normalise).ravel()
            turn = surrogate.Turn(policy, round_, known, advantages_A, round_.counted(self.mask_unfinished))
            losses = partial(surrogate.loss, self._surrogate, turn)
            yield learning.learn(plan, optimizer, step, round_, self, rows, losses, values)

    @property
    def _surrogate(self) -> surrogate.Surrogate:
        return surrogate.Surrogate(
            together="grpo",
            ratio="product",
            epsilon_low=float(self.epsilon),
            epsilon_high=float(self.epsilon),
            ratio_at_most=None,
            beta=0.0,
            temperature=float(self.temperature),
            longest=self.longest_answer,
            updates=int(self.minibatches),
        )
