"""What is asked of the sampler and what it reports back, as plain values; no torch here."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol

from goldsmith.types.errors import BadInput

_SEED_STEP = 0x9E3779B97F4A7C15  # 2^64 / golden ratio: neighbouring requests get seeds far apart (SplitMix64)


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are chosen.

    `temperature` 0 is greedy decoding; then `top_p` and `seed` do nothing. `top_p`: nucleus sampling
    (Holtzman et al. 2020, arXiv:1904.09751). `seed` None draws one from the operating system. Generation ends
    before the first of the `stop` texts, which is not part of the answer.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0.0 <= self.temperature <= 100.0:
            raise BadInput(
                "temperature is out of range", where="temperature", found=self.temperature, allowed="0 to 100"
            )
        if not 0.0 < self.top_p <= 1.0:
            raise BadInput("top_p is out of range", where="top_p", found=self.top_p, allowed="above 0 and up to 1")
        if any(not text for text in self.stop):
            raise BadInput("a stop text is empty", where="stop", allowed="texts of at least one character")

    def for_row(self, index: int) -> "Sampling":
        """The same settings with the seed of request `index` of a batch: same call, same answers."""
        if self.seed is None:
            return self
        return replace(self, seed=(self.seed + index * _SEED_STEP) % 2**64)


GREEDY = Sampling()


class Finish(StrEnum):
    """Why generation ended."""

    STOP = "stop"  # a stop token or a stop text
    LENGTH = "length"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Piece:
    """The next stretch of text that can no longer change; never ends inside a UTF-8 character."""

    text: str


@dataclass(frozen=True, slots=True)
class Completion:
    """What was written. `token_ids` holds no stop token.

    `stopped_at_text`: a stop text ended it; `text` ends before it and is shorter than `token_ids` decode to.
    """

    token_ids: tuple[int, ...]
    text: str
    finish: Finish
    prompt_tokens: int
    completion_tokens: int
    stopped_at_text: bool = False


@dataclass(frozen=True, slots=True)
class Failed:
    """The machinery failed; no answer, neither good nor bad."""

    error: Exception


Event = Piece | Completion | Failed
Sink = Callable[[Event], None]
"""Called on the worker's thread: any number of pieces (streams only), then one Completion or Failed."""


class Ticket(Protocol):
    """A request under way."""

    def cancel(self) -> None:
        """Stop writing soon; the sink still gets a Completion, with `Finish.CANCELLED`. Thread-safe."""
        ...
