"""Sources whose preferred answer is the one shown first (or last) too often."""

import json
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from goldsmith.engines import preference_habits
from goldsmith.engines.text import reward
from goldsmith.engines.text.projection import ProjectedRows, project
from goldsmith.types.artifact import Real, Spec
from goldsmith.types.check import CheckContext, CheckReport, Row, Vote
from goldsmith.types.finding import Finding, Severity

_MOST = 4000
_FIRST = {"first", "left", "a", "1", "top"}
_SECOND = {"second", "right", "b", "2", "bottom", "last"}
_FIELDS = ("chosen_position", "position_of_chosen", "chosen_shown", "position")


class PositionBias(Spec):
    """Where the preferred answer stood when it was judged, by source x batch: it should be first in half of the pairs.

    Read from votes that name a line and a position, and from the delivered fields `chosen_position`,
    `position_of_chosen`, `chosen_shown` or `position` of comparisons ("first" / "second", "left" / "right", "a" / "b",
    1 / 2; of a sample of 4,000). A source is named when the share is off one half (binomial, two-sided, Holm over
    source x batch, `alpha`) by more than `most`. Where the displayed order was not kept, nothing can be told:
    inconclusive.
    """

    id: ClassVar[str] = "position_bias"
    version: ClassVar[int] = 1
    fewest: int = 30
    most: Real = 0.1
    alpha: Real = 0.01

    def __call__(self, rows: Sequence[Row], context: CheckContext) -> CheckReport:
        """Warnings about sources; it scores no rows."""
        view = project(rows)
        pairs = reward.comparisons(view)
        if not len(view) or (not len(pairs) and not context.votes):
            return CheckReport(facts={"positions": 0})
        first: dict[int, int] = {}
        count: dict[int, int] = {}
        for group, shown in (*_delivered(view, pairs), *_voted(view, context.votes)):
            first[group] = first.get(group, 0) + shown
            count[group] = count.get(group, 0) + 1
        enough = sorted(g for g, n in count.items() if n >= self.fewest)
        facts: dict[str, str | int] = {"positions": sum(count.values())}
        if not enough:
            reason = f"the displayed order is known of fewer than {self.fewest} judgements of any source"
            return CheckReport(inconclusive=reason, facts=facts)
        p_values = preference_habits.lopsided([first[g] for g in enough], [count[g] for g in enough])
        findings = []
        for group, p_value in zip(enough, p_values, strict=True):
            share = first[group] / count[group]
            if p_value < self.alpha and abs(share - 0.5) > self.most:
                low, high = preference_habits.share_interval(first[group], count[group])
                source, batch = view.groups.names[group]
                findings.append(
                    Finding(
                        check=self.id,
                        severity=Severity.WARN,
                        score=min(1.0, 2 * abs(share - 0.5)),
                        evidence=f"the answer shown first was preferred in {share:.0%} of {count[group]} judgements "
                        f"(95 % interval {low:.0%} to {high:.0%}; p = {p_value:.1e} after Holm)",
                        subject="source",
                        source=source,
                        batch=batch,
                    )
                )
        return CheckReport(findings, facts=facts)


def _delivered(view: ProjectedRows, pairs: Any) -> Iterator[tuple[int, bool]]:
    """(group, was the chosen answer shown first) of sampled comparisons whose delivered fields tell."""
    full = view.columns.full
    if len(pairs) > _MOST:
        keys = reward.content_keys([full[i] for i in pairs.tolist()])
        pairs = pairs[reward.spread_sample(view.groups.of_row[pairs], keys, _MOST)]
    for row in pairs.tolist():
        extra = view[row].record.extra
        if (extra and "position" in extra) or (extra and "chosen_shown" in extra):
            try:
                fields = json.loads(extra)
            except ValueError:
                continue
            told = next((fields[name] for name in _FIELDS if isinstance(fields, dict) and name in fields), None)
            shown = _is_first(told)
            if shown is not None:
                yield int(view.groups.of_row[row]), shown


def _voted(view: ProjectedRows, votes: Sequence[Vote]) -> Iterator[tuple[int, bool]]:
    """(group, was the chosen answer shown first) of votes about a line that only one source x batch has."""
    wanted = {vote.line for vote in votes if vote.line is not None and vote.position is not None}
    if not wanted:
        return
    at: dict[int, int] = {}
    for row, line in enumerate(view.lines.tolist()):
        if line in wanted:
            at[line] = -1 if line in at else row
    for vote in votes:
        shown = _is_first(vote.position)
        row = at.get(vote.line, -1) if vote.line is not None else -1
        if shown is not None and row >= 0:
            yield int(view.groups.of_row[row]), shown


def _is_first(told: object) -> bool | None:
    if isinstance(told, bool) or not isinstance(told, str | int):
        return None
    plain = str(told).strip().lower()
    return True if plain in _FIRST else False if plain in _SECOND else None


def _rows() -> list[dict[str, object]]:
    return [
        {
            "input": {"messages": [{"role": "user", "content": f"Which way to house {i}?"}]},
            "preferred_output": [{"role": "assistant", "content": f"Left, then right at number {i}."}],
            "non_preferred_output": [{"role": "assistant", "content": f"Past number {i}, I think."}],
            "source": "crowd",
            "batch": "b1",
        }
        for i in range(80)
    ]


def _votes(lazy: bool) -> list[Vote]:
    return [
        Vote(
            f"item-{i}",
            f"a{i % 4}",
            "left",
            position="first" if (i % 8 > 0 if lazy else i % 2) else "second",
            line=i + 1,
        )
        for i in range(80)
    ]


CAUGHT, CAUGHT_VOTES = _rows(), _votes(lazy=True)
CLEAN, CLEAN_VOTES = _rows(), _votes(lazy=False)
