"""Records that say the same: exact by content digest, near by verified word 5-gram overlap."""

import hashlib
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from goldsmith.engines.text import minhash
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
    version: ClassVar[int] = 1
    near: Real = 0.7
    near_answers: Real = 0.4

    def __call__(self, rows: Sequence[Row], context: CheckContext) -> CheckReport:
        """One finding per record that goes; score = similarity to the record that stays, 0 for those that stay."""
        view = project(rows)
        order = _keep_order(view, context)
        kept_exact = _exact(view, order)
        singles = [i for i in order if kept_exact[i] == i]
        edges = minhash.near_duplicates([view.columns.full[i] for i in singles], threshold=self.near)
        good = np.fromiter(
            (
                self._answers_alike(view[singles[a]], view[singles[b]])
                for a, b in zip(edges.earlier.tolist(), edges.later.tolist(), strict=True)
            ),
            bool,
            len(edges.later),
        )
        edges = minhash.Edges(edges.earlier[good], edges.later[good], edges.similarity[good])
        kept_near, similarity = minhash.earliest_kept(edges, len(singles))
        place = {index: position for position, index in enumerate(singles)}
        scores: list[float | None] = [0.0] * len(view)
        findings: list[Finding] = []
        near = exact = 0
        for index in range(len(view)):
            single = kept_exact[index]
            stays = kept_near[place[single]]
            alike = 1.0 if stays < 0 else float(similarity[place[single]])
            keeper = single if stays < 0 else singles[int(stays)]
            if keeper == index:
                continue
            scores[index] = alike
            exact += single != index
            near += single == index
            findings.append(self._finding(view, index, keeper, alike, exact=stays < 0))
        return CheckReport(
            findings, scores, facts={"exact": int(exact), "near": int(near), "verified_pairs": len(edges.later)}
        )

    def _answers_alike(self, first: Row, second: Row) -> bool:
        one, two = first.record.content, second.record.content
        if isinstance(one, Comparison) and isinstance(two, Comparison):
            pairs = ((one.chosen, two.chosen), (one.rejected, two.rejected))
            return all(
                minhash.jaccard(_text(a), _text(b)) >= self.near_answers or _text(a) == _text(b) for a, b in pairs
            )
        return one.kind == two.kind

    def _finding(self, view: ProjectedRows, index: int, keeper: int, alike: float, *, exact: bool) -> Finding:
        row, kept = view[index], view[keeper]
        origin, other = row.record.origin, kept.record.origin
        how = "the same content as" if exact else f"Jaccard {alike:.3f} with"
        where = f"line {kept.line}"
        if (origin.source, origin.batch) != (other.source, other.batch):
            where += f" of {other.source} / {other.batch}"
        return Finding(
            check=self.id,
            severity=Severity.EXCLUDE,
            score=alike,
            evidence=f"{how} {where}, which stays",
            subject="record",
            lines=(row.line,),
            source=origin.source,
            batch=origin.batch,
        )


def _text(messages: Sequence[Message]) -> str:
    return "\n".join([m.text for m in messages] + [f"{c.name} {c.arguments}" for m in messages for c in m.calls])


def _keep_order(view: ProjectedRows, context: CheckContext) -> list[int]:
    def key(index: int) -> tuple[bool, str, str, int]:
        origin = view[index].record.origin
        return origin.source not in context.trusted_sources, origin.source, origin.batch, view[index].line

    return sorted(range(len(view)), key=key)


def _exact(view: ProjectedRows, order: Sequence[int]) -> list[int]:
    first: dict[bytes, int] = {}
    kept = list(range(len(view)))
    for index in order:
        content = view[index].record.content
        digest = hashlib.sha256(content.__pydantic_serializer__.to_json(content)).digest()
        kept[index] = first.setdefault(digest, index)
    return kept


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
