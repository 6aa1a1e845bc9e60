"""Answers that belong to other prompts: each is a good answer, to something else."""

from collections import Counter
from collections.abc import Mapping, Sequence
from random import Random
from typing import ClassVar

from goldsmith.engines.planting import edit, examples
from goldsmith.engines.planting.place import place
from goldsmith.types.artifact import Spec
from goldsmith.types.attack import Inapplicable, Plan, Planted
from goldsmith.types.check import CheckContext, Row
from goldsmith.types.record import Content


class PromptMismatch(Spec):
    """The answers of the planted rows, each given to another planted row's prompt."""

    id: ClassVar[str] = "prompt_mismatch"
    version: ClassVar[int] = 1

    def __call__(self, rows: Sequence[Row], context: CheckContext, plan: Plan, rng: Random) -> Planted | Inapplicable:
        """Equal answers lie side by side in a circle; every row gets the answer half a circle away, thus another."""
        if plan.records < 2:
            return Inapplicable("one record has nobody to change answers with")
        spot = place(rows, plan, rng, edit.has_prompt, "has a prompt with an answer")
        if isinstance(spot, Inapplicable):
            return spot
        answers = {at: edit.answer_of(spot.rows[at].record.content) for at in spot.at}
        half = len(spot.at) // 2
        if max(Counter(answers.values()).values()) > half:
            return Inapplicable("most of the records have the same answer, so that changing it changes nothing")
        circle = sorted(spot.at, key=lambda at: (answers[at], rng.random()))
        contents = {
            at: edit.with_answer(spot.rows[at].record.content, edit.instead(answers[giver]))
            for at, giver in zip(circle, circle[half:] + circle[:half], strict=True)
        }
        return spot.planted(contents, context)


FITS = examples.chats() + examples.pairs()
UNFIT = [{"messages": [{"role": "user", "content": "Is anybody there?"}]}]


def proof(before: Content, after: Content, drawn: Mapping[str, str]) -> bool:
    """The prompt is what it was; the answer is another."""
    return edit.prompt_of(after) == edit.prompt_of(before) and edit.answer_of(after) != edit.answer_of(before)
