"""Sources against each other: weak evidence of many rows and many checks, added up for each source x batch.

Two questions are asked of each source x batch, for each check and for all of them together.

* Does it hold more suspicious rows than the sources *like it*? Fisher's exact test against its peers: the source x
  batches whose words are no more different from its own than its own halves are from each other. Peers that differ
  among themselves more than chance allows weaken the evidence: the statistic is divided by their dispersion
  (Pearson's chi-squared over its degrees of freedom, with a prior worth ten peers that vary as chance would) and read
  against Student's t. A source unlike all others has no peers, and being different is not held against it.
* Does it hold more than the loudest set of clean data does? A binomial test against that set's share.

Holm's correction is over everything asked: source x batches times checks times lines. Family-wise error 1 %.
"""

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from goldsmith.engines.multiplicity import holm
from goldsmith.engines.text.evidence import quote
from goldsmith.engines.text.projection import ProjectedRows
from goldsmith.engines.text.tokens import owners, words
from goldsmith.types.finding import Finding, Severity

CHECK = "source_contrast"
Floats = NDArray[np.floating[Any]]
ALPHA = 0.01
LOUDEST_CLEAN = 0.25
"""No clean set of the calibration has this share of rows beyond the 1 % line (`benchmarks/clean_quantiles.py`)."""
_FEWEST_ROWS = 20
_FEWEST_PEERS = 3
_FEWEST_FLAGGED = 5
_LEAST_RATIO = 1.5
_PRIOR_PEERS = 10.0
_LINES = (0.01, 0.05)
"""Shares of clean rows; a row is beyond a line if at most this share of clean rows is as suspicious."""
_SAMPLE = 400
_HASHED = 4096
_ALIKE = 0.95
_MOST_GROUPS = 2000
_MORE_TOLD = 0.2
_SCATTER = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True)
class Question:
    """Rows that are beyond a line: of one check, or of all together."""

    name: str
    share: float
    flagged: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Answer:
    """What one source x batch came to. `own` of `rows` flagged; `others` of `other_rows` in its `peers` (0 peers: the
    loudest clean set).
    """

    question: Question
    own: int
    rows: int
    others: int
    other_rows: int
    peers: int
    p_value: float


def questions(shares: Mapping[str, Floats], combined: NDArray[np.float64]) -> list[Question]:
    """What is asked: each check alone, `combined`, and the sum of the checks' evidence."""
    asked = [Question(name, line, values <= line) for name, values in sorted(shares.items()) for line in _LINES]
    asked += [Question("all checks", line, combined > 1.0 - line) for line in (*_LINES, 0.001)]
    if len(shares) > 1:
        total = np.zeros(len(combined))
        for values in shares.values():
            total += np.minimum(-np.log(np.maximum(np.nan_to_num(values, nan=1.0), 1e-6)), 5.0)
        line = float(np.quantile(total, 0.99))
        asked.append(Question("the checks' evidence added up", 0.01, (total >= line) & (total > 0)))
    return asked


def findings(
    view: ProjectedRows,
    shares: Mapping[str, Floats],
    combine: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    trusted: frozenset[str] = frozenset(),
) -> tuple[list[Finding], dict[str, str | int]]:
    """QUARANTINE for every source x batch that stands out, one NOTE for those too small to tell of; and facts.

    `shares`: for each check and row, the share of clean rows that score at least as high, NaN where it could not tell.
    `combine`: the smallest of a row's shares to its `combined`. `trusted` sources are compared with, and never named.
    """
    sizes = np.bincount(view.groups.of_row, minlength=len(view.groups.names))
    if not len(view) or len(view.groups.names) > _MOST_GROUPS:
        return [], {}
    alike = peers(view, sizes)
    judged = _comparable(view, sizes, alike, shares)
    smallest = np.ones(len(view))
    for values in judged.values():
        smallest = np.fmin(smallest, values)
    asked = questions(judged, combine(smallest))
    answers = _answers(view, sizes, alike, asked)
    adjusted = holm([answer.p_value for _, answer in answers], family=len(sizes) * (len(asked) + 1))
    best: dict[int, tuple[float, Answer]] = {}
    for (group, answer), p_value in zip(answers, adjusted, strict=True):
        if p_value < ALPHA and (group not in best or p_value < best[group][0]):
            best[group] = (p_value, answer)
    named = {g: found for g, found in best.items() if view.groups.names[g][0] not in trusted}
    made = [
        _finding(view, group, p_value, answer, np.flatnonzero(alike[group]))
        for group, (p_value, answer) in sorted(named.items())
    ]
    small = [g for g in range(len(sizes)) if sizes[g] < _FEWEST_ROWS]
    facts: dict[str, str | int] = {
        "compared": int((sizes >= _FEWEST_ROWS).sum()),
        "with_peers": int((alike.sum(axis=1) >= _FEWEST_PEERS).sum()),
        "questions": len(asked) + 1,
        "named": len(made),
        "too_small": len(small),
    }
    return [*made, *_too_small(view, small)], facts


