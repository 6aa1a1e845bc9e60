"""Delivery, contract -> a signed decision, clause by clause; the vendor's objection, the answer, the redelivery."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from goldsmith.engines.acceptance.clauses import apply, defective_contents, outcome_of
from goldsmith.engines.acceptance.delivered import Before, Delivered
from goldsmith.engines.acceptance.plan import Plan, plan_for
from goldsmith.engines.acceptance.sheet import sheet_text
from goldsmith.engines.evidence import rows_of
from goldsmith.engines.text.projection import project
from goldsmith.engines.yaml_file import read_yaml
from goldsmith.trust import canonical, clock, records
from goldsmith.trust.attest import Statement
from goldsmith.trust.root import KeyRole
from goldsmith.trust.workspace import Workspace
from goldsmith.types.artifact import Digest
from goldsmith.types.check import Row
from goldsmith.types.contract import Acceptance, ClauseResult, Contract
from goldsmith.types.coverage import Cell, Coverage
from goldsmith.types.errors import BadInput, Unavailable
from goldsmith.types.finding import Outcome
from goldsmith.types.lineage import Collection, Delivery

_DECISIONS = ("accept", "reject")


def read_contract(path: Path) -> Contract:
    """A contract from its YAML file. Errors: BadInput with file, line and a suggestion."""
    return read_yaml(path, Contract)


def read_coverage(path: Path) -> Coverage:
    """What `goldsmith drill FILE --json` printed. Errors: BadInput for anything else."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise Unavailable("the coverage cannot be read", where=str(path), found=error.strerror) from error
    document = canonical.read_json(data, where=str(path))
    try:
        told = {name: document[name] for name in Coverage.model_fields if name in document}
        told["cells"] = [{name: cell[name] for name in Cell.model_fields if name in cell} for cell in document["cells"]]
        return Coverage.model_validate(told)
    except (KeyError, TypeError, ValueError) as error:
        allowed = "the document of goldsmith drill FILE --json"
        raise BadInput(
            "this is not a coverage matrix", where=str(path), found=str(error)[:160], allowed=allowed
        ) from error


def held_against(contract: Contract, told: Delivered) -> tuple[Outcome, tuple[ClauseResult, ...]]:
    """The contract held against a delivery, nothing signed."""
    clauses = apply(contract, told)
    return outcome_of(clauses), clauses


def sample(contract: Contract, rows: Sequence[Row], seed: str, since: Before | None = None) -> tuple[Plan, str]:
    """The sampling plan for these rows, and the sheet for people to fill in (of what is new, `since` a rejection).

    Errors: BadInput if the contract has no sampling clause, or there is nothing to sample from.
    """
    if contract.sampling is None:
        raise BadInput("this contract has no sampling clause", found=contract.name, allowed="sampling: {aql, ltpd}")
    told = Delivered(project(rows), (), (), {}, frozenset(), clock.now(), before=since)
    plan = plan_for(contract.sampling, len(told.lot))
    digest = canonical.artifact_digest(contract)
    return plan, sheet_text(digest, told.root, seed, plan, told.lot)


def contents_of(rows: Sequence[Row]) -> Before:
    """What an earlier delivery held, for telling what is new in the next."""
    return Before(frozenset(records.content_digest(row.record) for row in rows))


# --- in a workspace


