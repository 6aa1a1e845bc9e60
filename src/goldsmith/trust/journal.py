"""What a ledger's entries mean, read one after another; each must be allowed by all that came before it.

Entry 0 is a trust root, entry 1 says which workspace this is; then come statements, deliveries and new
versions of the trust root. Every entry is judged by the trust root in force at its place.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pydantic import ValidationError

from goldsmith.trust import attest, canonical, clock, envelope, root
from goldsmith.trust.attest import Statement
from goldsmith.trust.keys import PublicKey
from goldsmith.trust.root import KeyRole, TrustRoot
from goldsmith.types.artifact import Digest
from goldsmith.types.errors import BadInput, Forged, Replayed, Tampered
from goldsmith.types.lineage import Delivery


@dataclass(frozen=True, slots=True)
class RootInForce:
    """A trust root and the entry that brought it."""

    index: int
    trust_root: TrustRoot
    fingerprint: Digest
    envelope: bytes


@dataclass(frozen=True, slots=True)
class SourceBook:
    """What a source has delivered so far. `last`: digest of its last accepted Delivery."""

    sequence: int = 0
    last: Digest | None = None
    records: int = 0
    nonces: frozenset[str] = frozenset()


@dataclass
class Journal:
    """The meaning of the first `size` entries of a ledger."""

    size: int = 0
    roots: list[RootInForce] = field(default_factory=list)
    statements: list[Statement] = field(default_factory=list)
    sources: dict[str, SourceBook] = field(default_factory=dict)
    withdrawals: dict[Digest, Statement] = field(default_factory=dict)

    @property
    def trust_root(self) -> TrustRoot:
        """The trust root in force now. Errors: Tampered for a ledger without one."""
        return self.root_at(self.size).trust_root

    @property
    def workspace(self) -> Statement:
        """The statement that says which workspace this is: name, origin and audience."""
        if not self.statements:
            raise Tampered("the ledger does not say which workspace it belongs to", where="ledger entry 1")
        return self.statements[0]

    def root_at(self, size: int) -> RootInForce:
        """The trust root in force after the first `size` entries."""
        found = [held for held in self.roots if held.index < size]
        if not found:
            raise Tampered("the ledger does not begin with a trust root", where="ledger entry 0")
        return found[-1]

    def operator_keys(self, size: int | None = None) -> list[PublicKey]:
        """The keys that may sign a checkpoint of `size` entries."""
        held = self.root_at(self.size if size is None else size).trust_root
        return [PublicKey.from_hex(key.public) for key in held.with_role(KeyRole.OPERATOR)]

    def extended(self, entries: Iterable[bytes]) -> "Journal":
        """The journal after `entries` too; this one stays as it is. Errors: as `read_entry`."""
        journal = Journal(
            self.size, list(self.roots), list(self.statements), dict(self.sources), dict(self.withdrawals)
        )
        for entry in entries:
            journal.read_entry(entry)
        return journal

    def read_entry(self, data: bytes) -> None:
        """Take in the next entry. Errors: Forged, Replayed, BadInput or Tampered, with nothing taken in."""
        if envelope.parse(data).payload_type == root.PAYLOAD_TYPE:
            self._read_root(data)
        else:
            self._read_statement(data)
        self.size += 1

    def _read_root(self, data: bytes) -> None:
        if not self.roots:
            found = root.open_root(data)
        else:
            held = self.roots[-1]
            found = root.accept_rotation(held.trust_root, held.fingerprint, data)
        self.roots.append(RootInForce(self.size, found, root.fingerprint(data), data))

    def _read_statement(self, data: bytes) -> None:
        statement = dataclasses.replace(attest.verify(data, self.trust_root), index=self.size)
        if (statement.predicate_type == "workspace") != (not self.statements):
            raise Replayed("the second entry, and no other, says which workspace this is", where=f"entry {self.size}")
        if statement.predicate_type == "workspace":
            require_identity(statement)
        elif statement.predicate_type == "delivery":
            delivery = delivery_in(statement)
            self.sources[delivery.source] = self.judge(delivery)
        elif statement.predicate_type == "withdrawal":
            for subject in statement.subjects.values():
                self.withdrawals.setdefault(subject, statement)
        self.statements.append(statement)

    def judge(self, delivery: Delivery) -> SourceBook:
        """The source's book after `delivery`.

        Errors: Forged for another audience; Replayed if it is not the next one or its nonce was used;
        BadInput if it goes beyond the source's quota.
        """
        book = self.sources.get(delivery.source, SourceBook())
        where = f"delivery {delivery.sequence} of {ascii(delivery.source)[:80]}"
        audience = self.workspace.predicate["audience"]
        if delivery.audience != audience:
            raise Forged(
                "this delivery is meant for somebody else",
                where=where,
                found=delivery.audience,
                allowed=audience,
            )
        if delivery.sequence != book.sequence + 1:
            old = delivery.sequence <= book.sequence
            raise Replayed(
                "this delivery was taken in before" if old else "a delivery before this one is missing",
                where=where,
                found=f"number {delivery.sequence}",
                allowed=f"number {book.sequence + 1}",
                next_step="ask the source for the deliveries in between" if not old else None,
            )
        if delivery.previous != book.last:
            raise Replayed(
                "this delivery does not follow the last one of its source",
                where=where,
                found=f"previous {delivery.previous}",
                allowed=f"previous {book.last}",
            )
        if delivery.nonce in book.nonces:
            raise Replayed("this delivery's nonce was used before", where=where)
        self._require_quota(delivery, book, where)
        return SourceBook(
            delivery.sequence,
            canonical.artifact_digest(delivery),
            book.records + delivery.records,
            book.nonces | {delivery.nonce},
        )

    def _require_quota(self, delivery: Delivery, book: SourceBook, where: str) -> None:
        quota = self.trust_root.quota(delivery.source)
        if quota is None:
            return
        if delivery.records > quota.per_delivery:
            raise BadInput(
                "this delivery is larger than the source's quota allows",
                where=where,
                found=f"{delivery.records} records",
                allowed=f"{quota.per_delivery} per delivery",
            )
        if book.records + delivery.records > quota.records:
            raise BadInput(
                "with this delivery the source would exceed its quota",
                where=where,
                found=f"{book.records} taken in before and {delivery.records} now",
                allowed=f"{quota.records} records in all",
                next_step="raise the quota in a new version of the trust root, or refuse the delivery",
            )


def require_identity(statement: Statement) -> Mapping[str, str]:
    """The workspace statement's name, origin and audience. Errors: BadInput if one is missing."""
    content = statement.predicate
    names = ("audience", "name", "origin")
    if set(content) != set(names) or not all(isinstance(content[name], str) for name in names):
        raise BadInput("this is not a workspace's identity", found=sorted(content), allowed=", ".join(names))
    return {name: content[name] for name in names}


def delivery_in(statement: Statement) -> Delivery:
    """The Delivery that a delivery statement carries.

    Errors: BadInput if there is none; Forged if the statement says of itself other than the delivery says.
    """
    content = statement.predicate.get("delivery")
    try:
        delivery = Delivery.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise BadInput(f"this is not a delivery: {first['msg']}", where=f"delivery.{place}") from error
    same = (
        set(statement.predicate) == {"delivery"}
        and delivery.model_dump(mode="json") == content
        and statement.source == delivery.source
        and statement.issued_at == delivery.issued_at
        and dict(statement.subjects) == {delivery.file_name: delivery.file}
    )
    if not same:
        raise Forged("the signed statement and the delivery in it disagree", where=f"delivery {delivery.sequence}")
    if clock.moment(delivery.expires_at) < clock.moment(delivery.issued_at):
        raise BadInput("this delivery expires before it is issued", found=delivery.expires_at)
    if delivery.sequence < 1 or delivery.records < 0:
        raise BadInput(
            "a delivery's number is from 1, its records from 0",
            found=f"{delivery.sequence}, {delivery.records}",
        )
    return delivery
