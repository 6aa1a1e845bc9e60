"""sources -> Collection: a signed delivery is taken in whole, or refused whole with the reason."""

import secrets
from array import array
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from goldsmith import plugins
from goldsmith.engines.reading.read import Reading, read
from goldsmith.trust import canonical, deliveries, merkle, records
from goldsmith.trust.durable import Spool
from goldsmith.trust.records import Digests
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
    with ws.store.spool() as spool:
        taken = _Taken.of(read_source(path, entry), spool)
        if reuse and (known := _known(ws, path, entry, taken.digests)) is not None:
            return known
        if deliveries.delivery_path(path).exists():
            return _accept(ws, path, entry, taken, spool, None)
        # Signed in the workspace's own scratch: beside the file it would make the user's next edit look tampered with.
        own = ws.scratch / "partial" / f"{secrets.token_hex(8)}.delivery.json"
        try:
            deliveries.sign_next(
                ws, path, source=entry.name, batch=entry.batch, record_digests=taken.digests, target=own
            )
            return _accept(ws, path, entry, taken, spool, own)
        finally:
            own.unlink(missing_ok=True)


@dataclass(slots=True)
class _Taken:
    """What is kept of a file's rows while it streams by: 40 bytes each."""

    reading: Reading
    digests: Digests = field(default_factory=Digests)
    lines: "array[int]" = field(default_factory=lambda: array("q"))

    @classmethod
    def of(cls, reading: Reading, spool: Spool | None = None) -> "_Taken":
        """Read the file to its end; its records' canonical lines go into `spool`."""
        taken = cls(reading)
        for batch in reading.batches():
            for row in batch:
                taken.digests.append(records.record_digest(row.record))
                taken.lines.append(row.line)
                if spool is not None:
                    spool.write(records.line(row.record) + b"\n")
        return taken


def _accept(
    ws: Workspace, path: Path, entry: SourceEntry, taken: _Taken, spool: Spool, delivery_file: Path | None
) -> Collected:
    reading = taken.reading
    with ws.atomically():
        accepted = deliveries.accept(ws, path, taken.digests, delivery_file=delivery_file)
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
            records=ws.store.put_spool(spool),
            count=len(taken.digests),
            faulty=len(reading.faults),
            merkle_root=accepted.delivery.merkle_root,  # found to be that of `taken.digests`
            places=ws.store.put_bytes(_places(taken)),
        )
        statement = ws.attest_artifact(
            "collection", collection, {"trusted": entry.trusted, "maker": entry.maker.value}, role="operator"
        )
    return Collected(statement.subjects["collection"], collection)


def _places(taken: _Taken) -> bytes:
    faults = [{"line": fault.line, "what": str(fault)} for fault in taken.reading.faults]
    return canonical.encode({"lines": taken.lines.tolist(), "faults": faults})


def _known(ws: Workspace, path: Path, entry: SourceEntry, digests: Digests) -> Collected | None:
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
    digests = _Taken.of(read_source(path, entry)).digests
    return deliveries.sign_next(ws, path, source=entry.name, batch=entry.batch, record_digests=digests)