def sign_contract(ws: Workspace, contract: Contract, *, vendor: bool = False) -> Statement:
    """State a contract: by the buyer (operator), or by the vendor (its source key). Both may."""
    digest = ws.store.put_artifact(contract)
    role = KeyRole.SOURCE if vendor else KeyRole.OPERATOR
    source = contract.vendor if vendor else None
    return ws.attest("contract", {"contract": digest}, {"name": contract.name}, role=role, source=source)


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision, the digest of its Acceptance, and the statement that signs it (None: nothing was signed)."""

    outcome: Outcome
    clauses: tuple[ClauseResult, ...]
    digest: Digest | None
    statement: Statement | None


def decide(
    ws: Workspace,
    collection: Digest,
    contract: Contract,
    told: Delivered,
    *,
    evidence: Sequence[Path] = (),
    reject: str | None = None,
) -> Decided:
    """Hold the contract against a collection and sign `accept` or `reject`.

    Every clause passes: accept. One fails: reject. Otherwise nothing is signed, unless `reject` gives the reason for a
    rejection all the same: what cannot be told is never accepted. An upheld objection's lines do not count; after a
    rejection of the same vendor under the same contract, the redelivery clauses apply.
    """
    held = ws.store.get_artifact(collection, Collection)
    if held.source != contract.vendor:
        raise BadInput(
            "this delivery is not the contract's vendor's", found=held.source, allowed=contract.vendor,
            next_step="name the vendor as its deliveries are signed",
        )  # fmt: skip
    name = canonical.artifact_digest(contract)
    before, answers = predecessor(ws, collection, name)
    delivered_at = ws.store.get_artifact(held.delivery, Delivery).issued_at
    told = replace(told, before=before, struck=struck(ws, collection, name), delivered_at=delivered_at)
    outcome, clauses = held_against(contract, told)
    if outcome is Outcome.INCONCLUSIVE and reject is None:
        return Decided(outcome, clauses, None, None)
    with ws.atomically():
        made = Acceptance(
            contract=name,
            collection=collection,
            vendor=contract.vendor,
            records=told.root,
            outcome=outcome,
            clauses=clauses,
            defective=defective_contents(clauses, told),
            evidence=tuple(ws.store.put_file(path) for path in evidence),
            redelivery_of=answers,
            reason=reject,
            decided_at=clock.now(),
        )
        if not any(s.subjects.get("contract") == name for s in ws.statements("contract")):
            sign_contract(ws, contract)
        digest = ws.store.put_artifact(made)
        about = {"acceptance": digest, "collection": collection, "contract": name}
        content = {"outcome": outcome.value, "clauses": [_short(one) for one in clauses], "reason": reject}
        verb = "reject" if reject is not None or outcome is Outcome.FAIL else "accept"
        statement = ws.attest(verb, about, content, role=_role(ws))
    return Decided(outcome, clauses, digest, statement)


def _short(one: ClauseResult) -> dict[str, str]:
    return {"clause": one.clause, "outcome": one.outcome.value, "figure": one.figure, "required": one.required}


def _role(ws: Workspace) -> KeyRole:
    try:
        ws.key_for(KeyRole.REVIEWER)
    except Unavailable:
        return KeyRole.OPERATOR
    return KeyRole.REVIEWER


def predecessor(ws: Workspace, collection: Digest, contract: Digest) -> tuple[Before | None, Digest | None]:
    """The rejected delivery that this one answers, by the vendor's own word, and the digest of its rejection.

    Without that word the last delivery that stands rejected under this contract counts in one respect: its defects may
    not come back.
    """
    standing = {s.subjects["collection"]: s for s in _decisions(ws, contract)}
    rejected = [s for c, s in standing.items() if s.predicate_type == "reject" and c != collection]
    named = {s.subjects["rejected"] for s in ws.about(collection, "redelivery")}
    answered = [s for s in rejected if s.subjects["acceptance"] in named]
    if not rejected:
        return None, None
    last = (answered or rejected)[-1]
    made = ws.store.get_artifact(last.subjects["acceptance"], Acceptance)
    old = ws.store.get_artifact(made.collection, Collection)
    before = Before(
        frozenset(records.content_digest(row.record) for row in rows_of(ws, old)),
        frozenset(d for s in rejected for d in ws.store.get_artifact(s.subjects["acceptance"], Acceptance).defective),
        len(rejected),
        last.issued_at,
        declared=bool(answered),
    )
    return before, last.subjects["acceptance"] if answered else None


def _decisions(ws: Workspace, contract: Digest | None = None) -> list[Statement]:
    found = [s for s in ws.statements() if s.predicate_type in _DECISIONS]
    return [s for s in found if contract is None or s.subjects["contract"] == contract]


def dispute(
    ws: Workspace, decision: str, clauses: Sequence[str], reason: str, *, lines: Sequence[int] = ()
) -> Statement:
    """The vendor objects to clauses of a rejection (to these lines of them, or to all); signed with its source key.

    Errors: BadInput if there is no such rejection, or it has no such failed clause or line.
    """
    statement = _decision(ws, decision)
    made = ws.store.get_artifact(statement.subjects["acceptance"], Acceptance)
    failed = {one.clause: one for one in made.clauses if one.outcome is not Outcome.PASS}
    wrong = [name for name in clauses if name not in failed]
    if not clauses or wrong:
        raise BadInput(
            "this rejection has no such clause to object to",
            found=", ".join(wrong) or "none named",
            allowed=", ".join(failed) or "none failed",
        )
    known = {line for name in clauses for line in failed[name].lines}
    strange = [line for line in lines if line not in known]
    if strange:
        raise BadInput("these clauses name no such line", found=strange[0], allowed=_some(sorted(known)))
    content = {"clauses": sorted(set(clauses)), "lines": sorted(set(lines)), "reason": reason}
    about = {"acceptance": statement.subjects["acceptance"], "collection": made.collection}
    return ws.attest("dispute", about, content, role=KeyRole.SOURCE, source=made.vendor)


def answer(ws: Workspace, objection: str, *, upheld: bool, reason: str) -> Statement:
    """The buyer answers an objection. Upheld, its lines no longer count in its clauses: decide again.

    Errors: BadInput if there is no such objection, or it was answered before.
    """
    disputes = {s.digest: s for s in ws.statements("dispute")}
    digest = _match(list(disputes), objection, "objection")
    if ws.about(digest, "answer"):
        raise BadInput("this objection was answered before", found=digest[7:19])
    about = {"dispute": digest, "acceptance": disputes[digest].subjects["acceptance"]}
    return ws.attest("answer", about, {"upheld": upheld, "reason": reason}, role=_role(ws))


def redeliver(ws: Workspace, collection: Digest, decision: str) -> Statement:
    """The vendor states that a new delivery answers a rejected one. Errors: BadInput for another vendor's rejection."""
    statement = _decision(ws, decision)
    made = ws.store.get_artifact(statement.subjects["acceptance"], Acceptance)
    held = ws.store.get_artifact(collection, Collection)
    if held.source != made.vendor or collection == made.collection:
        raise BadInput("this is not a new delivery of the same vendor", found=f"{held.source} / {held.batch}")
    about = {"collection": collection, "rejected": statement.subjects["acceptance"]}
    return ws.attest("redelivery", about, {}, role=KeyRole.SOURCE, source=made.vendor)


