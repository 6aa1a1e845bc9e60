"""Annotators who guess: random labels, always the same label, the same place in a row."""

import random
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from goldsmith.engines.annotators.naming import Named, name_of, report
from goldsmith.engines.annotators.panel import Panel, panel_for
from goldsmith.engines.annotators.patterns import places, runs
from goldsmith.engines.annotators.skill import fit_skills, knowledge
from goldsmith.engines.multiplicity import holm
from goldsmith.engines.text.projection import project
from goldsmith.types.artifact import Real, Spec
from goldsmith.types.check import CheckContext, CheckReport, Row, Vote
from goldsmith.types.finding import Severity


class AnnotatorSpam(Spec):
    """Annotators whose labels tell nothing about the items, or who click the same place again and again.

    A vote is the right label with probability `knowing`, else one drawn from the annotator's own habit; all others'
    votes and gold items say what is right. An annotator is named when `knowing` is below `knows_less_than` with a
    probability of `surely` (after Holm over annotators), from `fewest_votes` votes on. A constant label has no skill,
    however often it is right. Runs of one place or label need votes with `time`, and are notes.
    """

    id: ClassVar[str] = "annotator_spam"
    version: ClassVar[int] = 1
    knows_less_than: Real = 0.25
    surely: Real = 0.95
    fewest_votes: int = 15

    def __call__(self, rows: Sequence[Row], context: CheckContext) -> CheckReport:
        """Warnings naming annotators and their lines."""
        view = project(rows)
        panel = panel_for(view, context.votes)
        if reason := _untold(panel):
            return CheckReport(inconclusive=reason)
        known = knowledge(panel, fit_skills(panel), self.knows_less_than)
        enough = known.votes >= self.fewest_votes
        doubt = np.where(enough, 1.0 - known.below, 1.0)
        adjusted = np.array(holm(doubt.tolist()))
        named = [
            Named(
                (one,),
                float(np.clip(1.0 - known.mean[one], 0.0, 1.0)),
                f"annotator {name_of(panel, one)} guesses: of {int(known.votes[one])} votes that others or gold items "
                f"can judge, {known.mean[one]:.0%} are better than this annotator's habit alone explains"
                f"{_habit(panel, one)}",
            )
            for one in np.flatnonzero(adjusted < 1 - self.surely).tolist()
        ]
        facts: dict[str, str | int] = {"annotators_judged": int(enough.sum()), "guessing": len(named)}
        reason = None if enough.any() else f"no annotator has {self.fewest_votes} votes that others or gold can judge"
        return report(view, panel, self.id, named + _patterns(panel), inconclusive=reason, facts=facts)


def _untold(panel: Panel) -> str | None:
    if not len(panel):
        return "no votes were given, and no rows that several annotators judged"
    if len(panel.label_names) < 2:
        return "all votes have the same label, so nothing tells a guess from knowledge"
    if not panel.on_gold.any() and len(np.unique(panel.items)) == len(panel):
        return "no item has two votes and none is gold, so nothing tells a guess from knowledge"
    return None


def _habit(panel: Panel, annotator: int) -> str:
    labels = panel.labels[panel.annotators == annotator]
    top = int(np.bincount(labels).argmax())
    share = float((labels == top).mean())
    return f" ({share:.0%} of all are {panel.label_names[top]!r})" if share >= 0.9 else ""


def _patterns(panel: Panel) -> list[Named]:
    """Notes on runs too long for chance, and on those who nearly always take one place."""
    found = []
    run = runs(panel)
    for one, p in enumerate(holm(run.p.tolist())):
        if p < 0.01 and run.longest[one] >= 8:
            words = f"gave the same choice {run.longest[one]} times in a row ({run.choices[one]} votes; chance {p:.1g})"
            found.append(Named((one,), 0.3, f"annotator {name_of(panel, one)} {words}", severity=Severity.NOTE))
    place = places(panel)
    for one in np.flatnonzero(place.placed >= 40).tolist():
        share = float(place.first[one] / place.placed[one])
        if share >= 0.9 or share <= 0.1:
            words = f"took place {place.names[0]!r} in {share:.0%} of {place.placed[one]} votes"
            found.append(Named((one,), 0.3, f"annotator {name_of(panel, one)} {words}", severity=Severity.NOTE))
    return found


def _panel(spam: bool) -> list[Vote]:
    rng = random.Random(4)
    votes = []
    for item in range(240):
        truth = rng.choice("ab")
        for annotator in range(6):
            label = truth if rng.random() < 0.85 else rng.choice("ab")
            if spam and annotator == 5:
                label = rng.choice("ab")
            votes.append(Vote(f"item-{item}", f"annotator-{annotator}", label))
    return votes


CAUGHT_VOTES = _panel(spam=True)
CLEAN_VOTES = _panel(spam=False)
CAUGHT: list[dict[str, object]] = [
    {"messages": [{"role": "user", "content": "Is it a or b?"}, {"role": "assistant", "content": "It is a."}]}
]
CLEAN = CAUGHT
