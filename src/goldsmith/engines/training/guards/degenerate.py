"""Preference training that pushes both answers away instead of telling them apart."""

from collections.abc import Mapping

import numpy as np


class DegeneratePairs:
    """The alarm for preference training: both answers get less likely while their margin explodes, or both get less
    likely alike, so that the model forgets how to answer and hardly learns which answer is better.

    `watch` wants the means of an update: chosen and rejected log-ratios to the reference, and the margin in units of
    reward (beta times the log-ratio difference). The second form was added for a run on goldsmith-nano with ten times
    its learning rate: both answers 160 nats down, half of the pairs right, and a margin of 2 (Razin et al. 2024,
    arXiv:2410.08847, call it likelihood displacement).
    """

    def __init__(
        self, *, window: int = 20, margin_limit: float = 20.0, fall_limit: float = 20.0, apart: float = 0.25
    ) -> None:
        self.window, self.margin_limit = window, margin_limit
        self.fall_limit, self.apart = fall_limit, apart
        self.recent: list[tuple[float, float, float]] = []

    def watch(self, values: Mapping[str, float]) -> str | None:
        """A warning, once the last `window` updates show it."""
        self.recent.append((values["chosen_logratio"], values["rejected_logratio"], values["reward_margin"]))
        self.recent = self.recent[-self.window :]
        if len(self.recent) < self.window:
            return None
        chosen, rejected, margin = (float(np.mean(column)) for column in zip(*self.recent, strict=True))
        if chosen >= 0 or rejected >= 0:
            return None
        exploding = margin > self.margin_limit
        alike = chosen < -self.fall_limit and chosen - rejected < self.apart * -chosen
        if not (exploding or alike):
            return None
        return (
            f"degenerate preference training: chosen {chosen:.1f} and rejected {rejected:.1f} nats from the reference, "
            f"reward margin {margin:.1f}; raise beta, lower learning_rate or train fewer epochs"
        )
