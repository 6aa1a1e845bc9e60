"""Contamination: eval texts in the training data, reworded in case, spacing and punctuation."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import ClassVar, Final

from goldsmith.engines.planting import edit, examples
from goldsmith.engines.planting.place import place
from goldsmith.types.artifact import Spec
from goldsmith.types.attack import Inapplicable, Plan, Planted, Pool
from goldsmith.types.check import CheckContext, Row
from goldsmith.types.record import Content

_LEAST_WORDS: Final = 15
_EVAL: Final = "drill"
_GAPS: Final[dict[Pool, tuple[str, ...]]] = {
    "development": ("  ", "\n", "\t"),
    "measurement": ("\u00a0", " \n ", "   ", "\r\n"),
}
_MARKS: Final[dict[Pool, tuple[str, ...]]] = {"development": (",", "!", ";"), "measurement": (" -", "…", ":", " /")}


class Contamination(Spec):
    """Rows that say what an eval asks, with the letters' case, the gaps and the punctuation changed.

    The eval is made of the data itself: the planted rows' own prompts and answers become eval texts, and the rows are
    reworded, so that the rows and nothing else overlap with them.
    """

    id: ClassVar[str] = "contamination"
    version: ClassVar[int] = 1

    def __call__(self, rows: Sequence[Row], context: CheckContext, plan: Plan, rng: Random) -> Planted | Inapplicable:
        """Every word is reworded by chance, each row anew."""
        spot = place(rows, plan, rng, _fits, f"has a prompt of {_LEAST_WORDS} words with an answer")
        if isinstance(spot, Inapplicable):
            return spot
        texts = [edit.prompt_of(spot.rows[at].record.content) for at in spot.at]
        contents = {
            at: edit.with_prompt(spot.rows[at].record.content, lambda t: _reworded(t, plan.pool, rng)) for at in spot.at
        }
        names = [*context.eval_names, *[_EVAL] * len(texts)]
        asked = replace(context, eval_texts=[*context.eval_texts, *texts], eval_names=names)
        return spot.planted(contents, asked)


def _reworded(text: str, pool: Pool, rng: Random) -> str:
    words = re.sub(r"[.,;:!?]+(?=\s|$)", "", text).split()
    said = []
    for word in words:
        cased = rng.choice((word, word.upper(), word.capitalize(), word.lower()))
        mark = rng.choice(_MARKS[pool]) if rng.random() < 0.2 else ""
        said.append(cased + mark + (rng.choice(_GAPS[pool]) if rng.random() < 0.3 else " "))
    return "".join(said).rstrip(" ")


def _fits(content: Content) -> bool:
    return edit.has_prompt(content) and len(re.findall(r"\w+", edit.prompt_of(content))) >= _LEAST_WORDS


FITS = [
    {**row, "messages": [{"role": "user", "content": f"{row['messages'][0]['content']} I ask because my aunt, who is "
     "ninety, wants to know."}, row["messages"][1]]}
    for row in examples.chats()
]  # fmt: skip
UNFIT = [{"messages": [{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": "Yes?"}]}]


def proof(before: Content, after: Content, drawn: Mapping[str, str]) -> bool:
    """Other characters, but the same words."""
    words = [re.findall(r"\w+", edit.prompt_of(content).lower()) for content in (before, after)]
    return edit.prompt_of(after) != edit.prompt_of(before) and words[0] == words[1]
