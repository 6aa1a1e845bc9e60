"""How much of the data people wrote, and how many model generations lie between a record and a person."""

from collections.abc import Sequence
from typing import ClassVar

from goldsmith.engines.text.projection import project
from goldsmith.types.artifact import Real, Spec
from goldsmith.types.check import CheckContext, CheckReport, Row
from goldsmith.types.finding import Finding, Severity
from goldsmith.types.record import Maker


class SyntheticShare(Spec):
    """Human share of the whole and generation depth per source x batch, as the sources state them.

    A maker that is not told never counts as human; a mixed one counts half. `least_human`: the share below which the
    collection gets a warning (model collapse is held off by keeping human data, not by any proven number: a policy
    choice). `deepest`: synthetic generations since the last human text that need no waiver.
    """

    id: ClassVar[str] = "synthetic_share"
    version: ClassVar[int] = 1
    least_human: Real = 0.1
    deepest: int = 1

    def __call__(self, rows: Sequence[Row], context: CheckContext) -> CheckReport:
        """A warning on the collection when people wrote too little of it, and one per source x batch that is too
        deep.
        """
        if not rows:
            return CheckReport(inconclusive="no rows")
        view = project(rows)
        makers = [row.record.origin.maker for row in rows]
        told = len(makers) - makers.count(Maker.UNKNOWN)
        human = (makers.count(Maker.HUMAN) + makers.count(Maker.MIXED) / 2) / len(makers)
        facts: dict[str, str | int] = {f"maker_{m.value}": makers.count(m) for m in Maker}
        facts["human_share"] = f"{human:.4f}"
        findings = list(self._too_deep(view.groups.names, view.groups.of_row.tolist(), rows))
        if not told:
            return CheckReport(
                findings,
                inconclusive="no row says who made it (Origin.maker), so the human share is unknown",
                facts=facts,
            )
        if human < self.least_human:
            findings.append(
                Finding(
                    check=self.id,
                    severity=Severity.WARN,
                    score=min(1.0, 1.0 - human / self.least_human) if self.least_human else 0.0,
                    evidence=f"people wrote {human:.1%} of {len(rows)} records "
                    f"({makers.count(Maker.UNKNOWN)} do not say); at least {self.least_human:.0%} is asked for",
                    subject="collection",
                )
            )
        return CheckReport(findings, facts=facts)

    def _too_deep(self, names: Sequence[tuple[str, str]], of_row: Sequence[int], rows: Sequence[Row]) -> list[Finding]:
        deep: dict[int, list[int]] = {}
        for index, row in enumerate(rows):
            depth = row.record.origin.generation_depth
            if depth is not None and depth > self.deepest:
                deep.setdefault(of_row[index], []).append(index)
        return [
            Finding(
                check=self.id,
                severity=Severity.WARN,
                score=min(1.0, len(members) / of_row.count(group)),
                evidence=(
                    f"{len(members)} records are more than {self.deepest} synthetic generation(s) away from human text"
                ),
                subject="source",
                lines=tuple(sorted(rows[i].line for i in members)),
                source=names[group][0],
                batch=names[group][1],
            )
            for group, members in sorted(deep.items())
        ]


def _row(maker: str, depth: int) -> dict[str, object]:
    return {
        "messages": [
            {"role": "user", "content": "Name a tree."},
            {"role": "assistant", "content": f"Oak {maker} {depth}."},
        ],
        "maker": maker,
        "generation_depth": depth,
    }


CAUGHT = [_row("model", 3), _row("model", 1), _row("unknown", 2)]
CLEAN = [_row("human", 0), _row("model", 1)]
