"""GRPO: the model's own answers to a prompt, made likelier where they are worth more than the others."""

from collections.abc import Iterator
from functools import partial
from typing import Annotated, ClassVar

from pydantic import Field

from goldsmith.engines.training.data.batches import Plan
from goldsmith.engines.training.method import Metrics
from goldsmith.engines.training.model.policy import Policy
from goldsmith.engines.training.optimizer import Optimizer
from goldsmith.engines.training.reinforcement import learning, surrogate
from goldsmith.engines.training.reinforcement.advantages import Scale, group_relative
from goldsmith.engines.training.reinforcement.base import OnlineMethod
from goldsmith.engines.training.reinforcement.playing import Prepared
from goldsmith.engines.training.reinforcement.policy_losses import Ratio, Together
from goldsmith.engines.training.settings import Positive
from goldsmith.types.artifact import Real


class Grpo(OnlineMethod):
    """Shao et al. 2024, arXiv:2402.03300, with the variants of DAPO (arXiv:2503.14476: `loss` dapo, `epsilon_high`
    above `epsilon`, `mask_unfinished`), Dr. GRPO (arXiv:2503.20783: `loss` dr_grpo, `scale` none) and GSPO
    (arXiv:2507.18071: `ratio` sequence). An answer's advantage is its reward less its group's mean."""

    id: ClassVar[str] = "grpo"
    version: ClassVar[int] = 1
    compares_answers: ClassVar[bool] = True

    learning_rate: Positive = 1e-6
    loss: Together = "dapo"
    """How tokens are put together: grpo (a mean over each answer), dapo (all tokens the same), dr_grpo (a constant)."""
    scale: Scale = "group"
    """What advantages are divided by: the deviation of the group, of the batch, or nothing."""
    ratio: Ratio = "token"
    """What is held against the clip: each token's ratio of probabilities, the answer's mean one (sequence), or the
    whole answer's (product)."""
    epsilon: Annotated[Real, Field(gt=0, lt=1)] = 0.2
    """How far a probability may fall in a round, as a share, before it stops counting."""
    epsilon_high: Positive | None = None
    """How far it may rise; None: as far as it may fall."""
    ratio_at_most: Annotated[Real, Field(gt=1)] | None = None
    """Bounds the ratio of bad answers too (dual clip)."""
    beta: Annotated[Real, Field(ge=0)] = 0.0
    """How dear it is to move away from the reference."""

    def steps(
        self, policy: Policy, plan: Plan, optimizer: Optimizer, prepared: Prepared, start: int = 0
    ) -> Iterator[Metrics]:
        """The loop."""
        for step in range(start, plan.steps):
            round_ = learning.sample_round(policy, plan, step, self, prepared)
            advantages_A = group_relative(round_.rewards_PG, self.scale).ravel()
            counted_A = round_.counted(self.mask_unfinished)
            rows = round_.teaching(advantages_A * counted_A, all_rows=self.beta > 0)
            known, values = learning.measure(policy, plan, round_, self, rows, references=self.beta > 0)
            turn = surrogate.Turn(policy, round_, known, advantages_A, counted_A)
            losses = partial(surrogate.loss, self._surrogate, turn)
            yield learning.learn(plan, optimizer, step, round_, self, rows, losses, values)

    @property
    def _surrogate(self) -> surrogate.Surrogate:
        return surrogate.Surrogate(
            together=self.loss,
            ratio=self.ratio,
            epsilon_low=float(self.epsilon),
            epsilon_high=float(self.epsilon_high or self.epsilon),
            ratio_at_most=None if self.ratio_at_most is None else float(self.ratio_at_most),
            beta=float(self.beta),
            temperature=float(self.temperature),
            longest=self.longest_answer,
            updates=int(self.minibatches),
        )
