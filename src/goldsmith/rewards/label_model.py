"""A model behind an endpoint gives a label, and some labels pass. OpenAI's `label_model` grader."""

from collections.abc import Sequence
from typing import Any, ClassVar

from pydantic import Field, model_validator

from goldsmith.engines.grading.endpoint import Endpoint, NoAnswer, ask_all
from goldsmith.engines.grading.model_input import GraderMessage, SamplingParams, chats_for, messages_read_item
from goldsmith.types.artifact import Spec
from goldsmith.types.reward import Rewarded, Sampled, Unrewarded


class LabelModel(Spec):
    """1 if the label that a model answers with is one of `passing_labels`, else 0; OpenAI's grader of this name, by any
    OpenAI-compatible endpoint.

    An answer that is none of `labels` is asked for again, and then it cannot tell. The answers, and what of the row the
    messages quote, leave the machine.
    """

    id: ClassVar[str] = "label_model"
    version: ClassVar[int] = 1

    name: str = ""
    model: str = Field(min_length=1)
    input: tuple[GraderMessage, ...] = Field(min_length=1)
    labels: tuple[str, ...] = Field(min_length=2)
    passing_labels: tuple[str, ...] = Field(min_length=1)
    sampling_params: SamplingParams = SamplingParams()
    endpoint: Endpoint = Endpoint()

    @model_validator(mode="after")
    def _subset(self) -> "LabelModel":
        if not set(self.passing_labels) < set(self.labels) or len(set(self.labels)) < len(self.labels):
            raise ValueError("passing_labels must be some of labels and not all, and labels must differ")
        return self

    @property
    def bounds(self) -> tuple[float, float]:
        """0 or 1."""
        return 0.0, 1.0

    @property
    def needs_reference(self) -> bool:
        """Where a message reads `item`."""
        return messages_read_item(self.input)

    def __call__(self, samples: Sequence[Sampled]) -> list[Rewarded | Unrewarded]:
        """Ask. Raises Unavailable where the endpoint answers nothing at all."""
        chats = chats_for(self.input, samples)
        asked = {place: chat for place, chat in enumerate(chats) if isinstance(chat, list)}
        schema = {
            "type": "object",
            "properties": {"result": {"type": "string", "enum": list(self.labels)}},
            "required": ["result"],
            "additionalProperties": False,
        }
        sampling = self.sampling_params.as_request()
        found = ask_all(self.endpoint, self.model, list(asked.values()), schema, self._read, sampling)
        answers = dict(zip(asked, found, strict=True))
        return [_outcome(answers.get(place, chat)) for place, chat in enumerate(chats)]

    def _read(self, value: Any) -> float:
        result = value.get("result") if set(value) == {"result"} else None
        if result not in self.labels:
            raise NoAnswer("the model's answer is none of the labels")
        return float(result in self.passing_labels)


def _outcome(answer: Any) -> Rewarded | Unrewarded:
    return Rewarded(answer) if isinstance(answer, float) else Unrewarded(str(answer))
