"""Impossible speed, on the log scale: times are skewed, so "three standard deviations below the mean" never fires.

The expected time of a vote is that of its item (what others took, drawn towards what its length leads one to expect);
an annotator's votes are then compared with the spread of all votes around their expectation.
"""

from dataclasses import dataclass

import numpy as np

from goldsmith.engines.annotators.panel import Floats, Ints, Panel

_FEWEST_TIMED = 30
_SHRINK = 2.0


@dataclass(frozen=True)
class Speed:
    """`z` [N]: robust z value of a vote's log seconds against its item (NaN: not timed); per annotator the votes timed,
    those below the line, the median z, and `p`: the chance of so many in an annotator as quick as the panel."""

    z: Floats
    timed: Ints
    quick: Ints
    median: Floats
    p: Floats


def speed(panel: Panel, line: float = -2.5) -> Speed | None:
    """None where fewer than `_FEWEST_TIMED` votes have a time above zero, or all took the same time."""
    from scipy.stats import binom

    seconds = np.array([np.nan if v.seconds is None or v.seconds <= 0 else v.seconds for v in panel.votes])
    timed = np.flatnonzero(np.isfinite(seconds))
    if len(timed) < _FEWEST_TIMED:
        return None
    y = np.log(seconds[timed])
    items, who = panel.items[timed], panel.annotators[timed]
    residual = y - _by_length(y, _log_lengths(panel)[timed])
    count = np.bincount(items, minlength=len(panel.item_names))
    total = np.bincount(items, weights=residual, minlength=len(panel.item_names))
    # The item's own effect from the other votes, so that one quick vote does not make its item a quick one.
    residual = residual - (total[items] - residual) / (count[items] - 1 + _SHRINK)
    centre = float(np.median(residual))
    spread = 1.4826 * float(np.median(np.abs(residual - centre)))
    if spread <= 1e-9:
        return None
    z = np.full(len(panel), np.nan)
    z[timed] = (residual - centre) / spread
    size = len(panel.annotator_names)
    asked = np.bincount(who, minlength=size).astype(np.int64)
    quick = np.bincount(who[z[timed] < line], minlength=size).astype(np.int64)
    # The panel's own share, each annotator counting once, so that one fast clicker does not set the norm.
    shares = quick[asked > 0] / asked[asked > 0]
    norm = float(np.clip(np.median(shares), 0.01, 0.5))
    p = np.asarray(binom.sf(quick - 1, np.maximum(asked, 1), norm), np.float64)
    median = np.array([float(np.median(z[timed][who == one])) if asked[one] else np.nan for one in range(size)])
    return Speed(z, asked, quick, median, p)


def _log_lengths(panel: Panel) -> Floats:
    length = np.full(len(panel), np.nan)
    for at, vote in enumerate(panel.votes):
        told = vote.length if vote.length is not None else len(vote.text) if vote.text else None
        if told:
            length[at] = np.log(told)
    return length


def _by_length(y: Floats, log_length: Floats) -> Floats:
    """What length leads one to expect: a line through the medians of ten groups of length; else the median of all."""
    expected = np.full(len(y), float(np.median(y)))
    known = np.flatnonzero(np.isfinite(log_length))
    if len(known) < _FEWEST_TIMED or float(np.ptp(log_length[known])) < 1e-9:
        return expected
    cuts = np.unique(np.quantile(log_length[known], np.linspace(0, 1, 11)))
    group = np.clip(np.searchsorted(cuts, log_length[known], side="right") - 1, 0, len(cuts) - 2)
    used = np.unique(group)
    at = np.array([float(np.median(log_length[known][group == one])) for one in used])
    middle = np.array([float(np.median(y[known][group == one])) for one in used])
    if len(used) < 2:
        return expected
    slope, start = np.polyfit(at, middle, 1)
    expected[known] = start + slope * log_length[known]
    return expected
