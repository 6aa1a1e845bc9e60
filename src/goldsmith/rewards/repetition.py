"""No reward for saying the same over and over."""

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field

from goldsmith.engines.grading.examples import Example, said
from goldsmith.engines.grading.samples import output_text
from goldsmith.types.artifact import Spec
from goldsmith.types.reward import Rewarded, Sampled, Unrewarded


class Repetition(Spec):
    """Minus the share of the answer's n-grams that are repeats: 0 where all are different, towards -1 for a loop.

    As in Yeo et al. 2025 (arXiv:2502.03373), over the whole of the last turn. An answer of fewer than n words has
    nothing to repeat.
    """

    id: ClassVar[str] = "repetition"
    version: ClassVar[int] = 1

    n: int = Field(default=3, ge=1, le=20)
    unit: Literal["words", "characters"] = "words"
    """Characters for scripts without blanks."""

    @property
    def bounds(self) -> tuple[float, float]:
        """A penalty."""
        return -1.0, 0.0

    @property
    def needs_reference(self) -> bool:
        """Never."""
        return False

    def __call__(self, samples: Sequence[Sampled]) -> list[Rewarded | Unrewarded]:
        """Count."""
        return [Rewarded(-self._share(output_text(sampled))) for sampled in samples]

    def _share(self, text: str) -> float:
        units: Sequence[str] = text.lower().split() if self.unit == "words" else text.lower()
        total = len(units) - self.n + 1
        if total < 1:
            return 0.0
        return 1.0 - len(set(zip(*(units[start:] for start in range(self.n)), strict=False))) / total


EXAMPLES: tuple[Example, ...] = (
    ({}, [said("one two three four five six"), said("no")], [said("again and again and again and again")]),
    ({"unit": "characters", "n": 2}, [said("红烧肉")], [said("好好好好好")]),
)
