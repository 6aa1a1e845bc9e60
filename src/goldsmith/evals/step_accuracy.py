"""Does a process reward model tell right steps from wrong ones, and find where an answer first goes wrong?"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field

from goldsmith.engines.eval_files import sample
from goldsmith.engines.rollout import steps_or_unscored
from goldsmith.engines.step_scores import auc_influences, first_wrong, harmonic_influences
from goldsmith.engines.training.data.steps import Stepwise, steps_of
from goldsmith.types.artifact import Real, Spec
from goldsmith.types.record import Conversation, Message, Record, Role, TextPart, ToolSchema
from goldsmith.types.score import Score, Scored, Unscored
from goldsmith.types.trajectory import Answerer, StepScorer

_Scores = list[tuple[str, Score]]


@dataclass(frozen=True, slots=True)
class _Told:
    """A labelled answer and each step's probability of being right, or why there is none."""

    name: str
    labels: tuple[bool | None, ...]
    right: list[float] | Unscored


class StepAccuracy(Spec):
    """On the validation rows with labelled steps, for a model that the method `process_reward` made.

    `auc`: the chance that a right step scores above a wrong one, whatever the threshold; 0.5 is tossing coins.
    `step_accuracy`: the share of labelled steps told rightly; hold it against the share of the commoner label.
    `first_error`: of the answers with a wrong step, the share whose first one is found, that and no earlier or later.
    `no_false_alarm`: of the answers whose steps are all right, the share in which none is called wrong. `f1`: the
    harmonic mean of these two, which neither calling everything wrong nor calling everything right can raise
    (ProcessBench, Zheng et al. 2024, arXiv:2412.06559).

    Steps that nobody judged are passed over. The intervals of `auc` (DeLong et al. 1988) and `f1` (delta method) come
    from influence values, steps of one answer counting as dependent. A model that gives steps no number is unscored.
    """

    id: ClassVar[str] = "step_accuracy"
    version: ClassVar[int] = 1
    influence_metrics: ClassVar[frozenset[str]] = frozenset({"auc", "f1"})
    """Metrics whose items are no shares, though their mean is one."""

    threshold: Annotated[Real, Field(gt=0, lt=1)] = 0.5
    """A step less likely right than this is called wrong. ProcessBench chooses it on other data, never on what is
    examined."""
    delimiter: str = Field(default="\n\n", min_length=1)
    """What divides steps, as it was in training."""
    n: int | None = Field(default=None, ge=1)
    """At most so many answers, sampled by `seed`; all if none is given."""
    seed: int = 0

    def measure(self, model: Answerer, train: Sequence[Record], validation: Sequence[Record]) -> dict[str, _Scores]:
        """All metrics for every validation record with labelled steps; items are answers, or `ANSWER#STEP`."""
        rows = [
            (f"validation-{place}", found)
            for place, record in enumerate(validation)
            if (found := steps_of(record)) is not None
        ]
        rows = sample(rows, self.n, self.seed, lambda row: row[0])
        told = self._ask(model, rows)
        return {**_of_steps(told, float(self.threshold)), **_of_answers(told, float(self.threshold))}

    def _ask(self, model: Answerer, rows: Sequence[tuple[str, Stepwise]]) -> list[_Told]:
        if not isinstance(model, StepScorer):
            reason = Unscored(reason="the model gives steps no number: it is no process reward model")
            return [_Told(name, row.labels, reason) for name, row in rows]
        items: list[tuple[Sequence[Message], Sequence[Message], Sequence[ToolSchema]]]
        items = [(row.prompt, (row.answer,), row.tools) for _, row in rows]
        found = steps_or_unscored(model, items, self.delimiter)
        return [_Told(name, row.labels, _matching(one, row)) for (name, row), one in zip(rows, found, strict=True)]


def _matching(found: list[float] | Unscored, row: Stepwise) -> list[float] | Unscored:
    if isinstance(found, Unscored) or len(found) == len(row.labels):
        return found
    return Unscored(reason=f"{len(found)} steps, {len(row.labels)} labels: does delimiter divide the steps?")


