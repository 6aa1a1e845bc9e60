"""Which rows share a fragment, for any number of rows: occurrences lie in files by range of their hashes, and one range
is sorted at a time. The files have no name and go with the process.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile

import numpy as np
from numpy.typing import NDArray

from goldsmith.engines.dataflow.scratch import default_folder
from goldsmith.trust.durable import storage_errors

_RANGES_LOG2 = 6
_IN_MEMORY_BYTES = 1 << 19
_OCCURRENCE = np.dtype([("hash", "<u8"), ("row", "<i4")])


@dataclass(frozen=True, slots=True)
class RowSets:
    """Distinct sets of rows that share a fragment: `fragments` one hash of each, `sizes` in rows, `at` where its rows
    begin. The rows lie in a file.
    """

    fragments: NDArray[np.uint64]
    sizes: NDArray[np.int64]
    at: NDArray[np.int64]
    _rows: "_File"

    def __len__(self) -> int:
        return len(self.sizes)

    def rows(self, number: int) -> NDArray[np.int64]:
        """The rows of one set, ascending."""
        self._rows.seek(4 * int(self.at[number]))
        return np.frombuffer(self._rows.read(4 * int(self.sizes[number])), np.int32).astype(np.int64)


class Occurrences:
    """Fragment hashes with the rows they are in, added in the order of the rows; a row may hold a fragment twice."""

    def __init__(self) -> None:
        self._ranges: list[_File] = [_File(_IN_MEMORY_BYTES) for _ in range(1 << _RANGES_LOG2)]

    def add(self, hashes: NDArray[np.uint64], rows: NDArray[np.int32]) -> None:
        """One more chunk of rows."""
        part = (hashes >> np.uint64(64 - _RANGES_LOG2)).astype(np.uint8)
        order = np.argsort(part, kind="stable")
        sorted_ = np.empty(len(hashes), _OCCURRENCE)
        sorted_["hash"], sorted_["row"] = hashes[order], rows[order]
        edges = np.concatenate([[0], np.cumsum(np.bincount(part, minlength=len(self._ranges)))])
        for number, stream in enumerate(self._ranges):
            stream.put(sorted_[edges[number] : edges[number + 1]].tobytes())

    def sets(self, fewest: int, largest: int, most: int) -> RowSets:
        """Distinct row sets of `fewest` to `largest` rows, those shared by the most fragments first, `most` at most."""
        kept = _File(1 << 24)
        names, sizes, signatures, at, end = [], [], [], [], 0
        for hashes, rows in self._sorted(fewest):
            edge = np.flatnonzero(np.concatenate([[True], hashes[1:] != hashes[:-1]]))
            size = np.diff(np.concatenate([edge, [len(hashes)]]))
            good = (size >= fewest) & (size <= largest)
            running = np.concatenate([[np.uint64(0)], np.cumsum(_scrambled(rows), dtype=np.uint64)])
            inside = np.repeat(good, size)
            edge, size = edge[good], size[good]
            kept.put(rows[inside].tobytes())
            names.append(hashes[edge])
            signatures.append(running[edge + size] - running[edge])
            sizes.append(size)
            at.append(end + np.cumsum(size) - size)
            end += int(size.sum())
        if not end:
            return RowSets(np.zeros(0, np.uint64), np.zeros(0, np.int64), np.zeros(0, np.int64), kept)
        name, held, start = np.concatenate(names), np.concatenate(sizes), np.concatenate(at)
        _, first, repeats = np.unique(np.concatenate(signatures), return_index=True, return_counts=True)
        ranked = first[np.lexsort((name[first], -held[first] * np.minimum(repeats, 20)))[:most]]
        return RowSets(name[ranked], held[ranked], start[ranked], kept)

    def _sorted(self, fewest: int) -> Iterator[tuple[NDArray[np.uint64], NDArray[np.int32]]]:
        """Range by range the occurrences of what may be repeated, by hash and row, each row once."""
        for stream in self._ranges:
            stream.seek(0)
            own = np.frombuffer(stream.read(), _OCCURRENCE)
            stream.close()
            hashes = own["hash"].copy()
            likely = _maybe_repeated(hashes, fewest)
            hashes, rows = hashes[likely], own["row"][likely]
            del own
            order = np.argsort(hashes, kind="stable")
            hashes, rows = hashes[order], rows[order]
            fresh = np.ones(len(hashes), bool)
            fresh[1:] = (hashes[1:] != hashes[:-1]) | (rows[1:] != rows[:-1])
            if len(hashes):
                yield hashes[fresh], rows[fresh]


class _File(SpooledTemporaryFile[bytes]):
    """A file without a name, in memory as long as it is small, then in the folder of what a run leaves aside: there
    may be no disk behind the system's temporary folder.
    """

    def __init__(self, in_memory_bytes: int) -> None:
        self._folder = default_folder()
        super().__init__(in_memory_bytes, dir=str(self._folder))

    def rollover(self) -> None:
        """From memory to the disk. Errors: Unavailable."""
        with storage_errors(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            super().rollover()

    def put(self, data: bytes) -> None:
        """More bytes. Errors: Unavailable (a full disk, say)."""
        with storage_errors(self._folder):
            self.write(data)


def _maybe_repeated(hashes: NDArray[np.uint64], fewest: int) -> NDArray[np.bool_]:
    """False for hashes that occur fewer than `fewest` times, nearly always: those that share a counter with others may
    pass. What is sorted afterwards is then a part of all.
    """
    bits = max(10, len(hashes).bit_length())
    place = (hashes & np.uint64((1 << bits) - 1)).astype(np.int64)
    likely: NDArray[np.bool_] = np.bincount(place, minlength=1 << bits)[place] >= fewest
    return likely


def _scrambled(numbers: NDArray[np.int32]) -> NDArray[np.uint64]:
    value = numbers.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))