def struck(ws: Workspace, collection: Digest, contract: Digest) -> Mapping[str, frozenset[int]]:
    """Clause -> lines of this collection that no longer count, because an objection to them was upheld."""
    upheld = {s.subjects["dispute"] for s in ws.statements("answer") if s.predicate.get("upheld")}
    found: dict[str, set[int]] = {}
    for one in ws.about(collection, "dispute"):
        made = ws.store.get_artifact(one.subjects["acceptance"], Acceptance)
        if one.digest not in upheld or made.contract != contract:
            continue
        for clause in made.clauses:
            if clause.clause in one.predicate["clauses"]:
                lines = set(clause.lines) & set(one.predicate["lines"]) if one.predicate["lines"] else set(clause.lines)
                found.setdefault(clause.clause, set()).update(lines)
    return {clause: frozenset(lines) for clause, lines in found.items()}


def status(ws: Workspace, vendor: str | None = None) -> list[dict[str, Any]]:
    """Every contract, decision, objection, answer and redelivery (of one vendor), in the ledger's order."""
    kinds = ("contract", "accept", "reject", "dispute", "answer", "redelivery")
    told = []
    for one in ws.statements():
        if one.predicate_type not in kinds:
            continue
        who = one.source or _vendor(ws, one)
        if vendor is not None and who != vendor:
            continue
        digest = one.subjects["acceptance"] if one.predicate_type in _DECISIONS else one.digest
        told.append(
            {
                "kind": one.predicate_type,
                "id": digest,
                "vendor": who,
                "at": one.issued_at,
                "by": one.role.value,
                "subjects": dict(one.subjects),
                **dict(one.predicate),
            }
        )
    return told


def _vendor(ws: Workspace, one: Statement) -> str | None:
    if "acceptance" in one.subjects:
        return ws.store.get_artifact(one.subjects["acceptance"], Acceptance).vendor
    if "contract" in one.subjects:
        return ws.store.get_artifact(one.subjects["contract"], Contract).vendor
    return None


def _decision(ws: Workspace, name: str) -> Statement:
    rejections = {s.subjects["acceptance"]: s for s in _decisions(ws) if s.predicate_type == "reject"}
    return rejections[_match(list(rejections), name, "rejection")]


def _match(known: Sequence[Digest], name: str, what: str) -> Digest:
    wanted = name.removeprefix("sha256:")
    matching = sorted({one for one in known if len(wanted) >= 6 and one.removeprefix("sha256:").startswith(wanted)})
    if len(matching) == 1:
        return matching[0]
    raise BadInput(
        f"there is {'more than one' if matching else 'no'} {what} {name!r}",
        allowed=", ".join(one[7:19] for one in known) or "there are none yet",
        next_step="goldsmith contract status lists them",
    )


def _some(values: Sequence[int]) -> str:
    return ", ".join(map(str, values[:10])) + (" ..." if len(values) > 10 else "") or "none"
