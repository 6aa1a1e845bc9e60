"""Annotators against gold items, against each other, and against themselves."""

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np

from goldsmith.engines.annotators import agreement
from goldsmith.engines.annotators.adjudicate import TruthModel, right_labels, to_adjudicate
from goldsmith.engines.annotators.bradley_terry import bradley_terry
from goldsmith.engines.annotators.naming import Named, name_of, report
from goldsmith.engines.annotators.panel import Floats, Panel, panel_for
from goldsmith.engines.annotators.patterns import places
from goldsmith.engines.annotators.reliability import gold_bounds, self_consistency
from goldsmith.engines.text.projection import project
from goldsmith.types.artifact import Real, Spec
from goldsmith.types.check import CheckContext, CheckReport, Row, Vote
from goldsmith.types.errors import Inconclusive
from goldsmith.types.finding import Severity

_LEVEL = 0.95


class AnnotatorVotes(Spec):
    """Annotators whose accuracy on gold items is credibly below `least_accuracy`, who agree with others no better than
    chance, or who do not keep to their own answers on hidden repeats.

    Gold accuracy has a Beta(1 + hits, 1 + misses) posterior; an annotator is named when the upper 95 % bound is below
    the requirement, and cannot be told under `fewest_gold` items. Agreement of the panel (raw share, Krippendorff's
    alpha, Gwet's AC1) is reported with intervals; with `agreement: require` an alpha whose interval lies below
    `least_alpha` is a finding. Leave it at `report` for questions of taste: there disagreement is no error, and without
    gold items one who differs from the others is a note only. `truth` names the model of who is right, which says how
    many items need adjudication.
    """

    id: ClassVar[str] = "annotator_votes"
    version: ClassVar[int] = 2
    least_accuracy: Real = 0.8
    fewest_gold: int = 5
    fewest_pairs: int = 20
    least_consistency: Real = 0.7
    agreement: Literal["report", "require"] = "report"
    least_alpha: Real = 0.667
    truth: TruthModel = "skill"

    def __call__(self, rows: Sequence[Row], context: CheckContext) -> CheckReport:
        """Warnings naming annotators and their lines."""
        view = project(rows)
        panel = panel_for(view, context.votes)
        if not len(panel):
            return CheckReport(inconclusive="no votes were given, and no rows that several annotators judged")
        named = self._against_gold(panel) + self._against_others(panel) + self._against_themselves(panel)
        facts, unmet = self._panel_facts(panel)
        annotators, gold = len(panel.annotator_names), int(panel.on_gold.sum())
        reason = None
        if annotators < 2 and gold < self.fewest_gold:
            reason = f"one annotator and {gold} gold votes: neither accuracy nor agreement can be told"
        elif len(np.unique(panel.labels)) < 2:
            reason = "all votes have the same label, so agreement says nothing"
        return report(view, panel, self.id, named + unmet, inconclusive=reason, facts=facts)

    def _against_gold(self, panel: Panel) -> list[Named]:
        bounds = gold_bounds(*panel.gold_hits, level=_LEVEL)
        low = np.flatnonzero((bounds.asked >= self.fewest_gold) & (bounds.high < self.least_accuracy))
        return [
            Named(
                (one,),
                1.0 - int(bounds.hits[one]) / int(bounds.asked[one]),
                f"annotator {name_of(panel, one)} has {bounds.hits[one]} of {bounds.asked[one]} gold items right "
                f"(at most {bounds.high[one]:.0%} with {_LEVEL:.0%} credibility; "
                f"{self.least_accuracy:.0%} is asked for)",
            )
            for one in low.tolist()
        ]

    def _against_others(self, panel: Panel) -> list[Named]:
        """Not above chance, while this many votes would show it if the annotator agreed as the others do."""
        from scipy.stats import binom

        size = len(panel.annotator_names)
        if len(np.unique(panel.labels)) < 2:
            return []
        others = panel.counts[panel.items].sum(axis=1) - 1
        alike = panel.counts[panel.items, panel.labels] - 1
        pairs = np.bincount(panel.annotators, weights=others, minlength=size)
        same = np.bincount(panel.annotators, weights=alike, minlength=size)
        overall = float(same.sum() / max(1.0, pairs.sum()))
        chance = _chance(panel)
        share = np.divide(same, pairs, out=np.ones(size), where=pairs > 0)
        unlikely = binom.cdf(same, pairs, overall) < 0.01
        severity = Severity.WARN if panel.on_gold.any() else Severity.NOTE
        opinion = "" if panel.on_gold.any() else "; without gold items this may be a matter of opinion"
        return [
            Named(
                (one,),
                float(np.clip((overall - share[one]) / max(overall, 1e-9), 0.0, 1.0)),
                f"annotator {name_of(panel, one)} agrees with others on {share[one]:.0%} of {int(pairs[one])} pairs; "
                f"chance gives {chance[one]:.0%}, the panel reaches {overall:.0%}{opinion}",
                severity=severity,
            )
            for one in np.flatnonzero((pairs >= self.fewest_pairs) & (share <= chance + 0.05) & unlikely).tolist()
        ]

    def _against_themselves(self, panel: Panel) -> list[Named]:
        bounds = self_consistency(panel)
        low = np.flatnonzero((bounds.asked >= self.fewest_gold) & (bounds.high < self.least_consistency))
        return [
            Named(
                (one,),
                1.0 - int(bounds.hits[one]) / int(bounds.asked[one]),
                f"annotator {name_of(panel, one)} kept to {bounds.hits[one]} of {bounds.asked[one]} own answers when "
                f"an item came again (at most {bounds.high[one]:.0%}; {self.least_consistency:.0%} is asked for)",
            )
            for one in low.tolist()
        ]

    def _panel_facts(self, panel: Panel) -> tuple[dict[str, str | int], list[Named]]:
        hits, asked = (int(part.sum()) for part in panel.gold_hits)
        facts: dict[str, str | int] = {
            "votes": len(panel),
            "annotators": len(panel.annotator_names),
            "items": len(panel.item_names),
            "gold_votes": asked,
        }
        if panel.contradictions:
            facts["gold_contradictions"] = panel.contradictions
        if asked:
            bounds = gold_bounds(np.array([hits]), np.array([asked]))
            facts["gold_accuracy"] = f"{hits / asked:.3f} [{bounds.low[0]:.3f}, {bounds.high[0]:.3f}]"
        unmet: list[Named] = []
        try:
            alpha = agreement.alpha_interval(panel.counts, resamples=200)
            ac1 = agreement.ac_interval(panel.counts, resamples=200)
        except Inconclusive as error:
            facts["agreement"] = f"could not be told: {error.what}"
            return facts, unmet
        facts["raw_agreement"] = f"{agreement.raw_agreement(panel.counts):.3f}"
        facts["krippendorff_alpha"] = f"{alpha.value:.3f} [{alpha.low:.3f}, {alpha.high:.3f}] over {alpha.items} items"
        facts["gwet_ac1"] = f"{ac1.value:.3f} [{ac1.low:.3f}, {ac1.high:.3f}]"
        facts.update(_first_place(panel))
        try:
            facts["to_adjudicate"] = len(to_adjudicate(panel, right_labels(panel, self.truth)))
        except Inconclusive as error:
            facts["to_adjudicate"] = f"could not be told: {error.what}"
        if self.agreement == "require" and alpha.high < self.least_alpha:
            words = f"the panel's Krippendorff alpha is {alpha.value:.2f}, at most {alpha.high:.2f}"
            everyone = tuple(range(len(panel.annotator_names)))
            unmet.append(Named(everyone, 0.5, f"{words}; {self.least_alpha:.2f} is asked for"))
        return facts, unmet


