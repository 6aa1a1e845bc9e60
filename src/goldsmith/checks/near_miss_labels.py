"""Near duplicates with opposite labels: nearly the same pair turned round, nearly the same answer good and bad."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from goldsmith.engines.text import minhash, reward
from goldsmith.engines.text.evidence import by_group, quote
from goldsmith.engines.text.projection import ProjectedRows, project
from goldsmith.types.artifact import Real, Spec
from goldsmith.types.check import CheckContext, CheckReport, Row
from goldsmith.types.finding import Finding, Severity

_MOST = 20_000


class NearMissLabels(Spec):
    """Two rows that say nearly the same and are labelled the opposite way: one of them is wrong.

    Comparisons: the prompts, and each one's chosen and the other's rejected answer, are alike (Jaccard similarity of
    lower-cased word 5-grams at least `near`). Ratings: prompt and answer are alike and one is labelled good, the other
    bad. Exact contradictions count too. Both rows are named, as a warning, because it cannot be told which is wrong;
    score: their similarity. Beyond 20,000 such rows a sample of them is compared (by content, spread over
    source x batch), the others score None.
    """

    id: ClassVar[str] = "near_miss_labels"
    version: ClassVar[int] = 1
    near: Real = 0.7

    def __call__(self, rows: Sequence[Row], context: CheckContext) -> CheckReport:
        """One warning per source x batch."""
        view = project(rows)
        kind = view.columns.kind
        labelled = np.array([i for i, k in enumerate(kind) if k in ("comparison", "rating")], np.int64)
        if not len(labelled):
            return CheckReport(scores=[None] * len(view) if len(view) else None, facts={"labelled_rows": 0})
        full = view.columns.full
        if len(labelled) > _MOST:
            keys = reward.content_keys([full[i] for i in labelled.tolist()])
            labelled = labelled[reward.spread_sample(view.groups.of_row[labelled], keys, _MOST)]
        texts = [_unlabelled(view, i) for i in labelled.tolist()]
        edges = minhash.near_duplicates(texts, threshold=self.near)
        scores: list[float | None] = [None] * len(view)
        for row in labelled.tolist():
            scores[row] = 0.0
        partner: dict[int, int] = {}
        for a, b, alike in zip(
            labelled[edges.earlier].tolist(), labelled[edges.later].tolist(), edges.similarity.tolist(), strict=True
        ):
            if _opposite(view, a, b, self.near):
                for one, other in ((a, b), (b, a)):
                    scores[one] = max(scores[one] or 0.0, alike)
                    partner.setdefault(one, other)
        facts: dict[str, str | int] = {"labelled_rows": len(labelled), "contradicted": len(partner)}
        return CheckReport(self._findings(view, partner, scores), scores, facts=facts)

    def _findings(self, view: ProjectedRows, partner: dict[int, int], scores: Sequence[float | None]) -> list[Finding]:
        return [
            Finding(
                check=self.id,
                severity=Severity.WARN,
                score=max(scores[i] or 0.0 for i in members),
                evidence=f"{len(members)} rows say nearly the same as another row that is labelled the opposite way",
                lines=tuple(sorted(int(view.lines[i]) for i in members)),
                source=source,
                batch=batch,
                examples=tuple(
                    f"line {int(view.lines[i])} “{quote(view.columns.user[i], 60)}” against line "
                    f"{int(view.lines[partner[i]])}"
                    for i in members[:4]
                ),
            )
            for source, batch, members in by_group(view, partner)
        ]


def _sides(view: ProjectedRows, row: int) -> tuple[str, str]:
    columns = view.columns
    calls = [
        " ".join(f"{c.name} {c.arguments}" for c in side) for side in (columns.calls[row], columns.rejected_calls[row])
    ]
    return f"{columns.answer[row]} {calls[0]}".strip(), f"{columns.rejected[row] or ''} {calls[1]}".strip()


def _unlabelled(view: ProjectedRows, row: int) -> str:
    """Prompt and answers in an order that does not depend on which is preferred."""
    return "\n".join([view.columns.user[row][-4000:], *(side[:4000] for side in sorted(_sides(view, row)))])


def _opposite(view: ProjectedRows, first: int, second: int, near: float) -> bool:
    columns = view.columns
    if columns.kind[first] != columns.kind[second] or not _alike(columns.user[first], columns.user[second], near):
        return False
    (good_1, bad_1), (good_2, bad_2) = _sides(view, first), _sides(view, second)
    if columns.kind[first] == "rating":
        labelled_bad = [columns.rejected[row] is not None for row in (first, second)]
        return labelled_bad[0] != labelled_bad[1] and _alike(good_1 or bad_1, good_2 or bad_2, near)
    if _alike(good_1, good_2, near) and _alike(bad_1, bad_2, near):
        return False
    return _alike(good_1, bad_2, near) and _alike(bad_1, good_2, near)


def _alike(first: str, second: str, near: float) -> bool:
    return first == second or minhash.jaccard(first[:8000], second[:8000]) >= near


_LONG = (
    "Boil the water first, then add a spoon of salt and the pasta; stir it once, let it cook for nine minutes, taste "
    "it, drain it well and mix it with the sauce while everything is still hot."
)
_SHORT = "Put the pasta into cold water, forget about it for an hour and serve whatever is left of it in the pot."


def _row(chosen: str, rejected: str, source: str) -> dict[str, object]:
    return {
        "input": {"messages": [{"role": "user", "content": "How do I cook pasta?"}]},
        "preferred_output": [{"role": "assistant", "content": chosen}],
        "non_preferred_output": [{"role": "assistant", "content": rejected}],
        "source": source,
        "batch": "b1",
    }


CLEAN = [_row(_LONG, _SHORT, "experts"), _row(_LONG.replace("nine", "ten"), _SHORT, "vendor")]
CAUGHT = [_row(_LONG, _SHORT, "experts"), _row(_SHORT, _LONG.replace("nine", "ten"), "vendor")]
