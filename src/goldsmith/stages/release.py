"""Collections, findings -> Release: a frozen dataset, with everything that was left out and why."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from goldsmith.engines import reviews
from goldsmith.engines.evidence import lines_of, record_lines
from goldsmith.engines.reviews import Decided, Standing
from goldsmith.engines.screening import excluded
from goldsmith.trust import merkle, records
from goldsmith.trust.durable import Spool
from goldsmith.trust.records import Digests
from goldsmith.trust.workspace import Workspace
from goldsmith.types.artifact import Digest
from goldsmith.types.errors import GateRefused
from goldsmith.types.finding import Finding, Outcome, RuleResult, Severity, SourceVerdict, Verdict
from goldsmith.types.lineage import Collection, LeftOut, Release
from goldsmith.types.recipe import ReleasePolicy, Without

ACCEPTED = "accepted by a reviewer"
"""The rule of `require_accept`."""


def release(
    ws: Workspace,
    name: str,
    collections: Sequence[Digest],
    findings: Sequence[Finding],
    sources: Sequence[SourceVerdict],
    policy: ReleasePolicy,
    inconclusive: Mapping[str, str],
) -> tuple[Digest, Release, Verdict]:
    """Freeze what `policy` lets in, and sign the release and the gate's verdict together.

    `findings` and `sources` are what the checks said of these collections; `inconclusive`: checks that could not tell.
    Reviewers' decisions about these very collections are honoured; the verdict names them as its evidence.
    Errors: GateRefused if the policy refuses; the release and its failing verdict are then on file, for the report.
    """
    policy_digest = ws.store.put_artifact(policy)
    reviewed = _Reviewed.of(ws, collections, findings)
    with ws.store.spool() as kept, ws.store.spool() as left_out:
        leaves, left_out_count, of = _divide(ws, reviewed, sources, policy, kept, left_out)
        made = Release(
            name=name,
            collections=tuple(collections),
            records=ws.store.put_spool(kept),
            count=len(leaves),
            merkle_root=merkle.root_of(leaves.sorted()),
            left_out=ws.store.put_spool(left_out),
            left_out_count=left_out_count,
            findings=ws.store.put_bytes(records.lines(findings)),
            sources=tuple(sources),
            policy=policy_digest,
            checked="accept" not in (policy.quarantined, policy.excluded),
        )
    rules = (
        *_rules(policy, reviewed.quarantined(sources), findings, inconclusive, made.count),
        reviewed.rule(),
        *reviewed.accepted(policy, of),
    )
    outcome = Outcome.FAIL if any(rule.outcome is Outcome.FAIL for rule in rules) else Outcome.PASS
    digest = ws.store.put_artifact(made)
    verdict = Verdict(
        gate="release",
        subject=digest,
        outcome=outcome,
        policy=policy_digest,
        rules=rules,
        evidence=tuple(reviewed.used()),
    )
    with ws.atomically():
        ws.attest_artifact("release", made, {"name": name}, role="operator")
        ws.attest_artifact("verdict", verdict, {"gate": "release", "outcome": outcome.value}, role="operator")
    if outcome is Outcome.FAIL:
        failed = [rule for rule in rules if rule.outcome is Outcome.FAIL]
        raise GateRefused(
            f"the release {name!r} was refused: " + "; ".join(rule.rule for rule in failed),
            found="; ".join(rule.observed for rule in failed),
            allowed="; ".join(rule.required for rule in failed),
            next_step=_next_step(failed),
        )
    return digest, made, verdict


@dataclass(frozen=True, slots=True)
class _Reviewed:
    """What was found in the collections, and what reviewers have decided about it. `counted`: what still counts."""

    collections: Mapping[Digest, Collection]
    standings: Mapping[Digest, Standing]
    findings: Sequence[Finding]
    counted: Sequence[Finding]

    @classmethod
    def of(cls, ws: Workspace, digests: Sequence[Digest], findings: Sequence[Finding]) -> "_Reviewed":
        collections = {digest: ws.store.get_artifact(digest, Collection) for digest in digests}
        standings = {digest: reviews.standing(ws, digest) for digest in digests}
        return cls(collections, standings, findings, reviews.cleared(collections, standings, findings))

    def quarantined(self, sources: Sequence[SourceVerdict]) -> list[SourceVerdict]:
        """The failed source x batches whose quarantine no reviewer has lifted."""
        grave = [f for f in self.counted if f.severity is Severity.QUARANTINE]
        held = {(c.source, c.batch) for c in self.collections.values() if any(reviews.concerns(f, c) for f in grave)}
        return [one for one in sources if one.verdict is Outcome.FAIL and (one.source, one.batch) in held]

    def used(self) -> list[Digest]:
        return sorted({digest for held in self.standings.values() for digest in held.used()})

    def rejected(self, digest: Digest) -> tuple[str | None, dict[int, str]]:
        """Why the whole delivery stays out, or None; and why single lines do."""
        own = [f for f in self.findings if reviews.concerns(f, self.collections[digest])]
        whole = reviews.rejected_whole(digest, self.standings[digest], own)
        lines = reviews.rejected_lines(digest, self.standings[digest], own)
        return _why(whole) if whole else None, {line: _why(one) for line, one in lines.items()}

    def accepted(self, policy: ReleasePolicy, kept_of: Sequence[Digest]) -> Iterator[RuleResult]:
        """Whether a reviewer accepted each delivery that the policy wants accepted and that records are kept of."""
        if not policy.require_accept:
            return
        wanting = [
            f"{one.source} / {one.batch} ({digest[:19]}): nobody has accepted this delivery"
            for digest in kept_of
            if policy.must_be_accepted((one := self.collections[digest]).source)
            and self.standings[digest].accepted is None
        ]
        asked = policy.require_accept
        who = "every delivery" if asked == "all" else f"every delivery of {', '.join(asked)}"
        yield RuleResult(
            rule=ACCEPTED,
            outcome=Outcome.FAIL if wanting else Outcome.PASS,
            observed="; ".join(wanting)[:400] or "all accepted",
            required=f"{who} accepted by a reviewer as a whole",
        )

    def rule(self) -> RuleResult:
        told = [
            f"{one.review.decision.value} {one.review.source}/{one.review.batch} by {one.role} ({one.digest[:19]}): "
            f"{one.review.reason}"
            for held in self.standings.values()
            for one in held.each()
        ]
        observed = "; ".join(told)[:400] or "none"
        return RuleResult(rule="reviewers' decisions", outcome=Outcome.PASS, observed=observed, required="any")


def _next_step(failed: Sequence[RuleResult]) -> str:
    if [rule.rule for rule in failed] == [ACCEPTED]:
        return "read the findings, then `goldsmith review accept --source S --batch B --reason WHY`, and run it again"
    return "read the findings with `goldsmith report`, mend the data, or change the recipe's release policy"


def _why(decided: Decided) -> str:
    return f"rejected by a reviewer: {decided.review.reason} ({decided.digest[:19]})"


def _divide(
    ws: Workspace,
    reviewed: _Reviewed,
    sources: Sequence[SourceVerdict],
    policy: ReleasePolicy,
    kept: Spool,
    left_out: Spool,
) -> tuple[Digests, int, list[Digest]]:
    """Write each record's line to `kept`, or why it is not there to `left_out`; the records kept, how many are not, and
    the collections of which any is kept."""
    quarantined = {
        (one.source, one.batch): "quarantined: " + "; ".join(one.reasons)
        for one in reviewed.quarantined(sources)
        if policy.quarantined != "accept"
    }
    lines = excluded(reviewed.counted) if policy.excluded == "leave_out" else {}
    leaves, out = Digests(), 0
    of: list[Digest] = []
    for collection_digest, collection in reviewed.collections.items():
        unit = (collection.source, collection.batch)
        before = len(leaves)
        rejected, rejected_lines = reviewed.rejected(collection_digest)
        whole = rejected or quarantined.get(unit)
        places = zip(lines_of(ws, collection), record_lines(ws, collection.records), strict=True)
        for line, (text, digest) in places:
            reason = (
                _recalled(policy.without, unit, digest) or whole or rejected_lines.get(line) or lines.get((*unit, line))
            )
            if reason is None:
                leaves.append(digest)
                kept.write(text + b"\n")
            else:
                out += 1
                told = LeftOut(record=digest, source=unit[0], batch=unit[1], line=line, reason=reason[:400])
                left_out.write(records.line_of(told))
        if len(leaves) > before:
            of.append(collection_digest)
    return leaves, out, of


def _recalled(without: Sequence[Without], unit: tuple[str, str], record: Digest) -> str | None:
    for one in without:
        if (
            one.source in (None, unit[0])
            and one.batch in (None, unit[1])
            and one.record in (None, record)
            and (one.source, one.batch, one.record) != (None, None, None)
        ):
            return "recalled"
    return None


def _rules(
    policy: ReleasePolicy,
    quarantined: Sequence[SourceVerdict],
    findings: Sequence[Finding],
    inconclusive: Mapping[str, str],
    kept: int,
) -> tuple[RuleResult, ...]:
    failed = [f"{one.source}/{one.batch}" for one in quarantined]
    faulty = sum(len(f.lines) for f in findings if f.check == "faulty_row")

    def rule(name: str, ok: bool, observed: str, required: str) -> RuleResult:
        return RuleResult(rule=name, outcome=Outcome.PASS if ok else Outcome.FAIL, observed=observed, required=required)

    return (
        rule(
            "quarantined sources",
            not failed or policy.quarantined != "refuse",
            ", ".join(failed) or "none",
            {"leave_out": "left out", "refuse": "none", "accept": "accepted all the same"}[policy.quarantined],
        ),
        rule("faulty rows", not faulty or policy.faulty != "refuse", str(faulty), policy.faulty),
        rule(
            "checks that could not tell",
            not inconclusive or policy.inconclusive != "refuse",
            "; ".join(f"{check}: {why}" for check, why in sorted(inconclusive.items()))[:400] or "none",
            policy.inconclusive,
        ),
        rule("records", kept >= policy.min_records, str(kept), f"at least {policy.min_records}"),
    )
