"""Records that say the same: exact by content digest, near by verified word 5-gram overlap."""

from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from goldsmith.engines.text import minhash
from goldsmith.engines.text.evidence import bounded
from goldsmith.engines.text.features import RowFeatures
from goldsmith.engines.text.projection import ProjectedRows, project
from goldsmith.types.artifact import Real, Spec
from goldsmith.types.check import CheckContext, CheckReport, Row
from goldsmith.types.finding import Finding, Severity
from goldsmith.types.record import Comparison, Message


class Duplicates(Spec):
    """Every record that repeats an earlier one, with the one it repeats and how alike they are; repeats are left out.

    Two records are near duplicates when the Jaccard similarity of the sets of their lower-cased word 5-grams is at
    least `near`; it is computed exactly for every pair reported. System prompts and tool schemas do not count. Of
    comparisons the chosen and the rejected answers must be alike as well (at least `near_answers`): rankings of
    several answers to one prompt are not duplicates, nor is a pair turned round. The earliest line stays (trusted
    sources first, then by source, batch and line).
    """

    id: ClassVar[str] = "duplicates"
    version: ClassVar[int] = 2
    near: Real = 0.7
    near_answers: Real = 0.4

    def __call__(self, rows: Sequence[Row], context: CheckContext) -> CheckReport:
        """One finding for all records of a source x batch that repeat the same one, in very many cases one for the rest
        (`evidence.bounded`); score = similarity to the record that stays, 0 for those that stay."""
        view = project(rows)
        if not len(view):
            return CheckReport()
        order = _keep_order(view, context)
        first = _exact(view, order)
        singles = order[first[order] == order]
        edges = minhash.near_in_features(view.columns.full, view.features(self, context), singles, threshold=self.near)
        good = np.fromiter(
            (self._alike(view, a, b) for a, b in zip(edges.earlier.tolist(), edges.later.tolist(), strict=True)),
            bool,
            len(edges.later),
        )
        edges = minhash.Edges(edges.earlier[good], edges.later[good], edges.similarity[good])
        kept_near, similarity = minhash.earliest_kept(edges, len(view))
        stays = np.where(kept_near[first] < 0, first, kept_near[first])
        goes = np.flatnonzero(stays != np.arange(len(view)))
        alike = np.where(kept_near[first] < 0, 1.0, similarity[first])
        scores = np.zeros(len(view))
        scores[goes] = alike[goes]
        exactly = kept_near[first] < 0
        repeats = (
            self._finding(view, members, int(stays[members[0]]), alike[members], exact=bool(exactly[members[0]]))
            for members in _clusters(view, goes, stays, exactly)
        )
        findings = bounded(repeats, "{n} more records repeat an earlier one, which stays")
        exact = int((first != np.arange(len(view))).sum())
        facts: dict[str, str | int] = {"exact": exact, "near": len(goes) - exact, "verified_pairs": len(edges.later)}
        return CheckReport(findings, scores.tolist(), facts=facts)

    def row_features(self, rows: ProjectedRows, context: CheckContext) -> RowFeatures:
        """The sketch of each row's text."""
        return RowFeatures(arrays=minhash.sketches(rows.columns.full).arrays())

    def _alike(self, view: ProjectedRows, first: int, second: int) -> bool:
        kind = view.columns.kind[first]
        if kind != view.columns.kind[second]:
            return False
        return kind != "comparison" or self._answers_alike(view[first], view[second])

    def _answers_alike(self, first: Row, second: Row) -> bool:
        one, two = first.record.content, second.record.content
        if isinstance(one, Comparison) and isinstance(two, Comparison):
            pairs = ((one.chosen, two.chosen), (one.rejected, two.rejected))
            return all(
                minhash.jaccard(_text(a), _text(b)) >= self.near_answers or _text(a) == _text(b) for a, b in pairs
            )
        return one.kind == two.kind

    def _finding(
        self,
        view: ProjectedRows,
        members: NDArray[np.int64],
        keeper: int,
        alike: NDArray[np.float64],
        *,
        exact: bool,
    ) -> Finding:
        source, batch = view.groups.names[view.groups.of_row[members[0]]]
        other = view.groups.names[view.groups.of_row[keeper]]
        low, high = f"{alike.min():.3f}", f"{alike.max():.3f}"
        how = "the same content as" if exact else f"Jaccard {low if low == high else f'{low} to {high}'} with"
        where = f"line {view.lines[keeper]}"
        if (source, batch) != other:
            where += f" of {other[0]} / {other[1]}"
        return Finding(
            check=self.id,
            severity=Severity.EXCLUDE,
            score=float(alike.max()),
            evidence=f"{how} {where}, which stays" + (f" ({len(members):,} records)" if len(members) > 1 else ""),
            subject="record",
            lines=tuple(view.lines[members].tolist()),
            source=source,
            batch=batch,
        )


def _clusters(
    view: ProjectedRows, goes: NDArray[np.int64], stays: NDArray[np.int64], exactly: NDArray[np.bool_]
) -> Iterator[NDArray[np.int64]]:
    """The rows that go by source x batch, by what they repeat and how; those of the lowest line first, each by line."""
    group, line = view.groups.of_row[goes], view.lines[goes]
    order = np.lexsort((line, exactly[goes], stays[goes], group))
    goes, group, line = goes[order], group[order], line[order]
    keys = np.stack([group.astype(np.int64), stays[goes], exactly[goes].astype(np.int64)])
    starts = np.flatnonzero(np.append(True, (keys[:, 1:] != keys[:, :-1]).any(axis=0))) if len(goes) else goes
    ends = np.append(starts[1:], len(goes))
    for place in np.lexsort((line[starts], group[starts])).tolist():
        yield goes[starts[place] : ends[place]]


def _text(messages: Sequence[Message]) -> str:
    return "\n".join([m.text for m in messages] + [f"{c.name} {c.arguments}" for m in messages for c in m.calls])


def _keep_order(view: ProjectedRows, context: CheckContext) -> NDArray[np.int64]:
    """The rows, those first that stay rather: of trusted sources, then by source, batch and line."""
    untrusted = np.array([source not in context.trusted_sources for source, _ in view.groups.names], bool)
    return np.lexsort((view.lines, view.groups.of_row, untrusted[view.groups.of_row]))


def _exact(view: ProjectedRows, order: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each row the first row of the same content (by its SHA-256), in keep order."""
    digests = view.content_digests
    ranked = order[np.argsort(digests[order, 0], kind="stable")]
    starts = np.ones(len(ranked), bool)
    starts[1:] = (digests[ranked[1:]] != digests[ranked[:-1]]).any(axis=1)
    first = np.empty(len(ranked), np.int64)
    first[ranked] = ranked[np.flatnonzero(starts)[np.cumsum(starts) - 1]]
    return first


def _row(question: str, answer: str) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}


_ANSWER = (
    "Boil the water first, then add a spoon of salt and the pasta; stir it once, let it cook for nine minutes, taste "
    "it, drain it well and mix it with the sauce while everything is still hot."
)
CAUGHT = [
    _row("How do I cook pasta?", _ANSWER),
    _row("How do I cook pasta?", _ANSWER.replace("nine", "eight")),
    _row("How do I cook pasta?", _ANSWER),
]
CLEAN = [
    _row("How do I cook pasta?", _ANSWER),
    _row("How do I cook rice?", "Rinse it, add twice as much water, bring it to the boil and let it rest under a lid."),
    _row("Where is order 4711?", "It was shipped on Monday."),
    _row("Where is order 4712?", "It was delivered to a neighbour."),
]
