"""Does synthetic text say what it is: by which generator, how far from people, under which licence, from which seed?"""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import orjson
from numpy.typing import NDArray

from goldsmith.engines.synthetic import proof_rows
from goldsmith.engines.synthetic.sides import Unit, sides_of
from goldsmith.engines.text.projection import ProjectedRows, project
from goldsmith.types.artifact import Real, Spec
from goldsmith.types.check import CheckContext, CheckReport, Row
from goldsmith.types.finding import Finding, Severity

_RECIPE_KEYS = frozenset(
    [
        "seed",
        "prompt_hash",
        "prompt_sha256",
        "prompt_digest",
        "template_digest",
        "generation",
        "sampling",
        "generation_config",
        "parent",
    ]
)
_MOST_READ = 500


class SyntheticProvenance(Spec):
    """What each synthetic source x batch discloses: generator, generation depth and licence of every row.

    `least_disclosed`: the share of rows that must state each of them (1: all). How a row was made (a field such as
    `seed` or `prompt_hash` among those delivered with it) is a fact, and asked for with `recipe: true`. That a delivery
    is signed is checked when it is collected. Rows whose maker is not told cannot be judged here: they count as not
    human everywhere.
    """

    id: ClassVar[str] = "synthetic_provenance"
    version: ClassVar[int] = 1
    least_disclosed: Real = 1.0
    recipe: bool = False

    def __call__(self, rows: Sequence[Row], context: CheckContext) -> CheckReport:
        """One warning per source x batch that keeps something to itself."""
        if not rows:
            return CheckReport(inconclusive="no rows")
        view = project(rows)
        sides = view.shared(("sides", context.trusted_sources), lambda: sides_of(view, context.trusted_sources))
        findings = []
        facts: dict[str, str | int] = {"synthetic_units": len(sides.units)}
        for unit in sides.units:
            shares = _disclosed(view, unit)
            facts[f"{unit.name}: states how it was made"] = f"{shares['how it was made']:.2f}"
            if not self.recipe:
                del shares["how it was made"]
            hidden = {name: share for name, share in shares.items() if share < self.least_disclosed}
            if hidden:
                findings.append(self._finding(unit, hidden))
        return CheckReport(findings, facts=facts)

    def _finding(self, unit: Unit, hidden: dict[str, float]) -> Finding:
        said = ", ".join(f"{name} ({share:.0%} do)" for name, share in sorted(hidden.items()))
        return Finding(
            check=self.id,
            severity=Severity.WARN,
            score=1.0 - min(hidden.values()),
            evidence=f"not all of {len(unit.rows)} synthetic records state: {said}",
            subject="source",
            source=unit.source,
            batch=unit.batch,
        )


def _disclosed(view: ProjectedRows, unit: Unit) -> dict[str, float]:
    origins = view.origins
    at = unit.rows.tolist()
    return {
        "the generator": float(np.mean([bool(origins.generator[i]) for i in at])),
        "the generation depth": float(np.mean([origins.generation_depth[i] is not None for i in at])),
        "the licence": float(np.mean([bool(origins.licence[i]) for i in at])),
        "how it was made": float(np.mean([_has_recipe(view[i]) for i in _some(unit.rows)])),
    }


def _some(rows: NDArray[np.int64]) -> list[int]:
    """At most 500 rows, evenly spread: reading a row's other fields is dear."""
    step = max(1, len(rows) // _MOST_READ)
    chosen: list[int] = rows[::step][:_MOST_READ].tolist()
    return chosen


def _has_recipe(row: Row) -> bool:
    if not row.record.extra:
        return False
    try:
        fields = orjson.loads(row.record.extra)
    except ValueError:
        return False
    return isinstance(fields, dict) and not _RECIPE_KEYS.isdisjoint(fields)


def _hidden(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    return [{key: value for key, value in row.items() if key != "generator"} for row in rows]


CAUGHT = _hidden(proof_rows.rows("model", 5, 1)) + proof_rows.rows("human", 3, 1)
CLEAN = proof_rows.rows("model", 5, 1) + proof_rows.rows("human", 3, 1)
