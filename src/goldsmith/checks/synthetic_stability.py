"""Does a source say the same when it is asked the same again?"""

import random
from collections.abc import Iterator, Sequence
from typing import ClassVar

from goldsmith.engines.synthetic import proof_rows
from goldsmith.engines.synthetic.sides import sides_of
from goldsmith.engines.synthetic.stability import Repeat, repeats
from goldsmith.engines.text.projection import project
from goldsmith.types.artifact import Real, Spec
from goldsmith.types.check import CheckContext, CheckReport, Row
from goldsmith.types.finding import Finding, Severity


class SyntheticStability(Spec):
    """Batches of one source, by one generator, that answer the same prompts: a re-generation.

    With a fixed seed all answers are equal; otherwise length and variety may differ by a coefficient of variation of
    `variation` at most. Comparisons judged twice must agree beyond chance by Cohen's kappa of `agreement`. `equal`: the
    share of equal answers below which the source is said not to repeat itself at all (set it to 1 where a seed is
    promised). Without a re-generation there is nothing to compare; deliver one as a batch of its own to have this
    tested.
    """

    id: ClassVar[str] = "synthetic_stability"
    version: ClassVar[int] = 1
    variation: Real = 0.02
    agreement: Real = 0.6
    equal: Real = 0.0

    def __call__(self, rows: Sequence[Row], context: CheckContext) -> CheckReport:
        """One warning per re-generated batch that says something else."""
        if not rows:
            return CheckReport(inconclusive="no rows")
        view = project(rows)
        sides = view.shared(("sides", context.trusted_sources), lambda: sides_of(view, context.trusted_sources))
        if not sides.units:
            return CheckReport(facts={"synthetic_units": 0})
        found = list(repeats(view.columns, sides.units, view.origins.generator))
        facts: dict[str, str | int] = {"synthetic_units": len(sides.units), "regenerated_batches": len(found)}
        findings = [
            Finding(
                check=self.id,
                severity=Severity.WARN,
                score=min(1.0, 1.0 - one.equal),
                evidence=f"asked {one.prompts} questions of batch {one.batches[0]!r} again, it answers otherwise: "
                + "; ".join(said),
                subject="source",
                source=one.source,
                batch=one.batches[1],
            )
            for one in found
            if (said := list(self._unstable(one)))
        ]
        return CheckReport(findings, facts=facts)

    def _unstable(self, one: Repeat) -> Iterator[str]:
        if one.equal < 1.0 and one.moved > self.variation:
            yield (
                f"{one.equal:.0%} of the answers are equal and the {one.metric} varies by {one.moved:.1%} "
                f"(limit {self.variation:.0%})"
            )
        elif one.equal < self.equal:
            yield f"{one.equal:.0%} of the answers are equal ({self.equal:.0%} at least)"
        if one.agreement is not None and one.agreement < self.agreement:
            yield f"repeated judgements agree with kappa {one.agreement:.2f} ({self.agreement:g} at least)"


def _again(*, same: bool) -> list[dict[str, object]]:
    rng = random.Random(3)
    asked = [(proof_rows.question(rng), proof_rows.answer(rng)) for _ in range(40)]
    first = [proof_rows.row("model", question, answer) for question, answer in asked]
    second = [
        proof_rows.row("model", question, answer if same else answer[: len(answer) // 2], batch="b2")
        for question, answer in asked
    ]
    return first + second


CAUGHT = _again(same=False)
CLEAN = _again(same=True)
