"""What a report says, as plain values: everything a template or a figure needs, nothing of the workspace's workings."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from goldsmith.types.artifact import Digest
from goldsmith.types.finding import Finding, Outcome, RuleResult
from goldsmith.types.score import MetricResult


@dataclass(slots=True)
class Told:
    """A finding as it is shown. `examples`: pieces of text with whether each is highlighted. `contrast`: the same check
    in the other sources. `alike`: how many more findings of this check there are here."""

    finding: Finding
    examples: list[list[tuple[str, bool]]]
    contrast: str
    alike: int = 0


@dataclass(slots=True)
class Unit:
    """One source x batch of a release: what was delivered, what became of it, and what was found in it."""

    source: str
    batch: str
    collection: Digest
    delivered: int
    used: int
    left_out: int
    faulty: int
    verdict: Outcome
    reasons: tuple[str, ...]
    recalled: str | None
    maker: str
    signed_at: str
    file_name: str
    decisions: list[Mapping[str, str]] = field(default_factory=list)
    """What reviewers decided about it: `decision`, `reason`, `role`, `at`, and in `void` why it no longer counts."""
    told: list[Told] = field(default_factory=list)
    more: int = 0
    lines: list[int] = field(default_factory=list)
    suspicion: dict[int, tuple[float, str]] = field(default_factory=dict)
    """For each line with a finding graver than a note: the highest score, and the gravest severity."""

    @property
    def name(self) -> str:
        return f"{self.source} / {self.batch}"

    @property
    def quarantined(self) -> bool:
        return self.verdict is Outcome.FAIL and self.used == 0

    @property
    def state(self) -> str:
        """In one word: recalled, quarantined, accepted against the checks, inconclusive or in."""
        if self.recalled is not None:
            return "recalled"
        if self.verdict is Outcome.FAIL:
            if self.used == 0:
                return "quarantined"
            return "let in by a reviewer" if self._let_in else "accepted against the checks"
        if self.verdict is Outcome.INCONCLUSIVE:
            return "inconclusive"
        return "in" if self.used else "left out"

    @property
    def _let_in(self) -> bool:
        return any(one["decision"] != "reject" and not one["void"] for one in self.decisions)


@dataclass(slots=True)
class Step:
    """One training run and the model it made. `metrics`: the trainer's own log, a mapping for each line."""

    run: Digest
    method: str
    model: Digest
    model_name: str
    standing: str
    updates: int
    records_used: int
    validation_records: int
    tokens: int
    stop: str
    final_loss: float
    best_validation_loss: float | None
    metrics: list[Mapping[str, Any]]


@dataclass(slots=True)
class Round:
    """One release, and the training steps that learned from it."""

    release: Digest
    name: str
    merkle_root: Digest
    count: int
    left_out: int
    reasons: list[tuple[str, int]]
    checked: bool
    withdrawn: str | None
    base: Digest
    base_name: str
    units: list[Unit]
    steps: list[Step]
    checks: dict[str, dict[str, tuple[int, float, str]]] = field(default_factory=dict)
    """For each check, for each unit's name: how many rows it named there, their share, the gravest severity."""


@dataclass(slots=True)
class Metric:
    """A metric of the examination, with what the policy asks of it. `bounds`: values, with their sign (`≥`, `≤`)."""

    result: MetricResult
    bounds: list[tuple[str, float]]
    outcome: Outcome | None

    @property
    def key(self) -> str:
        return f"{self.result.eval}.{self.result.metric}"

    @property
    def is_share(self) -> bool:
        """Whether the metric lives in 0..1, so that it may share an axis with others."""
        found = self.result
        known = (found.mean, found.low, found.high, found.base_low or 0.0, found.base_high or 0.0)
        return found.eval != "fit_gap" and all(-1e-9 <= value <= 1 + 1e-9 for value in known)


@dataclass(slots=True)
class Facts:
    """All of one model's report."""

    model: Digest
    name: str
    form: str
    standing: str
    badge: str
    tone: str
    why: str
    date: str
    self_attested: bool
    root: Digest
    entries: int
    statement: Digest | None
    verdict: Digest | None
    judged_at: str | None
    withdrawn: Mapping[str, str] | None
    rounds: list[Round]
    metrics: list[Metric]
    rules: list[RuleResult]
    examination: Digest | None
    base_name: str | None
