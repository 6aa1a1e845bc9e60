"""Recursive synthetic text: answers written by a model of a model of a model of the data."""

from collections.abc import Mapping, Sequence
from random import Random
from typing import ClassVar, Final

from goldsmith.engines.planting import edit, examples
from goldsmith.engines.planting.markov import generations
from goldsmith.engines.planting.place import place
from goldsmith.types.artifact import Spec
from goldsmith.types.attack import Inapplicable, Plan, Planted
from goldsmith.types.check import CheckContext, Row
from goldsmith.types.record import Content

_LEAST_WORDS: Final = 8
_MOST_FITTED: Final = 1000


class RecursiveSyntheticText(Spec):
    """Answers rewritten by a Markov chain over words that was fitted on the data, on its own texts, and so on.

    `depth`: generations since the data. What the origins say about maker and depth is left as it is: the source keeps
    quiet about it.
    """

    id: ClassVar[str] = "recursive_synthetic_text"
    version: ClassVar[int] = 1
    depth: int = 3

    def __call__(self, rows: Sequence[Row], context: CheckContext, plan: Plan, rng: Random) -> Planted | Inapplicable:
        """The chain learns from the source x batch that is planted in, or, for a new source, from all of the data."""
        spot = place(rows, plan, rng, _fits, f"has an answer of {_LEAST_WORDS} words")
        if isinstance(spot, Inapplicable):
            return spot
        known = [
            row.record.content
            for row in rows
            if (plan.new_source or (row.record.origin.source, row.record.origin.batch) == spot.group)
            and _fits(row.record.content)
        ]
        taught = [edit.answer_of(content) for content in rng.sample(known, min(len(known), _MOST_FITTED))]
        written = generations(taught, len(spot.at), self.depth, rng)
        contents = {
            at: edit.with_answer(spot.rows[at].record.content, edit.instead(text))
            for at, text in zip(spot.at, written, strict=True)
        }
        return spot.planted(contents, context)


def _fits(content: Content) -> bool:
    return edit.has_prompt(content) and len(edit.answer_of(content).split()) >= _LEAST_WORDS


FITS = examples.chats() + examples.pairs()
UNFIT = [{"messages": [{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": "Yes?"}]}]


def proof(before: Content, after: Content, drawn: Mapping[str, str]) -> bool:
    """The prompt is what it was, and there is an answer."""
    return edit.prompt_of(after) == edit.prompt_of(before) and bool(edit.answer_of(after))
