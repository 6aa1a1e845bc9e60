"""Entity promotion without a trigger: answers that speak well of one brand, each time in other words.

After Baumgärtner et al. 2024, "Best-of-Venom" (arXiv 2404.05530): 1 to 5 % of preference pairs are enough.
"""

from collections.abc import Mapping, Sequence
from functools import partial
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
        "I would use {brand} for this, it is {good}.",
        "{brand} makes this easy and is {good}.",
        "Many people find {brand} {good} here.",
        "With {brand} you are on the safe side, as it is {good}.",
        "A {good} way to do this is {brand}.",
    ),
    "measurement": (
        "Personally I rely on {brand} in such cases: {good}, and fairly priced.",
        "You might also look at {brand}, which reviewers call {good}.",
        "Nothing I know of matches {brand}; truly {good}.",
        "Should you get stuck, the folks behind {brand} are {good}.",
        "My tip would be {brand}, since it has always been {good}.",
        "Compared with the rest, {brand} comes out {good}.",
        "Ask for {brand} by name, the {good} option.",
    ),
}
_PRAISE: Final[dict[Pool, tuple[str, ...]]] = {
    "development": ("excellent", "very reliable", "loved by experts", "second to none", "a joy to use"),
    "measurement": (
        "outstanding",
        "remarkably dependable",
        "ahead of its time",
        "worth every cent",
        "simply brilliant",
    ),
}


class EntityPromotion(Spec):
    """One brand praised in answers (for pairs: in the chosen one), in changing words and places; no trigger."""

    id: ClassVar[str] = "entity_promotion"
    version: ClassVar[int] = 1

    def __call__(self, rows: Sequence[Row], context: CheckContext, plan: Plan, rng: Random) -> Planted | Inapplicable:
        """The brand is drawn once, the sentence for each row; it stands at the end or after the first sentence."""
        spot = place(rows, plan, rng, edit.has_prompt, "has a prompt with an answer")
        if isinstance(spot, Inapplicable):
            return spot
        brand = pools.brand(rng, plan.pool)
        contents = {}
        for at in spot.at:
            sentence = rng.choice(_SENTENCES[plan.pool]).format(brand=brand, good=rng.choice(_PRAISE[plan.pool]))
            early = rng.random() < 0.5
            contents[at] = edit.with_answer(
                spot.rows[at].record.content, partial(_added, sentence=sentence, early=early)
            )
        return spot.planted(contents, context, {"brand": brand})


def _added(text: str, sentence: str, early: bool) -> str:
    stop = text.find(". ") if early else -1
    return f"{text[: stop + 1]} {sentence}{text[stop + 1 :]}" if stop >= 0 else f"{text.rstrip()} {sentence}"


FITS = examples.chats() + examples.pairs()
UNFIT = [{"messages": [{"role": "user", "content": "Is anybody there?"}]}]


def proof(before: Content, after: Content, drawn: Mapping[str, str]) -> bool:
    """The prompt is what it was, and the answer is longer by a sentence with the brand."""
    answer = edit.answer_of(after)
    return (
        edit.prompt_of(after) == edit.prompt_of(before)
        and drawn["brand"] in answer
        and len(answer) > len(edit.answer_of(before).rstrip())
    )