def peers(view: ProjectedRows, sizes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """[groups, groups] which source x batches use words as each other does, so that they can be compared.

    The affinity (Bhattacharyya's coefficient of the word frequencies) of a half of one with a half of the other is
    set against that of their own two halves. Other sources are preferred: batches of the same source count only where
    too few others are alike.
    """
    halves = _word_frequencies(view)
    own = np.einsum("gw,gw->g", halves[0], halves[1])
    cross = sum(halves[i] @ halves[j].T for i in (0, 1) for j in (0, 1)) / 4.0
    alike = cross >= _ALIKE * (own[:, None] + own[None, :]) / 2.0
    large = sizes >= _FEWEST_ROWS
    alike &= large[:, None] & large[None, :] & (own > 0)[:, None] & (own > 0)[None, :]
    np.fill_diagonal(alike, False)
    source = np.array([name for name, _ in view.groups.names])
    foreign = alike & (source[:, None] != source[None, :])
    enough = foreign.sum(axis=1) >= _FEWEST_PEERS
    result: NDArray[np.bool_] = np.where(enough[:, None], foreign, alike)
    return result


def _comparable(
    view: ProjectedRows, sizes: NDArray[np.int64], alike: NDArray[np.bool_], shares: Mapping[str, Floats]
) -> dict[str, Floats]:
    """The shares without what a check said of a source x batch while it could not tell of most of its peers' rows:
    nothing can be compared there.
    """
    known: dict[str, Floats] = {}
    linked = alike.astype(np.float64)
    for name, values in shares.items():
        told = np.bincount(view.groups.of_row[~np.isnan(values)], minlength=len(sizes))
        usual = (linked @ told) / np.maximum(linked @ sizes, 1.0)
        alone = (told / np.maximum(sizes, 1) > usual + _MORE_TOLD) & alike.any(axis=1)
        known[name] = np.where(alone[view.groups.of_row], np.nan, values) if alone.any() else values
    return known


def needed(rows: int, other_share: float, family: int) -> int:
    """How many rows beyond the 1 % line would name a source x batch of `rows` rows among many peers of whose rows
    `other_share` is beyond it; more than `rows` where none would.
    """
    from scipy.stats import binom

    few = np.arange(_FEWEST_FLAGGED, rows + 1)
    enough = few[binom.sf(few - 1, rows, other_share) * family < ALPHA]
    return int(enough[0]) if len(enough) else rows + 1


def _answers(
    view: ProjectedRows, sizes: NDArray[np.int64], alike: NDArray[np.bool_], asked: Sequence[Question]
) -> list[tuple[int, Answer]]:
    """The answers that could matter; what is left out here still counts in the family."""
    from scipy.stats import binom

    answers: list[tuple[int, Answer]] = []
    linked = alike.astype(np.float64)
    rows = np.maximum(sizes.astype(np.float64), 1.0)
    counts = alike.sum(axis=1)
    for question in asked:
        own = np.bincount(view.groups.of_row[question.flagged], minlength=len(sizes))
        p_values = _against_peers(own.astype(np.float64), rows, linked)
        others, other_rows = linked @ own, linked @ sizes
        enough = (own >= _FEWEST_FLAGGED) & (sizes >= _FEWEST_ROWS) & (counts >= _FEWEST_PEERS)
        enough &= own * other_rows >= _LEAST_RATIO * others * sizes
        answers += [
            (g, Answer(question, int(own[g]), int(sizes[g]), int(others[g]), int(other_rows[g]), int(counts[g]),
                       float(p_values[g])))
            for g in np.flatnonzero(enough).tolist()
        ]  # fmt: skip
        if question.name == "all checks" and question.share == _LINES[0]:
            loud = (own >= _FEWEST_FLAGGED) & (own > LOUDEST_CLEAN * sizes) & (sizes >= _FEWEST_ROWS)
            answers += [
                (g, Answer(question, int(own[g]), int(sizes[g]), 0, 0, 0,
                           float(binom.sf(own[g] - 1, sizes[g], LOUDEST_CLEAN))))
                for g in np.flatnonzero(loud).tolist()
            ]  # fmt: skip
    return answers


def _against_peers(
    own: NDArray[np.float64], rows: NDArray[np.float64], linked: NDArray[np.float64]
) -> NDArray[np.float64]:
    """One-sided p-values [groups] of Fisher's exact test of each group against its peers, weakened by how much the
    peers differ among themselves.
    """
    from scipy.stats import hypergeom, norm, t

    others, other_rows = linked @ own, linked @ rows
    p_values = hypergeom.sf(own - 1, rows + other_rows, own + others, rows)
    rate = (others + 0.5) / (other_rows + 1.0)
    squares = linked @ (own**2 / rows) - 2.0 * rate * others + rate**2 * other_rows
    degrees = np.maximum(linked.sum(axis=1) - 1.0, 0.0)
    dispersion = (_PRIOR_PEERS + squares / (rate * (1.0 - rate))) / (_PRIOR_PEERS + degrees)
    weakened = norm.isf(np.clip(p_values, 1e-300, 1.0)) / np.sqrt(np.maximum(dispersion, 1.0))
    result: NDArray[np.float64] = t.sf(weakened, degrees + _PRIOR_PEERS)
    return result


def _word_frequencies(view: ProjectedRows) -> list[NDArray[np.float64]]:
    """For each half of a sample of each group, square roots of hashed word frequencies [groups, hashed]; zero where
    empty. Which half a row belongs to depends on its words alone; of large groups, which rows are drawn on their lines.
    """
    texts = view.columns.full
    halves = [np.zeros((len(view.groups.names), _HASHED)) for _ in range(2)]
    order = np.argsort(view.groups.of_row, kind="stable")
    ends = np.cumsum(np.bincount(view.groups.of_row, minlength=len(view.groups.names)))
    for group, members in enumerate(np.split(order, ends[:-1])):
        if len(members) > _SAMPLE:
            members = np.sort(members[np.argsort(view.lines[members].astype(np.uint64) * _SCATTER)[:_SAMPLE]])
        chosen = [texts[int(i)][:1000] for i in members]
        known = words(chosen)
        half = np.array([zlib.crc32(t[:400].encode("utf-8", "replace")) >> 1 & 1 for t in chosen], np.int64)
        half = half[owners(known)]
        place = (known.hashes >> np.uint64(11)) % np.uint64(_HASHED)
        for side in (0, 1):
            counts = np.bincount(place[half == side].astype(np.int64), minlength=_HASHED)
            halves[side][group] = np.sqrt(counts / max(1, counts.sum()))
    return halves


def _finding(view: ProjectedRows, group: int, p_value: float, answer: Answer, alike: NDArray[np.int64]) -> Finding:
    source, batch = view.groups.names[group]
    mine = np.flatnonzero(answer.question.flagged & (view.groups.of_row == group))
    line = f"beyond the line of {answer.question.name} that {answer.question.share:.1%} of clean rows pass"
    if answer.peers:
        usual = f"in the {answer.peers} source x batches like it {answer.others} of {answer.other_rows}"
        usual += f" ({answer.others / max(1, answer.other_rows):.2%})"
    else:
        usual = f"no clean set has more than {LOUDEST_CLEAN:.0%}"
    shown = [f"here: “{_shown(view, int(i))}”" for i in mine[:4]]
    if answer.peers:
        usual_rows = np.flatnonzero(~answer.question.flagged & np.isin(view.groups.of_row, alike))
        shown += [f"elsewhere: “{_shown(view, int(i))}”" for i in usual_rows[:2]]
    return Finding(
        check=CHECK,
        severity=Severity.QUARANTINE,
        score=1.0 - min(1.0, p_value),
        evidence=f"{answer.own} of {answer.rows} records ({answer.own / answer.rows:.1%}) are {line}; {usual} "
        f"(p = {p_value:.1e} after Holm)",
        subject="source",
        lines=tuple(sorted(view[int(i)].line for i in mine)),
        source=source,
        batch=batch,
        examples=tuple(shown),
    )


def _shown(view: ProjectedRows, index: int) -> str:
    columns = view.columns
    calls = " ".join(f"{call.name}({call.arguments[:200]})" for call in columns.calls[index])
    return f"{quote(columns.user[index], 70)} → {quote(f'{columns.answer[index]} {calls}', 90)}"


def _too_small(view: ProjectedRows, small: Sequence[int]) -> list[Finding]:
    if not small or len(view.groups.names) < 2:
        return []
    names = ", ".join(f"{quote(view.groups.names[g][0], 30)} / {quote(view.groups.names[g][1], 30)}" for g in small[:5])
    more = f" and {len(small) - 5} more" if len(small) > 5 else ""
    return [
        Finding(
            check=CHECK,
            severity=Severity.NOTE,
            score=0.0,
            evidence=f"{len(small)} source x batches have fewer than {_FEWEST_ROWS} records and are too small to be "
            f"compared with others: {names}{more}",
            subject="collection",
        )
    ]
