"""A due-diligence report and its proof, checked by somebody who has neither the workspace nor a network.

The proof is one small file: the signed statement about the report, its place in the ledger, the ledger's signed head,
and the trust root those keys are in. The trust root travels with the proof and therefore vouches for nothing by itself:
only its fingerprint, known from outside, says that these are the vendor's keys.
"""

from typing import Literal

from goldsmith.trust import attest, canonical, merkle, note, root
from goldsmith.trust.keys import PublicKey
from goldsmith.trust.root import KeyRole
from goldsmith.trust.workspace import Workspace
from goldsmith.types.artifact import Digest, Frozen, SafeInt
from goldsmith.types.diligence import Diligence
from goldsmith.types.errors import BadInput, Forged, Tampered


class Proof(Frozen):
    """What a report's reader needs to check it. All texts are verbatim; `inclusion` holds hex hashes, leaf first."""

    kind: Literal["due-diligence-proof"] = "due-diligence-proof"
    statement: str
    trust_root: str
    origin: str
    checkpoint: str
    index: SafeInt
    inclusion: tuple[str, ...]


class ReportStanding(Frozen):
    """What holds of a report. `standing`: `verified` (signed by a key of the trust root whose fingerprint came from
    outside), `self-consistent only` (signed, the fingerprint not given), or `unsigned`."""

    standing: Literal["verified", "self-consistent only", "unsigned"]
    report: Digest
    verdict: str
    subject: Digest
    signed_by: str | None = None
    issued_at: str | None = None
    self_attested: bool | None = None
    trust_root: Digest | None = None
    page_checked: bool = False

    def __str__(self) -> str:
        lines = [f"{self.standing}: due-diligence report, verdict {self.verdict}", f"  report:      {self.report}"]
        lines.append(f"  subject:     {self.subject}")
        if self.standing == "unsigned":
            lines.append("  not checked: who made it; there is no proof beside it")
            return "\n".join(lines)
        lines.append(f"  signed:      {self.issued_at} by {self.signed_by}")
        lines.append(f"  trust root:  {self.trust_root}")
        if self.self_attested:
            lines.append("               self-attested: made locally, vouched for by nobody else")
        if self.standing != "verified":
            lines.append("  not checked: whether this is the right trust root (give its fingerprint from outside)")
        if not self.page_checked:
            lines.append("  not checked: the HTML page (give it with --page)")
        return "\n".join(lines)


def prove(ws: Workspace, statement: attest.Statement) -> Proof:
    """The proof of a report's statement, under the ledger's present head."""
    index = statement.index
    if index is None:
        raise BadInput("only a statement of the ledger has a proof")
    held = ws.journal.root_at(index)
    return Proof(
        statement=ws.ledger.entry(index).decode(),
        trust_root=held.envelope.decode(),
        origin=ws.info.origin,
        checkpoint=ws.checkpoint(),
        index=index,
        inclusion=tuple(step.hex() for step in ws.ledger.inclusion(index)),
    )


def check(
    report: bytes, proof: bytes | None = None, *, fingerprint: str | None = None, page: bytes | None = None
) -> ReportStanding:
    """Check a report's bytes against its proof. `page`: the HTML file, which must be the one that was signed with it.

    Errors: BadInput for bytes that are no report or no proof; Tampered if they do not belong together; Forged if the
    signature, the trust root or the ledger's head do not hold.
    """
    value = canonical.read_artifact(report, Diligence)
    digest = canonical.digest(report)
    if proof is None:
        if fingerprint is not None or page is not None:
            raise BadInput("without the proof nothing can be checked against a trust root or a page")
        return ReportStanding(
            standing="unsigned", report=digest, verdict=value.verdict.value, subject=value.subject.digest
        )
    told = canonical.read_artifact(proof, Proof)
    fingerprint_found = root.fingerprint(told.trust_root.encode())
    if fingerprint is not None and fingerprint != fingerprint_found:
        raise Forged(
            "this proof rests on another trust root",
            found=fingerprint_found,
            allowed=fingerprint[:80],
            next_step="ask the vendor for a proof under the trust root you know",
        )
    trust_root = root.open_root(told.trust_root.encode())
    statement = attest.verify(told.statement.encode(), trust_root)
    _belong_together(statement, value, digest, page)
    _in_ledger(told, trust_root)
    key = trust_root.key(statement.keyid)
    return ReportStanding(
        standing="self-consistent only" if fingerprint is None else "verified",
        report=digest,
        verdict=value.verdict.value,
        subject=value.subject.digest,
        signed_by=key.name if key else statement.keyid,
        issued_at=statement.issued_at,
        self_attested=trust_root.self_attested,
        trust_root=fingerprint_found,
        page_checked=page is not None,
    )


def _belong_together(statement: attest.Statement, value: Diligence, digest: Digest, page: bytes | None) -> None:
    said = statement.predicate
    if statement.predicate_type != "due-diligence" or said.get("report") != digest:
        raise Tampered(
            "the signed statement is about another report",
            found=digest,
            allowed=str(said.get("report")),
            next_step="ask the vendor for the report that was signed",
        )
    if dict(statement.subjects) != {value.subject.what: value.subject.digest}:
        raise Tampered("the statement and the report are about different data", found=value.subject.digest)
    if said.get("verdict") != value.verdict.value:
        raise Tampered("the signed verdict is not the report's", found=value.verdict.value)
    if page is not None and said.get("page") != canonical.digest(page):
        raise Tampered("the page is not the one that was signed with this report", found=canonical.digest(page))


def _in_ledger(told: Proof, trust_root: root.TrustRoot) -> None:
    operators = [PublicKey.from_hex(key.public) for key in trust_root.with_role(KeyRole.OPERATOR)]
    head = note.verify(told.checkpoint, told.origin, operators)
    try:
        steps = [bytes.fromhex(step) for step in told.inclusion]
    except ValueError as error:
        raise BadInput("the inclusion proof is not hexadecimal", where="inclusion") from error
    leaf = merkle.leaf_hash(told.statement.encode())
    if not merkle.verify_inclusion(leaf, told.index, head.size, steps, head.root):
        raise Forged("the statement is not in the ledger whose head is given", where=f"ledger entry {told.index}")
