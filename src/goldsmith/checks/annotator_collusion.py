"""Annotators who are reliable but for one topic, where their errors agree with nobody's honest error rate."""

import random
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from goldsmith.engines.annotators.collusion import Collusion, Suspicion, find_collusion, slices_of
from goldsmith.engines.annotators.copying import copying_for, independent_weights
from goldsmith.engines.annotators.naming import Named, name_of, report
from goldsmith.engines.annotators.panel import Panel, panel_for
from goldsmith.engines.text.evidence import quote
from goldsmith.engines.text.projection import project
from goldsmith.types.artifact import Real, Spec
from goldsmith.types.check import CheckContext, CheckReport, Row, Vote


class AnnotatorCollusion(Spec):
    """Annotators who turn their answers round in one slice of the items (a domain, a word, a topic) and nowhere else.

    Slices are searched, since nobody names them; the same search on items with their texts shuffled says what chance
    finds. An annotator is named in a slice that beats all shuffles, when errors on purpose are likelier than not
    after that (`least_odds`, log odds). Votes need a `domain` or the item's `text`; give some items a gold label:
    without any, a slice where most votes are turned round looks like the truth.
    """

    id: ClassVar[str] = "annotator_collusion"
    version: ClassVar[int] = 1
    least_odds: Real = 2.0

    def __call__(self, rows: Sequence[Row], context: CheckContext) -> CheckReport:
        """Warnings naming annotators, the slice, the items they got wrong, and their lines."""
        view = project(rows)
        panel = panel_for(view, context.votes)
        if reason := _untold(panel):
            return CheckReport(inconclusive=reason)
        slices = slices_of(panel)
        if not slices.names:
            return CheckReport(inconclusive="the votes name no domain or text from which slices of items could be made")
        copied = [ring for ring in copying_for(view, panel).rings if ring.certain]
        found = find_collusion(panel, slices, independent_weights(panel, copied) if copied else None)
        named = [self._named(panel, one) for one in found.suspicions if one.odds >= self.least_odds]
        return report(view, panel, self.id, named, facts=_facts(panel, found))

    def _named(self, panel: Panel, one: Suspicion) -> Named:
        gold = f", {one.gold_wrong} of {one.gold_votes} gold items there wrong" if one.gold_votes else ""
        return Named(
            (one.annotator,),
            float(np.clip(0.5 + 0.05 * one.odds, 0.0, 1.0)),
            f"annotator {name_of(panel, one.annotator)} is wrong in about {one.errors:.0f} of {one.votes} votes on "
            f"{quote(one.slice_name, 60)}, where {one.expected:.0f} are to be expected{gold} "
            f"(chance finds such a slice with p {one.p:.1g})",
            one.items,
        )


def _untold(panel: Panel) -> str | None:
    if not len(panel):
        return "no votes were given, and no rows that several annotators judged"
    if len(panel.annotator_names) < 3:
        return f"{len(panel.annotator_names)} annotator(s): there is no panel to differ from"
    if len(panel.label_names) < 2:
        return "all votes have the same label, so errors cannot be told"
    return None


def _facts(panel: Panel, found: Collusion) -> dict[str, str | int]:
    return {
        "slices": found.slices,
        "strongest_slice": f"{found.evidence:.1f}",
        "chance_reaches": f"{found.chance.max():.1f}",
        "gold_items": int((panel.gold >= 0).sum()),
    }


def _panel(colluding: bool) -> list[Vote]:
    rng = random.Random(2)
    votes = []
    for item in range(400):
        truth = rng.choice("ab")
        domain = rng.choice(["billing", "travel", "medicine", "law", "sport"])
        for annotator in rng.sample(range(10), 5):
            label = truth if rng.random() < 0.85 else rng.choice("ab")
            if colluding and annotator in (3, 7) and domain == "medicine":
                label = "b" if truth == "a" else "a"
            gold = truth if item % 20 == 0 else None
            votes.append(Vote(f"item-{item}", f"annotator-{annotator}", label, gold, domain=domain))
    return votes


CAUGHT_VOTES = _panel(colluding=True)
CLEAN_VOTES = _panel(colluding=False)
CAUGHT: list[dict[str, object]] = [
    {"messages": [{"role": "user", "content": "Is it a or b?"}, {"role": "assistant", "content": "It is a."}]}
]
CLEAN = CAUGHT
