"""Records back to rows of a named format, as JSON lines."""

import gzip
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from goldsmith.engines.reading.json_text import decode, encode
from goldsmith.types.errors import BadInput, Unavailable
from goldsmith.types.record import Maker, Origin, Record
from goldsmith.types.row_format import RowFormat, RowProblem

_UNSET = Origin()


def render_lines(records: Iterable[Record], form: RowFormat) -> Iterator[bytes]:
    """One JSON line, ended by a newline, for each record: its content as a row of the format, what is known of its
    origin, and its extra fields (under the names they were delivered with). Numbers are written as delivered.

    Errors: BadInput naming the record that the format cannot say.
    """
    for number, record in enumerate(records, start=1):
        try:
            row = form.render(record.content)
        except RowProblem as problem:
            raise BadInput(
                f"record {number} cannot be written as {form.id}: {problem.what}",
                where=f"record {number}",
                found=problem.found,
                allowed=problem.allowed,
            ) from problem
        extra: dict[str, Any] = decode(record.extra) if record.extra else {}
        yield encode({**extra, **_origin(record.origin), **row}).encode() + b"\n"


def _origin(origin: Origin) -> dict[str, Any]:
    known = {name: getattr(origin, name) for name in Origin.model_fields if name != "qualification_basis"}
    return {
        name: str(value) if isinstance(value, Maker) else value
        for name, value in known.items()
        if value is not None and value != getattr(_UNSET, name)
    }


def write(path: Path | str, records: Iterable[Record], form: RowFormat) -> int:
    """Write records as JSON lines (gzipped if the name ends in .gz), whole or not at all. Returns how many.

    Errors: BadInput as `render_lines`; Unavailable where the disk is full or the folder is missing.
    """
    target = Path(path)
    partial = target.with_name(target.name + ".partial")
    count = 0
    try:
        with partial.open("wb") as raw:
            # mtime 0: the same records give the same bytes
            stream = (
                cast(BinaryIO, gzip.GzipFile(fileobj=raw, mode="wb", mtime=0, filename=""))
                if target.suffix == ".gz"
                else raw
            )
            for line in render_lines(records, form):
                stream.write(line)
                count += 1
            if stream is not raw:
                stream.close()
        partial.replace(target)
    except OSError as error:
        raise Unavailable("the rows cannot be written", where=str(target), found=error.strerror) from error
    finally:
        partial.unlink(missing_ok=True)
    return count
