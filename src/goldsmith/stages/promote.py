"""Examination, policy -> Verdict: signed whatever it is. A base model gets its operator's admission instead."""

from collections.abc import Sequence
from pathlib import Path

from goldsmith.engines.lineage import ancestry
from goldsmith.engines.model_files import require_writer
from goldsmith.engines.yaml_file import read_yaml
from goldsmith.trust.workspace import Workspace
from goldsmith.types.artifact import Digest, Frozen
from goldsmith.types.finding import Outcome, RuleResult, Verdict
from goldsmith.types.lineage import Examination, Release
from goldsmith.types.recipe import PromotionPolicy, Rule
from goldsmith.types.score import MetricResult


class AppliedPolicy(Frozen):
    """A promotion policy as it was applied, in canonical text."""

    kind: str = "promotion_policy"
    text: str


def read_policy(path: Path) -> PromotionPolicy:
    """A promotion policy from its YAML file. Errors: BadInput with file, line and a suggestion."""
    return read_yaml(path, PromotionPolicy)


def promote(ws: Workspace, examination_digest: Digest, policy: PromotionPolicy) -> tuple[Digest, Verdict]:
    """Judge an examined model by `policy` and sign the verdict.

    Fail if any rule fails; else inconclusive if any could not be told; else pass. A withdrawn model, or one with
    anything withdrawn in its ancestry, fails. Errors: BadInput for a reward model, which can answer nobody.
    """
    examination = ws.store.get_artifact(examination_digest, Examination)
    require_writer(ws, examination.model)
    rules = [_apply(rule, examination.results) for rule in policy.rules]
    rules += _lineage_rules(ws, examination.model, policy)
    outcomes = {rule.outcome for rule in rules}
    outcome = next((o for o in (Outcome.FAIL, Outcome.INCONCLUSIVE) if o in outcomes), Outcome.PASS)
    with ws.atomically():
        verdict = Verdict(
            gate="promotion",
            subject=examination.model,
            outcome=outcome,
            policy=ws.store.put_artifact(AppliedPolicy(text=policy.model_dump_json())),
            rules=tuple(rules),
            evidence=(examination_digest,),
        )
        digest = ws.store.put_artifact(verdict)
        ws.attest(
            "verdict",
            {"verdict": digest, "model": examination.model},
            {"gate": "promotion", "outcome": outcome.value},
            role="promoter",
        )
    return digest, verdict


def admit(ws: Workspace, model: Digest, reason: str) -> None:
    """The operator takes responsibility for serving a base model that no examination judged. Errors: BadInput for a
    reward model."""
    require_writer(ws, model)
    ws.attest("admission", {"model": model}, {"reason": reason}, role="operator")


def _apply(rule: Rule, results: Sequence[MetricResult]) -> RuleResult:
    name = f"{rule.eval}.{rule.metric}"
    required = _required(rule)
    found = next((r for r in results if (r.eval, r.metric) == (rule.eval, rule.metric)), None)

    def told(outcome: Outcome, observed: str) -> RuleResult:
        return RuleResult(rule=name, outcome=outcome, observed=observed, required=required)

    if found is None:
        return told(Outcome.INCONCLUSIVE, "not examined")
    shown = f"{found.mean:.3f} [{found.low:.3f}, {found.high:.3f}] over {found.n}"
    if found.n < rule.min_items:
        return told(Outcome.INCONCLUSIVE, f"{shown}: fewer than {rule.min_items} scored items")
    if found.unscored > rule.unscored_share_at_most * (found.n + found.unscored):
        return told(Outcome.INCONCLUSIVE, f"{shown}: {found.unscored} items could not be scored")
    cautious = rule.reads == "interval"
    if rule.at_least is not None and (found.low if cautious else found.mean) < rule.at_least:
        return told(Outcome.FAIL, shown)
    if rule.at_most is not None and (found.high if cautious else found.mean) > rule.at_most:
        return told(Outcome.FAIL, shown)
    if rule.below_base_at_most is not None:
        if found.difference is None or found.difference_low is None:
            return told(Outcome.INCONCLUSIVE, f"{shown}: no base model to compare with")
        shown += f", {found.difference:+.3f} against the base model"
        if (found.difference_low if cautious else found.difference) < -rule.below_base_at_most:
            return told(Outcome.FAIL, shown)
    return told(Outcome.PASS, shown)


def _required(rule: Rule) -> str:
    parts = []
    if rule.at_least is not None:
        parts.append(f"at least {rule.at_least}")
    if rule.at_most is not None:
        parts.append(f"at most {rule.at_most}")
    if rule.below_base_at_most is not None:
        parts.append(f"at most {rule.below_base_at_most} below the base model")
    return ", ".join(parts) + (" (cautious end of the interval)" if rule.reads == "interval" else "")


def _lineage_rules(ws: Workspace, model: Digest, policy: PromotionPolicy) -> list[RuleResult]:
    """Nothing in the ancestry may be withdrawn; an unchecked release needs the policy's word."""
    withdrawn: list[str] = []
    unchecked: list[str] = []
    for one in ancestry(ws, model):
        chain = [one.digest]
        if one.run is not None:
            release = ws.store.get_artifact(one.run.release, Release)
            chain += [str(one.model.run), one.run.release, *release.collections]
            if not release.checked:
                unchecked.append(release.name)
        withdrawn += [digest for digest in chain if ws.withdrawn(digest)]
    return [
        RuleResult(
            rule="nothing it was made from is withdrawn",
            outcome=Outcome.FAIL if withdrawn else Outcome.PASS,
            observed=", ".join(withdrawn) or "nothing",
            required="nothing",
        ),
        RuleResult(
            rule="its data passed the checks",
            outcome=Outcome.FAIL if unchecked and not policy.accept_unchecked else Outcome.PASS,
            observed=f"{', '.join(sorted(set(unchecked)))} was released against the checks" if unchecked else "yes",
            required="any" if policy.accept_unchecked else "yes",
        ),
    ]
