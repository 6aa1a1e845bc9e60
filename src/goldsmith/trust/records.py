"""Record digests and record lines, at the speed a corpus needs.

Two digests, both SHA-256 over canonical JSON with the schema's version inside: `content_digest` leaves the
Origin out (duplicates, caches), `record_digest` = H(content_digest, origin, extra) is the Merkle leaf that
trace and recall use. A record's line is the canonical JSON of its three fields; its digests can be computed
from the line alone.
"""

from collections.abc import Iterable, Iterator
from typing import Any

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
    return b"".join(canonical.encode(value.model_dump(mode="json")) + b"\n" for value in values)


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


def parse_lines(blob: bytes) -> Iterator[tuple[int, Any]]:
    """(1-based line number, value) of each canonical JSON line. Errors: BadInput naming the line."""
    for number, text in _split(blob):
        try:
            value = canonical.load(text)
        except BadInput as error:
            raise BadInput(error.what, where=f"line {number}", found=error.found, allowed=error.allowed) from error
        yield number, value


def read(blob: bytes) -> Iterator[Record]:
    """The records of a blob. Errors: BadInput naming the line that is no record, or not in its canonical
    form."""
    for number, value in parse_lines(blob):
        try:
            record = Record.model_validate(value)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(str(part) for part in first["loc"])
            raise BadInput(f"this line is not a record: {first['msg']}", where=f"line {number}, {place}") from error
        yield record


def digests(blob: bytes) -> list[Digest]:
    """The record digests of a blob, in its order, without building records. Errors: BadInput naming the
    line."""
    found = []
    for number, value in parse_lines(blob):
        if not isinstance(value, dict) or set(value) != {"content", "extra", "origin"}:
            raise BadInput("this line is not a record", where=f"line {number}", allowed="content, extra, origin")
        content = canonical.digest(
            canonical.encode_models({"content": value["content"], "schema": RECORD_SCHEMA}, _fields)
        )
        found.append(_leaf(content, value["extra"], value["origin"]))
    return found
