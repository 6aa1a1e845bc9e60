"""Parquet, Arrow files and folders saved by `datasets`, read batch by batch with pyarrow alone."""

import datetime
import math
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from goldsmith.engines.reading.cells import unfold
from goldsmith.engines.reading.container import RawRow
from goldsmith.engines.reading.faults import Fault
from goldsmith.engines.reading.json_text import Number, decode
from goldsmith.types.errors import BadInput, Unavailable
from goldsmith.types.row_format import RowProblem

_BATCH = 512


def parquet(path: Path) -> Iterator[RawRow]:
    """(1-based row number, row or fault) of a Parquet file. Errors: BadInput if it is damaged or holds bytes."""
    try:
        with pq.ParquetFile(path) as table:
            _require_readable(path, table.schema_arrow)
            yield from _rows(table.iter_batches(batch_size=_BATCH, use_threads=False), 0)
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path, error) from error


def arrow(path: Path, start: int = 0) -> Iterator[RawRow]:
    """(1-based row number after `start`, row or fault) of an Arrow stream or file. Errors: as `parquet`."""
    try:
        with pa.memory_map(str(path)) as source:
            if source.read(6) == b"ARROW1":
                reader = pa.ipc.open_file(source)
                batches = (reader.get_batch(n) for n in range(reader.num_record_batches))
            else:
                source.seek(0)
                reader = pa.ipc.open_stream(source)
                batches = iter(reader)
            _require_readable(path, reader.schema)
            yield from _rows((piece for batch in batches for piece in _pieces(batch)), start)
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path, error) from error


def _pieces(batch: Any) -> Iterator[Any]:
    for start in range(0, batch.num_rows, _BATCH):
        yield batch.slice(start, _BATCH)


def _damaged(path: Path, error: Exception) -> Exception:
    if isinstance(error, OSError) and not isinstance(error, pa.ArrowException) and error.errno is not None:
        return Unavailable("the file cannot be read", where=str(path), found=error.strerror)
    return BadInput(
        f"{path.name} is damaged or cut off",
        where=str(path),
        found=str(error).splitlines()[0][:160] if str(error) else type(error).__name__,
        allowed="a whole Parquet or Arrow file",
        next_step="deliver the whole file again",
    )


def _require_readable(path: Path, schema: Any) -> None:
    names = schema.names
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise BadInput(f"{path.name} has two columns of one name", where=str(path), found=ascii(twice)[:60])
    for column in schema:
        if _holds_binary(column.type):
            raise BadInput(
                f"{path.name} has a column of bytes, which is no text",
                where=f"{path}, column {column.name}",
                found=str(column.type)[:80],
                allowed="text, numbers, booleans, dates, lists and structs of these",
                next_step="leave the column out",
            )


def _holds_binary(kind: Any) -> bool:
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return True
    if isinstance(kind, pa.BaseExtensionType):
        return _holds_binary(kind.storage_type)
    return any(_holds_binary(kind.field(n).type) for n in range(kind.num_fields)) if pa.types.is_nested(kind) else False


def _rows(batches: Iterator[Any], start: int) -> Iterator[RawRow]:
    number = start
    for batch in batches:
        jsons = [column.name for column in batch.schema if _is_json(column.type)]
        for row in batch.to_pylist():
            number += 1
            try:
                plain = {key: _plain(value, key) for key, value in row.items() if value is not None}
                for name in jsons:
                    if isinstance(plain.get(name), str):
                        plain[name] = decode(plain[name])
                yield number, unfold(plain)
            except RowProblem as problem:
                yield number, Fault.of(number, problem)


def _is_json(kind: Any) -> bool:
    return getattr(kind, "extension_name", None) == "arrow.json"


def _plain(value: Any, path: str) -> Any:
    """The JSON value of an Arrow value. Nulls inside structs are left out: Arrow has no other way to miss a field."""
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return value
    if kind is dict:
        return {key: _plain(item, f"{path}.{key}") for key, item in value.items() if item is not None}
    if kind is list:
        return [_plain(item, f"{path}[{n}]") for n, item in enumerate(value)]
    if kind is int:
        return value if -(2**53) < value < 2**53 else Number(str(value))
    if kind is float:
        if not math.isfinite(value):
            raise RowProblem("a number that is not finite", where=path, found=value, allowed="finite numbers")
        return Number(repr(value))
    if isinstance(value, Decimal) and value.is_finite():
        return Number(str(value))
    if kind is tuple:  # an entry of an Arrow map
        return [_plain(item, path) for item in value]
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    raise RowProblem("a value of a kind that has no JSON form", where=path, found=kind.__name__)
