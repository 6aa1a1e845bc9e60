"""A file's raw rows in pieces that can be parsed apart, on another core or another machine.

A piece carries what its rows need: their line numbers and where they begin, so that a fault names the same line and
byte whoever parses it. Pieces do not depend on who parses them, or on how many do.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

from goldsmith.engines.reading.container import MAX_ROW_BYTES, Notes, RawRow, opened, reading
from goldsmith.engines.reading.faults import Fault
from goldsmith.engines.reading.json_lines import lines_of, skip_line
from goldsmith.engines.reading.json_text import encode
from goldsmith.types.row_format import RowProblem

_MOST_ROWS = 16_384


@dataclass(frozen=True, slots=True)
class LinesPiece:
    """Whole lines of JSON: `data` begins after `lines` lines and `offset` bytes of the (unpacked) file."""

    path: Path
    lines: int
    offset: int
    data: bytes

    def rows(self, notes: Notes) -> Iterator[RawRow]:
        """(line, row or fault). Errors: BadInput for bytes that are not UTF-8."""
        return lines_of(BytesIO(self.data), self.path, notes, number=self.lines, offset=self.offset)

    def digest(self) -> bytes:
        """SHA-256 of the bytes and their place."""
        running = hashlib.sha256(f"lines {self.lines} {self.offset}\n".encode())
        running.update(self.data)
        return running.digest()


@dataclass(frozen=True, slots=True)
class RowsPiece:
    """Rows that their container has decoded already (CSV, Parquet, JSON lists, folders)."""

    decoded: tuple[RawRow, ...]

    def rows(self, notes: Notes) -> Iterator[RawRow]:  # noqa: ARG002 (its container has taken note)
        """(line, row or fault)."""
        return iter(self.decoded)

    def digest(self) -> bytes:
        """SHA-256 of the rows and their lines."""
        running = hashlib.sha256(b"rows\n")
        for line, row in self.decoded:
            text = str(row) if isinstance(row, Fault) else _text(row)
            running.update(f"{line} {len(text)} ".encode())
            running.update(text.encode("utf-8", "surrogatepass"))
        return running.digest()


Piece = LinesPiece | RowsPiece


def line_pieces(path: Path, *, zipped: bool, size: int) -> Iterator[LinesPiece]:
    """Pieces of about `size` bytes that end where a line ends.

    Of a line longer than `MAX_ROW_BYTES` only so many bytes are in its piece, which ends there: enough to see that it
    is too long. Errors: BadInput for a broken gzip stream, Unavailable.
    """
    number = offset = 0
    with opened(path, zipped=zipped) as stream:
        while True:
            place = f"line {number + 1}, byte {offset}"
            data = reading(path, partial(stream.read, size), place)
            if not data:
                return
            whole = data.rfind(b"\n") + 1
            skipped = 0
            if whole < len(data):
                tail = len(data) - whole
                data += reading(path, partial(stream.readline, MAX_ROW_BYTES - tail), place)
                if len(data) - whole == MAX_ROW_BYTES and not data.endswith(b"\n"):
                    skipped = skip_line(path, stream, number + 1, offset)
            yield LinesPiece(path, number, offset, data)
            number += data.count(b"\n") + (not data.endswith(b"\n"))
            offset += len(data) + skipped


def row_pieces(rows: Iterator[RawRow], size: int) -> Iterator[RowsPiece]:
    """Pieces of about `size` bytes of text."""
    held: list[RawRow] = []
    weight = 0
    for line, row in rows:
        held.append((line, row))
        weight += 64 + _weight(row)
        if weight >= size or len(held) >= _MOST_ROWS:
            yield RowsPiece(tuple(held))
            held, weight = [], 0
    if held:
        yield RowsPiece(tuple(held))


def _text(row: dict[str, Any]) -> str:
    try:
        return encode(row)
    except RowProblem:  # nested too deeply to be written: it will be a fault when it is parsed
        return repr(row)


def _weight(value: object) -> int:
    """Roughly the characters in a value."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(16 + _weight(item) for item in value.values())
    if isinstance(value, list):
        return sum(8 + _weight(item) for item in value)
    return 8
