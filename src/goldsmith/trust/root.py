"""The trust root: who may state what, from when to when, for which sources, and how much.

A trust root is itself a DSSE envelope, signed by at least `threshold` of its own root keys. A new version
is signed by a threshold of the old root keys *and* of its own (as in The Update Framework), and names the
fingerprint of the version before it, so that one fingerprint from outside vouches for the whole history
before it.
"""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Literal

from pydantic import model_validator

from goldsmith.trust import canonical, clock, envelope
from goldsmith.trust.keys import PrivateKey, PublicKey
from goldsmith.types.artifact import Digest, Frozen, SafeInt
from goldsmith.types.errors import BadInput, Forged, Replayed

PAYLOAD_TYPE = "application/vnd.goldsmith.trust-root+json"
ANY_SOURCE = "*"
"""Stands for every source; legal in self-attested roots only."""


class KeyRole(StrEnum):
    """What a key may do. `source` signs deliveries; `operator` runs the workspace and signs its
    checkpoints."""

    SOURCE = "source"
    TRAINER = "trainer"
    EXAMINER = "examiner"
    PROMOTER = "promoter"
    OPERATOR = "operator"
    REVIEWER = "reviewer"


class RootKey(Frozen):
    """A key that signs trust roots. `public`: 64 hex digits. Kept offline."""

    keyid: str
    public: str

    @model_validator(mode="after")
    def _keyid_is_hash(self) -> "RootKey":
        if PublicKey.from_hex(self.public).keyid != self.keyid:
            raise ValueError("keyid must be the SHA-256 of the public key's bytes, in hex")
        return self


class TrustedKey(RootKey):
    """A key and what it may state. `sources`: the source ids it may speak for (role `source` only).

    `valid_from` and `valid_until` (RFC 3339, UTC) bound the `issuedAt` of what it signs, both inclusive.
    """

    name: str
    roles: tuple[KeyRole, ...]
    sources: tuple[str, ...] = ()
    valid_from: str
    valid_until: str

    @model_validator(mode="after")
    def _window_and_sources(self) -> "TrustedKey":
        if clock.moment(self.valid_from) > clock.moment(self.valid_until):
            raise ValueError("valid_from is after valid_until")
        if (KeyRole.SOURCE in self.roles) != bool(self.sources):
            raise ValueError("a key with the role `source`, and no other, names the sources it may speak for")
        if not self.roles:
            raise ValueError("a key without a role may state nothing")
        return self

    def speaks_for(self, source: str) -> bool:
        """Whether this key may sign for `source`."""
        return source in self.sources or ANY_SOURCE in self.sources

    def valid_at(self, time: str) -> bool:
        """Whether `time` lies in the key's window."""
        return clock.moment(self.valid_from) <= clock.moment(time) <= clock.moment(self.valid_until)


class Quota(Frozen):
    """The most records a source may deliver: `records` in all, `per_delivery` at once."""

    source: str
    records: SafeInt
    per_delivery: SafeInt


class TrustRoot(Frozen):
    """One version of a trust root. `self_attested`: made locally, by the one it vouches for; shown wherever
    it counts."""

    kind: Literal["trust-root"] = "trust-root"
    name: str
    version: SafeInt
    previous: Digest | None
    self_attested: bool
    threshold: SafeInt
    root_keys: tuple[RootKey, ...]
    keys: tuple[TrustedKey, ...]
    quotas: tuple[Quota, ...] = ()
    issued_at: str

    @model_validator(mode="after")
    def _coherent(self) -> "TrustRoot":
        ids = [key.keyid for key in self.root_keys]
        if not 1 <= self.threshold <= len(set(ids)) or len(set(ids)) != len(ids):
            raise ValueError("threshold must be from 1 to the number of different root keys")
        if len({key.keyid for key in self.keys}) != len(self.keys):
            raise ValueError("a key is listed twice")
        if len({quota.source for quota in self.quotas}) != len(self.quotas):
            raise ValueError("a source has two quotas")
        if self.version < 1 or (self.version == 1) != (self.previous is None):
            raise ValueError("version 1 has no previous; every later version names the fingerprint before it")
        if not self.self_attested and any(ANY_SOURCE in key.sources for key in self.keys):
            raise ValueError("only a self-attested root may let a key speak for every source")
        clock.moment(self.issued_at)
        return self

    def key(self, keyid: str) -> TrustedKey | None:
        """The key of this id, if the root knows it."""
        return next((key for key in self.keys if key.keyid == keyid), None)

    def public_keys(self) -> dict[str, PublicKey]:
        """The keys that may sign statements, by id."""
        return {key.keyid: PublicKey.from_hex(key.public) for key in self.keys}

    def public_root_keys(self) -> dict[str, PublicKey]:
        """The keys that may sign trust roots, by id."""
        return {key.keyid: PublicKey.from_hex(key.public) for key in self.root_keys}

    def quota(self, source: str) -> Quota | None:
        """The source's quota; None where there is no limit."""
        return next((quota for quota in self.quotas if quota.source == source), None)

    def with_role(self, role: KeyRole) -> list[TrustedKey]:
        """The keys that have a role."""
        return [key for key in self.keys if role in key.roles]


