"""Single sampling by attributes, computed exactly: how many records to inspect, how many may be bad."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

from goldsmith.types.contract import Sampling
from goldsmith.types.errors import BadInput

_MOST_ACCEPTED = 400


@dataclass(frozen=True, slots=True)
class Plan:
    """Inspect `size` of `lot` records; accept with `accept` bad ones at most.

    `producer_risk`: the chance that a lot at the AQL is refused; `consumer_risk`: that one at the LTPD is accepted
    (None for a plan that names neither).
    """

    lot: int
    size: int
    accept: int
    producer_risk: float | None = None
    consumer_risk: float | None = None


def acceptance_chance(lot: int, size: int, accept: int, bad: int) -> float:
    """The chance that a sample of `size` from `lot` records with `bad` bad ones holds `accept` or fewer: the
    hypergeometric distribution."""
    from scipy.stats import hypergeom

    return float(hypergeom.cdf(accept, lot, bad, size))


def plan_for(sampling: Sampling, lot: int) -> Plan:
    """The smallest plan that keeps both risks in a lot of this size; all of it, where no smaller sample does.

    Errors: BadInput for an empty lot.
    """
    if lot < 1:
        raise BadInput("there are no records to sample from", found=lot)
    if sampling.size is not None and sampling.accept is not None:
        return Plan(lot, min(lot, sampling.size), sampling.accept)
    assert sampling.aql is not None
    assert sampling.ltpd is not None
    good, bad = math.floor(sampling.aql * lot), math.ceil(sampling.ltpd * lot)
    for accept in range(min(_MOST_ACCEPTED, bad)):
        size = _smallest(lot, accept, bad, sampling.consumer_risk)
        if acceptance_chance(lot, size, accept, good) >= 1 - sampling.producer_risk:
            return _plan(lot, size, accept, good, bad)
    return _plan(lot, lot, good, good, bad)


def _plan(lot: int, size: int, accept: int, good: int, bad: int) -> Plan:
    refused = 1 - acceptance_chance(lot, size, accept, good)
    return Plan(lot, size, accept, refused, acceptance_chance(lot, size, accept, bad))


def _smallest(lot: int, accept: int, bad: int, risk: float) -> int:
    """The smallest sample in which a bad lot passes with this risk at most (the chance falls with the size)."""
    low, high = accept, lot
    while high - low > 1:
        middle = (low + high) // 2
        if acceptance_chance(lot, middle, accept, bad) <= risk:
            high = middle
        else:
            low = middle
    return high


def drawn(lines: Sequence[int], size: int, seed: str) -> tuple[int, ...]:
    """The lines of the sample, ascending: those with the smallest keyed hashes, so that anybody can draw it again.

    `seed` is chosen by the buyer after the delivery is there; known beforehand, a vendor could prepare the sample.
    """
    key = seed.encode()

    def rank(line: int) -> bytes:
        return hashlib.blake2b(str(line).encode(), key=key[:64], digest_size=16).digest()

    return tuple(sorted(sorted(set(lines), key=rank)[:size]))
