"""Statements: who states what about which digests. in-toto Statement v1 in a DSSE envelope, Ed25519.

The predicate holds `issuedAt`, `role`, `source` and, under `content`, what is stated; statements of a
workspace under a self-attested trust root carry `selfAttested: true`. A signature proves who said it and
that no byte has changed since. It does not prove that what is said is true.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from goldsmith.trust import canonical, clock, envelope
from goldsmith.trust.keys import PrivateKey
from goldsmith.trust.root import KeyRole, TrustRoot
from goldsmith.types.artifact import Digest
from goldsmith.types.errors import BadInput, Forged

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"

ROLES: Mapping[str, frozenset[KeyRole]] = {
    "workspace": frozenset({KeyRole.OPERATOR}),
    "delivery": frozenset({KeyRole.SOURCE}),
    "collection": frozenset({KeyRole.OPERATOR}),
    "release": frozenset({KeyRole.OPERATOR}),
    "run": frozenset({KeyRole.TRAINER}),
    "model": frozenset({KeyRole.TRAINER, KeyRole.OPERATOR}),
    "examination": frozenset({KeyRole.EXAMINER}),
    "verdict": frozenset({KeyRole.PROMOTER, KeyRole.OPERATOR}),
    "admission": frozenset({KeyRole.OPERATOR}),
    "withdrawal": frozenset({KeyRole.OPERATOR, KeyRole.PROMOTER, KeyRole.REVIEWER}),
    "review": frozenset({KeyRole.REVIEWER, KeyRole.OPERATOR}),
    "due-diligence": frozenset({KeyRole.OPERATOR, KeyRole.REVIEWER}),
    "contract": frozenset({KeyRole.OPERATOR, KeyRole.SOURCE}),
    "accept": frozenset({KeyRole.OPERATOR, KeyRole.REVIEWER}),
    "reject": frozenset({KeyRole.OPERATOR, KeyRole.REVIEWER}),
    "dispute": frozenset({KeyRole.SOURCE}),
    "answer": frozenset({KeyRole.OPERATOR, KeyRole.REVIEWER}),
    "redelivery": frozenset({KeyRole.SOURCE}),
}
"""Who may state what. A verdict of the promotion gate is the promoter's alone."""


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement whose signature, role, window and source were checked. `index`: its place in the ledger,
    if it is in one; `digest`: of its envelope; `subjects`: what it is about, by name."""

    predicate_type: str
    subjects: Mapping[str, Digest]
    predicate: Mapping[str, Any]
    role: KeyRole
    source: str | None
    issued_at: str
    keyid: str
    self_attested: bool
    digest: Digest
    index: int | None = None


def type_uri(name: str) -> str:
    """The URI of a predicate type. Errors: BadInput if there is none of this name."""
    if name not in ROLES:
        raise BadInput("there is no such predicate type", found=ascii(name)[:80], allowed=", ".join(ROLES))
    return f"https://goldsmith.dev/{name}/v1"


_NAMES = {type_uri(name): name for name in ROLES}


def allowed_roles(name: str, content: Mapping[str, Any]) -> frozenset[KeyRole]:
    """The roles that may state this. Errors: BadInput for a verdict that does not name its gate."""
    if name != "verdict":
        return ROLES[name]
    gate = content.get("gate")
    if gate == "promotion":
        return frozenset({KeyRole.PROMOTER})
    if gate == "release":
        return ROLES[name]
    raise BadInput("a verdict names its gate", where="gate", found=gate, allowed="release, promotion")


def sign(
    name: str,
    subjects: Mapping[str, Digest],
    content: Mapping[str, Any],
    key: PrivateKey,
    *,
    role: str,
    source: str | None = None,
    self_attested: bool | None = False,
    issued_at: str | None = None,
) -> bytes:
    """A signed envelope. `content` holds canonical JSON values; `self_attested=None` leaves the mark out.

    Errors: BadInput for an unknown type, a role that may not state it, no subject, or content without
    canonical form.
    """
    _require_role(name, role, content, source)
    if not subjects:
        raise BadInput("a statement is about something", where="subjects", allowed="at least one digest")
    form = _form(name, subjects, content, KeyRole(role), source, issued_at or clock.now(), self_attested)
    return envelope.seal(canonical.encode(form), PAYLOAD_TYPE, [key])


def _form(
    name: str,
    subjects: Mapping[str, Digest],
    content: Mapping[str, Any],
    role: KeyRole,
    source: str | None,
    issued_at: str,
    self_attested: bool | None,
) -> dict[str, Any]:
    predicate: dict[str, Any] = {
        "content": dict(content),
        "issuedAt": issued_at,
        "role": role.value,
        "source": source,
    }
    if self_attested is not None:
        predicate["selfAttested"] = self_attested
    about = [{"digest": {"sha256": canonical.raw(subjects[one]).hex()}, "name": one} for one in sorted(subjects)]
    return {
        "_type": STATEMENT_TYPE,
        "predicate": predicate,
        "predicateType": type_uri(name),
        "subject": about,
    }


def _require_role(name: str, role: str, content: Mapping[str, Any], source: str | None) -> None:
    type_uri(name)
    roles = allowed_roles(name, content)
    if role not in roles:
        raise BadInput(f"this role may not state a {name}", found=role, allowed=", ".join(sorted(roles)))
    if (role == KeyRole.SOURCE) != (source is not None):
        raise BadInput("the role `source`, and no other, names the source it speaks for", found=source)


def read(data: bytes) -> Statement:
    """What an envelope says, its signature *not* checked; `keyid` is the one it claims.

    Errors: BadInput for any deviation from the one form `sign` writes.
    """
    sealed = envelope.parse(data)
    if sealed.payload_type != PAYLOAD_TYPE:
        raise BadInput("this is not a statement", found=sealed.payload_type[:80], allowed=PAYLOAD_TYPE)
    if len(sealed.signatures) != 1:
        raise BadInput("a statement has one signature", found=len(sealed.signatures))
    fields = canonical.load(sealed.payload)
    try:
        predicate = fields["predicate"]
        subjects = {entry["name"]: "sha256:" + entry["digest"]["sha256"] for entry in fields["subject"]}
        name, mark = _NAMES[fields["predicateType"]], predicate.get("selfAttested")
        role, source, issued_at = KeyRole(predicate["role"]), predicate["source"], predicate["issuedAt"]
        content = predicate["content"]
        if not (subjects and isinstance(source, str | None) and isinstance(mark, bool | None)):
            raise TypeError("a field of another type")
        clock.moment(issued_at)
        rebuilt = canonical.encode(_form(name, subjects, content, role, source, issued_at, mark))
        _require_role(name, role, content, source)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        found = error.what if isinstance(error, BadInput) else f"{type(error).__name__}: {ascii(str(error))[:80]}"
        raise BadInput("this statement is not one of ours", found=found) from error
    if rebuilt != sealed.payload:
        raise BadInput("this statement has fields that ours have not", allowed="what attest.sign writes")
    keyid = next(iter(sealed.signatures))
    marked = bool(mark)
    return Statement(name, subjects, content, role, source, issued_at, keyid, marked, canonical.digest(data))


def verify(data: bytes, root: TrustRoot) -> Statement:
    """The statement in an envelope, if `root` lets its key say it.

    Errors: Forged if the signature is missing or wrong, the key is unknown, has not the role, was not valid
    at `issuedAt`, or may not speak for the source; BadInput for any other form than ours.
    """
    statement = read(data)
    envelope.verify(envelope.parse(data), PAYLOAD_TYPE, root.public_keys())
    key = root.key(statement.keyid)
    if key is None:  # pragma: no cover - envelope.verify has just found it
        raise Forged("this key is unknown", found=statement.keyid)
    where = f"{statement.predicate_type} issued at {statement.issued_at} by {key.name}"
    if statement.role not in key.roles:
        raise Forged(
            f"this key has not the role {statement.role}",
            where=where,
            found=", ".join(key.roles),
            next_step="use a key that has the role, or give it the role in a new trust root version",
        )
    if not key.valid_at(statement.issued_at):
        raise Forged(
            "this key was not valid then",
            where=where,
            found=statement.issued_at,
            allowed=f"{key.valid_from} to {key.valid_until}",
            next_step="have a new key added to the trust root",
        )
    if statement.source is not None and not key.speaks_for(statement.source):
        raise Forged(
            f"this key may not speak for {ascii(statement.source)[:80]}",
            where=where,
            allowed=", ".join(key.sources),
        )
    if statement.predicate_type != "delivery" and statement.self_attested != root.self_attested:
        raise Forged(
            "this statement's selfAttested mark is not that of the trust root",
            where=where,
            found=str(statement.self_attested),
            allowed=str(root.self_attested),
        )
    return dataclasses.replace(statement, self_attested=root.self_attested)
