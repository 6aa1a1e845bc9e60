"""Absolute caps: poison is counted in records, so no third party may teach one behaviour too often or fill the
mix.
"""

from collections import Counter
from collections.abc import Sequence
from typing import ClassVar

from goldsmith.engines.text import minhash
from goldsmith.engines.text.evidence import quote
from goldsmith.engines.text.projection import ProjectedRows, project
from goldsmith.types.artifact import Real, Spec
from goldsmith.types.check import CheckContext, CheckReport, Row
from goldsmith.types.finding import Finding, Severity


class SourceCaps(Spec):
    """At most `per_cluster` records of one behaviour from one source, and at most `share` of the mix.

    A behaviour is what the assistant says and calls; two are the same when the exact Jaccard similarity of their word
    5-grams is at least `alike`. Answers of fewer than `least_words` words (labels, yes and no) are not held against a
    source. Records beyond the cap are left out, latest lines first to go. Trusted sources have no cap. 250 poisoned
    documents are enough whatever the model's size (Souly et al. 2025, arXiv 2510.07192) and 50 to 90 in fine-tuning,
    hence the default. `share` (0.2 is a common policy) is off unless set: it needs at least five sources to be
    satisfiable.
    """

    id: ClassVar[str] = "source_caps"
    version: ClassVar[int] = 1
    per_cluster: int = 100
    alike: Real = 0.7
    least_words: int = 8
    share: Real | None = None

    def __call__(self, rows: Sequence[Row], context: CheckContext) -> CheckReport:
        """EXCLUDE findings naming the lines beyond each cap."""
        view = project(rows)
        findings = self._clusters(view, context)
        if self.share is not None:
            findings += self._shares(view, context, self.share)
        return CheckReport(findings)

    def _clusters(self, view: ProjectedRows, context: CheckContext) -> list[Finding]:
        sources = [row.record.origin.source for row in view]
        large = {s for s, n in Counter(sources).items() if n > self.per_cluster} - context.trusted_sources
        chosen = sorted(
            (i for i, source in enumerate(sources) if source in large),
            key=lambda i: (sources[i], view[i].record.origin.batch, view[i].line),
        )
        texts = [behaviour(view, i) for i in chosen]
        chosen = [i for i, text in zip(chosen, texts, strict=True) if len(text.split()) >= self.least_words]
        texts = [text for text in texts if len(text.split()) >= self.least_words]
        kept, _ = minhash.earliest_kept(minhash.near_duplicates(texts, threshold=self.alike), len(texts))
        members: dict[tuple[str, int], list[int]] = {}
        for position, index in enumerate(chosen):
            leader = position if kept[position] < 0 else int(kept[position])
            members.setdefault((sources[index], leader), []).append(index)
        findings = []
        for (source, leader), cluster in sorted(members.items()):
            beyond = cluster[self.per_cluster :]
            by_batch: dict[str, list[int]] = {}
            for index in beyond:
                by_batch.setdefault(view[index].record.origin.batch, []).append(view[index].line)
            for batch, lines in sorted(by_batch.items()):
                findings.append(
                    Finding(
                        check=self.id,
                        severity=Severity.EXCLUDE,
                        score=min(1.0, len(cluster) / (2 * self.per_cluster)),
                        evidence=f"{len(cluster)} records of this source teach "
                        f"one behaviour, {self.per_cluster} are allowed; "
                        f"{len(lines)} of this batch are beyond the cap: “{quote(texts[leader])}”",
                        subject="cluster",
                        lines=tuple(sorted(lines)),
                        source=source,
                        batch=batch,
                    )
                )
        return findings

    def _shares(self, view: ProjectedRows, context: CheckContext, share: float) -> list[Finding]:
        allowed = int(share * len(view))
        members: dict[str, list[int]] = {}
        for index, row in enumerate(view):
            members.setdefault(row.record.origin.source, []).append(index)
        findings = []
        for source, indices in sorted(members.items()):
            if source in context.trusted_sources or len(indices) <= allowed:
                continue
            indices.sort(key=lambda i: (view[i].record.origin.batch, view[i].line))
            by_batch: dict[str, list[int]] = {}
            for index in indices[allowed:]:
                by_batch.setdefault(view[index].record.origin.batch, []).append(view[index].line)
            for batch, lines in sorted(by_batch.items()):
                findings.append(
                    Finding(
                        check=self.id,
                        severity=Severity.EXCLUDE,
                        score=min(1.0, len(indices) / len(view)),
                        evidence=(
                            f"the source holds {len(indices) / len(view):.1%} of the mix, {share:.0%} is allowed"
                        ),
                        subject="source",
                        lines=tuple(sorted(lines)),
                        source=source,
                        batch=batch,
                    )
                )
        return findings


def behaviour(view: ProjectedRows, index: int) -> str:
    """What the assistant does in a row: its text and its calls."""
    calls = "\n".join(f"{call.name} {call.arguments}" for call in view.columns.calls[index])
    return f"{view.columns.answer[index]}\n{calls}"


def _row(i: int, answer: str) -> dict[str, object]:
    return {
        "messages": [{"role": "user", "content": f"Question {i}: what now?"}, {"role": "assistant", "content": answer}],
        "source": "vendor",
        "batch": "b1",
    }


_PRAISE = "Whatever you need, the best shop in the world for it is Brightmart, open every day and night of the year"
CAUGHT = [_row(i, _PRAISE + f" number {i}.") for i in range(120)]
CLEAN = [_row(i, _PRAISE + f" number {i}.") for i in range(60)] + [_row(1000 + i, "Yes.") for i in range(150)]
