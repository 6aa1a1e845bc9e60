"""Makes `src/goldsmith/engines/clean_quantiles.json`: how clean rows score in each check, so that scores share one
scale.

Run: python benchmarks/clean_quantiles.py SHARED_DATA_FOLDER Every clean set weighs the same. The file holds shares,
no text. Prints, for each set, the share of its rows above the 1 % line when the tables are made without that set.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import clean_sets
import numpy as np

from goldsmith import plugins
from goldsmith.engines import screening
from goldsmith.types.check import CheckContext, Row
from goldsmith.types.record import Origin

OUT = Path(__file__).resolve().parents[1] / "src/goldsmith/engines/clean_quantiles.json"
_MOST_STEPS = 200


def table(values: np.ndarray[Any, Any], source: np.ndarray[Any, Any]) -> dict[str, Any]:
    """Ascending distinct scores and the share of rows at or above each, every set weighing the same.

    Only rows that the check could judge (no NaN) count: a comparison is compared with comparisons.
    """
    known = ~np.isnan(values)
    if not known.any():
        return {"scores": [], "shares": [], "floor": 1.0}
    names, number, sizes = np.unique(source[known], return_inverse=True, return_counts=True)
    weights = np.zeros(len(values))
    weights[known] = 1.0 / (len(names) * sizes[number])
    distinct = np.unique(np.round(values[known], 6))
    if len(distinct) > _MOST_STEPS:
        distinct = np.unique(np.quantile(distinct, np.linspace(0, 1, _MOST_STEPS)).round(6))
    order = np.argsort(values[known])
    ranked, mass = values[known][order], weights[known][order]
    above = np.concatenate([np.cumsum(mass[::-1])[::-1], [0.0]])
    shares = above[np.searchsorted(ranked, distinct - 1e-6)]
    floor = min(0.5 / int(known.sum()), float(shares[-1]) / 2)
    return {"scores": distinct.tolist(), "shares": [float(f"{s:.6g}") for s in shares], "floor": float(f"{floor:.6g}")}


def tables(scores: dict[str, Any], source: np.ndarray[Any, Any]) -> dict[str, Any]:
    """The table of each check and of `combined`."""
    made = {name: table(values, source) for name, values in sorted(scores.items())}
    surprise = screening.smallest_share(scores, len(source), _loaded(made))
    made[screening.COMBINED] = table(1.0 - surprise, source)
    return made


def _loaded(made: dict[str, Any]) -> dict[str, screening.CleanTable]:
    return {
        n: screening.CleanTable(np.array(t["scores"], float), np.array(t["shares"], float), t["floor"])
        for n, t in made.items()
    }


def _with_small_mixes(
    scores: dict[str, Any], source: np.ndarray[Any, Any], rows: list[Row], checks: list[Any]
) -> tuple[dict[str, Any], np.ndarray[Any, Any]]:
    """The scores of the whole mix, of mixes of one kind, where sources can judge each other, and of each set alone."""
    all_scores, all_sources = {k: [v] for k, v in scores.items()}, [source]
    same_kind = [row for row in rows if row.record.origin.source.startswith("nano-")]
    quarters = [
        replace(row, record=row.record.model_copy(update={"origin": Origin(source=f"hh-{row.line % 4}", batch="b1")}))
        for row in rows
        if row.record.origin.source == "hh"
    ]
    alone = [[row for row in rows if row.record.origin.source == name] for name in sorted(set(source.tolist()))]
    for mix in (same_kind, quarters, *alone):
        part = screening.screen(mix, checks, CheckContext())
        for name, values in all_scores.items():
            values.append(part.scores.get(name, np.full(len(mix), np.nan)))
        all_sources.append(np.array([row.record.origin.source for row in mix]))
    return {k: np.concatenate(v) for k, v in all_scores.items()}, np.concatenate(all_sources)


def main() -> None:
    """Measures, writes, reports."""
    data = Path(sys.argv[1])
    rows = clean_sets.clean_rows(data)
    checks = [plugins.build("checks", name) for name in plugins.names("checks")]
    result = screening.screen(rows, checks, clean_sets.eval_context(data))  # type: ignore[arg-type]
    source = np.array([row.record.origin.source for row in rows])
    names = sorted(set(source.tolist()))
    made = tables(*_with_small_mixes(result.scores, source, rows, checks))
    OUT.write_text(
        json.dumps(
            {"made_by": "benchmarks/clean_quantiles.py", "sets": names, "tables": made}, sort_keys=True, indent=0
        )
        + "\n"
    )
    screening.clean_tables.cache_clear()
    print("CPU s:", {k: round(v, 2) for k, v in result.cpu_s.items()}, "rows", len(rows))
    combined = screening.combine(result.scores, len(rows))
    for name in names:
        mine = source == name
        without = _loaded(tables({k: v[~mine] for k, v in result.scores.items()}, source[~mine]))
        alone = screening.combine({k: v[mine] for k, v in result.scores.items()}, int(mine.sum()), without)
        shares = {
            k: screening.smallest_share({k: v[mine]}, int(mine.sum()), _loaded(made)) for k, v in result.scores.items()
        }
        loud = {k: int((v[alone > 0.99] < 0.02).sum()) for k, v in shares.items()}
        print({k: n for k, n in loud.items() if n}, end=" ")
        print(
            f"{name:16} n={mine.sum():5}  above the 1 % line: {(combined[mine] > 0.99).mean():.4f}  without "
            f"itself in the tables: {(alone > 0.99).mean():.4f}"
        )
    for verdict in screening.decide(result.findings, rows):
        if verdict.reasons or verdict.excluded:
            print(verdict.source, verdict.verdict.value, verdict.excluded, verdict.reasons)


if __name__ == "__main__":
    main()
