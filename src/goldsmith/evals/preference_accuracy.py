"""Does the model find the better answer more likely, or a reward model find it better, than the worse one?"""

from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from goldsmith.engines.eval_files import sample
from goldsmith.engines.rollout import logprobs_or_unscored, steps_or_unscored, worths_or_unscored
from goldsmith.engines.step_scores import Aggregate, of_answer
from goldsmith.types.artifact import Spec
from goldsmith.types.record import Comparison, Message, Record, Role, TextPart
from goldsmith.types.score import Score, Scored, Unscored
from goldsmith.types.trajectory import Answerer, AnswerLogprob, AnswerScorer, StepScorer


class PreferenceAccuracy(Spec):
    """On the validation comparisons: is the chosen answer's log-probability greater than the rejected one's?

    `accuracy` compares sums over the answers' tokens, `accuracy_per_token` means, which do not favour the
    shorter answer. A tie is no success. Compared with the base model on the same pairs this is the reward
    accuracy of DPO (Rafailov et al. 2023). A reward model is asked for its scores instead: `accuracy` is then the
    share of pairs whose chosen answer it scores higher, and `accuracy_per_token` is unscored. So is a process reward
    model, and `steps` says what its steps' probabilities come to; how well it tells the steps themselves is the eval
    `step_accuracy`.
    """

    id: ClassVar[str] = "preference_accuracy"
    version: ClassVar[int] = 1

    n: int | None = Field(default=None, ge=1)
    """At most so many comparisons, sampled by `seed`; all if none is given."""
    seed: int = 0
    steps: Aggregate = "min"
    """Of a process reward model: an answer is worth its worst step (`min`, as Wang et al. 2024, Math-Shepherd,
    arXiv:2312.08935), the chance that all are right (`product`, Lightman et al. 2023, arXiv:2305.20050, who find min
    about as good), its end (`last`, Snell et al. 2024, arXiv:2408.03314), or the `mean`. A product favours the
    answer of fewer steps."""
    delimiter: str = Field(default="\n\n", min_length=1)
    """What divides steps, as it was in training."""

    def measure(
        self, model: Answerer, train: Sequence[Record], validation: Sequence[Record]
    ) -> dict[str, list[tuple[str, Score]]]:
        """Both metrics for every validation record that is a comparison; item ids are the records' places."""
        pairs = [
            (f"validation-{place}", record.content)
            for place, record in enumerate(validation)
            if isinstance(record.content, Comparison)
        ]
        pairs = sample(pairs, self.n, self.seed, lambda pair: str(pair[0]))
        items = [(c.prompt, answer, c.tools) for _, c in pairs for answer in (c.chosen, c.rejected)]
        names = [name for name, _ in pairs]
        if isinstance(model, AnswerScorer):
            return _by_score(names, worths_or_unscored(model, items))
        if isinstance(model, StepScorer):
            steps = steps_or_unscored(model, items, self.delimiter)
            return _by_score(names, [one if isinstance(one, Unscored) else of_answer(one, self.steps) for one in steps])
        results = logprobs_or_unscored(model, items)
        out: dict[str, list[tuple[str, Score]]] = {"accuracy": [], "accuracy_per_token": []}
        for (name, _), chosen, rejected in zip(pairs, results[::2], results[1::2], strict=True):
            total, per_token = _scores(chosen, rejected)
            out["accuracy"].append((name, total))
            out["accuracy_per_token"].append((name, per_token))
        return out


def _by_score(names: Sequence[str], worths: Sequence[float | Unscored]) -> dict[str, list[tuple[str, Score]]]:
    out: dict[str, list[tuple[str, Score]]] = {"accuracy": [], "accuracy_per_token": []}
    for name, chosen, rejected in zip(names, worths[::2], worths[1::2], strict=True):
        score: Score
        if isinstance(chosen, Unscored):
            score = chosen
        elif isinstance(rejected, Unscored):
            score = rejected
        else:
            score = Scored(value=float(chosen > rejected), note=f"chosen {chosen:.4f}, rejected {rejected:.4f}")
        out["accuracy"].append((name, score))
        out["accuracy_per_token"].append((name, Unscored(reason="a reward model scores answers, not tokens")))
    return out


def _scores(chosen: AnswerLogprob | Unscored, rejected: AnswerLogprob | Unscored) -> tuple[Score, Score]:
    if isinstance(chosen, Unscored):
        return chosen, chosen
    if isinstance(rejected, Unscored):
        return rejected, rejected
    note = f"chosen {chosen.logprob:.4f}/{chosen.tokens}, rejected {rejected.logprob:.4f}/{rejected.tokens}"
    total = Scored(value=float(chosen.logprob > rejected.logprob), note=note)
    per_token = chosen.logprob / chosen.tokens > rejected.logprob / rejected.tokens
    return total, Scored(value=float(per_token), note=note)


def _example() -> Sequence[Record]:
    def turn(role: Role, text: str) -> tuple[Message, ...]:
        return (Message(role=role, parts=(TextPart(text=text),)),)

    comparison = Comparison(
        prompt=turn(Role.USER, "Say it well."),
        chosen=turn(Role.ASSISTANT, "The well said thing, at length."),
        rejected=turn(Role.ASSISTANT, "Bah."),
    )
    return [Record(content=comparison)]


def solved() -> tuple[dict[str, float], Sequence[Record], Sequence[Record]]:
    """(log-probability per letter by text, train, validation): the chosen text is likelier even in all."""
    return {"The well said thing, at length.": -0.01, "Bah.": -2.0}, (), _example()


def failed() -> tuple[dict[str, float], Sequence[Record], Sequence[Record]]:
    """The rejected text is likelier."""
    return {"The well said thing, at length.": -2.0, "Bah.": -0.01}, (), _example()
