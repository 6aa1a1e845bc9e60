"""Findings -> Review: a person's decision, signed, about the rows of one delivery and no other."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from goldsmith.engines import reviews
from goldsmith.engines.evidence import findings_of, lines_of
from goldsmith.engines.reviews import Decided, concerns, finding_id
from goldsmith.trust import clock, records
from goldsmith.trust.root import KeyRole
from goldsmith.trust.workspace import Workspace
from goldsmith.types.artifact import Digest
from goldsmith.types.errors import BadInput, Unavailable
from goldsmith.types.finding import Finding
from goldsmith.types.lineage import Collection, Release
from goldsmith.types.review import Decision, Review


@dataclass(frozen=True, slots=True)
class Found:
    """A finding about one delivery, and the decision on it that is in force."""

    id: Digest
    collection: Digest
    source: str
    batch: str
    finding: Finding
    decided: Decided | None

    @property
    def state(self) -> str:
        """`open` (it keeps rows out until somebody decides), `noted`, or the decision."""
        if self.decided is not None:
            return self.decided.review.decision.value
        return "open" if self.finding.severity in reviews.GATED else "noted"


def found_in(ws: Workspace, release: Release) -> Iterator[Found]:
    """What the checks found in a release's deliveries, each with its identity and the decision in force."""
    collections = {digest: ws.store.get_artifact(digest, Collection) for digest in release.collections}
    held = {digest: reviews.standing(ws, digest) for digest in collections}
    for finding in findings_of(ws, release):
        for digest, collection in collections.items():
            if concerns(finding, collection):
                name = finding_id(digest, finding)
                yield Found(name, digest, collection.source, collection.batch, finding, held[digest].on.get(name))


def review(
    ws: Workspace,
    release: Release,
    decision: Decision,
    reason: str,
    *,
    findings: Sequence[str] = (),
    unit: tuple[str, str] | None = None,
    lines: Sequence[int] = (),
    days: int | None = None,
) -> tuple[Digest, Review]:
    """State a decision about `findings` (identities, or their first digits), or about `unit` (source, batch) of a
    release, or about `lines` of that unit; signed by the reviewer, or by the operator where no reviewer's key is at
    hand.

    `days`: for how long; for good without. Errors: BadInput if it is about nothing here; nothing is stated then.
    """
    everything = list(found_in(ws, release))
    if bool(findings) == (unit is not None):
        raise BadInput("say what the decision is about", allowed="findings by their ids, or a source with its batch")
    chosen = [_one(everything, name) for name in findings] if findings else []
    if unit is not None:
        collection = _collection(ws, release, unit)
        if decision is not Decision.REJECT:
            chosen = [o for o in everything if o.collection == collection and o.finding.severity in reviews.GATED]
    else:
        collection = _same(chosen)
    held = ws.store.get_artifact(collection, Collection)
    _require_lines(ws, held, lines)
    if not reason.strip():
        raise BadInput("a decision needs a reason", allowed="words that say why; they are signed and shown")
    if lines and decision is not Decision.REJECT:
        raise BadInput("lines can be rejected; what is accepted or waived is a finding", found=decision.value)
    now = clock.now()
    with ws.atomically():
        made = Review(
            decision=decision,
            collection=collection,
            source=held.source,
            batch=held.batch,
            whole=unit is not None and not lines,
            findings=tuple(sorted({one.id for one in chosen})),
            lines=tuple(sorted(set(lines))),
            seen=ws.store.put_bytes(records.lines(one.finding for one in chosen)),
            reason=reason,
            decided_at=now,
            expires_at=None if days is None else clock.later(now, days=days),
        )
        digest = ws.store.put_artifact(made)
        about = {"review": digest, "collection": collection}
        ws.attest("review", about, {"decision": decision.value, "reason": reason}, role=_role(ws))
    return digest, made


def take_back(ws: Workspace, name: str, reason: str) -> Digest:
    """Withdraw a decision (its digest, or the first digits): what it let in stays out again at the next release."""
    digests = [one.digest for one in reviews.decisions(ws)]
    matching = _matching(digests, name)
    if len(matching) != 1:
        raise BadInput(
            f"there is {'more than one' if matching else 'no'} decision {name!r}",
            allowed=", ".join(one[7:19] for one in digests) or "there are none yet",
        )
    ws.withdraw(matching[0], reason, role=_role(ws))
    return matching[0]


def _role(ws: Workspace) -> KeyRole:
    try:
        ws.key_for(KeyRole.REVIEWER)
    except Unavailable:
        return KeyRole.OPERATOR
    return KeyRole.REVIEWER


def _matching(digests: Sequence[Digest], name: str) -> list[Digest]:
    wanted = name.removeprefix("sha256:")
    return sorted({one for one in digests if len(wanted) >= 6 and one.removeprefix("sha256:").startswith(wanted)})


def _one(everything: Sequence[Found], name: str) -> Found:
    matching = _matching([one.id for one in everything], name)
    if len(matching) == 1:
        return next(one for one in everything if one.id == matching[0])
    gated = [one for one in everything if one.state == "open"]
    raise BadInput(
        f"there is {'more than one' if matching else 'no'} finding {name!r} in this release",
        allowed="an id of 6 or more digits; open ones: " + (", ".join(one.id[7:19] for one in gated[:8]) or "none"),
        next_step="goldsmith show findings RELEASE lists them",
    )


def _same(chosen: Sequence[Found]) -> Digest:
    units = {one.collection: f"{one.source} / {one.batch}" for one in chosen}
    if len(units) != 1:
        raise BadInput(
            "a decision is about one delivery, and these findings are about several",
            found=", ".join(units.values()),
            next_step="decide on each delivery by itself",
        )
    return next(iter(units))


def _collection(ws: Workspace, release: Release, unit: tuple[str, str]) -> Digest:
    known = {}
    for digest in release.collections:
        collection = ws.store.get_artifact(digest, Collection)
        known[collection.source, collection.batch] = digest
    if unit not in known:
        raise BadInput(
            "this release has no such source and batch",
            found=" / ".join(unit),
            allowed=", ".join(" / ".join(one) for one in known),
        )
    return known[unit]


def _require_lines(ws: Workspace, collection: Collection, lines: Sequence[int]) -> None:
    known = set(lines_of(ws, collection)) if lines else set()
    wrong = [line for line in lines if line not in known]
    if wrong:
        raise BadInput(
            "this delivery has no record at that line",
            where=f"{collection.source} / {collection.batch}",
            found=wrong[0],
            allowed=f"{len(known)} lines from {min(known)} to {max(known)}",
        )
