"""Workspace -> Facts: everything a model's report says, read from signed statements and stored artifacts alone."""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from goldsmith.engines import evidence
from goldsmith.engines.lineage import Ancestor, ancestry
from goldsmith.engines.report.facts import Facts, Metric, Round, Step
from goldsmith.engines.report.inert import count
from goldsmith.engines.report.units import check_table, units_of
from goldsmith.trust.attest import Statement
from goldsmith.trust.workspace import Workspace
from goldsmith.types.artifact import Digest
from goldsmith.types.errors import BadInput
from goldsmith.types.finding import Outcome, RuleResult, Verdict
from goldsmith.types.lineage import Examination, Model, Release
from goldsmith.types.recipe import PromotionPolicy, Rule

BADGES = {
    "promoted": ("PASS", "good"),
    "refused": ("REFUSED", "bad"),
    "inconclusive": ("INCONCLUSIVE", "open"),
    "withdrawn": ("WITHDRAWN", "bad"),
    "admitted": ("ADMITTED", "open"),
    "unjudged": ("NOT JUDGED", "open"),
}


def gather(ws: Workspace, digest: Digest) -> Facts:
    """All facts about a model. What is not there yet (no examination, no verdict) is left empty, never made up.

    Errors: Tampered if an artifact or a link does not hold; BadInput if there is no such model.
    """
    line = list(ancestry(ws, digest))
    model = line[0].model
    standing, said = evidence.promotion_of(ws, digest)
    judged, verdict = _verdict(ws, digest)
    if standing == "refused" and verdict is not None and verdict.outcome is Outcome.INCONCLUSIVE:
        standing = "inconclusive"
    examination_digest, examination = _examination(ws, digest, verdict)
    newest = list(ws.statements(None))[-1]
    badge, tone = BADGES[standing]
    rules = list(verdict.rules) if verdict is not None else []
    return Facts(
        model=digest,
        name=model.name,
        form=model.form,
        standing=standing,
        badge=badge,
        tone=tone,
        why=_why(standing, said, rules, model),
        date=newest.issued_at,
        self_attested=ws.self_attested,
        root=ws.root_fingerprint,
        entries=(newest.index or 0) + 1,
        statement=said.digest if said is not None else None,
        verdict=judged.subjects["verdict"] if judged is not None else None,
        judged_at=judged.issued_at if judged is not None else None,
        withdrawn=_withdrawal(ws, digest),
        rounds=_rounds(ws, line),
        metrics=_metrics(ws, examination, verdict),
        rules=rules,
        examination=examination_digest,
        base_name=_name(ws, examination.base) if examination is not None and examination.base else None,
    )


def _verdict(ws: Workspace, model: Digest) -> tuple[Statement | None, Verdict | None]:
    gates = [s for s in ws.about(model, "verdict") if s.predicate.get("gate") == "promotion"]
    if not gates:
        return None, None
    return gates[-1], ws.store.get_artifact(gates[-1].subjects["verdict"], Verdict)


def _examination(ws: Workspace, model: Digest, verdict: Verdict | None) -> tuple[Digest | None, Examination | None]:
    """The examination the verdict rests on, or else the newest one."""
    examined = {s.subjects["examination"] for s in ws.statements("examination")}
    digest = next((d for d in verdict.evidence if d in examined), None) if verdict is not None else None
    if digest is None:
        try:
            digest = evidence.newest_examination(ws, model)
        except BadInput:
            return None, None
    return digest, ws.store.get_artifact(digest, Examination)


def _name(ws: Workspace, model: Digest) -> str:
    return ws.store.get_artifact(model, Model).name


def _withdrawal(ws: Workspace, digest: Digest) -> Mapping[str, str] | None:
    said = ws.withdrawn(digest)
    if said is None:
        return None
    return {"reason": str(said.predicate.get("reason") or "no reason given"), "at": said.issued_at, "role": said.role}


def _why(standing: str, said: Statement | None, rules: Sequence[RuleResult], model: Model) -> str:
    reason = str(said.predicate.get("reason") or "no reason given") if said is not None else ""
    if standing == "promoted":
        return f"It meets {_all(rules)} of its promotion policy, and nothing it was made from has been withdrawn."
    if standing in ("refused", "inconclusive"):
        wanted = Outcome.FAIL if standing == "refused" else Outcome.INCONCLUSIVE
        failed = [rule for rule in rules if rule.outcome is wanted]
        if not failed:
            return "Its promotion policy does not let it pass."
        first = f"{failed[0].rule}: required {failed[0].required}, observed {failed[0].observed}"
        told = "not met" if standing == "refused" else "could not be told"
        return f"{len(failed)} of {count(len(rules), 'rule')} {told} ({first})."
    if standing == "withdrawn":
        return f"It may no longer be served: {reason}."
    if standing == "admitted":
        return f"No examination judged it; its operator answers for serving it: {reason}."
    if model.run is None and model.base is not None:
        return "This is an adapter merged with its base, to be trained on. No examination has judged it."
    if model.run is None:
        return "This is a base model as it was taken in. No examination has judged it."
    return "It was trained, and no promotion policy has judged it yet. It is not served."


