"""Annotators against gold items and against each other."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import ClassVar

from goldsmith.engines.text.evidence import quote
from goldsmith.types.artifact import Real, Spec
from goldsmith.types.check import CheckContext, CheckReport, Row, Vote
from goldsmith.types.finding import Finding, Severity

_LEVEL = 0.95


class AnnotatorVotes(Spec):
    """Annotators whose accuracy on gold items is credibly below `least_accuracy`, or who agree with others no better
    than chance.

    Gold accuracy has a Beta(1 + hits, 1 + misses) posterior; an annotator is named when the upper 95 % bound is below
    the requirement, and is inconclusive under `fewest_gold` items. Agreement is the share of the other votes on the
    same items that are the same; chance is what the label frequencies give.
    """

    id: ClassVar[str] = "annotator_votes"
    version: ClassVar[int] = 1
    least_accuracy: Real = 0.8
    fewest_gold: int = 5
    fewest_pairs: int = 20

    def __call__(self, rows: Sequence[Row], context: CheckContext) -> CheckReport:
        """Warnings naming annotators; it scores no rows."""
        if not context.votes:
            return CheckReport(inconclusive="no votes were given")
        findings = self._against_gold(context.votes) + self._against_others(context.votes)
        gold = sum(vote.gold is not None for vote in context.votes)
        annotators = {vote.annotator for vote in context.votes}
        facts: dict[str, str | int] = {"votes": len(context.votes), "annotators": len(annotators), "gold_votes": gold}
        reason = None
        if len(annotators) < 2 and gold < self.fewest_gold:
            reason = f"one annotator and {gold} gold votes: neither accuracy nor agreement can be told"
        elif len({vote.label for vote in context.votes}) < 2:
            reason = "all votes have the same label, so agreement says nothing"
        return CheckReport(findings, inconclusive=reason, facts=facts)

    def _against_gold(self, votes: Sequence[Vote]) -> list[Finding]:
        from scipy.stats import beta

        hits: dict[str, list[bool]] = defaultdict(list)
        for vote in votes:
            if vote.gold is not None:
                hits[vote.annotator].append(vote.label == vote.gold)
        findings = []
        for annotator, right in sorted(hits.items()):
            if len(right) < self.fewest_gold:
                continue
            upper = float(beta.ppf(_LEVEL, 1 + sum(right), 1 + len(right) - sum(right)))
            if upper < self.least_accuracy:
                findings.append(
                    self._finding(
                        1.0 - sum(right) / len(right),
                        f"annotator {quote(annotator, 40)} has {sum(right)} of {len(right)} gold items right "
                        f"(at most {upper:.0%} with {_LEVEL:.0%} "
                        f"credibility; {self.least_accuracy:.0%} is asked for)",
                    )
                )
        return findings

    def _against_others(self, votes: Sequence[Vote]) -> list[Finding]:
        from scipy.stats import binom

        by_item: dict[str, list[Vote]] = defaultdict(list)
        for vote in votes:
            by_item[vote.item].append(vote)
        labels = Counter(vote.label for vote in votes)
        if len(labels) < 2:
            return []
        own = {a: Counter(v.label for v in votes if v.annotator == a) for a in {v.annotator for v in votes}}
        same: Counter[str] = Counter()
        pairs: Counter[str] = Counter()
        for members in by_item.values():
            alike = Counter(vote.label for vote in members)
            for vote in members:
                pairs[vote.annotator] += len(members) - 1
                same[vote.annotator] += alike[vote.label] - 1
        findings = []
        overall = sum(same.values()) / max(1, sum(pairs.values()))
        for annotator, count in sorted(pairs.items()):
            total = sum(own[annotator].values())
            chance = sum(n / total * labels[label] / len(votes) for label, n in own[annotator].items())
            share = same[annotator] / count
            # Not above chance, while this many votes would show it if the annotator agreed as the others do.
            if (
                count >= self.fewest_pairs
                and share <= chance + 0.05
                and binom.cdf(same[annotator], count, overall) < 0.01
            ):
                findings.append(
                    self._finding(
                        min(1.0, max(0.0, overall - share) / max(overall, 1e-9)),
                        f"annotator {quote(annotator, 40)} agrees with "
                        f"others on {share:.0%} of {count} pairs; chance "
                        "gives "
                        f"{chance:.0%}, the panel reaches {overall:.0%}",
                    )
                )
        return findings

    def _finding(self, score: float, evidence: str) -> Finding:
        return Finding(check=self.id, severity=Severity.WARN, score=score, evidence=evidence, subject="collection")


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
