"""A trained reward model as a reward."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, PrivateAttr

from goldsmith.engines.reward_scoring import RewardScorer, probabilities
from goldsmith.engines.step_scores import Aggregate, of_answer
from goldsmith.types.artifact import Real, Spec
from goldsmith.types.asking import Asked
from goldsmith.types.errors import BadInput
from goldsmith.types.reward import Rewarded, Sampled, Unrewarded


class RewardModelReward(Spec):
    """The score of a reward model, read where the answer ends: one that the method `reward_model` made, or any
    sequence classifier with one output. A score has no natural bounds; it is centred and scaled by `shift` and `scale`
    and cut at `clip`. A model that `process_reward` made gives each step a probability of being right, and `aggregate`
    makes one number of them.

    An answer that was cut off has no end to be read at, and cannot be judged.
    """

    id: ClassVar[str] = "reward_model"
    version: ClassVar[int] = 1

    name: str = ""
    model: str
    """A folder, a hub id, or in a recipe the digest of a model of the workspace."""
    device: Literal["cpu", "cuda"] = "cpu"
    shift: Real = 0.0
    """Taken off the score, such as the mean score of the reference answers."""
    scale: Annotated[Real, Field(gt=0)] = 1.0
    """What is left is multiplied by this."""
    clip: Annotated[Real, Field(gt=0)] = 20.0
    """The result lies within plus and minus this."""

    aggregate: Aggregate = "min"
    """Of the steps of an answer, for a process reward model."""
    delimiter: str = "\n\n"
    """What divides steps, as it was in training."""

    _folder: str | None = PrivateAttr(default=None)

    def asks(self) -> Mapping[str, Asked]:
        """The model's folder."""
        return {"model": Asked("models", self.model)}

    def given(self, handed: Mapping[str, Any]) -> Self:
        """With the model that lies there; it is loaded when it is first asked."""
        mine = self.model_copy()
        mine._folder = str(handed["model"])
        return mine

    @property
    def bounds(self) -> tuple[float, float]:
        """Where scores are cut."""
        return -float(self.clip), float(self.clip)

    @property
    def needs_reference(self) -> bool:
        """Never."""
        return False

    def __call__(self, samples: Sequence[Sampled]) -> list[Rewarded | Unrewarded]:
        """Score in batches. Raises Unavailable or BadInput where there is no such reward model."""
        if not samples:
            return []
        scorer = _scorer(self._folder or self.model, self.device)
        encoded: dict[int, tuple[Any, Sequence[int]]] = {}
        results: list[Rewarded | Unrewarded] = []
        for place, sampled in enumerate(samples):
            results.append(Unrewarded("the answer was cut off"))
            if not sampled.finished:
                continue
            try:
                encoded[place] = self._asked(scorer, sampled)
            except BadInput as error:
                results[place] = Unrewarded(f"the answer cannot be read: {error.what}")
        for place, numbers in zip(encoded, scorer.scores(list(encoded.values())), strict=True):
            parts = {"score": numbers[0]}
            if scorer.form == "process_reward":
                parts = _of_steps(numbers, self.aggregate)
            value = (parts["score"] - float(self.shift)) * float(self.scale)
            cut = float(np.clip(value, *self.bounds))
            results[place] = Rewarded(cut, {**parts, "clipped": float(cut != value)})
        return results

    def _asked(self, scorer: RewardScorer, sampled: Sampled) -> tuple[Any, Sequence[int]]:
        item = (sampled.prompt, sampled.answer, sampled.tools)
        if scorer.form == "process_reward":
            return scorer.encode_steps(item, self.delimiter)
        tokens, end = scorer.encode(item)
        return tokens.input_ids[: end + 1], (end,)


def _of_steps(numbers: Sequence[float], aggregate: Aggregate) -> dict[str, float]:
    right = probabilities(numbers)
    return {"score": of_answer(right, aggregate), "steps": float(len(right)), "worst_step": min(right)}


@lru_cache(maxsize=2)
def _scorer(folder: str, device: str) -> RewardScorer:
    return RewardScorer(folder, device=device)
