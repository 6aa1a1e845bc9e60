"""Whether a run learns its rows by heart: its loss on rows trained on, on rows set aside, and on those rows perturbed.

All three are measured before the first step and at each validation, so that what counts is what was learnt since.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from goldsmith.engines.training.data.mixing import MAIN
from goldsmith.engines.training.data.rows import Row
from goldsmith.engines.training.guards.perturbing import perturbed
from goldsmith.engines.training.settings import OverfitSettings
from goldsmith.types.errors import BadInput
from goldsmith.types.record import Record

FEWEST = 8
"""Rows set aside (and of those, rows that could be perturbed) below which nothing is judged: too uncertain a mean."""

FLOOR_NATS = 0.05
"""Added to losses before they are divided: twins of rows whose loss is next to nothing may have many times that, and
still be answered. (goldsmith-nano's demo: 0.003 against 0.029, and 99 of 100 tasks done.)"""

LEARNT_AT_LEAST = 0.05
"""Share of its first loss that a run must have learnt before what it learnt is divided into parts."""


@dataclass(frozen=True, slots=True)
class Watched:
    """Three sets of rows. `perturbed[i]` is `plain[i]`, a row set aside, with another surface; `kinds[i]` says how."""

    trained: tuple[Row, ...]
    plain: tuple[Row, ...]
    perturbed: tuple[Row, ...]
    kinds: tuple[tuple[str, ...], ...]

    def told(self, seed: int) -> dict[str, object]:
        """Which rows are watched, for the run's journal: by row key, with the changes made."""
        return {
            "watched": {
                "seed": seed,
                "trained": [row.key for row in self.trained],
                "perturbed": [[row.key, *kinds] for row, kinds in zip(self.plain, self.kinds, strict=True)],
            }
        }


def watched_rows(
    settings: OverfitSettings,
    train: Sequence[Row],
    aside: Sequence[Row],
    records: Mapping[str, Record],
    encode: Callable[[Record, str, str], Row],
    *,
    max_length: int,
    seed: int,
) -> Watched | None:
    """What is watched, drawn by content and seed; None where nothing is, or too few rows are set aside to judge by.

    `records`: by row key, what the rows were made from. Rows that no harmless change fits, that come out too long or
    with the same tokens as before are not perturbed.
    """
    own = [row for row in aside if row.part == MAIN]
    if settings.act == "off" or len(own) < FEWEST:
        return None
    plain: list[Row] = []
    other: list[Row] = []
    kinds: list[tuple[str, ...]] = []
    for row in _drawn(own, len(own), seed):
        if len(plain) == settings.rows:
            break
        found = perturbed(records[row.key], seed)
        if found is None:
            continue
        try:
            changed = encode(found.record, row.name, f"{row.key}/perturbed")
        except BadInput:
            continue
        if changed.longest <= max_length and _twins(row, changed):
            plain.append(row)
            other.append(changed)
            kinds.append(found.kinds)
    if len(plain) < FEWEST:
        plain, other, kinds = [], [], []
    trained = _drawn([row for row in train if row.part == MAIN], settings.rows, seed)
    return Watched(tuple(trained), tuple(plain), tuple(other), tuple(kinds))


def _drawn(rows: Sequence[Row], count: int, seed: int) -> list[Row]:
    """`count` of the rows at most, the same for the same content and seed, whatever their order."""
    return sorted(rows, key=lambda row: hashlib.sha256(f"{seed}/{row.key}".encode()).digest())[:count]


def _twins(one: Row, other: Row) -> bool:
    """Other tokens to read, as many to learn."""
    nodes = list(zip(one.nodes, other.nodes, strict=True))
    same = all(np.array_equal(a.ids, b.ids) for a, b in nodes)
    return not same and all(int(a.trained.sum()) == int(b.trained.sum()) for a, b in nodes)


def shares(first: Mapping[str, float], now: Mapping[str, float]) -> dict[str, float]:
    """What became of what the run has learnt since the first step. Empty while too little is learnt to tell.

    `gap_share`: of the loss that rows trained on have lost, the share that rows set aside did not lose as well, 0 where
    they lost as much, above 1 where they got worse. `surface_ratio`: how many times the loss of plain rows their
    perturbed twins have, over what that was at first; 0.05 nats added to each.
    `first`, `now`: losses by `trained`, `aside`, and, where rows are perturbed, `plain` and `perturbed`.
    """
    learnt = first["trained"] - now["trained"]
    if not learnt > LEARNT_AT_LEAST * abs(first["trained"]):
        return {}
    found = {"gap_share": 1.0 - (first["aside"] - now["aside"]) / learnt}
    if "perturbed" in now:
        then, after = ((one["perturbed"] + FLOOR_NATS) / (one["plain"] + FLOOR_NATS) for one in (first, now))
        found["surface_ratio"] = after / then
    return found


def judged(settings: OverfitSettings, found: Mapping[str, float], *, falling: bool) -> dict[str, str]:
    """Warnings by what is beyond its bound. `falling`: the loss on rows set aside is the lowest so far, so a gap is
    no harm yet: it may be their luck, or of a run that still learns more than it memorises."""
    said = {
        "gap_share": "{} of what was learnt shows only on rows that were trained on (at most {})",
        "surface_ratio": "the loss is {} times as high when a question is put a little differently (at most {} times)",
    }
    bounds = {"gap_share": settings.gap_at_most, "surface_ratio": settings.surface_at_most}
    return {
        name: f"overfitting: {said[name].format(f'{found[name]:.2f}', f'{float(bound):g}')}; "
        "train fewer epochs, lower learning_rate, or give more and more varied rows"
        for name, bound in bounds.items()
        if bound is not None and name in found and found[name] > float(bound) and not (falling and name == "gap_share")
    }
