"""What is watched from update to update: preferences that degenerate, rewards that are gamed."""

from collections.abc import Mapping, Sequence
from typing import Any

from goldsmith.engines.training.guards import overfitting
from goldsmith.engines.training.guards.degenerate import DegeneratePairs
from goldsmith.engines.training.method import Metrics
from goldsmith.engines.training.reinforcement import alarms
from goldsmith.engines.training.reinforcement.settings import OnlineSettings
from goldsmith.engines.training.settings import TrainingSettings
from goldsmith.types.errors import BadInput


class RewardGamed(BadInput):
    """The reward rises for a reason that nobody meant; the settings say that training shall stop then."""


class Forgets(BadInput):
    """The loss on what the model shall not forget rose beyond its bound; the settings say that training shall stop."""


class Overfits(BadInput):
    """The run was beyond a bound of `overfit` before any validation was within; the settings say to stop then."""


class Watch:
    """Looks at each update's means; says a thing once. `state` is saved with checkpoints."""

    def __init__(self, settings: TrainingSettings) -> None:
        self.pairs = DegeneratePairs()
        self.rounds: list[Mapping[str, float]] = []
        self.said: list[str] = []
        self.first: dict[str, float] = {}
        self.fit: dict[str, float] = {}
        self.settings = settings

    def look(self, metrics: Metrics) -> list[tuple[str, str]]:
        """(what, warning) of what shows now and was not said before.

        Raises:
            RewardGamed: what the settings' `stop_on` names.
        """
        found: dict[str, str] = {}
        if "reward_margin" in metrics.values:
            warning = self.pairs.watch(metrics.values)
            if warning is not None:
                found["degenerate"] = warning
        if isinstance(self.settings, OnlineSettings):
            self.rounds = alarms.kept([*self.rounds, metrics.values])
            found |= alarms.warnings(self.rounds, self.settings.held_out)
            self._stop(found, self.settings, metrics.step)
        return self.fresh(found)

    def look_back(self, found: Mapping[str, float], step: int) -> list[tuple[str, str]]:
        """The same of a validation: the loss on each part of the mix beside what it was before the first step.

        Raises:
            Forgets: a part whose `on_rise` is stop.
        """
        fresh = []
        for one in self.settings.mix:
            name = f"loss/{one.part}"
            if name not in found or one.rise_at_most is None:
                continue
            rise = found[name] - self.first.setdefault(name, found[name])
            if rise <= float(one.rise_at_most):
                continue
            told = f"the loss on {one.part} is {rise:.3f} above what it was before training"
            if one.on_rise == "stop":
                raise Forgets(
                    f"training stopped at step {step}: {told}",
                    where=f"mix, {one.part}",
                    found=f"{found[name]:.4f}, before training {self.first[name]:.4f}",
                    allowed=f"a rise of at most {float(one.rise_at_most):g}",
                    next_step=f"raise the share of {one.part}, or lower learning_rate; the last checkpoint is kept",
                )
            if (what := f"forgets_{one.part}") not in self.said:
                self.said.append(what)
                fresh.append((what, f"{told} (at most {float(one.rise_at_most):g})"))
        return fresh

    def look_at_fit(self, losses: Mapping[str, float]) -> tuple[dict[str, float], dict[str, str]]:
        """From the losses that `overfitting.shares` wants: those shares, and what is beyond its bound, each time.

        The first ones given are those before the first step.
        """
        self.fit = self.fit or dict(losses)
        found = overfitting.shares(self.fit, losses)
        falling = losses["aside"] <= self.fit.get("lowest", losses["aside"])
        self.fit["lowest"] = min(losses["aside"], self.fit.get("lowest", losses["aside"]))
        return found, overfitting.judged(self.settings.overfit, found, falling=falling)

    def fresh(self, found: Mapping[str, str]) -> list[tuple[str, str]]:
        """Those that were not said before."""
        new = [(what, warning) for what, warning in found.items() if what not in self.said]
        self.said += [what for what, _ in new]
        return new

    def _stop(self, found: Mapping[str, str], settings: OnlineSettings, step: int) -> None:
        for what, warning in found.items():
            if what.partition("/")[0] in settings.stop_on:
                raise RewardGamed(
                    f"training stopped at step {step}: {warning}",
                    where=f"stop_on: {what.partition('/')[0]}",
                    next_step="mend the reward, or add a term against it; the last checkpoint is kept",
                )

    def state(self) -> dict[str, Any]:
        """What a resumed run needs to go on watching."""
        return {
            "pairs": [list(one) for one in self.pairs.recent],
            "rounds": self.rounds,
            "said": self.said,
            "first": self.first,
            "fit": self.fit,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` gave."""
        pairs: Sequence[Sequence[float]] = state.get("pairs", [])
        self.pairs.recent = [(a, b, c) for a, b, c in pairs]
        self.first = dict(state.get("first", {}))
        self.fit = dict(state.get("fit", {}))
        self.rounds, self.said = list(state.get("rounds", [])), list(state.get("said", []))
