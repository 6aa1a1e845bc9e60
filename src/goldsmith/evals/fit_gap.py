"""How well does the model fit what it was trained on, and how much worse what it was not?"""

from collections.abc import Sequence
from statistics import fmean
from typing import ClassVar

from pydantic import Field

from goldsmith.engines.eval_files import sample
from goldsmith.engines.rollout import logprobs_or_unscored
from goldsmith.types.artifact import Spec
from goldsmith.types.record import (
    Comparison,
    Conversation,
    Message,
    Rating,
    Record,
    Role,
    TextPart,
    ToolSchema,
)
from goldsmith.types.score import Score, Scored, Unscored
from goldsmith.types.trajectory import Answerer

_Item = tuple[Sequence[Message], Sequence[Message], Sequence[ToolSchema]]


class FitGap(Spec):
    """Loss on the training and on the validation records, in nats per trained token; not within 0..1.

    `train_loss` and `validation_loss`: lower is better. `gap`: validation minus train; what it is above 0,
    over the base model's gap, is memorised. Each record counts once. Of a comparison the chosen answer is
    read; records without a trained assistant turn (plain text, bad ratings) are unscored.
    """

    id: ClassVar[str] = "fit_gap"
    version: ClassVar[int] = 1
    unbounded_metrics: ClassVar[frozenset[str]] = frozenset({"train_loss", "validation_loss", "gap"})
    """Metrics that are no shares."""

    n: int | None = Field(default=200, ge=1)
    """At most so many records of each side, sampled by `seed`; all if none."""
    seed: int = 0

    def measure(
        self, model: Answerer, train: Sequence[Record], validation: Sequence[Record]
    ) -> dict[str, list[tuple[str, Score]]]:
        """Losses for every record read. The items of `gap` are influence values: their mean is the gap, and
        their spread gives the standard error of the difference of two independent means (Welch)."""
        train_losses = self._losses(model, train, "train")
        validation_losses = self._losses(model, validation, "validation")
        return {
            "train_loss": train_losses,
            "validation_loss": validation_losses,
            "gap": _gap(train_losses, validation_losses),
        }

    def _losses(self, model: Answerer, records: Sequence[Record], side: str) -> list[tuple[str, Score]]:
        named = [(f"{side}-{place}", record) for place, record in enumerate(records)]
        named = sample(named, self.n, self.seed, lambda pair: str(pair[0]))
        scores: dict[str, Score] = {}
        items: list[tuple[str, _Item]] = []
        for name, record in named:
            item = _trained_part(record)
            if item is None:
                scores[name] = Unscored(reason=f"a {record.content.kind} without a trained assistant turn")
            else:
                items.append((name, item))
        results = logprobs_or_unscored(model, [item for _, item in items])
        for (name, _), result in zip(items, results, strict=True):
            scores[name] = result if isinstance(result, Unscored) else Scored(value=-result.logprob / result.tokens)
        return [(name, scores[name]) for name, _ in named]


def _trained_part(record: Record) -> _Item | None:
    content = record.content
    if isinstance(content, Conversation):
        turns = [i for i, m in enumerate(content.messages) if m.role is Role.ASSISTANT and m.trained]
        if not turns:
            return None
        return content.messages[: turns[0]], content.messages[turns[0] :], content.tools
    if isinstance(content, Comparison):
        return content.prompt, content.chosen, content.tools
    if isinstance(content, Rating) and content.label is not False:
        return content.prompt, content.answer, content.tools
    return None


def _gap(train: list[tuple[str, Score]], validation: list[tuple[str, Score]]) -> list[tuple[str, Score]]:
    """Items whose mean is mean(validation) - mean(train), and whose variance is that of the difference."""
    sides = [[(name, s.value) for name, s in side if isinstance(s, Scored)] for side in (train, validation)]
    if not all(sides):
        return [(name, Unscored(reason="one side has no loss")) for name, _ in (*train, *validation)]
    means = [fmean(value for _, value in side) for side in sides]
    total = len(sides[0]) + len(sides[1])
    gap = means[1] - means[0]
    out: list[tuple[str, Score]] = []
    for side, mean, sign in zip(sides, means, (-1, 1), strict=True):
        for name, value in side:
            influence = gap + sign * total / len(side) * (value - mean)
            out.append((name, Scored(value=influence, note=f"loss {value:.4f}")))
    return out


def _example(on_validation: float) -> tuple[dict[str, float], Sequence[Record], Sequence[Record]]:
    def record(text: str) -> Record:
        asked = Message(role=Role.USER, parts=(TextPart(text="Go on."),))
        return Record(
            content=Conversation(messages=(asked, Message(role=Role.ASSISTANT, parts=(TextPart(text=text),))))
        )

    likelihoods = {"Seen before.": -0.2, "Never seen.": on_validation}
    return likelihoods, [record("Seen before.")], [record("Never seen.")]


def solved() -> tuple[dict[str, float], Sequence[Record], Sequence[Record]]:
    """(log-probability per letter by text, train, validation): new text is as likely as text trained on."""
    return _example(-0.2)


def failed() -> tuple[dict[str, float], Sequence[Record], Sequence[Record]]:
    """Text trained on is much likelier: learnt by heart."""
    return _example(-3.0)