def root_key(public: PublicKey) -> RootKey:
    """An entry for a root key."""
    return RootKey(keyid=public.keyid, public=public.hex)


def trusted(
    name: str,
    public: PublicKey,
    *,
    roles: Iterable[str],
    sources: Iterable[str] = (),
    days: int = 365,
    start: str | None = None,
) -> TrustedKey:
    """An entry for `public`, valid for `days` from `start` (default: now)."""
    start = start or clock.now()
    return TrustedKey(
        keyid=public.keyid,
        public=public.hex,
        name=name,
        roles=tuple(KeyRole(role) for role in roles),
        sources=tuple(sources),
        valid_from=start,
        valid_until=clock.later(start, days=days),
    )


def sign_root(trust_root: TrustRoot, signers: Sequence[PrivateKey]) -> bytes:
    """The root's envelope, signed by root keys (for a rotation: the old ones and the new)."""
    return envelope.seal(canonical.artifact_bytes(trust_root), PAYLOAD_TYPE, signers)


def fingerprint(data: bytes) -> Digest:
    """What names a trust root to the world: the digest of its envelope's payload. Not a check of its
    signatures."""
    return canonical.digest(envelope.parse(data).payload)


def open_root(data: bytes) -> TrustRoot:
    """A trust root's first version, its own signatures checked.

    Errors: BadInput for another encoding or an incoherent root; Forged without a threshold of its own root
    keys.
    """
    found = _read(data)
    _require_threshold(data, found, found.public_root_keys())
    return found


def accept_rotation(old: TrustRoot, old_fingerprint: Digest, data: bytes) -> TrustRoot:
    """The next version of `old`. Errors: Replayed if it is not the next one; Forged unless a threshold of
    the old root keys and a threshold of its own signed it."""
    new = _read(data)
    if new.version != old.version + 1 or new.previous != old_fingerprint:
        raise Replayed(
            "this trust root does not follow the one in force",
            found=f"version {new.version}, previous {new.previous}",
            allowed=f"version {old.version + 1}, previous {old_fingerprint}",
        )
    if new.name != old.name:
        raise BadInput("a trust root keeps its name", found=new.name, allowed=old.name)
    if clock.moment(new.issued_at) < clock.moment(old.issued_at):
        raise BadInput("this trust root is older than the one in force", found=new.issued_at)
    allowed = {**old.public_root_keys(), **new.public_root_keys()}
    _require_threshold(data, old, allowed)
    _require_threshold(data, new, allowed)
    return new


def _read(data: bytes) -> TrustRoot:
    return canonical.read_artifact(envelope.parse(data).payload, TrustRoot)


def _require_threshold(data: bytes, judge: TrustRoot, allowed: dict[str, PublicKey]) -> None:
    signed = set(envelope.verify(envelope.parse(data), PAYLOAD_TYPE, allowed))
    own = signed & set(judge.public_root_keys())
    if len(own) < judge.threshold:
        raise Forged(
            f"too few root keys of version {judge.version} signed this trust root",
            found=f"{len(own)} of {len(judge.root_keys)}",
            allowed=f"at least {judge.threshold}",
        )
