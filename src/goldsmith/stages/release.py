"""Collections, findings -> Release: a frozen dataset, with everything that was left out and why."""

from collections.abc import Mapping, Sequence

from goldsmith.engines.evidence import rows_of
from goldsmith.engines.screening import excluded
from goldsmith.trust import merkle, records
from goldsmith.trust.workspace import Workspace
from goldsmith.types.artifact import Digest
from goldsmith.types.errors import GateRefused
from goldsmith.types.finding import Finding, Outcome, RuleResult, SourceVerdict, Verdict
from goldsmith.types.lineage import Collection, LeftOut, Release
from goldsmith.types.recipe import ReleasePolicy, Without
from goldsmith.types.record import Record


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
    Errors: GateRefused if the policy refuses; the release and its failing verdict are then on file, for the report.
    """
    policy_digest = ws.store.put_artifact(policy)
    kept, left_out = _divide(ws, collections, findings, sources, policy)
    rules = _rules(policy, sources, findings, inconclusive, len(kept))
    blob = ws.store.put_bytes(records.blob(record for _, record in kept))
    made = Release(
        name=name,
        collections=tuple(collections),
        records=blob,
        count=len(kept),
        merkle_root=merkle.root_of(sorted(digest for digest, _ in kept)),
        left_out=ws.store.put_bytes(records.lines(left_out)),
        left_out_count=len(left_out),
        findings=ws.store.put_bytes(records.lines(findings)),
        sources=tuple(sources),
        policy=policy_digest,
        checked="accept" not in (policy.quarantined, policy.excluded),
    )
    outcome = Outcome.FAIL if any(rule.outcome is Outcome.FAIL for rule in rules) else Outcome.PASS
    digest = ws.store.put_artifact(made)
    verdict = Verdict(gate="release", subject=digest, outcome=outcome, policy=policy_digest, rules=rules)
    with ws.atomically():
        ws.attest_artifact("release", made, {"name": name}, role="operator")
        ws.attest_artifact("verdict", verdict, {"gate": "release", "outcome": outcome.value}, role="operator")
    if outcome is Outcome.FAIL:
        failed = [rule for rule in rules if rule.outcome is Outcome.FAIL]
        raise GateRefused(
            f"the release {name!r} was refused: " + "; ".join(rule.rule for rule in failed),
            found="; ".join(rule.observed for rule in failed),
            allowed="; ".join(rule.required for rule in failed),
            next_step="read the findings with `goldsmith report`, mend the data, or change the recipe's release policy",
        )
    return digest, made, verdict


def _divide(
    ws: Workspace,
    collections: Sequence[Digest],
    findings: Sequence[Finding],
    sources: Sequence[SourceVerdict],
    policy: ReleasePolicy,
) -> tuple[list[tuple[Digest, Record]], list[LeftOut]]:
    quarantined = {
        (one.source, one.batch): "quarantined: " + "; ".join(one.reasons)
        for one in sources
        if one.verdict is Outcome.FAIL and policy.quarantined != "accept"
    }
    lines = excluded(findings) if policy.excluded == "leave_out" else {}
    kept: list[tuple[Digest, Record]] = []
    left_out: list[LeftOut] = []
    for collection_digest in collections:
        collection = ws.store.get_artifact(collection_digest, Collection)
        unit = (collection.source, collection.batch)
        for row in rows_of(ws, collection):
            digest = records.record_digest(row.record)
            reason = _recalled(policy.without, unit, digest) or quarantined.get(unit) or lines.get((*unit, row.line))
            if reason is None:
                kept.append((digest, row.record))
            else:
                left_out.append(
                    LeftOut(record=digest, source=unit[0], batch=unit[1], line=row.line, reason=reason[:400])
                )
    return kept, left_out


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
    sources: Sequence[SourceVerdict],
    findings: Sequence[Finding],
    inconclusive: Mapping[str, str],
    kept: int,
) -> tuple[RuleResult, ...]:
    failed = [f"{one.source}/{one.batch}" for one in sources if one.verdict is Outcome.FAIL]
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
