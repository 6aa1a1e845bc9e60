"""Rows whose columns lie in parts, on the disk or in memory: `StoredRows` is what checks receive.

Nothing of the corpus is held: a column is decoded part by part while it is iterated, a value asked for out of order is
decoded alone, and pages that were read are given back. What is held is 60 bytes a row: lines and numbers of origins.
"""

import mmap
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar, overload

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from goldsmith.engines.dataflow import columnar
from goldsmith.engines.dataflow.partfile import features_of
from goldsmith.engines.dataflow.scratch import HEADER_BYTES
from goldsmith.engines.text.features import Features, MapsRows, RowFeatures
from goldsmith.engines.text.projection import Columns, Groups, Origins, ProjectedRows
from goldsmith.trust.durable import storage_errors
from goldsmith.types.check import CheckContext, Row
from goldsmith.types.record import Origin

T = TypeVar("T")
_OPEN_PARTS = 256
_ALONE_BEFORE_RELEASE = 2048
"""Values read out of order before their pages are given back: each may have brought 64 KiB in."""
_WHOLE_FROM_SHARE = 8
"""A part is decoded whole once an eighth of it was asked for value by value, in one go."""


def mapped(path: Path) -> mmap.mmap:
    """A file's bytes, read when they are looked at."""
    with storage_errors(path), path.open("rb") as stream:
        return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)


class Part:
    """A part's record batch, in a file or in memory. `first`: the number of its first row in the corpus."""

    def __init__(self, source: Path | bytes, skip: int = 0) -> None:
        self.source, self.first = source, 0
        self.skip = skip
        self._map: mmap.mmap | None = None
        self._batch: Any = None
        self.rows: int = self.batch().num_rows

    def batch(self) -> Any:
        """The record batch; its arrays point into the file."""
        if self._batch is None:
            self._batch = pa.ipc.open_stream(self._buffer()).read_next_batch()
        return self._batch

    def _buffer(self) -> Any:
        if isinstance(self.source, bytes):
            return pa.py_buffer(self.source).slice(self.skip)
        self._map = mapped(self.source)
        return pa.py_buffer(self._map).slice(self.skip)

    def release(self) -> None:
        """Give back the pages that were read; they come again when they are needed."""
        if self._map is not None:
            self._map.madvise(mmap.MADV_DONTNEED)

    def close(self) -> None:
        """Let go of the file. Arrays that are still in use stay valid."""
        self._batch = self._map = None


