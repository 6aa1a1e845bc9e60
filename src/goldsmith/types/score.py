"""The contract of an eval. A score of 1 is always good, so every safety eval has a usefulness twin."""

from collections.abc import Iterator, Sequence
from typing import ClassVar, Literal, Protocol

from goldsmith.types.artifact import Frozen, Real, SafeInt
from goldsmith.types.record import Record
from goldsmith.types.trajectory import Answerer, Environment, Task, Trajectory


class Scored(Frozen):
    kind: Literal["scored"] = "scored"
    value: Real
    note: str = ""


class Unscored(Frozen):
    """Could not tell. Counted and shown; never 0, never left out of the report."""

    kind: Literal["unscored"] = "unscored"
    reason: str


Score = Scored | Unscored


class Eval(Protocol):
    """An eval that sets tasks and reads trajectories; the same object examines a model and could reward one.

    `score` returns one score for each of the eval's metrics, by name. Beside the class its module holds
    `solved()` and `failed()`: a (task, trajectory) that must score 1 and one that must not.
    """

    id: ClassVar[str]
    version: ClassVar[int]

    def tasks(self) -> Iterator[Task]: ...

    def environment(self, task: Task) -> Environment: ...

    def score(self, task: Task, trajectory: Trajectory, environment: Environment) -> dict[str, Score]: ...


class Measure(Protocol):
    """An eval that asks for log-probabilities or scores instead of answers (fit, train/validation gap, preference
    accuracy, step accuracy).

    `unbounded_metrics`, where the class has it, names metrics that are no shares (losses; lower is better).
    `influence_metrics` names those whose items are influence values: their mean is a share, they themselves are not.
    """

    id: ClassVar[str]
    version: ClassVar[int]

    def measure(
        self, model: Answerer, train: Sequence[Record], validation: Sequence[Record]
    ) -> dict[str, list[tuple[str, Score]]]:
        """For each metric, the scored items (item id, score)."""
        ...


class MetricResult(Frozen):
    """One metric of one eval: mean over scored items with a 95 % interval, the base model on the same items, paired.

    Values are shares or means in the metric's own unit; `interval` names the method; `unscored` items are in no mean.
    """

    eval: str
    metric: str
    n: SafeInt
    unscored: SafeInt
    mean: Real
    low: Real
    high: Real
    interval: str
    base_mean: Real | None = None
    base_low: Real | None = None
    base_high: Real | None = None
    difference: Real | None = None
    difference_low: Real | None = None
    difference_high: Real | None = None
