"""The whole text of each row, what was said and the system prompt, with its signs: read once for several checks."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from goldsmith.engines.text import signs
from goldsmith.engines.text.projection import ProjectedRows
from goldsmith.engines.text.signs import Encoded


class WholeTexts(NamedTuple):
    """One entry a row. `signs` [rows, 6] as `signs_table` gives them."""

    texts: Sequence[str]
    encoded: Encoded
    signs: NDArray[np.int32]


def whole_texts(rows: ProjectedRows) -> WholeTexts:
    """The texts of one part's rows, made for the first that asks. Of a large corpus ask part by part."""
    return rows.shared("whole texts", lambda: _read(rows))


def _read(rows: ProjectedRows) -> WholeTexts:
    columns = rows.columns
    texts = [f"{full}\n{system}" for full, system in zip(columns.full, columns.system, strict=True)]
    raw = signs.encoded(texts)
    return WholeTexts(texts, raw, signs.signs_table(raw))
