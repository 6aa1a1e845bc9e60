"""What a file is, by its bytes; its name decides only between texts. Each container yields (line, row or fault)."""

import gzip
import io
import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

from goldsmith.engines.reading.faults import Fault
from goldsmith.types.errors import BadInput, Unavailable

MAX_ROW_BYTES = 64 * 2**20
"""A row longer than this is a fault: memory stays bounded whatever a file holds."""

_PEEK = 1 << 20

RawRow = tuple[int, "dict[str, Any] | Fault"]
ALLOWED = (
    "JSON lines, a JSON list, CSV, TSV (all also gzipped), Parquet, Arrow, a folder of these or saved by `datasets`"
)
_FOREIGN = {
    b"PK\x03\x04": "a zip archive",
    b"\x28\xb5\x2f\xfd": "a zstandard file",
    b"BZh": "a bzip2 file",
    b"\xfd7zXZ": "an xz file",
    b"\x80\x04": "a Python pickle, which would have to be executed",
    b"\x80\x05": "a Python pickle, which would have to be executed",
    b"SQLite format 3": "an SQLite database",
    b"%PDF": "a PDF document",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
}


@dataclass
class Notes:
    """What a container saw besides rows; complete when its rows are exhausted."""

    facts: dict[str, str | int] = field(default_factory=dict)

    def count(self, name: str, by: int = 1) -> None:
        self.facts[name] = int(self.facts.get(name, 0)) + by


def kind_of(path: Path) -> str:
    """ "jsonl", "json", "csv", "tsv", each also with ".gz"; "parquet"; "arrow". Errors: BadInput, Unavailable."""
    try:
        with path.open("rb") as stream:
            head = stream.read(64)
    except OSError as error:
        raise Unavailable("the file cannot be opened", where=str(path), found=error.strerror) from error
    zipped = head.startswith(b"\x1f\x8b")
    if zipped:
        with opened(path, zipped=True) as stream:
            head = reading(path, lambda: stream.read(64), "byte 0")
    for magic, name in _FOREIGN.items():
        if head.startswith(magic):
            advice = "save it as UTF-8" if "UTF" in name else "unpack or convert it first"
            raise BadInput(f"{path.name} is {name}", where=str(path), allowed=ALLOWED, next_step=advice)
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith((b"ARROW1", b"\xff\xff\xff\xff")):
        return "arrow"
    if not head:
        raise BadInput(
            f"{path.name} is empty",
            where=str(path),
            found="0 bytes",
            allowed="at least one row",
            next_step="deliver the file again, or leave it out",
        )
    return _text_kind(path, head, zipped) + (".gz" if zipped else "")


def _text_kind(path: Path, head: bytes, zipped: bool) -> str:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    last = suffixes[-2] if zipped and len(suffixes) > 1 and suffixes[-1] == ".gz" else (suffixes or [""])[-1]
    if last in (".csv", ".tsv"):
        return last[1:]
    first = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    if first == b"[":
        return "json" if _is_list_of_rows(path, zipped) else "jsonl"
    if first == b"{":
        return "jsonl"
    if b"\x00" in head:
        raise BadInput(f"{path.name} is not a text file", where=str(path), found=repr(head[:16]), allowed=ALLOWED)
    if not first or last in (".jsonl", ".ndjson", ".json"):
        return "jsonl"
    raise BadInput(
        f"{path.name} is of an unknown kind",
        where=str(path),
        found=repr(head[:24]),
        allowed=ALLOWED,
        next_step="name the file for what it is (.jsonl, .csv, ...), or convert it",
    )


def _is_list_of_rows(path: Path, zipped: bool) -> bool:
    """A text beginning with "[" is one list of rows, unless its first element is a turn: then each line is a row."""
    with opened(path, zipped=zipped) as stream:
        head = reading(path, lambda: stream.read(_PEEK), "byte 0").removeprefix(b"\xef\xbb\xbf")
    inside = head.decode(errors="ignore").lstrip()[1:].lstrip()
    try:
        first, _ = json.JSONDecoder().raw_decode(inside)
    except (ValueError, RecursionError):
        return True
    return not is_bare_turns([first])


def is_bare_turns(value: Any) -> bool:
    """Whether a value is a list of turns: what some sets have for a row."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(turn, dict) and "role" in turn and "content" in turn for turn in value)
    )


def opened(path: Path, *, zipped: bool) -> BinaryIO:
    """The (unpacked) bytes of a file."""
    try:
        if zipped:
            return cast(BinaryIO, io.BufferedReader(cast(io.RawIOBase, gzip.open(path, "rb")), 1 << 20))
        return path.open("rb", buffering=1 << 20)
    except OSError as error:
        raise Unavailable("the file cannot be opened", where=str(path), found=error.strerror) from error


def reading(path: Path, read: Callable[[], bytes], place: str) -> bytes:
    """Call `read`; a damaged gzip stream becomes BadInput, a failing disk Unavailable."""
    try:
        return read()
    except EOFError as error:
        raise BadInput(
            f"{path.name} is cut off: its gzip stream does not end",
            where=f"{path}, {place}",
            found=error,
            allowed="a whole gzip stream",
            next_step="deliver the whole file again",
        ) from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise BadInput(
            f"{path.name} is damaged gzip",
            where=f"{path}, {place}",
            found=error,
            allowed="a whole gzip stream",
            next_step="deliver the whole file again",
        ) from error
    except OSError as error:
        raise Unavailable("the file cannot be read", where=f"{path}, {place}", found=error.strerror) from error


def not_utf8(path: Path, line: int, offset: int, error: UnicodeDecodeError) -> BadInput:
    """The error for a file that is not UTF-8; `offset`: where the decoded bytes begin in the (unpacked) file."""
    return BadInput(
        f"{path.name} is not UTF-8",
        where=f"{path}, line {line}, byte {offset + error.start}",
        found=repr(error.object[error.start : error.start + 8]),
        allowed="UTF-8",
        next_step="save the file as UTF-8, or deliver the bytes as they were",
    )
