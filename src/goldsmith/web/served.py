"""What the API serves: a model with the evidence that lets it be served, and whoever looks over its answers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from goldsmith.engines.sampling.request import Completion, Sampling, Sink, Ticket
from goldsmith.types.finding import Finding
from goldsmith.types.record import Message, ToolSchema
from goldsmith.types.trajectory import Answer, Trajectory


class Writer(Protocol):
    """What can be served; `goldsmith.engines.sampler.LocalAnswerer` is one. Every method is thread-safe."""

    @property
    def context_length(self) -> int | None:
        """Tokens of prompt and answer together; None: no limit."""
        ...

    @property
    def call_form(self) -> str:
        """How the model writes tool calls: nano, hermes, mistral, llama3 or none."""
        ...

    def encode(self, messages: Sequence[Message], tools: Sequence[ToolSchema] = ()) -> Sequence[int]:
        """The prompt's token ids; BadInput for what the chat template cannot write."""
        ...

    def submit(self, prompt: Sequence[int], sink: Sink, *, max_new_tokens: int, sampling: Sampling) -> Ticket:
        """Start writing and return at once; `sink` hears pieces, then one Completion or Failed."""
        ...

    def as_answer(self, completion: Completion) -> Answer:
        """A completion as a parsed assistant turn."""
        ...


class Guard(Protocol):
    """Looks over an answer before anything of it is sent. Findings that exclude or quarantine withhold it."""

    def __call__(self, trajectory: Trajectory) -> Sequence[Finding]: ...


def in_force() -> str | None:
    """The standing of a model that nobody has withdrawn."""
    return None


@dataclass(frozen=True)
class ServedModel:
    """A model on offer.

    `evidence` is shown in `/v1/models`; `model_digest` and `verdict_digest` (or `admission_digest`, for a model
    an operator admitted without a verdict) also go into response headers. `standing` is asked before each
    request: None, or the reason why the model may no longer be served.
    """

    id: str
    answerer: Writer
    created: int = 0
    owned_by: str = "goldsmith"
    evidence: Mapping[str, str] = field(default_factory=dict)
    standing: Callable[[], str | None] = in_force

    def headers(self) -> dict[str, str]:
        """The response headers that name the evidence."""
        verdict = self.evidence.get("verdict_digest") or self.evidence.get("admission_digest")
        named = {"x-goldsmith-model": self.evidence.get("model_digest"), "x-goldsmith-verdict": verdict}
        return {name: value for name, value in named.items() if value}
