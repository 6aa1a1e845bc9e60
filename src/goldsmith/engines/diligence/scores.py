"""How suspicious the records are, over all: the distribution of `combined` with its 1 % line."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from goldsmith.engines.diligence.material import LINE
from goldsmith.engines.diligence.measures import share
from goldsmith.types.diligence import Bin, Scores

PER_DECADE, DECADES = 8, 4


def distribution(combined: NDArray[np.float64], scored_by: Sequence[str]) -> Scores:
    """Counts over 1 - combined, eight bins a factor of ten from 1 down to 1/10,000; the last holds all below.

    1 - combined is how small a share of clean rows is as suspicious, so on clean data a tenth of the records lies
    below 0.1, a hundredth below 0.01.
    """
    count = PER_DECADE * DECADES
    surprise = np.clip(1.0 - combined, 10.0**-9, 1.0)
    place = np.clip(np.floor(-np.log10(surprise) * PER_DECADE + 1e-9).astype(np.int64), 0, count - 1)
    counts = np.bincount(place, minlength=count).tolist() if len(combined) else [0] * count
    bins = tuple(
        Bin(low=0.0 if k == count - 1 else edge(k + 1), high=edge(k), records=number) for k, number in enumerate(counts)
    )
    above = share(
        "records above the 1 % line", int(over(combined).sum()), len(combined),
        f"combined of at least {LINE}; in clean data one record in a hundred",
    )  # fmt: skip
    return Scores(line=LINE, bins=bins, above=above, scored_by=tuple(sorted(scored_by)))


def edge(place: int) -> float:
    """The upper edge of a bin."""
    return float(f"{10 ** (-place / PER_DECADE):.6g}")


def over(combined: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which records lie above the line."""
    return combined >= LINE - 1e-12
