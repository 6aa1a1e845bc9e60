"""Collusion in votes: a few annotators who agree beforehand on what certain items shall be called."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import ClassVar, Literal

from goldsmith.engines.planting import examples
from goldsmith.types.artifact import Real, Spec
from goldsmith.types.attack import Inapplicable, Plan, Planted
from goldsmith.types.check import CheckContext, Row, Vote
from goldsmith.types.record import Content

Kind = Literal["targeted", "copiers", "spammers"]


class AnnotatorCollusion(Spec):
    """Votes of a share of the annotators, changed in concert; the rows stay as they are.

    `kind`: `targeted` colluders give one drawn label to the planted items they voted on and are honest elsewhere;
    `copiers` all vote as the first of them, wherever they share an item; `spammers` vote by chance. `share` of the
    annotators take part, two at least. Copiers and spammers do it on all their items, so `records` is for `targeted`.
    """

    id: ClassVar[str] = "annotator_collusion"
    version: ClassVar[int] = 1
    kind: Kind = "targeted"
    share: Real = 0.2

    def __call__(self, rows: Sequence[Row], context: CheckContext, plan: Plan, rng: Random) -> Planted | Inapplicable:
        """Who takes part, which items and which label are drawn once."""
        people = sorted({vote.annotator for vote in context.votes})
        labels = sorted({vote.label for vote in context.votes})
        if len(people) < 4 or len(labels) < 2:
            return Inapplicable(
                f"{len(people)} annotators and {len(labels)} labels in the votes: four and two are needed"
                if people
                else "no votes were given"
            )
        band = frozenset(rng.sample(people, max(2, round(self.share * len(people)))))
        ours = sorted({vote.item for vote in context.votes if vote.annotator in band})
        if len(ours) < plan.records and self.kind == "targeted":
            return Inapplicable(f"the colluders would have voted on {len(ours)} items, and {plan.records} were asked")
        items = frozenset(rng.sample(ours, plan.records)) if self.kind == "targeted" else frozenset(ours)
        label = rng.choice(labels)
        led = _leading(context.votes, band)
        votes = [self._changed(vote, band, items, label, labels, led, rng) for vote in context.votes]
        drawn = {"annotators": ", ".join(sorted(band)), "label": label}
        return Planted(rows, (), None, replace(context, votes=votes), drawn, band)

    def _changed(
        self,
        vote: Vote,
        band: frozenset[str],
        items: frozenset[str],
        label: str,
        labels: Sequence[str],
        led: Mapping[str, str],
        rng: Random,
    ) -> Vote:
        if vote.annotator not in band or vote.item not in items:
            return vote
        if self.kind == "targeted":
            return replace(vote, label=label)
        return replace(vote, label=led[vote.item] if self.kind == "copiers" else rng.choice(labels))


def _leading(votes: Sequence[Vote], band: frozenset[str]) -> dict[str, str]:
    """For each item, the label of the first of the band who voted on it."""
    said: dict[str, dict[str, str]] = defaultdict(dict)
    for vote in votes:
        if vote.annotator in band:
            said[vote.item][vote.annotator] = vote.label
    return {item: by[min(by)] for item, by in said.items()}


FITS = examples.chats(20)
FITS_VOTES = examples.votes()
UNFIT = examples.chats(20)


def proof(before: Content, after: Content, drawn: Mapping[str, str]) -> bool:
    """Rows are never changed."""
    return False
