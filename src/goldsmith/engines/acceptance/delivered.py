"""What is known of a delivery when its contract is held against it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from goldsmith.engines.acceptance.sheet import Sheet
from goldsmith.engines.annotators.panel import Panel, panel_for
from goldsmith.engines.text.projection import ProjectedRows
from goldsmith.trust import merkle, records
from goldsmith.types.artifact import Digest
from goldsmith.types.check import Vote
from goldsmith.types.coverage import Coverage
from goldsmith.types.finding import Finding, SourceVerdict


@dataclass(frozen=True)
class Before:
    """The rejected delivery that this one answers.

    `contents`: the content digests of its records; `defective`: those at fault. `rejections`: how many there were under
    this contract so far; `rejected_at`: when the last. `declared`: the vendor says that this delivery answers that one;
    without that word nothing counts but whether the defects come back.
    """

    contents: frozenset[Digest]
    defective: frozenset[Digest] = frozenset()
    rejections: int = 0
    rejected_at: str | None = None
    declared: bool = True


@dataclass(frozen=True)
class Delivered:
    """Rows with what the checks said, and what was handed in beside them.

    `silent`: check -> why it could not tell; `ran`: the checks that ran. `delivered_at`: RFC 3339. `struck`: clause ->
    lines that do not count in it, because the vendor's objection to them was upheld.
    """

    rows: ProjectedRows
    findings: Sequence[Finding]
    sources: Sequence[SourceVerdict]
    silent: Mapping[str, str]
    ran: frozenset[str]
    delivered_at: str
    faulty: int = 0
    votes: Sequence[Vote] = ()
    coverage: Coverage | None = None
    sheet: Sheet | None = None
    before: Before | None = None
    struck: Mapping[str, frozenset[int]] = field(default_factory=dict)

    @cached_property
    def panel(self) -> Panel:
        """The votes, and those that the rows themselves are."""
        return panel_for(self.rows, self.votes)

    @cached_property
    def contents(self) -> list[Digest]:
        """Each row's content digest: what the record says, whoever delivered it."""
        return [records.content_digest(row.record) for row in self.rows]

    @cached_property
    def root(self) -> Digest:
        """What names these records, in this order, on an inspection sheet."""
        return merkle.root_of(self.contents)

    @cached_property
    def lot(self) -> list[int]:
        """The lines people have to look at: all; of a redelivery, those whose record is new or changed."""
        lines: list[int] = self.rows.lines.tolist()
        if self.before is None or not self.before.declared:
            return lines
        old = self.before.contents
        return [line for line, content in zip(lines, self.contents, strict=True) if content not in old]

    def lines_of(self, check: str) -> set[int]:
        """The lines that a check's findings name."""
        return {line for finding in self.findings if finding.check == check for line in finding.lines}
