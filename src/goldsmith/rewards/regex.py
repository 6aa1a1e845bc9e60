"""Does the answer match a pattern?"""

import re
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field

from goldsmith.engines.code_sandbox import Limits, run_each
from goldsmith.engines.grading.examples import Example, said
from goldsmith.engines.grading.templates import Template, Unfilled, filling, reads_item
from goldsmith.types.artifact import Spec
from goldsmith.types.reward import Rewarded, Sampled, Unrewarded

_LONGEST = 200_000
_PROGRAM = """
import re

def matches(pattern, text, how):
    return getattr(re, how)(pattern, text, re.DOTALL) is not None
"""


def _is_pattern(pattern: str) -> str:
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"no regular expression: {error}") from error
    return pattern


class Regex(Spec):
    """1 if the text matches the pattern (Python's syntax; a dot matches line ends too), else 0.

    Matching runs in the code sandbox with a time limit, because some patterns take for ever on some texts, and the text
    is the model's: running out of time cannot tell. Linux only.
    """

    id: ClassVar[str] = "regex"
    version: ClassVar[int] = 1

    name: str = ""
    pattern: Annotated[str, Field(min_length=1, max_length=2000), AfterValidator(_is_pattern)] = r"\S"
    input: Template = "{{ sample.output_text }}"
    match: Literal["search", "match", "fullmatch"] = "search"
    """Anywhere, from the start, or the whole text."""
    limits: Limits = Limits(seconds=1, megabytes=256)

    @property
    def bounds(self) -> tuple[float, float]:
        """0 or 1."""
        return 0.0, 1.0

    @property
    def needs_reference(self) -> bool:
        """Where the template reads `item`."""
        return reads_item(self.input)

    def __call__(self, samples: Sequence[Sampled]) -> list[Rewarded | Unrewarded]:
        """Match. Raises Unavailable where code cannot be confined."""
        results: list[Rewarded | Unrewarded] = [Unrewarded("not matched")] * len(samples)
        calls: dict[int, list[Any]] = {}
        for place, sampled in enumerate(samples):
            try:
                text = filling(sampled).fill(self.input)
            except Unfilled as error:
                results[place] = Unrewarded(str(error))
                continue
            if len(text) > _LONGEST:
                results[place] = Unrewarded("the text is too long to be matched")
            else:
                calls[place] = [self.pattern, text, self.match]
        for place, ran in zip(calls, run_each(_PROGRAM, "matches", list(calls.values()), self.limits), strict=True):
            results[place] = Rewarded(float(ran.value)) if ran.failure is None else Unrewarded(ran.failure)
        return results


EXAMPLES: tuple[Example, ...] = (
    ({"pattern": r"\b\d{4}-\d{2}-\d{2}\b"}, [said("on 2024-05-06,\nat noon")], [said("in May"), said("")]),
    ({"pattern": r"yes|no", "match": "fullmatch"}, [said("yes"), said("no")], [said("yes and no")]),
)
