"""What was observed (a `Finding`) and what was decided because of it (a `Verdict`). Facts and decisions stay apart."""

from enum import StrEnum
from typing import Literal

from goldsmith.types.artifact import Digest, Frozen, Real, SafeInt


class Severity(StrEnum):
    """How a gate reads a finding unless its policy says otherwise.

    `note` informs; `warn` is shown and counted; `exclude` leaves the named lines out, with this finding as the
    reason on file; `quarantine` keeps the whole source x batch out until a reviewer decides.
    """

    NOTE = "note"
    WARN = "warn"
    EXCLUDE = "exclude"
    QUARANTINE = "quarantine"


class Finding(Frozen):
    """One fact, with the evidence a person needs to agree or to object.

    `score`: how suspicious, 0 to 1. `lines`: 1-based lines of the checked file (all of them, ascending).
    `evidence`: plain words, hostile text quoted and cut short, secrets masked.
    """

    check: str
    severity: Severity
    score: Real
    evidence: str
    subject: Literal["record", "cluster", "source", "model", "collection"] = "record"
    lines: tuple[SafeInt, ...] = ()
    source: str | None = None
    batch: str | None = None
    examples: tuple[str, ...] = ()


class Outcome(StrEnum):
    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"  # "could not tell" must never pass for "fine"


class SourceVerdict(Frozen):
    """The decision on one source x batch: pass, fail (quarantined) or inconclusive, and because of which checks."""

    source: str
    batch: str
    verdict: Outcome
    records: SafeInt
    excluded: SafeInt = 0
    reasons: tuple[str, ...] = ()


class RuleResult(Frozen):
    """One line of a policy, applied; `observed` and `required` in words, the numbers are in the evidence."""

    rule: str
    outcome: Outcome
    observed: str
    required: str


class Verdict(Frozen):
    """A gate's decision on `subject` under `policy`; signed whatever it is."""

    kind: Literal["verdict"] = "verdict"
    gate: Literal["release", "promotion"]
    subject: Digest
    outcome: Outcome
    policy: Digest
    rules: tuple[RuleResult, ...] = ()
    evidence: tuple[Digest, ...] = ()
