"""The contract of a check: rows in, facts and scores out. Checks report; they never remove."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

from goldsmith.types.finding import Finding
from goldsmith.types.record import Record


@dataclass(frozen=True, slots=True)
class Row:
    """A record at its place in the file: `line` is 1-based (for Parquet and Arrow: the row's number)."""

    line: int
    record: Record


@dataclass(frozen=True, slots=True)
class Vote:
    """One annotator's label for one item; `gold` is the known right label, where there is one."""

    item: str
    annotator: str
    label: str
    gold: str | None = None


@dataclass(frozen=True, slots=True)
class CheckContext:
    """What a check may know besides the rows. Empty fields mean: not told."""

    eval_texts: Sequence[str] = ()
    """Every text of every eval set that will be run; none may be in the data."""
    eval_names: Sequence[str] = ()
    """For each of `eval_texts`, the eval set it belongs to."""
    votes: Sequence[Vote] = ()
    allowed_hosts: frozenset[str] | None = None
    allowed_tools: frozenset[str] | None = None
    trusted_sources: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What a check saw. `scores[i]` belongs to `rows[i]`: suspicion in 0..1, None where it could not tell.

    `scores` is None for checks that do not score rows. `inconclusive` says why a check could not do its work at all.
    """

    findings: Sequence[Finding] = ()
    scores: Sequence[float | None] | None = None
    inconclusive: str | None = None
    facts: dict[str, str | int] = field(default_factory=dict)


class Check(Protocol):
    """A check is its settings; calling it is its behaviour.

    Beside the class, its module holds `CAUGHT` (rows with a planted defect it must report) and `CLEAN` (rows it must
    leave alone), each a list of plain dicts in a supported row format; one contract test runs them all.
    """

    id: ClassVar[str]
    version: ClassVar[int]

    def __call__(self, rows: Sequence[Row], context: CheckContext) -> CheckReport: ...
