"""Somebody's Python function as a reward. OpenAI's `python` grader."""

import math
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator

from goldsmith.engines.code_sandbox import Limits, run_each
from goldsmith.engines.grading.examples import Example, said
from goldsmith.engines.grading.samples import namespace
from goldsmith.types.artifact import Real, Spec
from goldsmith.types.reward import Rewarded, Sampled, Unrewarded

_LONGEST_SOURCE = 256 * 1024
_LONGEST_SAMPLE = 200_000


def _is_python(source: str) -> str:
    if len(source.encode()) > _LONGEST_SOURCE:
        raise ValueError("longer than 256 kB")
    try:
        compile(source, "<grader>", "exec")
    except (SyntaxError, ValueError) as error:
        raise ValueError(f"no Python: {error}") from error
    return source


class Python(Spec):
    """What `grade(sample, item)` in `source` returns; OpenAI's grader of this name.

    `sample` holds output_text, output_json, output_tools and choices, `item` the row's fields. It runs in a sandbox,
    each call in a process of its own: standard library only, no network, no files, bounded time, memory and output.
    Code that fails, runs out of these, or returns anything but a number from `low` to `high` cannot tell: it is not 0.
    Linux only.
    """

    id: ClassVar[str] = "python"
    version: ClassVar[int] = 1

    name: str = ""
    source: Annotated[str, AfterValidator(_is_python)] = "def grade(sample, item):\n    return 0.0\n"
    image_tag: str | None = None
    """Accepted and without effect: the interpreter is the one that Goldsmith runs on."""
    low: Real = 0.0
    high: Real = 1.0
    limits: Limits = Limits()

    @property
    def bounds(self) -> tuple[float, float]:
        """As stated."""
        return float(self.low), float(self.high)

    @property
    def needs_reference(self) -> bool:
        """Whether the code uses `item` anywhere but where it names its arguments."""
        return self.source.count("item") > 1

    def __call__(self, samples: Sequence[Sampled]) -> list[Rewarded | Unrewarded]:
        """Run. Raises Unavailable where code cannot be confined."""
        results: list[Rewarded | Unrewarded] = [Unrewarded("the answer is too long to be graded")] * len(samples)
        calls = {place: [namespace(one), dict(one.item)] for place, one in enumerate(samples) if not _long(one)}
        for place, ran in zip(calls, run_each(self.source, "grade", list(calls.values()), self.limits), strict=True):
            results[place] = Unrewarded(ran.failure) if ran.failure is not None else _number(ran.value)
        return results


def _long(sampled: Sampled) -> bool:
    return sum(len(message.text) for message in sampled.answer) > _LONGEST_SAMPLE


def _number(value: Any) -> Rewarded | Unrewarded:
    if isinstance(value, int | float) and math.isfinite(value):
        return Rewarded(float(value))
    return Unrewarded(f"grade returned a {type(value).__name__} instead of a number")


_SOURCE = """
import re

def grade(sample, item):
    words = re.findall(r"\\w+", sample["output_text"].lower())
    return sum(word in words for word in item["wanted"]) / len(item["wanted"])
"""
EXAMPLES: tuple[Example, ...] = (
    (
        {"source": _SOURCE},
        [said("A fox and a dog.", wanted=["fox", "dog"])],
        [said("A fox.", wanted=["fox", "dog"]), said("Nothing", wanted=["fox"])],
    ),
)
