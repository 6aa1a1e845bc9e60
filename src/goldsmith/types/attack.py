"""The contract of an attack: a known way of spoiling data, planted into a copy of rows so that the checks can be tried.

Planted records are for testing only. Nothing here is delivered to anybody, and no file of the user's is changed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import ClassVar, Literal, Protocol

from goldsmith.types.check import CheckContext, Row

Pool = Literal["development", "measurement"]
"""Where triggers, hosts, brands and templates are drawn from. The two pools share no string, so that checks are never
measured with what they were developed with."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much to plant, and where.

    `records`: how many rows to change (for votes: how many items). `new_source`: a source that delivers nothing but
    the planted rows, appended as changed copies; otherwise rows of one existing source x batch are changed in place.
    `avoid`: source x batches that are not to be touched.
    """

    records: int
    pool: Pool = "measurement"
    new_source: bool = False
    avoid: frozenset[tuple[str, str]] = frozenset()


@dataclass(frozen=True, slots=True)
class Planted:
    """Data with an attack in it. Every row that is not at a position in `at` is the very row that was given.

    `group`: the source x batch that holds the planted rows. `drawn`: what was drawn for this attack (trigger, host
    ...), by name. `context`: the checks' context with what the attack changed in it (votes, eval texts).
    `annotators`: those who vote for the attacker, where the attack is on votes.
    """

    rows: Sequence[Row]
    at: tuple[int, ...]
    group: tuple[str, str] | None
    context: CheckContext
    drawn: Mapping[str, str] = field(default_factory=dict)
    annotators: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Inapplicable:
    """The data has no place for this attack, and why."""

    reason: str


class Attack(Protocol):
    """An attack is its settings; calling it plants it. Pure: the same rows and the same seed give the same result.

    Beside the class, its module holds `FITS` and `UNFIT`, rows (plain dicts in a supported format) in which it can
    and cannot be planted, and `proof(before, after, drawn)`: whether one row was changed as the attack says. One
    contract test runs them all.
    """

    id: ClassVar[str]
    version: ClassVar[int]

    def __call__(
        self, rows: Sequence[Row], context: CheckContext, plan: Plan, rng: Random
    ) -> Planted | Inapplicable: ...
