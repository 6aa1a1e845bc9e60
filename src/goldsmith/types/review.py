"""A reviewer's decision on what a check found in one delivery, or on that delivery as a whole."""

from enum import StrEnum
from typing import Literal

from pydantic import model_validator

from goldsmith.types.artifact import Digest, Frozen, SafeInt


class Decision(StrEnum):
    """`accept`: the finding is mistaken or harmless. `waive`: it holds, and the risk is taken knowingly. `reject`: the
    rows stay out, whatever the checks say."""

    ACCEPT = "accept"
    REJECT = "reject"
    WAIVE = "waive"


class Review(Frozen):
    """One decision about one collection: the rows of one delivery, by digest, so it says nothing about any other.

    `whole`: about the delivery as a whole. `findings`: the identities of the findings decided on (see
    `engines.reviews.finding_id`); for an acceptance or a waiver of the whole these are all that stood against it then:
    a finding that is made later is not covered. `lines`: rows rejected by their lines. `seen`: a stored blob, the
    findings as the reviewer saw them. Times are RFC 3339 in UTC.
    """

    kind: Literal["review"] = "review"
    decision: Decision
    collection: Digest
    source: str
    batch: str
    whole: bool = False
    findings: tuple[Digest, ...] = ()
    lines: tuple[SafeInt, ...] = ()
    seen: Digest
    reason: str
    decided_at: str
    expires_at: str | None = None

    @model_validator(mode="after")
    def _says_something(self) -> "Review":
        if not self.reason.strip():
            raise ValueError("a decision needs a reason")
        if not (self.whole or self.findings or self.lines):
            raise ValueError("a decision is about the whole delivery, about findings, or about lines")
        if self.decision is not Decision.REJECT and self.lines:
            raise ValueError("lines can be rejected; what is accepted or waived is a finding")
        return self