class Parts:
    """The parts of a corpus, in order."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self.all = list(parts)
        self.starts = np.zeros(len(self.all) + 1, np.int64)
        np.cumsum([part.rows for part in self.all], out=self.starts[1:])
        self._starts: list[int] = self.starts.tolist()
        for part, first in zip(self.all, self._starts, strict=False):
            part.first = first
        self._open: OrderedDict[int, None] = OrderedDict()
        self._alone = 0

    def __len__(self) -> int:
        return int(self.starts[-1])

    def batch(self, number: int) -> Any:
        """The record batch of part `number`."""
        self._open[number] = None
        self._open.move_to_end(number)
        if len(self._open) > _OPEN_PARTS:
            self.all[self._open.popitem(last=False)[0]].close()
        return self.all[number].batch()

    def place(self, index: int) -> tuple[int, int]:
        """(part, place within it) of row `index`."""
        number = bisect_right(self._starts, index) - 1
        return number, index - self._starts[number]

    def read_alone(self) -> None:
        """Count one value read out of order; now and then give all pages back."""
        self._alone += 1
        if self._alone >= _ALONE_BEFORE_RELEASE:
            self._alone = 0
            for number in self._open:
                self.all[number].release()


class StoredColumn(Sequence[T]):
    """A column over all parts: iterate it in order, index it or slice it. Read-only."""

    def __init__(self, parts: Parts, name: str, decode: Callable[[Any], list[T]]) -> None:
        self._parts, self._name, self._decode = parts, name, decode
        self._held: list[T] = []  # the part decoded last, for indices that go up one by one
        self._held_first = 0
        self._near, self._misses = -1, 0  # the part of the last value read alone, and how many in a row were of it
        self._array: Any = None

    def __len__(self) -> int:
        return len(self._parts)

    def __iter__(self) -> Iterator[T]:
        for number, part in enumerate(self._parts.all):
            values = self._decode(self._parts.batch(number).column(self._name))
            part.release()
            yield from values

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[T]: ...
    def __getitem__(self, index: int | slice) -> T | Sequence[T]:
        if isinstance(index, slice):
            return self._slice(index)
        if index < 0:
            index += len(self)
        place = index - self._held_first
        if 0 <= place < len(self._held):
            return self._held[place]
        if not 0 <= index < len(self):
            raise IndexError("row number out of range")
        return self._missed(index)

    def _missed(self, index: int) -> T:
        number, place = self._parts.place(index)
        part = self._parts.all[number]
        if number != self._near:
            self._near, self._misses = number, 0
            self._array = self._parts.batch(number).column(self._name)
        self._misses += 1
        goes_on = place == 0 and index == self._held_first + len(self._held)
        if goes_on or self._misses * _WHOLE_FROM_SHARE > part.rows:
            self._held, self._held_first = self._decode(self._array), part.first
            self._near, self._array = -1, None
            part.release()
            return self._held[place]
        self._parts.read_alone()
        return self._decode(self._array.slice(place, 1))[0]

    def take(self, rows: NDArray[np.int64]) -> list[T]:
        """The values of these rows, in their order; those of one part that follow each other are decoded together."""
        numbers = np.searchsorted(self._parts.starts, rows, side="right") - 1
        edges = np.flatnonzero(np.r_[True, numbers[1:] != numbers[:-1], True]) if len(rows) else np.zeros(1, np.int64)
        found: list[T] = []
        for first, last in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            part = self._parts.all[int(numbers[first])]
            column = self._parts.batch(int(numbers[first])).column(self._name)
            found += self._decode(column.take(pa.array(rows[first:last] - part.first)))
            part.release()
        return found

    def _slice(self, wanted: slice) -> list[T]:
        start, stop, step = wanted.indices(len(self))
        if step != 1:
            return [self[i] for i in range(start, stop, step)]
        found: list[T] = []
        while start < stop:
            number, place = self._parts.place(start)
            part = self._parts.all[number]
            size = min(stop - start, part.rows - place)
            found += self._decode(self._parts.batch(number).column(self._name).slice(place, size))
            part.release()
            start += size
        return found


class Coded(Sequence[T]):
    """A column of few distinct values, held as numbers into a table. Read-only."""

    def __init__(self, table: Sequence[T], codes: NDArray[np.int32]) -> None:
        self.table, self.codes = table, codes

    def __len__(self) -> int:
        return len(self.codes)

    def __iter__(self) -> Iterator[T]:
        table = self.table
        for first in range(0, len(self.codes), 1 << 16):
            for code in self.codes[first : first + (1 << 16)].tolist():
                yield table[code]

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[T]: ...
    def __getitem__(self, index: int | slice) -> T | Sequence[T]:
        if isinstance(index, slice):
            return Coded(self.table, self.codes[index])
        return self.table[int(self.codes[index])]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or len(self) != len(other):
            return False
        return all(a == b for a, b in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def count(self, value: object) -> int:
        """How many rows have this value."""
        return sum(int((self.codes == code).sum()) for code, one in enumerate(self.table) if one == value)


class StoredRows(ProjectedRows):
    """Rows in parts. Rebuilds a `Row` only where one is asked for."""

    def __init__(self, parts: Sequence[Part], features: Sequence[Path | bytes] = ()) -> None:
        super().__init__(())
        self.parts = Parts(parts)
        self._features = features
        self._origins_of: dict[int, list[Origin]] = {}

    def __len__(self) -> int:
        return len(self.parts)

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | Sequence[Row]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if index < 0:
            index += len(self)
        if not 0 <= index < len(self):
            raise IndexError("row number out of range")
        number, place = self.parts.place(index)
        row = columnar.row_at(self.parts.batch(number), self._part_origins(number), place)
        self.parts.read_alone()
        return row

    def __iter__(self) -> Iterator[Row]:
        for number, part in enumerate(self.parts.all):
            batch, origins = self.parts.batch(number), self._part_origins(number)
            for place in range(part.rows):
                yield columnar.row_at(batch, origins, place)
            part.release()

    def _part_origins(self, number: int) -> list[Origin]:
        if number not in self._origins_of:
            if len(self._origins_of) > 64:
                self._origins_of.clear()
            self._origins_of[number] = columnar.origins_of(self.parts.batch(number).schema)
        return self._origins_of[number]

    def _numbers(self, name: str) -> NDArray[Any]:
        pieces = []
        for number, part in enumerate(self.parts.all):
            pieces.append(self.parts.batch(number).column(name).to_numpy(zero_copy_only=False).copy())
            part.release()
        return np.concatenate(pieces) if pieces else np.zeros(0, np.int64)

    @cached_property
    def columns(self) -> Columns:
        """The text columns, on the disk."""
        columns: dict[str, Any] = {n: StoredColumn(self.parts, n, d) for n, d in columnar.DECODERS.items()}
        columns["kind"] = Coded(columnar.KINDS, self._numbers("kind").astype(np.int32))
        return Columns(**columns)

    @cached_property
    def lines(self) -> NDArray[np.int64]:
        """Each row's 1-based line [rows]."""
        return self._numbers("line").astype(np.int64)

    @cached_property
    def content_digests(self) -> NDArray[np.uint64]:
        """SHA-256 of each row's content [rows, 4]."""
        pieces = [np.zeros((0, 4), np.uint64)]
        for number, part in enumerate(self.parts.all):
            column = self.parts.batch(number).column("digest")
            data = np.frombuffer(column.buffers()[1], np.uint64).reshape(-1, 4)
            pieces.append(data[column.offset : column.offset + len(column)].copy())
            part.release()
        return np.concatenate(pieces)

    def features(self, check: MapsRows, context: CheckContext) -> Features:
        """What the check's map said of the rows; computed part by part where the intake did not run it."""
        firsts = self.parts.starts[:-1].tolist()
        if self._features and _read_features(self._features[0], check.id) is not None:
            return Features(firsts, _FeatureFiles(self._features, check.id))
        alone = (StoredRows([Part(part.source, part.skip)]) for part in self.parts.all)
        return Features(firsts, [check.row_features(rows, context) for rows in alone])

    @cached_property
    def _told(self) -> dict[str, "Coded[Any]"]:
        """Each field of the rows' origins."""
        tables: dict[str, dict[Any, int]] = {name: {} for name in Origin.model_fields}
        codes: dict[str, list[NDArray[np.int32]]] = {name: [] for name in Origin.model_fields}
        for number, part in enumerate(self.parts.all):
            batch = self.parts.batch(number)
            origins = columnar.origins_of(batch.schema)
            of_row = batch.column("origin").to_numpy()
            for name, table in tables.items():
                known = [table.setdefault(getattr(origin, name), len(table)) for origin in origins]
                codes[name].append(np.array(known, np.int32)[of_row] if known else np.zeros(0, np.int32))
            part.release()
        empty = [np.zeros(0, np.int32)]
        return {name: Coded(list(table), np.concatenate(codes[name] or empty)) for name, table in tables.items()}

    @cached_property
    def groups(self) -> Groups:
        """Which source x batch each row belongs to."""
        source, batch = self._told["source"], self._told["batch"]
        width = len(batch.table)
        pairs, of_row = np.unique(source.codes.astype(np.int64) * width + batch.codes, return_inverse=True)
        keys = [(str(source.table[pair // width]), str(batch.table[pair % width])) for pair in pairs.tolist()]
        order = sorted(range(len(keys)), key=keys.__getitem__)
        rank = np.empty(len(keys), np.int32)
        rank[order] = np.arange(len(keys), dtype=np.int32)
        return Groups(tuple(keys[i] for i in order), rank[of_row].astype(np.int32))

    @cached_property
    def origins(self) -> Origins:
        """What each row's origin says, as columns."""
        return Origins(**{name: self._told[name] for name in Origins.__dataclass_fields__})


class _FeatureFiles(Sequence[RowFeatures]):
    """A check's features, each part's read when it is asked for and not kept."""

    def __init__(self, sources: Sequence[Path | bytes], check: str) -> None:
        self._sources, self._check = sources, check

    def __len__(self) -> int:
        return len(self._sources)

    @overload
    def __getitem__(self, index: int) -> RowFeatures: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[RowFeatures]: ...
    def __getitem__(self, index: int | slice) -> RowFeatures | Sequence[RowFeatures]:
        if isinstance(index, slice):
            return _FeatureFiles(self._sources[index], self._check)
        found = _read_features(self._sources[index], self._check)
        assert found is not None  # all parts are mapped by the same checks
        return found


def _read_features(source: Path | bytes, check: str) -> RowFeatures | None:
    data = memoryview(source if isinstance(source, bytes) else mapped(source))
    return features_of(data[HEADER_BYTES:], check)
