"""No reward for going on and on: a penalty for answers that come near the limit, or were cut off at it."""

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from goldsmith.engines.grading.examples import Example, said
from goldsmith.engines.grading.samples import output_text
from goldsmith.types.artifact import Spec
from goldsmith.types.reward import Rewarded, Sampled, Unrewarded


class Length(Spec):
    """0 up to `free`, then down in a straight line to -1 at `most` and beyond: DAPO's soft overlong punishment (Yu et
    al. 2025, arXiv:2503.14476, equation 13; its L_max is `most`, its L_cache `most` less `free`).

    An answer that was cut off gets -1 whatever its length.
    """

    id: ClassVar[str] = "length"
    version: ClassVar[int] = 1

    free: int = Field(default=768, ge=0)
    most: int = Field(default=1024, ge=1)
    unit: Literal["tokens", "words", "characters"] = "tokens"
    """Tokens of the whole answer as the model wrote it, or words or characters of its last turn."""

    @model_validator(mode="after")
    def _in_order(self) -> "Length":
        if self.free >= self.most:
            raise ValueError("free must be less than most")
        return self

    @property
    def bounds(self) -> tuple[float, float]:
        """A penalty."""
        return -1.0, 0.0

    @property
    def needs_reference(self) -> bool:
        """Never."""
        return False

    def __call__(self, samples: Sequence[Sampled]) -> list[Rewarded | Unrewarded]:
        """Measure."""
        return [self._penalty(sampled) for sampled in samples]

    def _penalty(self, sampled: Sampled) -> Rewarded | Unrewarded:
        if self.unit == "tokens":
            size = sampled.tokens
        else:
            text = output_text(sampled)
            size = len(text.split()) if self.unit == "words" else len(text)
        if size is None:
            return Unrewarded("nobody said how many tokens the answer has")
        over = 1.0 if not sampled.finished else min(1.0, max(0.0, (size - self.free) / (self.most - self.free)))
        return Rewarded(-over, {self.unit: float(size)})


EXAMPLES: tuple[Example, ...] = (
    (
        {"free": 3, "most": 6},
        [said("three words here"), said("")],
        [said("a b c d"), said("a b c d e f g"), said("a", finished=False)],
    ),
    ({"free": 3, "most": 6, "unit": "characters"}, [said("abc")], [said("abcdefgh")]),
)