def _chance(panel: Panel) -> Floats:
    """Agreement [annotators] that label frequencies alone give."""
    size, labels = len(panel.annotator_names), len(panel.label_names)
    own = np.bincount(panel.annotators * labels + panel.labels, minlength=size * labels).reshape(size, labels)
    share = own / np.maximum(own.sum(axis=1, keepdims=True), 1)
    overall = np.bincount(panel.labels, minlength=labels) / max(1, len(panel))
    return np.asarray(share @ overall, np.float64)


def _first_place(panel: Panel) -> dict[str, str | int]:
    """How strongly the place shown first pulls, in logits, clustered by annotator; where votes tell places."""
    chosen = places(panel)
    if len(chosen.names) != 2 or int(chosen.placed.sum()) < 50:
        return {}
    told = np.flatnonzero([vote.position is not None for vote in panel.votes])
    won = np.array([float(panel.votes[at].position == chosen.names[0]) for at in told])
    none = np.zeros(len(told), np.int64)
    try:
        value, low, high = bradley_terry(none, none, won, panel.annotators[told]).of("first place")
    except Inconclusive as error:
        return {"first_place": f"could not be told: {error.what}"}
    return {"first_place": f"{value:+.2f} [{low:+.2f}, {high:+.2f}] logits for {chosen.names[0]!r}"}


def _panel(careless: bool) -> list[Vote]:
    votes = []
    for item in range(60):
        truth = "a" if item % 3 else "b"
        for annotator in range(4):
            wrong = (item * 7 + annotator * 5) % 11 == 0 or (careless and annotator == 3 and item % 2 == 0)
            label = truth if not wrong else ("b" if truth == "a" else "a")
            votes.append(Vote(f"item-{item}", f"annotator-{annotator}", label, truth if item % 2 == 0 else None))
    return votes


CAUGHT_VOTES = _panel(careless=True)
CLEAN_VOTES = _panel(careless=False)
CAUGHT: list[dict[str, object]] = [
    {"messages": [{"role": "user", "content": "Is it a or b?"}, {"role": "assistant", "content": "It is a."}]}
]
CLEAN = CAUGHT
