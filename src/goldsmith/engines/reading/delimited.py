"""CSV and TSV (RFC 4180), streamed. Every cell is text; cells that hold turns as JSON are unfolded."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from goldsmith.engines.reading.cells import unfold
from goldsmith.engines.reading.container import MAX_ROW_BYTES, Notes, RawRow, not_utf8, opened, reading
from goldsmith.engines.reading.faults import Fault
from goldsmith.types.errors import BadInput


class _Lines:
    """Decoded lines of a stream, counted, with the errors that say where."""

    def __init__(self, path: Path, zipped: bool, notes: Notes) -> None:
        self.path, self.number, self.offset = path, 0, 0
        self.stream = opened(path, zipped=zipped)
        self._notes = notes

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        place = f"line {self.number + 1}, byte {self.offset}"
        line = reading(self.path, lambda: self.stream.readline(MAX_ROW_BYTES), place)
        if not line:
            raise StopIteration
        self.number += 1
        if len(line) == MAX_ROW_BYTES and not line.endswith(b"\n"):
            allowed = f"{MAX_ROW_BYTES} bytes"
            raise BadInput(f"a row of {self.path.name} is too long", where=f"{self.path}, {place}", allowed=allowed)
        try:
            text = line.decode()
        except UnicodeDecodeError as error:
            raise not_utf8(self.path, self.number, self.offset, error) from error
        self.offset += len(line)
        if self.number == 1 and text.startswith("\ufeff"):
            self._notes.facts["byte_order_mark"] = "skipped"
            text = text[1:]
        if "\x00" in text:
            raise BadInput(
                f"{self.path.name} is not a text file", where=f"{self.path}, line {self.number}", found="NUL"
            )
        return text


def delimited(path: Path, *, zipped: bool, delimiter: str, notes: Notes) -> Iterator[RawRow]:
    """(1-based line where the row starts, row or fault). The first line names the fields.

    Errors: BadInput for bytes that are not UTF-8, an empty or repeated field name, a quote that never ends.
    """
    csv.field_size_limit(MAX_ROW_BYTES)
    lines = _Lines(path, zipped, notes)
    with lines.stream:
        yield from _rows(path, lines, delimiter, notes)


def _rows(path: Path, lines: _Lines, delimiter: str, notes: Notes) -> Iterator[RawRow]:
    cells = csv.reader(lines, delimiter=delimiter, strict=True)
    names: list[str] | None = None
    start = 1
    while True:
        try:
            row = next(cells, None)
        except csv.Error as error:
            raise _broken(path, start, error) from error
        if row is None:
            break
        line, start = start, lines.number + 1
        if not row:
            notes.count("blank_lines")
        elif names is None:
            names = _header(path, row)
        elif len(row) != len(names):
            found = f"{len(row)} cells"
            yield (
                line,
                Fault(line, "a row with another number of cells than the header", None, found, f"{len(names)} cells"),
            )
        else:
            yield line, unfold(dict(zip(names, cast(list[Any], row), strict=True)))
    if names is None:
        raise BadInput(
            f"{path.name} is empty",
            where=str(path),
            found="no header",
            allowed="a header and rows",
            next_step="deliver the file again",
        )


def _header(path: Path, row: list[str]) -> list[str]:
    names = [name.strip() for name in row]
    if "" in names or len(set(names)) != len(names):
        twice = next((n for n in names if names.count(n) > 1 and n), "an empty name")
        raise BadInput(
            f"the header of {path.name} does not name every field once",
            where=f"{path}, line 1",
            found=ascii(twice)[:60],
            allowed="a name of its own for every field",
        )
    if len(names) == 1 and any(sign in names[0] for sign in ";|\t"):
        raise BadInput(
            f"{path.name} is separated by something else than its name says",
            where=f"{path}, line 1",
            found=ascii(names[0])[:60],
            allowed="commas in .csv, tabs in .tsv",
        )
    return names


def _broken(path: Path, line: int, error: csv.Error) -> BadInput:
    what = (
        f"{path.name} is cut off: a quoted cell does not end"
        if "end of data" in str(error)
        else f"{path.name} is broken CSV"
    )
    place = f"{path}, the row that starts at line {line}"
    return BadInput(
        what, where=place, found=error, allowed="RFC 4180", next_step="mend that row, or deliver the whole file again"
    )
