"""Several rewards as one number. OpenAI's `multi` grader."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

from pydantic import Field, PrivateAttr, model_validator

from goldsmith.engines.grading.asking import ask
from goldsmith.engines.grading.examples import Example, said
from goldsmith.engines.grading.formula import Undefined, parse
from goldsmith.types.artifact import Spec
from goldsmith.types.asking import Asked
from goldsmith.types.reward import Reward, Rewarded, Sampled, Unrewarded


class Multi(Spec):
    """A formula over other rewards; OpenAI's grader of this name.

    `graders` gives each a name and its settings, its kind under `type`: any reward of ours. `calculate_output` combines
    them by `+ - * / ^`, brackets, and min, max, abs, floor, ceil, exp, sqrt and log; it is parsed, never run. Where one
    of the rewards it reads cannot tell, or the formula has no value, neither can this.
    """

    id: ClassVar[str] = "multi"
    version: ClassVar[int] = 1

    name: str = ""
    graders: dict[str, dict[str, Any]] = Field(default_factory=dict)
    calculate_output: str = ""

    _rewards: Mapping[str, Reward] = PrivateAttr(default_factory=dict)

    @model_validator(mode="after")
    def _whole(self) -> "Multi":
        formula = parse(self.calculate_output)
        if missing := sorted(formula.names - set(self.graders)):
            raise ValueError(f"the formula reads {', '.join(missing)}, which no grader is called")
        if unread := sorted(set(self.graders) - formula.names):
            raise ValueError(f"the formula does not read {', '.join(unread)}")
        if untyped := sorted(name for name, one in self.graders.items() if not isinstance(one.get("type"), str)):
            raise ValueError(f"the grader {untyped[0]} does not say its type")
        return self

    def asks(self) -> Mapping[str, Asked]:
        """The rewards it combines."""
        return {
            name: Asked("rewards", one["type"], {key: value for key, value in one.items() if key != "type"})
            for name, one in self.graders.items()
        }

    def given(self, handed: Mapping[str, Any]) -> Self:
        """With these rewards."""
        mine = self.model_copy()
        mine._rewards = dict(handed)
        return mine

    @property
    def bounds(self) -> tuple[float, float]:
        """What the formula makes of the rewards' own bounds, by interval arithmetic."""
        return parse(self.calculate_output).bounds({name: one.bounds for name, one in self._rewards.items()})

    @property
    def needs_reference(self) -> bool:
        """Where one of the rewards does."""
        return any(one.needs_reference for one in self._rewards.values())

    def __call__(self, samples: Sequence[Sampled]) -> list[Rewarded | Unrewarded]:
        """Ask all, then calculate."""
        formula = parse(self.calculate_output)
        asked = {name: ask(one, samples).outcomes for name, one in self._rewards.items()}
        results: list[Rewarded | Unrewarded] = []
        for place in range(len(samples)):
            mine = {name: outcomes[place] for name, outcomes in asked.items()}
            parts = {name: one.value for name, one in mine.items() if isinstance(one, Rewarded)}
            unknown = next((f"{name}: {one.reason}" for name, one in mine.items() if isinstance(one, Unrewarded)), None)
            if unknown is not None:
                results.append(Unrewarded(unknown, parts))
                continue
            try:
                results.append(Rewarded(formula.value(parts), parts))
            except Undefined as error:
                results.append(Unrewarded(str(error), parts))
        return results


_RIGHT = {"type": "string_check", "operation": "ilike", "reference": "{{ item.city }}"}
EXAMPLES: tuple[Example, ...] = (
    (
        {
            "graders": {"right": _RIGHT, "brief": {"type": "length", "free": 3, "most": 8}},
            "calculate_output": "0.5 * (right + right^2) + 0.25 * min(brief, 0)",
        },
        [said("Oslo", city="oslo")],
        [said("Oslo or else it may be Bergen", city="oslo"), said("Bergen", city="oslo")],
    ),
)