def _all(rules: Sequence[RuleResult]) -> str:
    return f"all {len(rules)} rules" if len(rules) > 1 else "the only rule" if rules else "the rules"


def _rounds(ws: Workspace, line: Sequence[Ancestor]) -> list[Round]:
    """Oldest first: the steps that follow each other on one release are one round."""
    runs = [one for one in reversed(line) if one.run is not None]
    rounds = []
    for release_digest, group in groupby(runs, key=lambda one: one.run.release if one.run else ""):
        steps = list(group)
        first = steps[0].run
        assert first is not None
        release = ws.store.get_artifact(release_digest, Release)
        reasons = Counter(left.reason.split(":")[0] for left in evidence.left_out_of(ws, release))
        units = units_of(ws, release)
        withdrawn = _withdrawal(ws, release_digest)
        rounds.append(
            Round(
                release=release_digest,
                name=release.name,
                merkle_root=release.merkle_root,
                count=release.count,
                left_out=release.left_out_count,
                reasons=sorted(reasons.items(), key=lambda item: (-item[1], item[0])),
                checked=release.checked,
                withdrawn=withdrawn["reason"] if withdrawn else None,
                base=first.base,
                base_name=_name(ws, first.base),
                units=units,
                steps=[_step(ws, one) for one in steps],
                checks=check_table(ws, release, units),
            )
        )
    return rounds


def _step(ws: Workspace, one: Ancestor) -> Step:
    run = one.run
    assert run is not None
    assert one.model.run is not None
    return Step(
        run=one.model.run,
        method=run.method,
        model=one.digest,
        model_name=one.model.name,
        standing=evidence.promotion_of(ws, one.digest)[0],
        updates=run.steps,
        records_used=run.records_used,
        validation_records=run.validation_records,
        tokens=run.tokens,
        stop=run.stop,
        final_loss=run.final_loss,
        best_validation_loss=run.best_validation_loss,
        metrics=_log(ws.store.get_bytes(run.metrics)),
    )


def _log(blob: bytes) -> list[Mapping[str, Any]]:
    """The trainer's log, leniently: a line that is no JSON object with a step is passed over."""
    found: list[Mapping[str, Any]] = []
    for line in blob.splitlines():
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict) and _number(value.get("step")) is not None:
            found.append(value)
    return found


def series(log: Sequence[Mapping[str, Any]], name: str) -> list[tuple[float, float]]:
    """(step, value) wherever the log holds a finite number of that name."""
    points = [(_number(line.get("step")), _number(line.get(name))) for line in log]
    return [(step, value) for step, value in points if step is not None and value is not None]


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _metrics(ws: Workspace, examination: Examination | None, verdict: Verdict | None) -> list[Metric]:
    if examination is None:
        return []
    rules = _policy_rules(ws, verdict)
    told = {rule.rule: rule.outcome for rule in verdict.rules} if verdict is not None else {}
    found = []
    for result in examination.results:
        bounds: list[tuple[str, float]] = []
        for rule in rules:
            if (rule.eval, rule.metric) != (result.eval, result.metric):
                continue
            if rule.at_least is not None:
                bounds.append(("≥", rule.at_least))
            if rule.at_most is not None:
                bounds.append(("≤", rule.at_most))
            if rule.below_base_at_most is not None and result.base_mean is not None:
                bounds.append(("≥", result.base_mean - rule.below_base_at_most))
        found.append(Metric(result, bounds, told.get(f"{result.eval}.{result.metric}")))
    return found


def _policy_rules(ws: Workspace, verdict: Verdict | None) -> Sequence[Rule]:
    """The rules as they were applied; none if the policy is of a form this version does not read."""
    if verdict is None:
        return ()
    try:
        stored = json.loads(ws.store.get_bytes(verdict.policy))
        return PromotionPolicy.model_validate_json(stored["text"]).rules
    except (ValueError, KeyError, TypeError):
        return ()
