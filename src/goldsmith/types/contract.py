"""A contract with a vendor of feedback, and the decision on a delivery under it, clause by clause."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from goldsmith.types.artifact import Digest, Frozen, Real, SafeInt
from goldsmith.types.finding import Outcome

Share = Annotated[Real, Field(ge=0, le=1)]
Risk = Annotated[Real, Field(gt=0, lt=1)]
Count = Annotated[SafeInt, Field(ge=0)]


class Records(Frozen):
    """How many usable records a delivery holds."""

    at_least: Count | None = None
    at_most: Count | None = None

    @model_validator(mode="after")
    def _some(self) -> "Records":
        if self.at_least is None and self.at_most is None:
            raise ValueError("give `at_least` or `at_most`")
        return self


class Covers(Frozen):
    """What must be in the delivery: records with this `domain`, `language` or `maker`, or about a topic.

    A topic is a list of `words`; a record is about it if a user turn holds one of them. Bounds are counts of records
    (`at_least`) or shares of the delivery (`share_at_least`, `share_at_most`).
    """

    domain: str | None = None
    language: str | None = None
    maker: str | None = None
    topic: str | None = None
    words: tuple[str, ...] = ()
    at_least: Count | None = None
    share_at_least: Share | None = None
    share_at_most: Share | None = None

    @model_validator(mode="after")
    def _one_of(self) -> "Covers":
        named = [self.domain, self.language, self.maker, self.topic]
        if sum(one is not None for one in named) != 1:
            raise ValueError("give one of `domain`, `language`, `maker` and `topic`")
        if (self.topic is not None) != bool(self.words):
            raise ValueError("a `topic`, and nothing else, has `words`")
        if self.at_least is None and self.share_at_least is None and self.share_at_most is None:
            raise ValueError("give `at_least`, `share_at_least` or `share_at_most`")
        return self


class GoldAccuracy(Frozen):
    """Accuracy of the annotators' votes on items whose right label the buyer knows.

    Passes if the lower bound (Beta, one-sided, at `level`) is at least `at_least`; fails if the upper bound is below.
    """

    at_least: Share
    level: Risk = 0.95
    fewest: Count = 20


class AgreementClause(Frozen):
    """Agreement of the annotators. Passes if the 95 % interval lies at or above `at_least`; fails if it lies below.

    For questions of fact, and for rubrics. People who differ in taste make no error.
    """

    statistic: Literal["krippendorff_alpha", "gwet_ac1"] = "krippendorff_alpha"
    scale: Literal["nominal", "ordinal", "interval"] = "nominal"
    at_least: Real


class Rates(Frozen):
    """The largest shares of records that a check may name; `faulty`: of lines that cannot be read."""

    faulty: Share | None = None
    duplicates: Share | None = None
    personal_data: Share | None = None
    secrets: Share | None = None
    eval_overlap: Share | None = None
    well_formed: Share | None = None


class Power(Frozen):
    """How much of an attack of `records` planted records the checks must find in this very delivery.

    `at_least` is held against the lower end of the interval that `goldsmith drill` measures.
    """

    attack: str
    records: Count
    at_least: Share


class Sampling(Frozen):
    """People inspect a random sample (single sampling by attributes).

    Given a lot whose share of bad records is `aql`, it is accepted but for `producer_risk`; one whose share is `ltpd`
    is accepted with `consumer_risk` at most. Sample size and acceptance number follow exactly; or give them yourself,
    as `size` and `accept`.
    """

    aql: Share | None = None
    ltpd: Share | None = None
    producer_risk: Risk = 0.05
    consumer_risk: Risk = 0.10
    size: Count | None = None
    accept: Count | None = None

    @model_validator(mode="after")
    def _either(self) -> "Sampling":
        risks, fixed = (self.aql, self.ltpd), (self.size, self.accept)
        whole = (None not in risks and fixed == (None, None)) or (None not in fixed and risks == (None, None))
        if not whole:
            raise ValueError("give either `aql` and `ltpd`, or `size` and `accept`")
        if self.aql is not None and self.ltpd is not None and self.aql >= self.ltpd:
            raise ValueError("`aql` (a good lot) must be below `ltpd` (a bad one)")
        return self


class Redelivery(Frozen):
    """After a rejection: how often, and within how many days, the vendor may deliver again."""

    at_most: Count = 2
    within_days: Count = 30


class Contract(Frozen):
    """What a delivery must be. Everything that stands here must hold; what cannot be told is not accepted."""

    kind: Literal["contract"] = "contract"
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    vendor: str
    """The source that delivers, as it signs."""
    deadline: str | None = None
    """RFC 3339 in UTC, or a date (its end counts)."""
    records: Records | None = None
    coverage: tuple[Covers, ...] = ()
    licences: tuple[str, ...] = ()
    human_share: Share | None = None
    rates: Rates = Rates()
    gold_accuracy: GoldAccuracy | None = None
    agreement: AgreementClause | None = None
    power: tuple[Power, ...] = ()
    sampling: Sampling | None = None
    no_quarantine: bool = True
    """No source x batch of the delivery may be quarantined by the checks."""
    must_tell: tuple[str, ...] = ()
    """Checks that must have been able to tell."""
    redelivery: Redelivery = Redelivery()


class ClauseResult(Frozen):
    """One clause, applied: figure, interval (equal ends where everything was counted), requirement, lines at fault."""

    clause: str
    outcome: Outcome
    figure: str
    low: Real | None = None
    high: Real | None = None
    required: str
    lines: tuple[SafeInt, ...] = ()


class Acceptance(Frozen):
    """The decision on one delivery under one contract: accepted only if every clause passes.

    `records`: Merkle root of the records' content digests, as inspected. `defective`: their content digests at fault,
    so that the same defect is known when it comes back. `evidence`: stored blobs that were handed in (votes,
    inspection, coverage). `redelivery_of`: the rejection that this delivery answers.
    """

    kind: Literal["acceptance"] = "acceptance"
    contract: Digest
    collection: Digest
    vendor: str
    records: Digest
    outcome: Outcome
    clauses: tuple[ClauseResult, ...]
    defective: tuple[Digest, ...] = ()
    evidence: tuple[Digest, ...] = ()
    redelivery_of: Digest | None = None
    reason: str | None = None
    decided_at: str
