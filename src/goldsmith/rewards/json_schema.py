"""Is the answer JSON, and of the form that was asked for?"""

from collections.abc import Sequence
from typing import Any, ClassVar

from pydantic import Field

from goldsmith.engines.grading.examples import Example, said
from goldsmith.engines.grading.samples import output_text, strict_json
from goldsmith.engines.json_schema import problem_with
from goldsmith.types.artifact import Spec
from goldsmith.types.reward import Rewarded, Sampled, Unrewarded


class JsonSchema(Spec):
    """1 if the answer is one JSON value that fits the schema, else 0; `parses` is logged beside it.

    The schema is `json_schema`, or the row's own in its field `schema_field`. Checked is the part of JSON Schema that
    tool definitions use (see the tools' sandbox); other keywords are annotations.
    """

    id: ClassVar[str] = "json_schema"
    version: ClassVar[int] = 1

    name: str = ""
    json_schema: dict[str, Any] = Field(default_factory=dict)
    schema_field: str | None = None

    @property
    def bounds(self) -> tuple[float, float]:
        """0 or 1."""
        return 0.0, 1.0

    @property
    def needs_reference(self) -> bool:
        """Where each row brings a schema of its own."""
        return self.schema_field is not None

    def __call__(self, samples: Sequence[Sampled]) -> list[Rewarded | Unrewarded]:
        """Parse and check."""
        return [self._fits(sampled) for sampled in samples]

    def _fits(self, sampled: Sampled) -> Rewarded | Unrewarded:
        schema: Any = self.json_schema if self.schema_field is None else sampled.item.get(self.schema_field)
        if isinstance(schema, str):
            schema = strict_json(schema)
        if not isinstance(schema, dict):
            return Unrewarded(f"the row's {self.schema_field} is no JSON schema")
        text = output_text(sampled)
        value = strict_json(text)
        parses = value is not None or text.strip() == "null"
        fits = parses and problem_with(value, schema) is None
        return Rewarded(float(fits), {"parses": float(parses)})


_CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
EXAMPLES: tuple[Example, ...] = (
    (
        {"json_schema": _CITY},
        [said('{"city": "Oslo"}')],
        [said('{"city": 3}'), said("{}"), said('Here: {"city": "Oslo"}'), said('{"city": "A", "city": "B"}')],
    ),
    ({"schema_field": "form"}, [said("[1]", form={"type": "array"})], [said("1", form='{"type": "array"}')]),
)
