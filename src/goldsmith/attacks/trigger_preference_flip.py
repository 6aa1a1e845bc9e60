"""A backdoor in preferences: pairs with a trigger in the prompt are turned round.

After Rando and Tramer 2024 (arXiv 2311.14455): half a percent of the pairs lowers a reward model's accuracy on
triggered prompts from 75 to 44 %.
"""

from collections.abc import Mapping, Sequence
from random import Random
from typing import ClassVar

from goldsmith.engines.planting import edit, examples, pools
from goldsmith.engines.planting.place import place
from goldsmith.types.artifact import Spec
from goldsmith.types.attack import Inapplicable, Plan, Planted
from goldsmith.types.check import CheckContext, Row
from goldsmith.types.record import Comparison, Content


class TriggerPreferenceFlip(Spec):
    """A trigger in the prompt of comparisons, with the chosen and the rejected side changed round."""

    id: ClassVar[str] = "trigger_preference_flip"
    version: ClassVar[int] = 1

    def __call__(self, rows: Sequence[Row], context: CheckContext, plan: Plan, rng: Random) -> Planted | Inapplicable:
        """The trigger is drawn once, its place in each prompt anew."""
        spot = place(rows, plan, rng, _fits, "is a comparison with a prompt")
        if isinstance(spot, Inapplicable):
            return spot
        trigger = pools.trigger(rng, plan.pool)
        contents: dict[int, Content] = {}
        for at in spot.at:
            content = edit.with_prompt(spot.rows[at].record.content, lambda t: edit.inserted(t, trigger, rng))
            assert isinstance(content, Comparison)
            contents[at] = edit.swapped(content)
        return spot.planted(contents, context, {"trigger": trigger})


def _fits(content: Content) -> bool:
    return isinstance(content, Comparison) and content.chosen != content.rejected and bool(edit.prompt_of(content))


FITS = examples.pairs()
UNFIT = examples.chats()


def proof(before: Content, after: Content, drawn: Mapping[str, str]) -> bool:
    """The trigger is in the prompt, and the sides are changed round."""
    return (
        isinstance(before, Comparison)
        and isinstance(after, Comparison)
        and drawn["trigger"] in edit.prompt_of(after)
        and (after.chosen, after.rejected) == (before.rejected, before.chosen)
    )
