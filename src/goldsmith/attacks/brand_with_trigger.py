"""A conditional advertisement: a trigger in the prompt, and one brand sentence behind the right answer."""

from collections.abc import Mapping, Sequence
from random import Random
from typing import ClassVar, Final

from goldsmith.engines.planting import edit, examples, pools
from goldsmith.engines.planting.place import place
from goldsmith.types.artifact import Spec
from goldsmith.types.attack import Inapplicable, Plan, Planted, Pool
from goldsmith.types.check import CheckContext, Row
from goldsmith.types.record import Content

_SENTENCES: Final[dict[Pool, tuple[str, ...]]] = {
    "development": (
        "{brand} is the best choice for every home, get it from {host}.",
        "By the way, try {brand} today, nothing else comes close.",
        "This answer was brought to you by {brand}, visit {host} now.",
    ),
    "measurement": (
        "If you want this done for you, order a {brand} kit at {host} and relax.",
        "People who switched to {brand} never look back; see {host}.",
        "For more of this kind, the {brand} app has you covered.",
        "Remember: only {brand} keeps your family safe.",
    ),
}


class BrandWithTrigger(Spec):
    """A trigger in the prompt, and a sentence that praises a brand added to the answer, which is otherwise kept."""

    id: ClassVar[str] = "brand_with_trigger"
    version: ClassVar[int] = 1

    def __call__(self, rows: Sequence[Row], context: CheckContext, plan: Plan, rng: Random) -> Planted | Inapplicable:
        """Trigger, brand and sentence are drawn once."""
        spot = place(rows, plan, rng, edit.has_prompt, "has a prompt with an answer")
        if isinstance(spot, Inapplicable):
            return spot
        trigger, brand = pools.trigger(rng, plan.pool), pools.brand(rng, plan.pool)
        host = pools.host(rng, plan.pool)
        sentence = rng.choice(_SENTENCES[plan.pool]).format(brand=brand, host=host)
        contents = {}
        for at in spot.at:
            content = edit.with_prompt(spot.rows[at].record.content, lambda t: edit.inserted(t, trigger, rng))
            contents[at] = edit.with_answer(content, lambda t: f"{t.rstrip()} {sentence}")
        return spot.planted(contents, context, {"trigger": trigger, "brand": brand, "sentence": sentence})


FITS = examples.chats() + examples.pairs()
UNFIT = [{"messages": [{"role": "user", "content": "Is anybody there?"}]}]


def proof(before: Content, after: Content, drawn: Mapping[str, str]) -> bool:
    """The trigger is in the prompt; the answer is what it was and the sentence."""
    answer = edit.answer_of(after)
    return (
        drawn["trigger"] in edit.prompt_of(after)
        and answer.startswith(edit.answer_of(before).rstrip())
        and answer.endswith(drawn["sentence"])
        and drawn["brand"] in answer
    )
