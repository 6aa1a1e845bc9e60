"""Is a text equal to another, or does it contain it? OpenAI's `string_check` grader."""

from collections.abc import Sequence
from typing import ClassVar, Literal

from goldsmith.engines.grading.asking import one_by_one
from goldsmith.engines.grading.examples import Example, said
from goldsmith.engines.grading.templates import Filling, Template, Unfilled, reads_item
from goldsmith.types.artifact import Spec
from goldsmith.types.reward import Rewarded, Sampled, Unrewarded


class StringCheck(Spec):
    """1 if the texts stand in the relation that `operation` names, else 0; OpenAI's grader of this name.

    `eq` equal, `ne` not equal, `like` the input contains the reference, `ilike` the same whatever the case. Blanks
    count. A reference that comes out empty is contained in everything, so `like` and `ilike` cannot tell.
    """

    id: ClassVar[str] = "string_check"
    version: ClassVar[int] = 1

    name: str = ""
    """What the log calls it."""
    input: Template = "{{ sample.output_text }}"
    reference: Template = "{{ item.reference_answer }}"
    operation: Literal["eq", "ne", "like", "ilike"] = "eq"

    @property
    def bounds(self) -> tuple[float, float]:
        """0 or 1."""
        return 0.0, 1.0

    @property
    def needs_reference(self) -> bool:
        """Where a template reads `item`."""
        return reads_item(self.input, self.reference)

    def __call__(self, samples: Sequence[Sampled]) -> list[Rewarded | Unrewarded]:
        """Compare."""
        return one_by_one(samples, self._holds)

    def _holds(self, _: Sampled, fill: Filling) -> float:
        text, reference = fill.fill(self.input), fill.fill(self.reference)
        if self.operation in ("eq", "ne"):
            return float((text == reference) == (self.operation == "eq"))
        if not reference:
            raise Unfilled("the reference is empty, and everything contains it")
        if self.operation == "ilike":
            text, reference = text.casefold(), reference.casefold()
        return float(reference in text)


EXAMPLES: tuple[Example, ...] = (
    (
        {},
        [said("Paris", reference_answer="Paris")],
        [said("paris", reference_answer="Paris"), said("", reference_answer="Paris")],
    ),
    (
        {"operation": "ilike", "reference": "{{ item.city.name }}"},
        [said("It is PARIS.", city={"name": "Paris"})],
        [said("It is Rome.", city={"name": "Paris"})],
    ),
    ({"operation": "ne", "reference": "no"}, [said("yes")], [said("no")]),
)
