"""What a sweep found: a row for each candidate, the best, and those that nothing beats."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from goldsmith.engines.sweeping.grid import Candidate
from goldsmith.engines.sweeping.pareto import Point, front
from goldsmith.engines.sweeping.state import Result, State

Ended = Literal["done", "out of budget", "nothing trained"]


@dataclass(frozen=True, slots=True)
class Row:
    """One candidate's line. `score`: lower is better; `seconds` and `cost`: spent on it; `whole_seconds` and
    `whole_cost`: what all the steps of a run take at the speed measured (None: no step was measured)."""

    candidate: Candidate
    settings: dict[str, Any]
    steps: int
    quality: float | None
    score: float | None
    memory: int
    seconds: float
    cpu_seconds: float
    whole_seconds: float | None
    cost: float | None
    whole_cost: float | None
    reason: str
    pareto: bool
    best: bool


@dataclass(frozen=True, slots=True)
class Swept:
    """How a sweep ended: its rows, the best first."""

    rows: tuple[Row, ...]
    rungs: tuple[int, ...]
    ended: Ended
    seconds: float
    cost: float | None
    training: int
    validation: int
    folder: Path

    @property
    def best(self) -> Row | None:
        """The candidate to take; None if none was measured."""
        return next((row for row in self.rows if row.best), None)

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        rows = [{**asdict(row), "candidate": row.candidate.as_dict()} for row in self.rows]
        return {**asdict(self), "rows": rows, "folder": str(self.folder)}


def account(
    tried: Sequence[tuple[Candidate, dict[str, Any]]],
    state: State,
    *,
    rungs: tuple[int, ...],
    ended: Ended,
    complete: int,
    price: float | None,
    rows: tuple[int, int],
    folder: Path,
) -> Swept:
    """What the results come to. `tried`: each candidate with its settings; `complete`: the last rung that all who came
    to it were taken to (-1: none); `price`: of an hour; `rows`: to train and to compare on."""
    facts = [_Facts.of(state.of(number), rungs[-1]) for number in range(len(tried))]
    best_ones = set(front([_point(one) for one in facts]))
    best = _best(facts, complete)

    def cost(seconds: float | None) -> float | None:
        return None if price is None or seconds is None else seconds / 3600 * price

    lines = []
    for number in sorted(range(len(facts)), key=lambda n: (n != best, facts[n].order)):
        one, (candidate, settings) = facts[number], tried[number]
        seconds = sum(each.seconds for each in one.results)
        lines.append(
            Row(
                candidate=candidate,
                settings=settings,
                steps=max((each.step for each in one.results), default=0),
                quality=next((each.quality for each in reversed(one.results) if each.quality is not None), None),
                score=one.scores[-1] if one.scores else None,
                memory=one.memory,
                seconds=seconds,
                cpu_seconds=sum(each.cpu_seconds for each in one.results),
                whole_seconds=one.whole_seconds,
                cost=cost(seconds),
                whole_cost=cost(one.whole_seconds),
                reason=one.results[-1].reason if one.results else "not tried",
                pareto=number in best_ones,
                best=number == best,
            )
        )
    return Swept(tuple(lines), rungs, ended, state.spent, cost(state.spent), *rows, folder)


@dataclass(frozen=True, slots=True)
class _Facts:
    """A candidate's results, in short."""

    results: list[Result]
    scores: tuple[float, ...]
    failed: bool
    memory: int
    whole_seconds: float | None

    @classmethod
    def of(cls, results: list[Result], steps: int) -> "_Facts":
        scores = tuple(one.score for one in results if one.score is not None)
        done = sum(one.trained_steps for one in results)
        whole = sum(one.train_seconds for one in results) / done * steps if done else None
        failed = any(one.status != "ok" for one in results)
        return cls(results, scores, failed, max((one.memory for one in results), default=0), whole)

    @property
    def order(self) -> tuple[bool, int, float]:
        """Those that failed last; before them the farthest first."""
        return self.failed, -len(self.scores), self.scores[-1] if self.scores else math.inf


def _point(one: _Facts) -> Point:
    return Point(
        () if one.failed else one.scores, one.memory, math.inf if one.whole_seconds is None else one.whole_seconds
    )


def _best(facts: Sequence[_Facts], complete: int) -> int | None:
    """The best at the last rung that was compared in full; where the budget ended the first, of those measured."""
    for rung in range(max(complete, 0), -1, -1):
        measured = [n for n, one in enumerate(facts) if not one.failed and len(one.scores) > rung]
        if measured:
            return min(measured, key=lambda n: (facts[n].scores[rung], n))
    return None
