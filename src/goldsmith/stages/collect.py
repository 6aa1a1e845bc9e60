"""sources -> Collection: a signed delivery is taken in whole, or refused whole with the reason."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from goldsmith import plugins
from goldsmith.engines.reading.read import Reading, read
from goldsmith.trust import canonical, deliveries, merkle, records
from goldsmith.trust.workspace import Workspace
from goldsmith.types.artifact import Digest
from goldsmith.types.errors import BadInput
from goldsmith.types.lineage import Collection, Delivery
from goldsmith.types.recipe import SourceEntry
from goldsmith.types.record import Maker, Origin
from goldsmith.types.row_format import RowFormat


@dataclass(frozen=True, slots=True)
class Collected:
    """A collection and its digest. `again`: it was in this workspace before, nothing new was stated."""

    digest: Digest
    collection: Collection
    again: bool = False


def read_source(path: Path, entry: SourceEntry) -> Reading:
    """A delivered file's rows. The delivery decides on source and batch; rows may tell the rest of their origin."""
    maker = entry.maker
    origin = Origin(
        source=entry.name,
        batch=entry.batch,
        project=entry.project,
        licence=entry.licence,
        maker=maker,
        generator=entry.generator,
        generation_depth=0 if maker is Maker.HUMAN and entry.generation_depth is None else entry.generation_depth,
        domain=entry.domain,
        language=entry.language,
    )
    formats = cast(list[RowFormat], plugins.build_all("sources"))
    return read(path, formats, format_name=entry.format, origin_defaults=origin, row_origin=False)


def collect(ws: Workspace, entry: SourceEntry, folder: Path, *, reuse: bool = False) -> Collected:
    """Take in `entry`'s file (relative to `folder`) as a delivery of its source.

    A file without `NAME.delivery.json` is signed with the workspace's own source key first (self-attested).
    With `reuse`, a file that was taken in before from this source and batch is not delivered again.
    Errors: Forged, Replayed, Tampered, BadInput with the reason; then nothing was taken in.
    """
    if entry.collection is not None:
        return Collected(entry.collection, ws.store.get_artifact(entry.collection, Collection), again=True)
    path = folder / str(entry.file)
    reading = read_source(path, entry)
    digests = [records.record_digest(row.record) for row in reading.rows]
    if reuse and (known := _known(ws, path, entry, digests)) is not None:
        return known
    if deliveries.delivery_path(path).exists():
        return _accept(ws, path, entry, reading, digests, None)
    # Signed in the workspace's own scratch: beside the file it would make the user's next edit look tampered with.
    own = ws.scratch / "partial" / f"{secrets.token_hex(8)}.delivery.json"
    try:
        deliveries.sign_next(ws, path, source=entry.name, batch=entry.batch, record_digests=digests, target=own)
        return _accept(ws, path, entry, reading, digests, own)
    finally:
        own.unlink(missing_ok=True)


def _accept(
    ws: Workspace,
    path: Path,
    entry: SourceEntry,
    reading: Reading,
    digests: Sequence[Digest],
    delivery_file: Path | None,
) -> Collected:
    with ws.atomically():
        accepted = deliveries.accept(ws, path, digests, delivery_file=delivery_file)
        stated = (accepted.delivery.source, accepted.delivery.batch)
        if stated != (entry.name, entry.batch):
            raise BadInput(
                "the delivery is of another source or batch than the recipe says",
                where=str(path),
                found=f"{stated[0]} / {stated[1]}",
                allowed=f"{entry.name} / {entry.batch}",
            )
        collection = Collection(
            delivery=accepted.digest,
            source=entry.name,
            batch=entry.batch,
            format=", ".join(f"{name} ({count})" for name, count in sorted(reading.format_counts.items())),
            records=ws.store.put_bytes(records.blob(row.record for row in reading.rows)),
            count=len(reading.rows),
            faulty=len(reading.faults),
            merkle_root=merkle.root_of(digests),
            places=ws.store.put_bytes(_places(reading)),
        )
        statement = ws.attest_artifact(
            "collection", collection, {"trusted": entry.trusted, "maker": entry.maker.value}, role="operator"
        )
    return Collected(statement.subjects["collection"], collection)


def _places(reading: Reading) -> bytes:
    faults = [{"line": fault.line, "what": str(fault)} for fault in reading.faults]
    return canonical.encode({"lines": [row.line for row in reading.rows], "faults": faults})


def _known(ws: Workspace, path: Path, entry: SourceEntry, digests: Sequence[Digest]) -> Collected | None:
    """The collection made earlier from this very file, if any: re-running a recipe is not a replayed delivery."""
    file = canonical.file_digest(path)
    root = merkle.root_of(digests)
    for statement in ws.statements("collection"):
        collection = ws.store.get_artifact(statement.subjects["collection"], Collection)
        if (collection.source, collection.batch, collection.merkle_root) != (entry.name, entry.batch, root):
            continue
        if ws.store.get_artifact(collection.delivery, Delivery).file == file:
            return Collected(statement.subjects["collection"], collection, again=True)
    return None


def sign_delivery(ws: Workspace, entry: SourceEntry, path: Path) -> Path:
    """Sign a file as its source's next delivery; the path of the delivery beside it. Errors: BadInput, Unavailable."""
    reading = read_source(path, entry)
    digests = [records.record_digest(row.record) for row in reading.rows]
    return deliveries.sign_next(ws, path, source=entry.name, batch=entry.batch, record_digests=digests)
