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
    """One annotator's label for one item. What is not known is None.

    `gold`: the known right label. `seconds`: how long the annotator took. `position`: where the chosen option was shown
    ("first", "left", "1"). `length`: characters that had to be read. `domain` and `text`: what the item is about, and
    its wording. `time`: when, RFC 3339. `line`: the line of the checked file that the vote is about. `repeat`: the item
    that this one shows again, unannounced, to measure whether an annotator keeps to an answer.
    """

    item: str
    annotator: str
    label: str
    gold: str | None = None
    seconds: float | None = None
    position: str | None = None
    length: int | None = None
    domain: str | None = None
    text: str | None = None
    time: str | None = None
    line: int | None = None
    repeat: str | None = None


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
    use: tuple[str, ...] = ()
    """What the data is wanted for: train, commercial, research, redistribution."""
    previous: Sequence[Row] | None = None
    """The rows of the release before this one."""


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
