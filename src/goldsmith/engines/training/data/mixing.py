"""Parts of the data that are mixed into every update at a stated share: pure functions of the seed and the step."""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

MAIN = ""
"""The part of all rows that no entry of the mix names."""


def counts_of(step: int, rows_per_update: int, shares: Sequence[float]) -> list[int]:
    """How many rows of each part the 0-based `step` takes; what remains of `rows_per_update` is of the main part.

    A share that is no whole number of rows is carried over: after any number of updates each part has had its share of
    all rows to within half a row. Shares are read as the decimals they are written as, so that 0.1 of 20 rows is 2.
    """
    found = []
    for share in shares:
        each = Fraction(repr(share)) * rows_per_update
        before, after = (int(each * n + Fraction(1, 2)) for n in (step, step + 1))
        found.append(after - before)
    return found


def room_for(rows_per_update: int, shares: Sequence[float]) -> bool:
    """Whether every update keeps room for the main part, whatever is carried over."""
    whole = [Fraction(repr(share)) * rows_per_update for share in shares]
    return rows_per_update - sum(-(-each // 1) for each in whole) >= 1


def main_share(shares: Sequence[float]) -> Fraction:
    """What the parts leave of an update."""
    return 1 - sum((Fraction(repr(share)) for share in shares), Fraction(0))


def steps_per_pass(main_rows: int, rows_per_update: int, shares: Sequence[float]) -> int:
    """Updates of one pass over the main part."""
    return max(1, -int(-(main_rows / (rows_per_update * main_share(shares))) // 1))


def chosen_rows(
    step: int, rows_per_update: int, parts: Sequence[Sequence[int]], shares: Sequence[float], seed: int
) -> list[int]:
    """Row indices of the 0-based `step`: `parts[0]` are the main part's rows, `parts[1:]` those of each share.

    Every part is gone through in passes of its own, in an order drawn anew for each pass: none of its rows comes twice
    before all have come once.
    """
    found: list[int] = []
    own = counts_of(step, rows_per_update, shares)
    before = [_total(step, rows_per_update, share) for share in shares]
    counts = [rows_per_update - sum(own), *own]
    starts = [step * rows_per_update - sum(before), *before]
    for number, (rows, start, count) in enumerate(zip(parts, starts, counts, strict=True)):
        found += _stretch(rows, start, count, seed, number)
    return found


def _total(step: int, rows_per_update: int, share: float) -> int:
    return int(Fraction(repr(share)) * rows_per_update * step + Fraction(1, 2))


def _stretch(rows: Sequence[int], start: int, count: int, seed: int, number: int) -> list[int]:
    """`count` rows from place `start` on of the endless sequence of passes over `rows`."""
    found: list[int] = []
    while count > 0:
        turn, place = divmod(start, len(rows))
        order = np.random.Generator(np.random.PCG64([seed, turn, number])).permutation(len(rows))
        taken = [rows[int(i)] for i in order[place : place + count]]
        found += taken
        start, count = start + len(taken), count - len(taken)
    return found
