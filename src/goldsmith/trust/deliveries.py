"""Signed deliveries: how a source hands over a file, and when it is taken in.

Beside `NAME` lies `NAME.delivery.json`: the source's signed statement of the file's digest, its record
count and Merkle root, whom it is for, its number in the source's sequence and the delivery before it. A
delivery is taken in whole or refused whole.
"""

import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from goldsmith.trust import attest, canonical, clock, durable, merkle
from goldsmith.trust.attest import Statement
from goldsmith.trust.journal import SourceBook, delivery_in
from goldsmith.trust.keys import PrivateKey
from goldsmith.trust.root import KeyRole
from goldsmith.trust.workspace import Workspace
from goldsmith.types.artifact import Digest
from goldsmith.types.errors import BadInput, Forged, Replayed, Tampered, Unavailable
from goldsmith.types.lineage import Delivery

CLOCK_SKEW_DAYS = 10 / (24 * 60)
"""How far a source's clock may be ahead of ours: ten minutes."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """A delivery that was taken in. `digest`: of the stored Delivery; `file`: of the stored file;
    `statement`: the source's, as it now stands in the ledger."""

    delivery: Delivery
    digest: Digest
    file: Digest
    statement: Statement


def delivery_path(data_path: str | os.PathLike[str]) -> Path:
    """Where a file's delivery lies."""
    path = Path(data_path)
    return path.with_name(path.name + ".delivery.json")


def sign(
    data_path: str | os.PathLike[str],
    key: PrivateKey,
    *,
    source: str,
    batch: str,
    sequence: int,
    previous: Digest | None,
    record_digests: Sequence[Digest],
    audience: str,
    days: int = 30,
    now: str | None = None,
    target: Path | None = None,
) -> Path:
    """Sign a file as delivery number `sequence` of `source` and write `NAME.delivery.json` (or `target`); its path.

    `record_digests`: of the file's records, in its order. Errors: Unavailable if the file cannot be read.
    """
    path = Path(data_path)
    issued_at = now or clock.now()
    delivery = Delivery(
        source=source,
        batch=batch,
        sequence=sequence,
        previous=previous,
        file=canonical.file_digest(path),
        file_name=path.name,
        records=len(record_digests),
        merkle_root=merkle.root_of(record_digests),
        audience=audience,
        issued_at=issued_at,
        expires_at=clock.later(issued_at, days=days),
        nonce=secrets.token_hex(16),
    )
    envelope = attest.sign(
        "delivery",
        {path.name: delivery.file},
        {"delivery": delivery.model_dump(mode="json")},
        key,
        role=KeyRole.SOURCE,
        source=source,
        self_attested=None,
        issued_at=issued_at,
    )
    target = target or delivery_path(path)
    durable.write(target, envelope, partial=target.parent)
    return target


def next_number(ws: Workspace, source: str) -> tuple[int, Digest | None]:
    """The number and `previous` of the source's next delivery."""
    book = ws.journal.sources.get(source, SourceBook())
    return book.sequence + 1, book.last


def sign_next(
    ws: Workspace,
    data_path: str | os.PathLike[str],
    *,
    source: str,
    batch: str,
    record_digests: Sequence[Digest],
    key: PrivateKey | None = None,
    target: Path | None = None,
) -> Path:
    """Sign a file as the source's next delivery to this workspace, with the ring's key unless another is
    given."""
    sequence, previous = next_number(ws, source)
    return sign(
        data_path,
        key or ws.source_key(source),
        source=source,
        batch=batch,
        sequence=sequence,
        previous=previous,
        record_digests=record_digests,
        audience=ws.audience,
        target=target,
    )


def peek(path: str | os.PathLike[str]) -> Delivery:
    """What a delivery file says, nothing of it checked: for showing only. Errors: BadInput for any other
    form."""
    return delivery_in(_read(Path(path))[1])


def _read(path: Path) -> tuple[bytes, Statement]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise Unavailable(
            "this file has no delivery: nobody vouches for it",
            where=str(path),
            found=error.strerror,
            next_step="ask the source for NAME.delivery.json, or sign the file as your own source",
        ) from error
    try:
        statement = attest.read(data)
    except BadInput as error:
        raise BadInput(error.what, where=str(path), found=error.found, allowed=error.allowed) from error
    if statement.predicate_type != "delivery":
        raise BadInput("this is a statement, but not a delivery", where=str(path), found=statement.predicate_type)
    return data, statement


def accept(
    ws: Workspace,
    data_path: str | os.PathLike[str],
    record_digests: Sequence[Digest],
    *,
    delivery_file: str | os.PathLike[str] | None = None,
    now: str | None = None,
) -> Accepted:
    """Take a delivery in: store the file and the Delivery, put the source's statement in the ledger.

    `record_digests`: of the records as read here, in the file's order. Refused whole, nothing taken in, with:
    Forged (signature, key, role, source, window, audience, expired or not yet issued), Replayed (number,
    previous, nonce), Tampered (file, count or Merkle root are not what was signed), BadInput (form, quota),
    Unavailable.
    """
    path = Path(data_path)
    envelope, _ = _read(Path(delivery_file) if delivery_file is not None else delivery_path(path))
    with ws.atomically():
        statement = attest.verify(envelope, ws.trust_root)
        delivery = delivery_in(statement)
        _require_current(ws, statement, delivery, now or clock.now())
        ws.journal.judge(delivery)
        _require_same(path, delivery, record_digests)
        stored = ws.store.put_file(path)
        if stored != delivery.file:
            raise Tampered("this file changed while it was being taken in", where=str(path), found=stored)
        digest = ws.store.put_artifact(delivery)
        return Accepted(delivery, digest, stored, ws.append(envelope))


def _require_current(ws: Workspace, statement: Statement, delivery: Delivery, now: str) -> None:
    where = f"delivery {delivery.sequence} of {ascii(delivery.source)[:80]}"
    if clock.moment(delivery.issued_at) > clock.moment(clock.later(now, days=CLOCK_SKEW_DAYS)):
        raise Forged("this delivery was issued in the future", where=where, found=delivery.issued_at, allowed=now)
    if clock.moment(now) > clock.moment(delivery.expires_at):
        raise Replayed(
            "this delivery has expired",
            where=where,
            found=delivery.expires_at,
            next_step="ask the source to issue it again",
        )
    key = ws.trust_root.key(statement.keyid)
    if key is None or not key.valid_at(now):
        raise Forged(
            "the key of this delivery is no longer valid",
            where=where,
            found=now,
            allowed="" if key is None else f"{key.valid_from} to {key.valid_until}",
            next_step="have a new key of the source added to the trust root",
        )


def _require_same(path: Path, delivery: Delivery, record_digests: Sequence[Digest]) -> None:
    file = canonical.file_digest(path)
    if file != delivery.file:
        raise Tampered("this file is not the one that was signed", where=str(path), found=file, allowed=delivery.file)
    if path.name != delivery.file_name:
        raise Tampered(
            "this file has another name than the one that was signed",
            where=str(path),
            allowed=delivery.file_name,
        )
    if len(record_digests) != delivery.records:
        raise Tampered(
            "this file has not as many records as were signed",
            where=str(path),
            found=len(record_digests),
            allowed=str(delivery.records),
        )
    found = merkle.root_of(record_digests)
    if found != delivery.merkle_root:
        raise Tampered(
            "the records of this file are not those that were signed",
            where=str(path),
            found=found,
            allowed=delivery.merkle_root,
            next_step="have the source sign with the same version and row format as it is read with",
        )
