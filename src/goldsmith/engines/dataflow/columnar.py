"""Rows <-> Arrow: one record batch holds a part's columns, its origins, and each record's content to rebuild it from.

The layout (fields in `SCHEMA`): texts as UTF-8; texts that rows of one source share (system prompts, schemas) as
dictionaries; tool calls and results as JSON, null where there are none. A row's origin is a number into the origins
listed in the schema's metadata, so that a million rows of twenty sources hold twenty origins.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import orjson
import pyarrow as pa
from pydantic import TypeAdapter

from goldsmith.engines.text.projection import Call, Columns, ProjectedRows, content_json
from goldsmith.types.check import Row
from goldsmith.types.record import Content, Origin, Record

KINDS = ("conversation", "comparison", "rating", "text")
ORIGINS = b"goldsmith.origins"

_SHARED = pa.dictionary(pa.int32(), pa.string())
SCHEMA = pa.schema(
    [
        ("line", pa.int64()),
        ("origin", pa.int32()),
        ("kind", pa.int8()),
        ("user_turns", pa.int32()),
        ("system", _SHARED),
        ("user", pa.string()),
        ("prior", pa.string()),
        ("answer", pa.string()),
        ("rejected", pa.string()),
        ("results", pa.binary()),
        ("full", pa.string()),
        ("calls", pa.binary()),
        ("rejected_calls", pa.binary()),
        ("tools", _SHARED),
        ("schemas", _SHARED),
        ("digest", pa.binary(32)),
        ("content", pa.binary()),
        ("extra", pa.string()),
    ]
)
_CONTENT: TypeAdapter[Content] = TypeAdapter(Content)


def encode(rows: ProjectedRows) -> pa.RecordBatch:
    """The rows as one record batch of `SCHEMA`, their origins in its metadata."""
    columns = rows.columns
    origins: dict[Origin, int] = {}
    numbers: dict[int, int] = {}  # by identity: hashing an origin for every row would cost more than all the rest
    of_row = []
    for row in rows:
        origin = row.record.origin
        number = numbers.get(id(origin))
        if number is None:
            number = numbers[id(origin)] = origins.setdefault(origin, len(origins))
        of_row.append(number)
    contents = [content_json(row.record) for row in rows]
    kinds = {kind: number for number, kind in enumerate(KINDS)}
    arrays = {
        "line": [row.line for row in rows],
        "origin": of_row,
        "kind": [kinds[kind] for kind in columns.kind],
        "user_turns": columns.user_turns,
        "results": [_json(r) if r else None for r in columns.results],
        "calls": [_calls(c) for c in columns.calls],
        "rejected_calls": [_calls(c) for c in columns.rejected_calls],
        "digest": [hashlib.sha256(content).digest() for content in contents],
        "content": contents,
        "extra": [row.record.extra for row in rows],
    }
    made = [_array(columns, arrays, field) for field in SCHEMA]
    told = orjson.dumps([origin.model_dump(mode="json") for origin in origins])
    return pa.record_batch(made, schema=SCHEMA.with_metadata({ORIGINS: told}))


def _array(columns: Columns, arrays: dict[str, Any], field: Any) -> Any:
    values = arrays.get(field.name)
    if values is None:
        values = getattr(columns, field.name)
    if field.name == "tools":
        values = [_json(tools).decode() for tools in values]
    if field.type == _SHARED:
        return pa.array(values, pa.string()).dictionary_encode()
    return pa.array(values, field.type)


def _json(value: Any) -> bytes:
    return orjson.dumps(value)


def _calls(calls: Sequence[Call]) -> bytes | None:
    if not calls:
        return None
    return orjson.dumps([tuple(call) for call in calls])


def origins_of(schema: Any) -> list[Origin]:
    """The origins listed in a batch's metadata."""
    return [Origin.model_validate(told) for told in orjson.loads(schema.metadata[ORIGINS])]


def row_at(batch: pa.RecordBatch, origins: Sequence[Origin], index: int) -> Row:
    """Rebuild one row."""
    content = _CONTENT.validate_json(batch.column("content")[index].as_py())
    origin = origins[batch.column("origin")[index].as_py()]
    record = Record(content=content, origin=origin, extra=batch.column("extra")[index].as_py())
    return Row(batch.column("line")[index].as_py(), record)


def _plain(array: Any) -> list[Any]:
    found: list[Any] = array.to_pylist()
    return found


def _shared(array: Any) -> list[Any]:
    """Texts of a dictionary: rows that share one share the object."""
    table = array.dictionary.to_pylist()
    return [table[number] for number in array.indices.to_pylist()]


def _read_calls(array: Any) -> list[tuple[Call, ...]]:
    return [
        () if text is None else tuple([Call._make(one) for one in orjson.loads(text)]) for text in array.to_pylist()
    ]


def _read_results(array: Any) -> list[tuple[tuple[int, str], ...]]:
    return [() if text is None else tuple([(t, w) for t, w in orjson.loads(text)]) for text in array.to_pylist()]


def _read_tools(array: Any) -> list[tuple[str, ...]]:
    table = [tuple(orjson.loads(text)) for text in array.dictionary.to_pylist()]
    return [table[number] for number in array.indices.to_pylist()]


def _read_kinds(array: Any) -> list[str]:
    return [KINDS[number] for number in array.to_pylist()]


DECODERS: dict[str, Callable[[Any], list[Any]]] = {
    "kind": _read_kinds,
    "system": _shared,
    "user": _plain,
    "user_turns": _plain,
    "prior": _plain,
    "answer": _plain,
    "rejected": _plain,
    "results": _read_results,
    "full": _plain,
    "calls": _read_calls,
    "rejected_calls": _read_calls,
    "tools": _read_tools,
    "schemas": _shared,
}
"""For each column of `Columns`, how an Arrow array of it becomes a list."""
