"""A workspace's records as a supply of rows: the blobs of collections or of a release, in pieces, none of them held.

The store's bytes are checked before they are read, through the same open file.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import orjson
from pydantic import TypeAdapter, ValidationError

from goldsmith.engines.reading.container import Notes
from goldsmith.engines.reading.faults import Fault
from goldsmith.trust import records
from goldsmith.trust.store import Store
from goldsmith.types.artifact import Digest
from goldsmith.types.check import Row
from goldsmith.types.errors import BadInput
from goldsmith.types.record import Content, Origin, Record

_CONTENT: TypeAdapter[Content] = TypeAdapter(Content)
_ORIGINS_HELD = 4096


@dataclass(frozen=True, slots=True)
class Blob:
    """Stored records. `lines` gives the line of each in the delivered file; without it they are counted from one."""

    records: Digest
    lines: Callable[[], Sequence[int]] | None = None


@dataclass(frozen=True, slots=True)
class StatedPiece:
    """Whole lines of one blob. `first`: how many stand before them there; `places`: the rows' lines, int64."""

    first: int
    places: bytes
    data: bytes

    def rows(self, notes: Notes) -> Iterator[tuple[int, tuple[int, bytes]]]:  # noqa: ARG002 (a blob has nothing to note)
        """(line in the delivered file, (line in the blob, its text))."""
        texts = self.data[:-1].split(b"\n")
        yield from zip(
            np.frombuffer(self.places, np.int64).tolist(), enumerate(texts, start=self.first + 1), strict=True
        )

    def digest(self) -> bytes:
        """SHA-256 of the records and their lines."""
        running = hashlib.sha256(f"stated {self.first} {len(self.places)}\n".encode())
        running.update(self.places)
        running.update(self.data)
        return running.digest()


@dataclass(slots=True)
class RecordParser:
    """Canonical lines to records; rows of one origin share it."""

    origins: dict[bytes, Origin] = field(default_factory=dict)

    def fresh(self) -> "RecordParser":
        """One that has met no row."""
        return RecordParser()

    def told(self) -> tuple[object, ...]:
        """Nothing but the lines decides on the records."""
        return ("stated",)

    def row(self, line: int, raw: tuple[int, bytes]) -> tuple[str, Row] | Fault:
        """The record. Errors: BadInput if the line is none, or not in its canonical form."""
        number, text = raw
        value = records.parse_line(number, text)
        if not isinstance(value, dict) or set(value) != {"content", "extra", "origin"}:
            return "record", Row(line, records.record_at(number, value))
        try:
            content = _CONTENT.validate_python(value["content"])
            record = Record(content=content, origin=self._origin(value["origin"]), extra=value["extra"])
        except ValidationError:
            record = records.record_at(number, value)  # says what is wrong, and where
        return "record", Row(line, record)

    def _origin(self, told: object) -> Origin:
        key = orjson.dumps(told)
        found = self.origins.get(key)
        if found is None:
            if len(self.origins) >= _ORIGINS_HELD:
                self.origins.clear()
            found = self.origins[key] = Origin.model_validate(told)
        return found


class Stated:
    """Blobs of a store, one after the other, as a supply for `Intake`."""

    def __init__(self, store: Store, blobs: Sequence[Blob]) -> None:
        self._store, self._blobs = store, blobs

    @property
    def identity(self) -> str:
        """The blobs, and the store they lie in."""
        return " ".join([str(self._store.folder.resolve()), *(blob.records for blob in self._blobs)])

    @property
    def text_bytes(self) -> int:
        """The blobs' size."""
        return sum(self._store.size(blob.records) for blob in self._blobs)

    def parser(self) -> RecordParser:
        """What parses the lines."""
        return RecordParser()

    def pieces(self, size: int) -> Iterator[StatedPiece]:
        """The lines in pieces of about `size` bytes. Errors: Tampered, Unavailable, BadInput (lines that are cut off,
        or not as many as there are places)."""
        for blob in self._blobs:
            places = None if blob.lines is None else np.array(blob.lines(), np.int64)
            first = 0
            with self._store.open_file(blob.records) as stream:
                while data := stream.read(size):
                    data += stream.readline() if not data.endswith(b"\n") else b""
                    count = data.count(b"\n")
                    if not data.endswith(b"\n"):
                        raise BadInput(
                            "the last line of this blob is cut off", where=f"{blob.records}, line {count + 1}"
                        )
                    own = np.arange(first + 1, first + count + 1) if places is None else places[first : first + count]
                    if len(own) == count:  # else it is said below
                        yield StatedPiece(first, own.astype(np.int64).tobytes(), data)
                    first += count
            if places is not None and len(places) != first:
                raise BadInput(
                    "a collection's places are not of its records",
                    where=blob.records,
                    found=f"{len(places)} places",
                    allowed=f"{first} records",
                )

    def account(self, formats: Mapping[str, int], faults: Sequence[Fault], notes: Mapping[str, str | int]) -> None:
        """Stored records have no faults, and their formats were counted when they were taken in."""

    def close(self) -> None:
        """An empty collection is one."""
