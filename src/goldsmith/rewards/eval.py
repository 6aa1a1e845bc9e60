"""An eval of ours as a reward: what examines the model also trains it."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

from pydantic import Field, PrivateAttr

from goldsmith.types.artifact import Spec
from goldsmith.types.asking import Asked
from goldsmith.types.errors import BadInput
from goldsmith.types.reward import Rewarded, Sampled, Unrewarded
from goldsmith.types.score import Eval, Scored


class EvalReward(Spec):
    """The score that an eval gives the episode; its other metrics are logged beside it.

    An answer that was not given in an episode (a task, what was done, and the world after it) cannot be judged, nor one
    that the eval leaves unscored. Train on other tasks than those you examine on: give the eval another seed or file.
    """

    id: ClassVar[str] = "eval"
    version: ClassVar[int] = 1

    name: str = ""
    eval: str = "nano_tasks"
    """The eval's name, or a dotted path."""
    settings: dict[str, Any] = Field(default_factory=dict)
    metric: str | None = None
    """Which of its metrics; may be left out where it gives one, or one called `success` or `correct`."""

    _eval: Eval | None = PrivateAttr(default=None)

    def asks(self) -> Mapping[str, Asked]:
        """The eval."""
        return {"eval": Asked("evals", self.eval, self.settings)}

    def given(self, handed: Mapping[str, Any]) -> Self:
        """With this eval.

        Raises:
            BadInput: one that looks at log-probabilities and scores no episode; a metric without bounds.
        """
        mine = self.model_copy()
        mine._eval = handed["eval"]
        if not hasattr(mine._eval, "score"):
            raise BadInput(f"the eval {self.eval} scores no episodes", where="eval", allowed="an eval that sets tasks")
        if self.metric in getattr(mine._eval, "unbounded_metrics", ()):
            raise BadInput(f"the metric {self.metric} has no bounds", where="metric", allowed="a metric from 0 to 1")
        return mine

    @property
    def bounds(self) -> tuple[float, float]:
        """A score of 1 is always good."""
        return 0.0, 1.0

    @property
    def needs_reference(self) -> bool:
        """The episode."""
        return True

    def __call__(self, samples: Sequence[Sampled]) -> list[Rewarded | Unrewarded]:
        """Score each episode."""
        return [self._score(sampled) for sampled in samples]

    def _score(self, sampled: Sampled) -> Rewarded | Unrewarded:
        episode = sampled.episode
        if episode is None or self._eval is None:
            return Unrewarded("the answer was not given in an episode")
        try:
            scores = self._eval.score(episode.task, episode.trajectory, episode.environment)
        except Exception as error:  # an eval of somebody else's; as when examining, it concerns this item alone
            return Unrewarded(f"scoring failed: {type(error).__name__}")
        parts = {name: score.value for name, score in scores.items() if isinstance(score, Scored)}
        metric = self.metric or next((name for name in ("success", "correct") if name in scores), None)
        if metric is None and len(scores) == 1:
            metric = next(iter(scores))
        if metric is None or metric not in scores:
            return Unrewarded(f"the eval has no metric {metric or 'that stands out'}; it has {', '.join(scores)}"[:200])
        score = scores[metric]
        return Rewarded(score.value, parts) if isinstance(score, Scored) else Unrewarded(score.reason, parts)
