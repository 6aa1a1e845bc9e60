"""Record digests and record lines, at the speed a corpus needs.

Two digests, both SHA-256 over canonical JSON with the schema's version inside: `content_digest` leaves the
Origin out (duplicates, caches), `record_digest` = H(content_digest, origin, extra) is the Merkle leaf that
trace and recall use. A record's line is the canonical JSON of its three fields; its digests can be computed
from the line alone.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from typing import Any, BinaryIO, overload

from pydantic import ValidationError

from goldsmith.trust import canonical
from goldsmith.types.artifact import Digest, Frozen
from goldsmith.types.errors import BadInput
from goldsmith.types.record import RECORD_SCHEMA, Record


def _fields(value: Any) -> dict[str, Any]:
    # Record types hold no floats and no computed state, so their fields are their wire form (tested against
    # model_dump).
    if isinstance(value, Frozen):
        return value.__dict__
    raise TypeError(f"{type(value).__name__} is not part of a record")


def content_digest(record: Record) -> Digest:
    """Digest of the content alone: equal for the same text from two sources."""
    return canonical.digest(canonical.encode_models({"content": record.content, "schema": RECORD_SCHEMA}, _fields))


def record_digest(record: Record) -> Digest:
    """Digest of the whole record: content, origin and extra fields."""
    return _leaf(content_digest(record), record.extra, record.origin)


def _leaf(content: Digest, extra: str | None, origin: object) -> Digest:
    whole = {"content_digest": content, "extra": extra, "origin": origin, "schema": RECORD_SCHEMA}
    return canonical.digest(canonical.encode_models(whole, _fields))


def line(record: Record) -> bytes:
    """The record as one line of canonical JSON, without the newline."""
    return canonical.encode_models({"content": record.content, "extra": record.extra, "origin": record.origin}, _fields)


def blob(records: Iterable[Record]) -> bytes:
    """Records as canonical JSON lines, each ended by a newline."""
    return b"".join(line(record) + b"\n" for record in records)


def lines(values: Iterable[Frozen]) -> bytes:
    """Any values (findings, rows left out) as canonical JSON lines, each ended by a newline."""
    return b"".join(map(line_of, values))


def line_of(value: Frozen) -> bytes:
    """One of `lines`, with its newline."""
    return canonical.encode(value.model_dump(mode="json")) + b"\n"


class Digests(Sequence[Digest]):
    """Digests of very many records, 32 bytes each; grows at its end."""

    def __init__(self, digests: Iterable[Digest] = ()) -> None:
        self._raw = bytearray()
        for digest in digests:
            self.append(digest)

    def append(self, digest: Digest) -> None:
        """Add one at the end. Errors: BadInput if it is no digest."""
        self._raw += canonical.raw(digest)

    def __len__(self) -> int:
        return len(self._raw) // 32

    @overload
    def __getitem__(self, index: int) -> Digest: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Digest]: ...
    def __getitem__(self, index: int | slice) -> Digest | Sequence[Digest]:
        places = range(len(self))[index]
        if isinstance(places, range):
            return [self[place] for place in places]
        return "sha256:" + self._raw[32 * places : 32 * places + 32].hex()

    def sorted(self) -> "Digests":
        """The same digests, ascending."""
        import numpy as np

        # As big-endian words, the first the weightiest: NumPy's own byte strings end at their first zero byte.
        words = np.frombuffer(self._raw, ">u8").reshape(-1, 4)
        order = np.lexsort(words.T[::-1])
        found = Digests()
        found._raw = bytearray(words[order].tobytes())
        return found


def _split(blob: bytes) -> Iterator[tuple[int, bytes]]:
    if not blob:
        return
    if not blob.endswith(b"\n"):
        raise BadInput(
            "the last line of this blob is cut off",
            where=f"byte {len(blob)}",
            allowed="lines ended by a newline",
        )
    yield from enumerate(blob[:-1].split(b"\n"), start=1)


def stream_lines(stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """(1-based line number, line without its newline) of a blob that is open for reading. Errors: BadInput if its last
    line is cut off."""
    for number in count(1):
        text = stream.readline()
        if not text:
            return
        if not text.endswith(b"\n"):
            raise BadInput(
                "the last line of this blob is cut off", where=f"line {number}", allowed="lines ended by a newline"
            )
        yield number, text[:-1]


def parse_line(number: int, text: bytes) -> Any:
    """The value of one canonical JSON line. Errors: BadInput naming the line."""
    try:
        return canonical.load(text)
    except BadInput as error:
        raise BadInput(error.what, where=f"line {number}", found=error.found, allowed=error.allowed) from error


def parse_lines(blob: bytes) -> Iterator[tuple[int, Any]]:
    """(1-based line number, value) of each canonical JSON line. Errors: BadInput naming the line."""
    for number, text in _split(blob):
        yield number, parse_line(number, text)


def record_at(number: int, value: Any) -> Record:
    """The record in the value of line `number`. Errors: BadInput if it is none."""
    try:
        return Record.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise BadInput(f"this line is not a record: {first['msg']}", where=f"line {number}, {place}") from error


def read(blob: bytes) -> Iterator[Record]:
    """The records of a blob. Errors: BadInput naming the line that is no record, or not in its canonical
    form."""
    for number, value in parse_lines(blob):
        yield record_at(number, value)


def stream(source: BinaryIO) -> Iterator[Record]:
    """The records of a blob that is open for reading, one after the other. Errors: as `read`."""
    for number, text in stream_lines(source):
        yield record_at(number, parse_line(number, text))


def digest_of(number: int, value: Any) -> Digest:
    """The digest of the record in the value of line `number`, without building it. Errors: BadInput naming the line."""
    if not isinstance(value, dict) or set(value) != {"content", "extra", "origin"}:
        raise BadInput("this line is not a record", where=f"line {number}", allowed="content, extra, origin")
    content = canonical.digest(canonical.encode_models({"content": value["content"], "schema": RECORD_SCHEMA}, _fields))
    return _leaf(content, value["extra"], value["origin"])


def digests(blob: bytes) -> list[Digest]:
    """The record digests of a blob, in its order, without building records. Errors: BadInput naming the
    line."""
    return [digest_of(number, value) for number, value in parse_lines(blob)]
