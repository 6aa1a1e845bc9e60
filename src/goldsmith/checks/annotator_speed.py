"""Annotators too quick to have read what they judged."""

import math
import random
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from goldsmith.engines.annotators.naming import Named, name_of, report
from goldsmith.engines.annotators.panel import panel_for
from goldsmith.engines.annotators.speed import speed
from goldsmith.engines.multiplicity import holm
from goldsmith.engines.text.projection import project
from goldsmith.types.artifact import Real, Spec
from goldsmith.types.check import CheckContext, CheckReport, Row, Vote


class AnnotatorSpeed(Spec):
    """Annotators many of whose votes took far less time than their items take everybody.

    The log of the seconds is compared with the item's expected time (from its length and from what others took), in
    robust standard deviations; below `line` a vote is too quick. An annotator is named when at least `share` of
    `fewest_votes` or more votes are, and Holm's correction over annotators leaves p below 0.01. People differ in pace:
    quick alone proves no carelessness, so look at gold items too.
    """

    id: ClassVar[str] = "annotator_speed"
    version: ClassVar[int] = 1
    line: Real = -2.5
    share: Real = 0.2
    fewest_votes: int = 15

    def __call__(self, rows: Sequence[Row], context: CheckContext) -> CheckReport:
        """Warnings naming annotators, their quick items and lines."""
        view = project(rows)
        panel = panel_for(view, context.votes)
        if not len(panel):
            return CheckReport(inconclusive="no votes were given, and no rows that several annotators judged")
        found = speed(panel, self.line)
        if found is None:
            return CheckReport(inconclusive="fewer than 30 votes tell their `seconds`, or all took the same")
        if len(panel.annotator_names) < 3:
            return CheckReport(inconclusive="fewer than three annotators: nobody to compare the pace with")
        adjusted = holm(found.p.tolist())
        named = []
        for one, p in enumerate(adjusted):
            timed, quick = int(found.timed[one]), int(found.quick[one])
            if timed < self.fewest_votes or quick < self.share * timed or p >= 0.01:
                continue
            own = (panel.annotators == one) & (np.nan_to_num(found.z) < self.line)
            seconds = float(np.median([panel.votes[at].seconds or 0.0 for at in np.flatnonzero(own)]))
            words = f"{quick} of {timed} votes were too quick for their items (half of those within {seconds:.3g} s)"
            named.append(
                Named(
                    (one,),
                    float(np.clip(quick / timed, 0.0, 1.0)),
                    f"annotator {name_of(panel, one)}: {words}; chance after correction {p:.1g}",
                    np.unique(panel.items[own]),
                )
            )
        facts: dict[str, str | int] = {"timed_votes": int(found.timed.sum()), "too_quick": int(found.quick.sum())}
        return report(view, panel, self.id, named, facts=facts)


def _panel(hurried: bool) -> list[Vote]:
    rng = random.Random(6)
    votes = []
    for item in range(80):
        length = rng.randint(100, 2000)
        for annotator in range(5):
            seconds = math.exp(rng.gauss(math.log(5 + length / 30), 0.5))
            if hurried and annotator == 4 and item % 2:
                seconds = rng.uniform(0.4, 1.2)
            votes.append(Vote(f"item-{item}", f"annotator-{annotator}", "ab"[item % 2], seconds=seconds, length=length))
    return votes


CAUGHT_VOTES = _panel(hurried=True)
CLEAN_VOTES = _panel(hurried=False)
CAUGHT: list[dict[str, object]] = [
    {"messages": [{"role": "user", "content": "Is it a or b?"}, {"role": "assistant", "content": "It is a."}]}
]
CLEAN = CAUGHT
