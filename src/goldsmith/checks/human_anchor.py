"""How much people wrote, how far from people the rest is, and whether human rows are kept from release to release."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np

from goldsmith.engines.text.projection import ProjectedRows, project
from goldsmith.types.artifact import Real, Spec
from goldsmith.types.check import CheckContext, CheckReport, Row
from goldsmith.types.finding import Finding, Severity
from goldsmith.types.record import Maker


class HumanAnchor(Spec):
    """Human share of the whole and of each domain, generation depth, and: accumulate, never replace.

    A maker that is not told never counts as human; a mixed one counts half. `least_human`: the share below which the
    collection, or a domain with synthetic rows, gets a warning, and `least_rows` human rows a domain (no share is
    proven safe: a policy choice; 125 human rows already help, arXiv 2410.13098). `deepest`: synthetic generations since
    the last human text that need no waiver. Given the release before this one, its human rows must still be there, at
    most `vanished` of them may be missing (training on replaced data collapses, on accumulated data it does not, arXiv
    2404.01413), and `fresh` of this release's rows should be human and new.
    """

    id: ClassVar[str] = "human_anchor"
    version: ClassVar[int] = 1
    least_human: Real = 0.1
    least_rows: int = 125
    deepest: int = 1
    vanished: Real = 0.0
    fresh: Real = 0.1

    def __call__(self, rows: Sequence[Row], context: CheckContext) -> CheckReport:
        """Warnings on the collection, on domains, and on each source x batch that is too deep."""
        if not rows:
            return CheckReport(inconclusive="no rows")
        view = project(rows)
        makers = Counter(view.origins.maker)
        facts: dict[str, str | int] = {f"maker_{m.value}": makers[m] for m in Maker}
        human = (makers[Maker.HUMAN] + makers[Maker.MIXED] / 2) / len(view)
        facts["human_share"] = f"{human:.4f}"
        findings = list(self._too_deep(view))
        findings += self._replaced(view, context, facts)
        if makers[Maker.UNKNOWN] == len(view):
            return CheckReport(
                findings,
                inconclusive="no row says who made it (Origin.maker), so the human share is unknown",
                facts=facts,
            )
        if human < self.least_human:
            findings.append(
                self._warning(
                    f"people wrote {human:.1%} of {len(view)} records ({makers[Maker.UNKNOWN]} do not say); "
                    f"at least {self.least_human:.0%} is asked for",
                    1.0 - human / self.least_human,
                )
            )
        return CheckReport([*findings, *self._domains(view)], facts=facts)

    def _warning(self, evidence: str, score: float) -> Finding:
        return Finding(
            check=self.id,
            severity=Severity.WARN,
            score=min(1.0, max(0.0, score)),
            evidence=evidence,
            subject="collection",
        )

    def _domains(self, view: ProjectedRows) -> Iterator[Finding]:
        counts: dict[str, Counter[Maker]] = {}
        for domain, maker in zip(view.origins.domain, view.origins.maker, strict=True):
            if domain:
                counts.setdefault(domain, Counter())[maker] += 1
        for domain, makers in sorted(counts.items()):
            made = makers[Maker.MODEL] + makers[Maker.MIXED]
            total = sum(makers.values())
            human = makers[Maker.HUMAN] + makers[Maker.MIXED] / 2
            # A domain must be large enough for its policy to be satisfiable at all.
            if made and total > self.least_rows and (human < self.least_rows or human < self.least_human * total):
                yield self._warning(
                    f"domain {domain!r}: people wrote {human:g} of {total} records; at least {self.least_rows} and "
                    f"{self.least_human:.0%} are asked for",
                    1.0 - human / max(self.least_rows, self.least_human * total),
                )

    def _replaced(self, view: ProjectedRows, context: CheckContext, facts: dict[str, str | int]) -> Iterator[Finding]:
        if context.previous is None:
            return
        before = project(context.previous)
        old = {_content(before[i]) for i, maker in enumerate(before.origins.maker) if maker is Maker.HUMAN}
        now = {_content(view[i]) for i, maker in enumerate(view.origins.maker) if maker is Maker.HUMAN}
        lost = len(old - now)
        fresh = len(now - old) / len(view)
        facts |= {"human_before": len(old), "human_vanished": lost, "fresh_human_share": f"{fresh:.4f}"}
        if old and lost > self.vanished * len(old):
            yield self._warning(
                f"{lost} of the {len(old)} human records of the release before are gone; accumulate, never replace",
                lost / len(old),
            )
        if fresh < self.fresh:
            yield self._warning(
                f"{fresh:.1%} of the records are human and new since the release before; {self.fresh:.0%} is asked for",
                1.0 - fresh / self.fresh,
            )

    def _too_deep(self, view: ProjectedRows) -> Iterator[Finding]:
        deep: dict[int, list[int]] = {}
        for index, depth in enumerate(view.origins.generation_depth):
            if depth is not None and depth > self.deepest:
                deep.setdefault(int(view.groups.of_row[index]), []).append(index)
        sizes = np.bincount(view.groups.of_row, minlength=len(view.groups.names))
        for group, members in sorted(deep.items()):
            source, batch = view.groups.names[group]
            yield Finding(
                check=self.id,
                severity=Severity.WARN,
                score=min(1.0, len(members) / int(sizes[group])),
                evidence=f"{len(members)} records are more than {self.deepest} synthetic generation(s) away from human "
                "text",
                subject="source",
                lines=tuple(sorted(int(view.lines[i]) for i in members)),
                source=source,
                batch=batch,
            )


def _content(row: Row) -> bytes:
    content = row.record.content
    return hashlib.sha256(content.__pydantic_serializer__.to_json(content)).digest()


def _row(maker: str, depth: int, number: int = 0) -> dict[str, object]:
    return {
        "messages": [
            {"role": "user", "content": "Name a tree."},
            {"role": "assistant", "content": f"Oak {maker} {depth} {number}."},
        ],
        "maker": maker,
        "generation_depth": depth,
    }


CAUGHT_PREVIOUS = [_row("human", 0, 1), _row("human", 0, 2), _row("model", 1)]
CAUGHT = [_row("model", 3), _row("model", 1), _row("unknown", 2), _row("human", 0, 1)]
CLEAN_PREVIOUS = [_row("human", 0, 1), _row("model", 1, 5)]
CLEAN = [_row("human", 0, 1), _row("human", 0, 2), _row("model", 1)]