def _of_steps(told: Sequence[_Told], threshold: float) -> dict[str, _Scores]:
    """What is counted over steps."""
    out: dict[str, _Scores] = {"step_accuracy": [], "auc": []}
    known: list[tuple[str, float, bool]] = []
    for one in told:
        for place, label in enumerate(one.labels):
            item = f"{one.name}#{place}"
            if label is None:
                continue
            if isinstance(one.right, Unscored):
                for scores in out.values():
                    scores.append((item, one.right))
                continue
            right = one.right[place]
            known.append((item, right, label))
            note = f"{right:.3f}, labelled {'right' if label else 'wrong'}"
            out["step_accuracy"].append((item, Scored(value=float((right >= threshold) == label), note=note)))
    influences = auc_influences([right for _, right, _ in known], [label for *_, label in known])
    out["auc"] += _influenced([item for item, *_ in known], influences, "the steps are all right, or all wrong")
    return out


def _of_answers(told: Sequence[_Told], threshold: float) -> dict[str, _Scores]:
    """What is counted over answers."""
    out: dict[str, _Scores] = {"first_error": [], "no_false_alarm": [], "f1": []}
    for one in told:
        if all(label is None for label in one.labels):
            continue
        metric = "first_error" if False in one.labels else "no_false_alarm"
        score: Score
        if isinstance(one.right, Unscored):
            score = one.right
            out["f1"].append((one.name, score))
        else:
            labelled, found = first_wrong(one.right, one.labels, threshold)
            note = f"first wrong step: labelled {_place(labelled)}, found {_place(found)}"
            score = Scored(value=float(labelled == found), note=note)
        out[metric].append((one.name, score))
    sides = [
        [(name, s.value) for name, s in out[m] if isinstance(s, Scored)] for m in ("first_error", "no_false_alarm")
    ]
    found_f1 = harmonic_influences([value for _, value in sides[0]], [value for _, value in sides[1]])
    values = None if found_f1 is None else [*found_f1[0].tolist(), *found_f1[1].tolist()]
    reason = "there are no answers with a wrong step, or none without"
    out["f1"] += _influenced([name for side in sides for name, _ in side], values, reason)
    return out


def _influenced(items: Sequence[str], influences: Iterable[float] | None, why_not: str) -> _Scores:
    if influences is None:
        return [(item, Unscored(reason=why_not)) for item in items]
    return [(item, Scored(value=float(value))) for item, value in zip(items, influences, strict=True)]


def _place(step: int | None) -> str:
    return "none" if step is None else str(step + 1)


class _Sure:
    """Finds steps that say "wrong" unlikely, or the other ones."""

    def __init__(self, sign: bool) -> None:
        self._sign = sign

    def answer(self, *_: object, **__: object) -> list[object]:
        raise NotImplementedError

    logprobs = answer

    def steps(
        self,
        items: Sequence[tuple[Sequence[Message], Sequence[Message], Sequence[ToolSchema]]],
        *,
        delimiter: str = "\n\n",
    ) -> list[list[float]]:
        split = [answer[-1].text.split(delimiter) for _, answer, _ in items]
        return [[0.9 if ("wrong" in step) != self._sign else 0.1 for step in steps] for steps in split]


def _example() -> list[Record]:
    def row(*steps: str) -> Record:
        asked = Message(role=Role.USER, parts=(TextPart(text="How much?"),))
        answer = Message(role=Role.ASSISTANT, parts=(TextPart(text="\n\n".join(steps)),))
        labels = ", ".join("false" if "wrong" in step else "true" for step in steps)
        return Record(content=Conversation(messages=(asked, answer)), extra=f'{{"labels": [{labels}]}}')

    return [row("Six.", "By seven.", "A wrong sum."), row("A wrong start.", "A wrong end."), row("Six.", "Forty-two.")]


def solved() -> tuple[_Sure, Sequence[Record], Sequence[Record]]:
    """(model, train, validation): every step told rightly."""
    return _Sure(True), (), _example()


def failed() -> tuple[_Sure, Sequence[Record], Sequence[Record]]:
    """Every step told wrongly."""
    return _Sure(False), (), _example()
