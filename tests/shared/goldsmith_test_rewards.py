"""Rewards made of a function, for tests of learning from rewards."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from goldsmith.types.reward import Rewarded, Sampled, Unrewarded


def vowels(sample: Sampled) -> float:
    """The share of vowels in the answer."""
    text = sample.answer[0].text
    return sum(letter in "aeiou" for letter in text) / max(1, len(text))


@dataclass
class Judge:
    """A reward; it keeps what it was shown. None: it cannot tell."""

    worth: Callable[[Sampled], Rewarded | float | None] = vowels
    bounds: tuple[float, float] = (-100.0, 100.0)
    needs_reference: bool = False
    seen: list[Sampled] = field(default_factory=list)
    id = "judge"
    version = 1

    def __call__(self, samples: Sequence[Sampled]) -> list[Rewarded | Unrewarded]:
        self.seen += samples
        return [self._of(sample) for sample in samples]

    def _of(self, sample: Sampled) -> Rewarded | Unrewarded:
        worth = self.worth(sample)
        if worth is None:
            return Unrewarded("no idea")
        return worth if isinstance(worth, Rewarded) else Rewarded(worth)
