"""JSON lines and JSON lists of rows, streamed; one bad row never stops the rest."""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from goldsmith.engines.reading.container import MAX_ROW_BYTES, Notes, RawRow, is_bare_turns, not_utf8, opened, reading
from goldsmith.engines.reading.faults import Fault
from goldsmith.engines.reading.json_text import Refused, decode, show
from goldsmith.types.errors import BadInput

_BOM = b"\xef\xbb\xbf"
_CHUNK = 1 << 20
_STRUCTURE = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}"]', re.DOTALL)
_BETWEEN = re.compile(rb"\s*,\s*")


def json_lines(path: Path, *, zipped: bool, notes: Notes) -> Iterator[RawRow]:
    """(1-based line, row or fault) for every line that is not blank.

    Errors: BadInput where the bytes are not UTF-8 or the gzip stream is broken, with line and byte.
    """
    with opened(path, zipped=zipped) as stream:
        yield from lines_of(stream, path, notes)


def lines_of(stream: BinaryIO, path: Path, notes: Notes, *, number: int = 0, offset: int = 0) -> Iterator[RawRow]:
    """As `json_lines`, of a stream that begins after `number` lines and `offset` bytes of the file."""
    while True:
        line = reading(path, lambda: stream.readline(MAX_ROW_BYTES), f"line {number + 1}, byte {offset}")
        if not line:
            return
        number += 1
        size = len(line)
        if number == 1 and line.startswith(_BOM):
            line = line[3:]
            notes.facts["byte_order_mark"] = "skipped"
        if size == MAX_ROW_BYTES and not line.endswith(b"\n"):
            yield number, _too_long(number)
            size += skip_line(path, stream, number, offset)
        elif line.isspace() or not line:
            notes.count("blank_lines")
        else:
            yield number, _row(path, number, offset, line)
        offset += size


def _too_long(number: int) -> Fault:
    return Fault(
        number, "a row that is too long", found=f"over {MAX_ROW_BYTES} bytes", allowed=f"{MAX_ROW_BYTES} bytes"
    )


def skip_line(path: Path, stream: BinaryIO, number: int, offset: int) -> int:
    """Read on to the end of the line; how many bytes were left of it."""
    skipped = 0
    while True:
        piece = reading(path, lambda: stream.readline(_CHUNK), f"line {number}, byte {offset + skipped}")
        skipped += len(piece)
        if not piece or piece.endswith(b"\n"):
            return skipped


def _row(path: Path, number: int, offset: int, line: bytes) -> "dict[str, Any] | Fault":
    whole = line.endswith(b"\n")
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        if not whole and error.reason == "unexpected end of data" and error.end == len(line):
            return _cut_off(number, "it ends inside a character")
        raise not_utf8(path, number, offset, error) from error
    try:
        return as_row(number, decode(text))
    except Refused as problem:
        if problem.at_end and not whole:
            return _cut_off(number, problem.found or "")
        return Fault.of(number, problem)


def _cut_off(number: int, found: str) -> Fault:
    return Fault(number, "the file is cut off inside its last row", found=found, allowed="a whole JSON object")


def as_row(number: int, value: Any) -> "dict[str, Any] | Fault":
    """A decoded value as a row: an object, or a bare list of turns, which is read as its `messages`."""
    if type(value) is dict:
        return value
    if is_bare_turns(value):
        return {"messages": value}
    return Fault(number, "a row that is not an object", found=show(value), allowed="a JSON object")


def json_list(path: Path, *, zipped: bool, notes: Notes) -> Iterator[RawRow]:
    """(1-based number of the row, row or fault) for every object of one JSON list. Errors: as `json_lines`."""
    with opened(path, zipped=zipped) as stream:
        number = 0
        for number, piece, offset in _objects(path, stream, notes):
            if isinstance(piece, Fault):
                yield number, piece
                continue
            try:
                yield number, as_row(number, decode(piece.decode()))
            except UnicodeDecodeError as error:
                raise not_utf8(path, number, offset, error) from error
            except Refused as problem:
                yield number, Fault.of(number, problem)
        if number == 0:
            raise BadInput(f"{path.name} is an empty list", where=str(path), found="[]", allowed="at least one row")


def _objects(path: Path, stream: BinaryIO, notes: Notes) -> Iterator[tuple[int, "bytes | Fault", int]]:
    """The bytes of each element, found by brackets and quotes alone, so that a broken element stays one element."""
    buffer, base, position, number, depth, size = b"", 0, 0, 0, 0, _CHUNK
    start = 0  # where the text between the last element and the next begins
    while True:
        more = reading(path, partial(stream.read, size), f"byte {base + len(buffer)}")
        buffer += more
        if base == 0 and number == 0 and buffer.startswith(_BOM):
            buffer, base = buffer[3:], 3
            notes.facts["byte_order_mark"] = "skipped"
        for mark in _STRUCTURE.finditer(buffer, position):
            sign = mark[0]
            if sign == b'"':
                break  # a text that goes on in the next piece of the file
            position = mark.end()
            if len(sign) > 1:
                continue
            if sign in b"[{":
                depth += 1
                if depth == 1:
                    start = position
            else:
                depth -= 1
                if depth == 1:
                    number += 1
                    yield number, _element(number, buffer[start:position]), base + start
                    start = position
                elif depth <= 0:
                    yield from _after(path, stream, buffer, start, position, number, base)
                    return
        if not more:
            found = ascii(buffer[start : start + 40].decode(errors="replace"))
            cut = Fault(number + 1, "the file is cut off: its list does not end", found=found, allowed="a closing ]")
            yield number + 1, cut, base + start
            return
        size = max(_CHUNK, len(buffer) - start)  # doubling keeps long elements linear
        if depth >= 1:
            buffer, base, position, start = buffer[start:], base + start, position - start, 0
        if len(buffer) > 2 * MAX_ROW_BYTES:
            raise BadInput(
                f"row {number + 1} of {path.name} is too long",
                where=f"{path}, byte {base}",
                allowed=f"{MAX_ROW_BYTES} bytes",
            )


def _element(number: int, text: bytes) -> "bytes | Fault":
    inner = text.lstrip()
    if number > 1:
        between = _BETWEEN.match(text)
        if between is None:
            return Fault(
                number, "no comma before this row", found=ascii(text[:20].decode(errors="replace")), allowed=","
            )
        inner = text[between.end() :]
    return inner


def _after(
    path: Path, stream: BinaryIO, buffer: bytes, start: int, position: int, number: int, base: int
) -> Iterator[tuple[int, "bytes | Fault", int]]:
    left = buffer[start : position - 1].strip()
    if left:
        shown = ascii(left[:40].decode(errors="replace"))
        yield number + 1, Fault(number + 1, "a row that is not an object", found=shown, allowed="a JSON object"), base
    tail = buffer[position:] + reading(path, lambda: stream.read(_CHUNK), f"byte {base + position}")
    if tail.strip():
        raise BadInput(
            f"{path.name} goes on after its list",
            where=f"{path}, byte {base + position}",
            found=ascii(tail.strip()[:40].decode(errors="replace")),
            allowed="one JSON list, or JSON lines",
        )
