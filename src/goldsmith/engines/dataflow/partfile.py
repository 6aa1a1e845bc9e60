"""The bytes of a part: a sealed header, then an Arrow stream; and of its features: JSON, then arrays."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from goldsmith.engines.dataflow import columnar
from goldsmith.engines.dataflow.scratch import sealed
from goldsmith.engines.reading.faults import Fault
from goldsmith.engines.text.features import RowFeatures
from goldsmith.engines.text.projection import ProjectedRows

_ACCOUNT = b"goldsmith.account"


@dataclass(frozen=True, slots=True)
class Account:
    """What reading a piece came to: rows by format, faulty rows, and what the container noted."""

    formats: dict[str, int]
    faults: tuple[Fault, ...]
    notes: dict[str, str | int]


def part_bytes(view: ProjectedRows, account: Account) -> bytes:
    """A part's file."""
    batch = columnar.encode(view)
    told = {"formats": account.formats, "faults": [asdict(f) for f in account.faults], "notes": account.notes}
    batch = batch.replace_schema_metadata({**batch.schema.metadata, _ACCOUNT: orjson.dumps(told)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sealed(sink.getvalue().to_pybytes())


def account_of(batch: Any) -> Account:
    """What a part's file says its piece came to."""
    told = orjson.loads(batch.schema.metadata[_ACCOUNT])
    return Account(told["formats"], tuple(Fault(**fault) for fault in told["faults"]), told["notes"])


def features_bytes(features: Mapping[str, RowFeatures]) -> bytes:
    """The features of a part by check."""
    blobs: list[bytes] = []
    size = 0

    def keep(data: bytes) -> list[int]:
        nonlocal size
        place = [size, len(data)]
        blobs.append(data + bytes(-len(data) % 64))
        size += len(blobs[-1])
        return place

    told = {
        check: {
            "arrays": {
                name: [array.dtype.str, list(array.shape), keep(np.ascontiguousarray(array).tobytes())[0]]
                for name, array in own.arrays.items()
            },
            "notes": keep(orjson.dumps({name: list(rows.items()) for name, rows in own.notes.items()})),
        }
        for check, own in features.items()
    }
    head = orjson.dumps(told)
    head += b" " * (-(len(head) + 8) % 64)
    return sealed(b"".join([len(head).to_bytes(8, "little"), head, *blobs]))


def features_of(data: memoryview, check: str) -> RowFeatures | None:
    """The features of one check in a file's bytes (without its header), None if it has none; arrays point into them."""
    first = 8 + int.from_bytes(data[:8], "little")
    own = orjson.loads(data[8:first]).get(check)
    if own is None:
        return None
    arrays = {
        name: np.frombuffer(data, dtype, int(np.prod(shape)), first + place).reshape(shape)
        for name, (dtype, shape, place) in own["arrays"].items()
    }
    place, size = own["notes"]
    told = orjson.loads(data[first + place : first + place + size])
    return RowFeatures({name: dict(rows) for name, rows in told.items()}, arrays)
