"""Annotators who copy each other: agreement, above all in rare errors, that skill does not explain."""

import random
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from goldsmith.engines.annotators.copying import Ring, copying_for
from goldsmith.engines.annotators.naming import Named, names_of, report
from goldsmith.engines.annotators.panel import Panel, panel_for
from goldsmith.engines.text.projection import project
from goldsmith.types.artifact import Real, Spec
from goldsmith.types.check import CheckContext, CheckReport, Row, Vote


class AnnotatorCopies(Spec):
    """Rings of annotators whose votes are not their own.

    Each pair of votes on one item is explained either by two people who answered on their own, given what all other
    votes and gold items say, or by one who took the other's answer. A ring is named when the likelihood ratio beats
    every ring that chance could form, with probability `alpha` of one false ring in the whole panel. Who copies from
    whom cannot be told. Pairs need `fewest_common` items in common with somebody.
    """

    id: ClassVar[str] = "annotator_copies"
    version: ClassVar[int] = 1
    alpha: Real = 0.01
    fewest_common: int = 15

    def __call__(self, rows: Sequence[Row], context: CheckContext) -> CheckReport:
        """Warnings, one a ring, naming its annotators, the items they agree on, and their lines."""
        view = project(rows)
        panel = panel_for(view, context.votes)
        if not len(panel):
            return CheckReport(inconclusive="no votes were given, and no rows that several annotators judged")
        if len(panel.label_names) < 2:
            return CheckReport(inconclusive="all votes have the same label, so copies cannot be told from agreement")
        found = copying_for(view, panel, self.alpha)
        if int(found.compared.max(initial=0)) < self.fewest_common:
            most = int(found.compared.max(initial=0))
            reason = f"no annotator shares {self.fewest_common} votes with others (at most {most})"
            return CheckReport(inconclusive=reason)
        named = [self._named(panel, ring) for ring in found.rings if ring.certain]
        facts: dict[str, str | int] = {
            "rings": len(named),
            "panel_dependence": f"{found.dependence:.2f}",
            "annotators_compared": int((found.compared > 0).sum()),
        }
        return report(view, panel, self.id, named, facts=facts)

    def _named(self, panel: Panel, ring: Ring) -> Named:
        score = float(np.clip(0.9 + 0.1 * (1 - ring.needed / ring.evidence), 0.0, 1.0))
        return Named(
            ring.members,
            score,
            f"{len(ring.members)} annotators answer as one ({names_of(panel, ring.members)}): they agree on "
            f"{ring.agreement:.0%} of what they have in common; copying explains it e^{ring.evidence:.0f} times better "
            f"than skill (chance reaches e^{ring.needed:.0f} once in {1 / self.alpha:.0f} panels)",
            ring.items,
        )


def _panel(copied: bool) -> list[Vote]:
    rng = random.Random(9)
    votes = []
    for item in range(120):
        truth = rng.choice("abc")
        sheet = truth if rng.random() < 0.7 else rng.choice("abc")
        for annotator in range(8):
            label = truth if rng.random() < 0.75 else rng.choice("abc")
            if copied and annotator in (2, 6):
                label = sheet
            votes.append(Vote(f"item-{item}", f"annotator-{annotator}", label))
    return votes


CAUGHT_VOTES = _panel(copied=True)
CLEAN_VOTES = _panel(copied=False)
CAUGHT: list[dict[str, object]] = [
    {"messages": [{"role": "user", "content": "Is it a, b or c?"}, {"role": "assistant", "content": "It is a."}]}
]
CLEAN = CAUGHT
