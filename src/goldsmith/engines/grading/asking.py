"""Asking a reward: what it gives is held against what it declares, and what it could not tell is counted."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from goldsmith.engines.grading.templates import Filling, Unfilled, filling
from goldsmith.types.errors import BadInput
from goldsmith.types.reward import Reward, Rewarded, Sampled, Unrewarded

Outcome = Rewarded | Unrewarded
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What a reward made of a batch, in its order. `values[i]` is None where it could not tell."""

    outcomes: tuple[Outcome, ...]

    @property
    def values(self) -> list[float | None]:
        return [one.value if isinstance(one, Rewarded) else None for one in self.outcomes]

    @property
    def unrewarded(self) -> dict[str, int]:
        """How often it could not tell, by reason, most frequent first."""
        return dict(Counter(one.reason for one in self.outcomes if isinstance(one, Unrewarded)).most_common())

    def means(self) -> dict[str, float]:
        """Means for the log: `reward` over those that have one, each part over those that have it, and the share
        `unrewarded` of the batch. A mean over nothing is left out."""
        sums: dict[str, list[float]] = {}
        for one in self.outcomes:
            if isinstance(one, Rewarded):
                sums.setdefault("reward", []).append(one.value)
            for name, value in one.parts.items():
                sums.setdefault(f"reward/{name}", []).append(value)
        found = {name: math.fsum(values) / len(values) for name, values in sums.items()}
        share = sum(isinstance(one, Unrewarded) for one in self.outcomes) / max(1, len(self.outcomes))
        return {**found, "unrewarded": share}


def ask(reward: Reward, samples: Sequence[Sampled]) -> Verdicts:
    """What `reward` gives the samples. A value that is not finite or out of its bounds counts as "could not tell".

    Raises:
        BadInput: another number of results than samples: the reward is broken. Unavailable: nothing could be judged.
    """
    outcomes = reward(samples)
    if len(outcomes) != len(samples):
        raise BadInput(
            f"the reward {reward.id} gave {len(outcomes)} results for {len(samples)} samples",
            allowed="one for each, in their order",
        )
    return Verdicts(tuple(_held(one, reward.bounds) for one in outcomes))


def _held(outcome: Outcome, bounds: tuple[float, float]) -> Outcome:
    parts = {name: value for name, value in outcome.parts.items() if math.isfinite(value)}
    if isinstance(outcome, Unrewarded):
        return Unrewarded(outcome.reason, parts)
    low, high = bounds
    slack = _ROUNDING * max(1.0, abs(outcome.value))
    if math.isfinite(outcome.value) and low - slack <= outcome.value <= high + slack:
        return Rewarded(outcome.value, parts)
    return Unrewarded(f"a value outside of {low:g} to {high:g}", parts)


def one_by_one(samples: Sequence[Sampled], judge: Callable[[Sampled, Filling], float]) -> list[Outcome]:
    """The samples judged each on its own; one whose templates cannot be filled in is not judged."""
    outcomes: list[Outcome] = []
    for sampled in samples:
        try:
            outcomes.append(Rewarded(float(judge(sampled, filling(sampled)))))
        except Unfilled as error:
            outcomes.append(Unrewarded(str(error)))
    return outcomes
