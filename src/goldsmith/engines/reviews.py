"""Reviewers' decisions: which finding they are about, which of them stand now, and what they let in or keep out."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from goldsmith.trust import canonical, clock
from goldsmith.trust.workspace import Workspace
from goldsmith.types.artifact import Digest
from goldsmith.types.finding import Finding, Severity
from goldsmith.types.lineage import Collection
from goldsmith.types.review import Decision, Review

GATED = (Severity.QUARANTINE, Severity.EXCLUDE)
"""What keeps rows out unless a reviewer decides otherwise."""


def finding_id(collection: Digest, finding: Finding) -> Digest:
    """Which finding this is: the same check, saying as much about the same rows of the same delivery.

    The wording is not part of it (it counts other deliveries' rows, which come and go); the collection is, so that
    nothing decided here can be meant for other bytes.
    """
    return canonical.digest(
        canonical.encode(
            {
                "check": finding.check,
                "collection": collection,
                "lines": list(finding.lines),
                "schema": "goldsmith.finding-id/v1",
                "severity": finding.severity.value,
                "subject": finding.subject,
            }
        )
    )


def concerns(finding: Finding, collection: Collection) -> bool:
    """Whether a finding is about this source x batch; one without a batch is about every batch of its source."""
    return finding.source == collection.source and finding.batch in (collection.batch, None)


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision in the ledger. `void`: why it is no longer in force, None where it is."""

    digest: Digest
    review: Review
    role: str
    signed_at: str
    void: str | None


def decisions(ws: Workspace, collection: Digest | None = None, *, now: str | None = None) -> list[Decided]:
    """The decisions about a collection (or about all), in the ledger's order. Errors: Tampered."""
    stated = ws.statements("review") if collection is None else ws.about(collection, "review")
    found = []
    for statement in stated:
        digest = statement.subjects["review"]
        review = ws.store.get_artifact(digest, Review)
        void = _void(ws, digest, review, now or clock.now())
        found.append(Decided(digest, review, statement.role.value, statement.issued_at, void))
    return found


def _void(ws: Workspace, digest: Digest, review: Review, now: str) -> str | None:
    # What keeps rows out goes on doing so when their delivery is recalled.
    subjects = (digest,) if review.decision is Decision.REJECT else (digest, review.collection)
    for subject in subjects:
        said = ws.withdrawn(subject)
        if said is not None:
            return f"withdrawn: {said.predicate.get('reason') or 'no reason given'}"
    if review.expires_at is not None and clock.moment(now) > clock.moment(review.expires_at):
        return f"expired {review.expires_at}"
    return None


@dataclass(slots=True)
class Standing:
    """What the decisions in force say about one collection; of several on one finding the last is in force.

    `on`: the decision on each finding, by its identity. `whole`: the rejection of the delivery as a whole. `rejected`:
    the rejection of single lines. `accepted`: the acceptance of the delivery as a whole.
    """

    on: dict[Digest, Decided] = field(default_factory=dict)
    whole: Decided | None = None
    rejected: dict[int, Decided] = field(default_factory=dict)
    accepted: Decided | None = None

    def clears(self, collection: Digest, finding: Finding) -> bool:
        """Whether a reviewer accepted or waived this finding."""
        decided = self.on.get(finding_id(collection, finding))
        return decided is not None and decided.review.decision is not Decision.REJECT

    def each(self) -> list[Decided]:
        """The decisions in force, each once, in the order of their digests."""
        held = [*self.on.values(), *self.rejected.values(), *(one for one in (self.whole, self.accepted) if one)]
        return [found for _, found in sorted({one.digest: one for one in held}.items())]

    def used(self) -> list[Digest]:
        """Their digests."""
        return [one.digest for one in self.each()]


def standing(ws: Workspace, collection: Digest, *, now: str | None = None) -> Standing:
    """What is in force for a collection. Only a later word on the whole delivery lifts a rejection of the whole."""
    held = Standing()
    for one in decisions(ws, collection, now=now):
        if one.void is not None:
            continue
        review = one.review
        if review.whole:
            held.whole = one if review.decision is Decision.REJECT else None
            held.accepted = one if review.decision is Decision.ACCEPT else None
        held.on.update(dict.fromkeys(review.findings, one))
        held.rejected.update(dict.fromkeys(review.lines, one))
    return held


def cleared(
    collections: Mapping[Digest, Collection], standings: Mapping[Digest, Standing], findings: Iterable[Finding]
) -> list[Finding]:
    """The findings that count: those that no reviewer accepted or waived for the delivery they are about.

    A finding about several batches of a source is narrowed to those where it still counts.
    """
    kept: list[Finding] = []
    for finding in findings:
        about = [digest for digest, one in collections.items() if concerns(finding, one)]
        open_in = [digest for digest in about if not standings[digest].clears(digest, finding)]
        if len(open_in) == len(about):
            kept.append(finding)
        else:
            kept += [finding.model_copy(update={"batch": collections[digest].batch}) for digest in open_in]
    return kept


def rejected_lines(collection: Digest, held: Standing, findings: Sequence[Finding]) -> dict[int, Decided]:
    """The lines that reviewers keep out: those they named, and those of findings they rejected."""
    out = dict(held.rejected)
    for finding in findings:
        decided = held.on.get(finding_id(collection, finding))
        if decided is not None and decided.review.decision is Decision.REJECT:
            out.update(dict.fromkeys(finding.lines, decided))
    return out


def rejected_whole(collection: Digest, held: Standing, findings: Sequence[Finding]) -> Decided | None:
    """The decision that keeps the delivery out: on the whole of it, or on a finding that names no lines."""
    if held.whole is not None:
        return held.whole
    for finding in findings:
        decided = held.on.get(finding_id(collection, finding))
        if decided is not None and decided.review.decision is Decision.REJECT and not finding.lines:
            return decided
    return None
