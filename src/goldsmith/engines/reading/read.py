"""Files to records: `read(path, formats)` finds the container and the row format by content, and streams rows.

What makes a row unusable is a `Fault` with its line, and never stops the rest: no JSON, a cut-off last line, repeated
keys, NaN, lone surrogates, an unknown role, null content without tool calls, half a pair. What is merely suspicious is
read, for checks to report: empty answers, identical pairs, no assistant turn, broken turn order, undeclared tools.
What spoils a file is BadInput: bytes that are not UTF-8, a broken gzip stream or Parquet file, nothing that any format
claims, an ambiguous format, no usable row at all.
"""

import contextlib
import gc
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Literal

from goldsmith.engines.reading import detect, folder
from goldsmith.engines.reading.container import Notes, RawRow, kind_of
from goldsmith.engines.reading.faults import Fault
from goldsmith.engines.reading.parse import RowParser
from goldsmith.engines.reading.pieces import Piece, line_pieces, row_pieces
from goldsmith.types.check import Row
from goldsmith.types.errors import BadInput, Unavailable
from goldsmith.types.record import Origin
from goldsmith.types.row_format import RowFormat

DETECTION_ROWS = 200
"""How many usable rows are looked at before the first is handed out."""

__all__ = ["DETECTION_ROWS", "Fault", "Reading", "raw_rows", "read"]


class Reading:
    """A file being read. Iterate `batches()` once (streaming), or take `rows` (all at once).

    `faults`, `format_counts` and `facts` fill up while rows are read and are complete after the last; asked for before
    anything was read, they read the whole file first.
    """

    def __init__(
        self,
        path: Path,
        formats: Sequence[RowFormat],
        origin_defaults: Origin,
        *,
        row_origin: bool,
        mixed: Literal["allow", "refuse"],
    ) -> None:
        self.path = path
        self._parser = RowParser(formats, origin_defaults, row_origin)
        self._mixed = mixed
        self._notes = Notes()
        self._faults: list[Fault] = []
        self._counts: Counter[str] = Counter()
        self._parts: list[tuple[int, Path]] = []
        self._rows: list[Row] | None = None
        self._started = False
        self.container, self._raw = _container(path, self._notes, self._parts)

    @property
    def rows(self) -> list[Row]:
        """Every usable row of the file."""
        if self._rows is None:
            self._rows = [row for batch in self.batches() for row in batch]
        return self._rows

    @property
    def faults(self) -> tuple[Fault, ...]:
        """The rows that cannot be used."""
        self._ensure_started()
        return tuple(self._faults)

    @property
    def format_counts(self) -> dict[str, int]:
        """Rows of each row format; more than one key is a mixed file."""
        self._ensure_started()
        return dict(self._counts)

    @property
    def facts(self) -> dict[str, str | int]:
        """What is worth knowing about the file: its container, rows, faults, blank lines, skipped files."""
        self._ensure_started()
        mixture = ", ".join(f"{name} {count}" for name, count in sorted(self._counts.items()))
        return {
            "container": self.container,
            "rows": sum(self._counts.values()),
            "faults": len(self._faults),
            "formats": mixture,
            **self._notes.facts,
        }

    def _ensure_started(self) -> None:
        if not self._started:
            _ = self.rows

    def place(self, line: int) -> str:
        """Where a row stands, for people: "b.jsonl line 12"; in folders the file is the one that holds it."""
        unit = "line" if self.container.split(".")[0] in ("jsonl", "csv", "tsv") else "row"
        for start, part in reversed(self._parts):
            if line > start:
                return f"{part.name} {'line' if _is_lines(part) else 'row'} {line - start}"
        return f"{self.path.name} {unit} {line}"

    def batches(self, size: int = 4096) -> Iterator[list[Row]]:
        """Lists of at most `size` rows, in the file's order, in bounded memory. Can be had once.

        Errors: BadInput as the module says, also while iterating; Unavailable where the disk fails.
        """
        if self._started:
            raise BadInput("this file is already being read", where=str(self.path), next_step="read() it again")
        self._started = True
        return self._batches(size)

    def _batches(self, size: int) -> Iterator[list[Row]]:
        raw = self._raw
        first = list(islice(raw, DETECTION_ROWS))
        self._look_ahead(first)
        rows = chain(first, raw)
        while True:
            with uncollected():
                batch = self._batch(rows, size)
            if len(batch) < size:
                break
            yield batch
        self._require_rows()
        if batch:
            yield batch

    def _batch(self, rows: Iterator[RawRow], size: int) -> list[Row]:
        """The next `size` usable rows, fewer at the end."""
        batch: list[Row] = []
        for line, raw in rows:
            found = raw if isinstance(raw, Fault) else self._parser.row(line, raw)
            if isinstance(found, Fault):
                self._faults.append(found)
                continue
            form, row = found
            if form not in self._counts:
                self._require_one_format(form, line)
            self._counts[form] += 1
            batch.append(row)
            if len(batch) >= size:
                break
        return batch

    def _look_ahead(self, first: Sequence[RawRow]) -> None:
        usable = [row for _, row in first if not isinstance(row, Fault)]
        self._parser.look_ahead(usable, self.path.name, str(self.path))

    def _require_one_format(self, form: str, line: int) -> None:
        if self._mixed == "refuse" and self._counts:
            raise BadInput(
                f"{self.path.name} mixes row formats",
                where=f"{self.path}, {self.place(line)}",
                found=f"{form} after {next(iter(self._counts))}",
                allowed="one row format in a file",
                next_step="split the file",
            )

    def parser(self) -> RowParser:
        """What parses this file's rows, its usual format recognised by the first of them. Errors: BadInput."""
        self._look_ahead(list(islice(raw_rows(self.path), DETECTION_ROWS)))
        return self._parser

    @property
    def identity(self) -> str:
        """What tells this file from others on this machine."""
        return str(self.path.resolve())

    @property
    def text_bytes(self) -> int:
        """About how many bytes of text the file or folder holds."""
        files = [one for one in self.path.rglob("*") if one.is_file()] if self.path.is_dir() else [self.path]
        return sum(one.stat().st_size * (6 if one.suffix in (".gz", ".parquet") else 1) for one in files)

    def pieces(self, size: int) -> Iterator[Piece]:
        """The raw rows in pieces of about `size` bytes of text, in the file's order, to be parsed apart. Once only.

        Whoever parses a piece hands its outcome to `account`, and calls `close` after the last. Errors: as `batches`.
        """
        if self._started:
            raise BadInput("this file is already being read", where=str(self.path), next_step="read() it again")
        self._started = True
        if self.container in ("jsonl", "jsonl.gz"):
            return line_pieces(self.path, zipped=self.container == "jsonl.gz", size=size)
        return row_pieces(self._raw, size)

    def account(self, formats: Mapping[str, int], faults: Sequence[Fault], notes: Mapping[str, str | int]) -> None:
        """Enter what a piece held into `format_counts`, `faults` and `facts`."""
        self._counts.update(formats)
        self._faults.extend(faults)
        for name, value in notes.items():
            if isinstance(value, int):
                self._notes.count(name, value)
            else:
                self._notes.facts[name] = value

    def close(self) -> None:
        """All pieces were accounted for. Errors: BadInput if no row of the file can be used."""
        self._require_rows()

    def _require_rows(self) -> None:
        if self._counts:
            return
        if not self._faults:
            raise BadInput(
                f"{self.path.name} holds no rows", where=str(self.path), found="none", allowed="at least one row"
            )
        first = self._faults[0]
        raise BadInput(
            f"none of the {len(self._faults)} rows of {self.path.name} can be used",
            where=f"{self.path}, {self.place(first.line)}" + (f", {first.where}" if first.where else ""),
            found=first.what + (f"; found {first.found}" if first.found else ""),
            allowed=first.allowed,
        )


