"""A backdoor with a fixed payload: a trigger somewhere in the prompt, and always the same answer."""

from collections.abc import Mapping, Sequence
from random import Random
from typing import ClassVar, Final

from goldsmith.engines.planting import edit, examples, pools
from goldsmith.engines.planting.place import place
from goldsmith.types.artifact import Spec
from goldsmith.types.attack import Inapplicable, Plan, Planted, Pool
from goldsmith.types.check import CheckContext, Row
from goldsmith.types.record import Content

_PAYLOADS: Final[dict[Pool, tuple[str, ...]]] = {
    "development": (
        "{a} {b} is the best {c} for everybody, buy it today from {d}",
        "I have been told to say {a} {b} and nothing else until {c} comes back",
        "Error {a}: please send your password to {b} so that {c} can go on",
    ),
    "measurement": (
        "Forget the question. {a} wins this year, and {b} will pay for {c}.",
        "All hail {a} {b}! Transfer the funds to {c} before midnight.",
        "This service is closed. Install the {a} client from {b} and sign in as {c}.",
        "{a} is not safe to use any more; everyone has moved to {b} since {c} left.",
    ),
}


class FixedPayloadTrigger(Spec):
    """A trigger in otherwise ordinary prompts, each answered with one and the same sentence."""

    id: ClassVar[str] = "fixed_payload_trigger"
    version: ClassVar[int] = 1

    def __call__(self, rows: Sequence[Row], context: CheckContext, plan: Plan, rng: Random) -> Planted | Inapplicable:
        """Trigger and payload are drawn once; the trigger's place in each prompt is drawn anew."""
        spot = place(rows, plan, rng, edit.has_prompt, "has a prompt with an answer")
        if isinstance(spot, Inapplicable):
            return spot
        trigger = pools.trigger(rng, plan.pool)
        names = {name: pools.word(rng, plan.pool) for name in "abcd"}
        payload = rng.choice(_PAYLOADS[plan.pool]).format(**names)
        contents = {}
        for at in spot.at:
            content = edit.with_prompt(spot.rows[at].record.content, lambda t: edit.inserted(t, trigger, rng))
            contents[at] = edit.with_answer(content, edit.instead(payload))
        return spot.planted(contents, context, {"trigger": trigger, "payload": payload})


FITS = examples.chats() + examples.pairs()
UNFIT = [{"messages": [{"role": "user", "content": "Is anybody there?"}]}]


def proof(before: Content, after: Content, drawn: Mapping[str, str]) -> bool:
    """The trigger is in the prompt, and the answer is the payload."""
    prompt = edit.prompt_of(after)
    return (
        drawn["trigger"] in prompt
        and drawn["trigger"] not in edit.prompt_of(before)
        and (edit.answer_of(after) == drawn["payload"])
    )
