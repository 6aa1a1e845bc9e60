"""What a check's map says about rows one by one, so that the rows can be looked at in parts, in parallel, once.

A check that looks at each row by itself has a method `row_features(rows, context) -> RowFeatures`; its call then takes
`project(rows).features(self, context)` and reduces that to a report. The engine runs `row_features` over the parts of a
large corpus wherever it likes; a list of rows is one part.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from goldsmith.types.check import CheckContext

if TYPE_CHECKING:
    from goldsmith.engines.text.projection import ProjectedRows


@dataclass(frozen=True, slots=True)
class RowFeatures:
    """Of one part's rows. `notes`: under each name, the rows (counted from the part's first) about which there is
    something to say, with a JSON value. `arrays`: under each name an array with one entry a row [rows, ...].
    """

    notes: dict[str, dict[int, Any]] = field(default_factory=dict)
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)


@runtime_checkable
class MapsRows(Protocol):
    """A check with a map side. It must not depend on other rows, nor on where the part begins; of the context it does
    not see the votes and the previous rows.
    """

    id: ClassVar[str]
    version: ClassVar[int]

    def row_features(self, rows: "ProjectedRows", context: CheckContext) -> RowFeatures: ...


class Features:
    """The features of a whole corpus, part by part. `firsts`: the number of each part's first row."""

    def __init__(self, firsts: Sequence[int], parts: Sequence[RowFeatures]) -> None:
        self.firsts, self.parts = firsts, parts

    def notes(self, name: str) -> dict[int, Any]:
        """Every row with something under `name`, ascending."""
        found: dict[int, Any] = {}
        for first, part in zip(self.firsts, self.parts, strict=True):
            for row, value in part.notes.get(name, {}).items():
                found[first + row] = value
        return found

    def pieces(self, name: str) -> Iterator[NDArray[Any]]:
        """The array `name`, part by part."""
        return (part.arrays[name] for part in self.parts)

    def array(self, name: str, columns: slice = slice(None)) -> NDArray[Any]:
        """The array `name` of all rows; of a matrix only these `columns`, so that it need not be held whole."""
        pieces = [piece if piece.ndim == 1 else piece[:, columns] for piece in self.pieces(name)]
        return np.concatenate(pieces) if pieces else np.zeros(0)