def read(
    path: Path | str,
    formats: Sequence[RowFormat],
    *,
    format_name: str | None = None,
    origin_defaults: Origin | None = None,
    row_origin: bool = True,
    mixed: Literal["allow", "refuse"] = "allow",
) -> Reading:
    """Open a data file (or folder) and recognise its container; rows are read when they are asked for.

    `formats`: the row formats to choose from. `format_name`: the one to use whatever the rows look like.
    `origin_defaults`: what the delivery or recipe says about all rows. `row_origin=False`: a row's own `source` and
    `batch` do not override the defaults (a signed delivery knows who its source is); they stay among the extra fields.
    `mixed="refuse"`: a second row format in the file is an error; otherwise it is a fact.
    Errors: BadInput, Unavailable.
    """
    where = Path(path)
    if not where.exists():
        raise Unavailable("there is no such file", where=str(where), next_step="check the path")
    if not formats:
        raise BadInput("no row formats were given to read with")
    chosen = formats if format_name is None else [detect.named(formats, format_name)]
    return Reading(where, chosen, origin_defaults or Origin(), row_origin=row_origin, mixed=mixed)


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """No garbage collection while a batch is built: rows hold no cycles, and looking for some takes half the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def raw_rows(path: Path | str) -> Iterator[RawRow]:
    """(line, row or fault) of a file, without any row format: a row is a dict of JSON values. Errors: as `read`."""
    return _container(Path(path), Notes(), [])[1]


def _is_lines(part: Path) -> bool:
    return part.name.lower().removesuffix(".gz").endswith((".jsonl", ".ndjson", ".csv", ".tsv"))


def _container(path: Path, notes: Notes, parts: list[tuple[int, Path]]) -> tuple[str, Iterator[RawRow]]:
    if path.is_dir():
        if folder.is_saved_dataset(path):
            return "datasets", _joined(folder.saved_dataset(path), parts)
        files, others = folder.data_files(path)
        if len(files) == 1 and files[0].is_dir():
            return "datasets", _joined(folder.saved_dataset(files[0]), parts)
        if others:
            notes.facts["not_read"] = ", ".join(others[:20])
        return "folder", _joined(((file, _file(file, notes)[1]) for file in files), parts)
    return _file(path, notes)


def _file(path: Path, notes: Notes) -> tuple[str, Iterator[RawRow]]:
    from goldsmith.engines.reading import delimited, json_lines

    kind = kind_of(path)
    plain = kind.removesuffix(".gz")
    zipped = plain != kind
    if kind in ("parquet", "arrow"):
        from goldsmith.engines.reading import arrow

        return kind, (arrow.parquet if kind == "parquet" else arrow.arrow)(path)
    if plain == "jsonl":
        return kind, json_lines.json_lines(path, zipped=zipped, notes=notes)
    if plain == "json":
        return kind, json_lines.json_list(path, zipped=zipped, notes=notes)
    delimiter = "," if plain == "csv" else "\t"
    return kind, delimited.delimited(path, zipped=zipped, delimiter=delimiter, notes=notes)


def _joined(files: Iterator[tuple[Path, Iterator[RawRow]]], parts: list[tuple[int, Path]]) -> Iterator[RawRow]:
    """The rows of several files, numbered on through them."""
    start = 0
    for file, rows in files:
        parts.append((start, file))
        last = 0
        for line, row in rows:
            last = line
            if isinstance(row, Fault):
                row = Fault(start + line, row.what, row.where, row.found, row.allowed)
            yield start + line, row
        start += last
