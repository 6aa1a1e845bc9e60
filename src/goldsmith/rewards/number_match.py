"""Did the answer come down to the right number?"""

from typing import Annotated, ClassVar

from pydantic import Field

from goldsmith.engines.grading.comparing import Comparing
from goldsmith.engines.grading.examples import Example, said
from goldsmith.engines.grading.numbers import same_number, stated_number
from goldsmith.engines.grading.templates import Unfilled
from goldsmith.types.artifact import Real


class NumberMatch(Comparing):
    """1 if the answer's number is the reference's, else 0. A text's number is the one after its last `####`, as GSM8K
    writes it, else its last. An answer without a number gets 0; a reference without one cannot tell."""

    id: ClassVar[str] = "number_match"
    version: ClassVar[int] = 1

    tolerance: Annotated[Real, Field(ge=0, lt=1)] = 1e-6
    """How far off it may be, as a share of the greater number."""

    def compare(self, text: str, reference: str) -> float:
        """The reward."""
        wanted = stated_number(reference)
        if wanted is None:
            raise Unfilled("the reference holds no number")
        found = stated_number(text)
        return float(found is not None and same_number(wanted, found, float(self.tolerance)))


_GOLD = "7 * 6 = 42\n#### 1,042"
EXAMPLES: tuple[Example, ...] = (
    (
        {},
        [said("So it is 1042.0 in all.", reference_answer=_GOLD), said("#### $1,042", reference_answer=_GOLD)],
        [said("1042, no: 42", reference_answer=_GOLD), said("many", reference_answer=_GOLD)],
    ),
    ({"reference": "{{ item.n }}"}, [said("\u22123", n=-3)], [said("3", n=-3)]),
)
