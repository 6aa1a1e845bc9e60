"""The contract of a reward: sampled answers in, and for each a number or the reason why there is none."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from goldsmith.types.record import Message, ToolSchema
from goldsmith.types.trajectory import Environment, Task, Trajectory


@dataclass(frozen=True, slots=True)
class Episode:
    """An agent's task, what it did, and the world as it left it: what an eval scores."""

    task: Task
    trajectory: Trajectory
    environment: Environment


@dataclass(frozen=True, slots=True)
class Sampled:
    """One sampled answer, and what it is held against.

    `answer`: everything said after `prompt`, in order: the assistant's turns with their tool calls, the tools' results.
    `item`: the row's own fields as JSON values, by name; what graders call `item`. `reference`: the answer that the row
    holds, if it holds one. `finished`: False where the answer was cut off. `tokens`: tokens that the model wrote.
    """

    prompt: tuple[Message, ...]
    answer: tuple[Message, ...]
    tools: tuple[ToolSchema, ...] = ()
    item: Mapping[str, Any] = field(default_factory=dict)
    reference: tuple[Message, ...] = ()
    finished: bool = True
    tokens: int | None = None
    episode: Episode | None = None


@dataclass(frozen=True, slots=True)
class Rewarded:
    """A reward within the bounds that its maker declares. `parts`: what it is made of, by name, for the log."""

    value: float
    parts: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Unrewarded:
    """Could not tell. Counted and shown; never 0, and in no mean."""

    reason: str
    parts: Mapping[str, float] = field(default_factory=dict)


class Reward(Protocol):
    """A reward is its settings; calling it is its behaviour. Higher is better.

    It keeps nothing between calls, and what it gives an answer does not depend on the other answers of the batch: equal
    input gives equal output (a model behind an endpoint is as steady as its provider makes it). Beside the class its
    module holds `EXAMPLES`: (settings, samples that must get more, samples that must get less).
    """

    id: ClassVar[str]
    version: ClassVar[int]

    @property
    def bounds(self) -> tuple[float, float]:
        """The least and the greatest value it can give; infinite where there is no bound."""
        ...

    @property
    def needs_reference(self) -> bool:
        """Whether it reads anything of the row besides its prompt: `item`, `reference` or `episode`."""
        ...

    def __call__(self, samples: Sequence[Sampled]) -> list[Rewarded | Unrewarded]:
        """One result for each sample, in their order.

        Raises:
            Unavailable: nothing could be judged at all, because something it needs is missing. What concerns a single
                answer is `Unrewarded`.
        """
        ...
