"""Comparisons that contradict each other: A before B and B before A, or A before B before C before A."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import ClassVar

from goldsmith.engines import preference_graph
from goldsmith.engines.text.evidence import by_group, quote
from goldsmith.engines.text.projection import ProjectedRows, project
from goldsmith.types.artifact import Spec
from goldsmith.types.check import CheckContext, CheckReport, Row
from goldsmith.types.finding import Finding, Severity


class Contradictions(Spec):
    """Comparisons of one prompt that cannot all be true: a pair ranked both ways, or a cycle.

    Score of a row: the share of the judgements of its pair that say the opposite; 0.5 in a cycle of three and more.
    Rows whose pair nobody else judged score 0. It is told whether one annotator, one source or several contradict
    each other: people may differ in taste, one annotator should not. Only warnings: which side is right cannot be
    told from the contradiction alone. Without two comparisons of the same prompt nothing can be contradicted:
    inconclusive.
    """

    id: ClassVar[str] = "contradictions"
    version: ClassVar[int] = 1

    def __call__(self, rows: Sequence[Row], context: CheckContext) -> CheckReport:
        """One warning per source x batch and kind (ranked both ways; in a cycle)."""
        view = project(rows)
        pairs = [i for i, kind in enumerate(view.columns.kind) if kind == "comparison"]
        if not pairs:
            return CheckReport(scores=[None] * len(view) if len(view) else None, facts={"comparisons": 0})
        edges = _edges(view, pairs)
        asked = Counter(prompt for prompt, _, _ in edges)
        scores: list[float | None] = [None] * len(view)
        for row in pairs:
            scores[row] = 0.0
        if max(asked.values()) < 2:
            return CheckReport(
                scores=scores, inconclusive="no prompt has two comparisons, so none can contradict another"
            )
        opposed: dict[int, list[int]] = {}
        judged: dict[tuple[bytes, bytes, bytes], list[int]] = defaultdict(list)
        for row, edge in zip(pairs, edges, strict=True):
            judged[edge].append(row)
        for (prompt, better, worse), members in judged.items():
            against = judged.get((prompt, worse, better), [])
            if against and better != worse:
                for row in members:
                    scores[row] = len(against) / (len(against) + len(members))
                    opposed[row] = against
        by_prompt: dict[bytes, list[tuple[bytes, bytes]]] = defaultdict(list)
        for prompt, better, worse in edges:
            if asked[prompt] >= 3 and (prompt, worse, better) not in judged:
                by_prompt[prompt].append((better, worse))
        cyclic = {(p, *edge) for p, known in by_prompt.items() for edge in preference_graph.cyclic_edges(known)}
        circling = [row for row, edge in zip(pairs, edges, strict=True) if edge in cyclic and row not in opposed]
        for row in circling:
            scores[row] = 0.5
        findings = self._both_ways(view, opposed) + self._cycles(view, circling)
        facts: dict[str, str | int] = {
            "comparisons": len(pairs), "ranked_both_ways": len(opposed), "in_cycles": len(circling)
        }  # fmt: skip
        return CheckReport(findings, scores, facts=facts)

    def _both_ways(self, view: ProjectedRows, opposed: dict[int, list[int]]) -> list[Finding]:
        annotator = view.origins.annotator
        source = view.groups.source_of_row()
        out = []
        for name, batch, members in by_group(view, opposed):
            same = sum(any(annotator[i] and annotator[i] == annotator[j] for j in opposed[i]) for i in members)
            own = sum(any(source[i] == source[j] for j in opposed[i]) for i in members)
            out.append(
                self._finding(
                    view, name, batch, members, 0.6,
                    f"{len(members)} comparisons are ranked the other way round elsewhere: {own} of them within this "
                    f"source, {same} by the same annotator",
                )
            )  # fmt: skip
        return out

    def _cycles(self, view: ProjectedRows, circling: Sequence[int]) -> list[Finding]:
        return [
            self._finding(
                view, name, batch, members, 0.5,
                f"{len(members)} comparisons stand in cycles: each answer is better than one that beats it",
            )
            for name, batch, members in by_group(view, circling)
        ]  # fmt: skip

    def _finding(
        self, view: ProjectedRows, source: str, batch: str, members: Sequence[int], score: float, evidence: str
    ) -> Finding:
        return Finding(
            check=self.id,
            severity=Severity.WARN,
            score=score,
            evidence=evidence,
            lines=tuple(sorted(int(view.lines[i]) for i in members)),
            source=source,
            batch=batch,
            examples=tuple(
                f"“{quote(view.columns.user[i], 60)}”: “{quote(view.columns.answer[i], 50)}” before "
                f"“{quote(view.columns.rejected[i] or '', 50)}”"
                for i in members[:3]
            ),
        )


def _edges(view: ProjectedRows, pairs: Sequence[int]) -> list[tuple[bytes, bytes, bytes]]:
    """For each comparison digests of (prompt, better answer, worse answer); spaces and case do not count."""
    columns = view.columns
    out = []
    for i in pairs:
        said = f"{columns.system[i]}\x1f{columns.user[i]}\x1f{columns.prior[i]}\x1f{columns.results[i]}"
        better = f"{columns.answer[i]}\x1f{_calls(columns.calls[i])}"
        worse = f"{columns.rejected[i]}\x1f{_calls(columns.rejected_calls[i])}"
        out.append((_digest(said), _digest(better), _digest(worse)))
    return out


def _calls(calls: Sequence[object]) -> str:
    return "\x1e".join(f"{getattr(c, 'name', '')}({getattr(c, 'arguments', '')})" for c in calls) if calls else ""


def _digest(text: str) -> bytes:
    plain = " ".join(text.lower().split())
    return hashlib.blake2b(plain.encode("utf-8", "surrogatepass"), digest_size=12).digest()


def _row(asked: str, chosen: str, rejected: str, **origin: str) -> dict[str, object]:
    return {
        "input": {"messages": [{"role": "user", "content": asked}]},
        "preferred_output": [{"role": "assistant", "content": chosen}],
        "non_preferred_output": [{"role": "assistant", "content": rejected}],
        "source": "crowd",
        "batch": "b1",
        **origin,
    }


_RIVERS = ("The Rhine flows north.", "The Po flows east.", "The Rhone flows south.")
CLEAN = [
    _row("Name a river.", _RIVERS[0], _RIVERS[1], annotator="a"),
    _row("Name a river.", _RIVERS[1], _RIVERS[2], annotator="b"),
    _row("Name a river.", _RIVERS[0], _RIVERS[2], annotator="a"),
    _row("Name a long river.", _RIVERS[1], _RIVERS[0], annotator="a"),
]
CAUGHT = [
    *CLEAN,
    _row("Name a river.", _RIVERS[1], _RIVERS[0], annotator="a"),
    _row("Name a sea.", "The Red Sea.", "The Dead Sea.", annotator="c"),
    _row("Name a sea.", "The Dead Sea.", "The North Sea.", annotator="c"),
    _row("Name a sea.", "The North Sea.", "The Red Sea.", annotator="c"),
]
