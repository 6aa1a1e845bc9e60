"""Careless or hostile labels: comparisons turned round without any pattern."""

from collections.abc import Mapping, Sequence
from random import Random
from typing import ClassVar

from goldsmith.engines.planting import edit, examples
from goldsmith.engines.planting.place import place
from goldsmith.types.artifact import Spec
from goldsmith.types.attack import Inapplicable, Plan, Planted
from goldsmith.types.check import CheckContext, Row
from goldsmith.types.record import Comparison, Content


class RandomFlips(Spec):
    """Comparisons of one source with the chosen and the rejected side changed round, nothing else."""

    id: ClassVar[str] = "random_flips"
    version: ClassVar[int] = 1

    def __call__(self, rows: Sequence[Row], context: CheckContext, plan: Plan, rng: Random) -> Planted | Inapplicable:
        """Nothing is drawn but the rows."""
        spot = place(rows, plan, rng, _fits, "is a comparison of two different answers")
        if isinstance(spot, Inapplicable):
            return spot
        contents: dict[int, Content] = {}
        for at in spot.at:
            content = spot.rows[at].record.content
            assert isinstance(content, Comparison)
            contents[at] = edit.swapped(content)
        return spot.planted(contents, context)


def _fits(content: Content) -> bool:
    return isinstance(content, Comparison) and content.chosen != content.rejected


FITS = examples.pairs()
UNFIT = examples.chats()


def proof(before: Content, after: Content, drawn: Mapping[str, str]) -> bool:
    """The sides are changed round and the prompt is what it was."""
    return (
        isinstance(before, Comparison)
        and isinstance(after, Comparison)
        and after.prompt == before.prompt
        and (after.chosen, after.rejected) == (before.rejected, before.chosen)
    )
