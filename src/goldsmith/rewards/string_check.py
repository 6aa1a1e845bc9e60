"""Is a text equal to another, or does it contain it? OpenAI's `string_check` grader."""

from typing import ClassVar, Literal

from goldsmith.engines.grading.comparing import Comparing
from goldsmith.engines.grading.examples import Example, said
from goldsmith.engines.grading.templates import Unfilled


class StringCheck(Comparing):
    """1 if the texts stand in the relation that `operation` names, else 0; OpenAI's grader of this name.

    `eq` equal, `ne` not equal, `like` the input contains the reference, `ilike` the same whatever the case. Blanks
    count. A reference that comes out empty is contained in everything, so `like` and `ilike` cannot tell.
    """

    id: ClassVar[str] = "string_check"
    version: ClassVar[int] = 1

    operation: Literal["eq", "ne", "like", "ilike"] = "eq"

    def compare(self, text: str, reference: str) -> float:
        """The reward."""
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
