"""Evidence for people: hostile text quoted and cut short, secrets masked, one finding per source x batch."""

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from goldsmith.engines.text.projection import ProjectedRows
from goldsmith.types.finding import Finding, Severity

EXAMPLES_PER_FINDING = 5
APART = 100
"""So many findings of one check on single records of a source x batch stand apart; a person reads no more."""


def quote(text: str, limit: int = 100) -> str:
    """At most `limit` characters of `text` on one line; control and direction marks become U+FFFD."""
    cut = " ".join(text[: 4 * limit].split())
    shown = cut[:limit] + ("…" if len(cut) > limit or len(text) > 4 * limit else "")
    return "".join("\ufffd" if unicodedata.category(c) in {"Cc", "Cf", "Cs", "Co"} else c for c in shown)


def mask(secret: str) -> str:
    """The first four characters of a long secret and its length; nothing of a short one."""
    head = secret[:4] if len(secret) >= 16 else secret[:1] if len(secret) >= 8 else ""
    return f"{quote(head, 4)}*** ({len(secret)} characters)"


def by_group(rows: ProjectedRows, indices: Iterable[int]) -> Iterator[tuple[str, str, list[int]]]:
    """The rows at `indices` by (source, batch): names sorted, and within a group in line order."""
    members: dict[int, list[int]] = {}
    for index in indices:
        members.setdefault(int(rows.groups.of_row[index]), []).append(index)
    for group in sorted(members):
        source, batch = rows.groups.names[group]
        yield source, batch, sorted(members[group], key=lambda i: int(rows.lines[i]))


def bounded(findings: Iterable[Finding], rest: str) -> list[Finding]:
    """The first `APART` findings of each source x batch and severity as they are; those beyond in one that names all
    their lines, with the first few as examples. `{n}` in `rest` becomes the number of its lines.

    What is left out because of them is the same; a million findings would be more than memory and readers can hold.
    """
    kept: list[Finding] = []
    apart: dict[tuple[str, str | None, str | None, Severity], int] = {}
    beyond: dict[tuple[str, str | None, str | None, Severity], _Beyond] = {}
    for finding in findings:
        key = (finding.check, finding.source, finding.batch, finding.severity)
        apart[key] = apart.get(key, 0) + 1
        if apart[key] <= APART:
            kept.append(finding)
        else:
            beyond.setdefault(key, _Beyond(finding)).add(finding)
    return kept + [one.finding(rest) for one in beyond.values()]


@dataclass(slots=True)
class _Beyond:
    first: Finding
    lines: list[int] = field(default_factory=list)
    examples: list[str] = field(default_factory=list)
    score: float = 0.0

    def add(self, finding: Finding) -> None:
        self.lines.extend(finding.lines)
        self.score = max(self.score, finding.score)
        if len(self.examples) < EXAMPLES_PER_FINDING:
            said = (
                finding.evidence
                if finding.evidence.startswith("line ")
                else f"line {finding.lines[0]}: {finding.evidence}"
            )
            self.examples.append(said)

    def finding(self, rest: str) -> Finding:
        lines = tuple(sorted(set(self.lines)))
        told = {
            "evidence": rest.replace("{n}", f"{len(lines):,}"),
            "lines": lines,
            "score": self.score,
            "examples": tuple(self.examples),
        }
        return self.first.model_copy(update=told)


def findings_by_group(
    rows: ProjectedRows,
    indices: Iterable[int],
    *,
    check: str,
    severity: Severity,
    score: float,
    evidence: str,
    examples: dict[int, str] | None = None,
    subject: str = "record",
) -> list[Finding]:
    """One finding per source x batch that names the lines; `{n}` in `evidence` becomes their number."""
    found = []
    for source, batch, members in by_group(rows, indices):
        shown: Sequence[str] = [examples[i] for i in members if examples and i in examples]
        found.append(
            Finding.model_validate(
                {
                    "check": check,
                    "severity": severity,
                    "score": score,
                    "evidence": evidence.replace("{n}", str(len(members))),
                    "subject": subject,
                    "lines": tuple(int(rows.lines[i]) for i in members),
                    "source": source,
                    "batch": batch,
                    "examples": tuple(dict.fromkeys(shown))[:EXAMPLES_PER_FINDING],
                }
            )
        )
    return found
