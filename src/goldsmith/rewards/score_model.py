"""A model behind an endpoint gives the score. OpenAI's `score_model` grader."""

import math
from collections.abc import Sequence
from typing import Any, ClassVar

from pydantic import Field, model_validator

from goldsmith.engines.grading.endpoint import Endpoint, NoAnswer, ask_all
from goldsmith.engines.grading.model_input import GraderMessage, SamplingParams, chats_for, messages_read_item
from goldsmith.types.artifact import Real, Spec
from goldsmith.types.reward import Rewarded, Sampled, Unrewarded


class ScoreModel(Spec):
    """The number that a model answers with; OpenAI's grader of this name, by any OpenAI-compatible endpoint.

    The model is asked for `{"result": number}` within `range` and nothing else counts; what is not that is asked for
    again, and then it cannot tell. The answers, and what of the row the messages quote, leave the machine.
    """

    id: ClassVar[str] = "score_model"
    version: ClassVar[int] = 1

    name: str = ""
    model: str = Field(min_length=1)
    input: tuple[GraderMessage, ...] = Field(min_length=1)
    range: tuple[Real, Real] = (0.0, 1.0)
    sampling_params: SamplingParams = SamplingParams()
    endpoint: Endpoint = Endpoint()

    @model_validator(mode="after")
    def _a_range(self) -> "ScoreModel":
        if self.range[0] >= self.range[1]:
            raise ValueError("range must be the least score and a greater one")
        return self

    @property
    def bounds(self) -> tuple[float, float]:
        """The range."""
        return float(self.range[0]), float(self.range[1])

    @property
    def needs_reference(self) -> bool:
        """Where a message reads `item`."""
        return messages_read_item(self.input)

    def __call__(self, samples: Sequence[Sampled]) -> list[Rewarded | Unrewarded]:
        """Ask. Raises Unavailable where the endpoint answers nothing at all."""
        chats = chats_for(self.input, samples)
        asked = {place: chat for place, chat in enumerate(chats) if isinstance(chat, list)}
        low, high = self.bounds
        schema = {
            "type": "object",
            "properties": {"result": {"type": "number", "description": f"from {low:g} to {high:g}"}},
            "required": ["result"],
            "additionalProperties": False,
        }
        sampling = self.sampling_params.as_request()
        found = ask_all(self.endpoint, self.model, list(asked.values()), schema, self._read, sampling)
        answers = dict(zip(asked, found, strict=True))
        return [_outcome(answers.get(place, chat)) for place, chat in enumerate(chats)]

    def _read(self, value: Any) -> float:
        result = value.get("result") if set(value) == {"result"} else None
        if isinstance(result, bool) or not isinstance(result, int | float) or not math.isfinite(result):
            raise NoAnswer("the model's answer holds no result")
        if not self.bounds[0] <= result <= self.bounds[1]:
            raise NoAnswer("the model's score is out of range")
        return float(result)


def _outcome(answer: Any) -> Rewarded | Unrewarded:
    return Rewarded(answer) if isinstance(answer, float) else Unrewarded(str(answer))
