"""Makes `src/goldsmith/engines/clean_quantiles.json`: how clean rows score in each check, so that scores share one
scale.

Run: python benchmarks/clean_quantiles.py [SHARED_DATA_FOLDER]

Every clean set weighs the same in the table of a check. The table of `combined` is stricter: at every value it holds
the share of the rows beyond it in all but the loudest tenth of the sets, so that a new set of clean data, which will be
louder in something than the average, still keeps about one row in a hundred beyond the 1 % line. The file holds shares,
no text. What it promises is tried on sets it was not made of: the tables are made of one half of the sets and read on
the other, both ways round, twenty times; `results/clean_sets.json` has both figures for every set.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import clean_sets
import numpy as np
import results

from goldsmith import plugins
from goldsmith.engines import contrast, screening
from goldsmith.engines.text.projection import project
from goldsmith.types.check import CheckContext, Row
from goldsmith.types.record import Origin

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "src/goldsmith/engines/clean_quantiles.json"
_MOST_STEPS = 200
_SETS = 0.9
"""The share of the clean sets that are to keep `combined`'s promise."""
_HALVES = 20
Floats = np.ndarray[Any, Any]


def survival(values: Floats, source: Floats, steps: Floats) -> Floats:
    """[sets, steps]: of each set's rows that the check could judge, the share at or above each step."""
    known = ~np.isnan(values)
    sets = []
    for name in np.unique(source[known]):
        own = np.sort(values[known & (source == name)])
        sets.append(1.0 - np.searchsorted(own, steps - 1e-6) / len(own))
    return np.array(sets)


def table(values: Floats, source: Floats, *, strict: bool = False) -> dict[str, Any]:
    """Ascending distinct scores and the share of rows at or above each: the mean over the sets, or, where `strict`,
    what all but the loudest sets keep.

    Only rows that the check could judge (no NaN) count: a comparison is compared with comparisons.
    """
    known = ~np.isnan(values)
    if not known.any():
        return {"scores": [], "shares": [], "floor": 1.0}
    steps = np.unique(np.round(values[known], 6))
    if len(steps) > _MOST_STEPS:
        top = np.quantile(steps, 1.0 - np.geomspace(1e-4, 1.0, _MOST_STEPS))
        steps = np.unique(np.concatenate([top, steps[-20:]]).round(6))
    by_set = survival(values, source, steps)
    shares = np.quantile(by_set, _SETS, axis=0) if strict else by_set.mean(axis=0)
    shares = np.maximum(shares, by_set.mean(axis=0))
    floor = min(0.5 / int(known.sum()), float(shares[-1]) / 2)
    return {"scores": steps.tolist(), "shares": [float(f"{s:.6g}") for s in shares], "floor": float(f"{floor:.6g}")}


def tables(scores: dict[str, Floats], source: Floats) -> dict[str, Any]:
    """The table of each check and of `combined`."""
    made = {name: table(values, source) for name, values in sorted(scores.items())}
    surprise = screening.smallest_share(scores, len(source), loaded(made))
    made[screening.COMBINED] = table(1.0 - surprise, source, strict=True)
    return made


def loaded(made: dict[str, Any]) -> dict[str, screening.CleanTable]:
    """The tables as screening reads them."""
    return {
        n: screening.CleanTable(np.array(t["scores"], float), np.array(t["shares"], float), t["floor"])
        for n, t in made.items()
    }


def collected(
    rows: Sequence[Row], checks: Sequence[Any], whole: screening.Screening
) -> tuple[dict[str, Floats], Floats]:
    """The scores of the whole mix, of mixes of one kind, where sources can judge each other, and of each set alone."""
    source = np.array([row.record.origin.source for row in rows])
    all_scores, all_sources = {k: [v] for k, v in whole.scores.items()}, [source]
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
        all_sources.append(np.array([row.record.origin.source.rstrip("-0123") for row in mix]))
    return {k: np.concatenate(v) for k, v in all_scores.items()}, np.concatenate(all_sources)


def held_out(scores: dict[str, Floats], source: Floats) -> dict[str, float]:
    """For each set, the mean share of its rows beyond the 1 % line when the tables were made without it."""
    names = np.unique(source)
    beyond: dict[str, list[float]] = {name: [] for name in names.tolist()}
    for half in range(_HALVES):
        drawn = Random(half).sample(names.tolist(), len(names) // 2)
        for kept in (set(drawn), set(names.tolist()) - set(drawn)):
            inside = np.isin(source, list(kept))
            made = loaded(tables({k: v[inside] for k, v in scores.items()}, source[inside]))
            rest = {k: v[~inside] for k, v in scores.items()}
            loud = screening.combine(rest, int((~inside).sum()), made) > 0.99
            for name in set(names.tolist()) - kept:
                beyond[name].append(float(loud[source[~inside] == name].mean()))
    return {name: float(np.mean(shares)) for name, shares in beyond.items()}


def main() -> None:
    """Measures, writes, reports."""
    data = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT.parent / "shared" / "data"
    rows = clean_sets.clean_rows(data)
    checks: Any = [plugins.build("checks", name) for name in plugins.names("checks")]
    whole = screening.screen(rows, checks, clean_sets.eval_context(data))
    print("CPU s:", {k: round(v, 2) for k, v in whole.cpu_s.items() if v > 0.05}, "rows", len(rows))
    scores, source = collected(rows, checks, whole)
    made = tables(scores, source)
    names = sorted(set(source.tolist()))
    known = {"made_by": "benchmarks/clean_quantiles.py", "sets": names, "tables": made}
    OUT.write_text(json.dumps(known, sort_keys=True, indent=0) + "\n")
    screening.clean_tables.cache_clear()
    combined = screening.combine(scores, len(source))
    outside = held_out(scores, source)
    told = []
    for name in names:
        mine = source == name
        shares = {k: screening.smallest_share({k: v[mine]}, int(mine.sum()), loaded(made)) for k, v in scores.items()}
        above = combined[mine] > 0.99
        loud = {k: int((v[above] <= shares_of(shares, above)).sum()) for k, v in shares.items()}
        told.append(
            {
                "what": f"clean set {name}",
                "ours": round(float(above.mean()), 5),
                "peer": None,
                "unit": "share of rows beyond the 1 % line",
                "rows": int((source[: len(rows)] == name).sum()),
                "held_out": round(outside[name], 5),
                "because_of": {k: n for k, n in sorted(loud.items(), key=lambda kv: -kv[1]) if n},
            }
        )
    results.save("clean_sets", told)
    own = [f for f in whole.findings if f.check != contrast.CHECK]
    again, _ = screening.contrasted(project(rows), whole.scores, clean_sets.eval_context(data))
    for verdict in screening.decide([*own, *again], rows):
        if verdict.reasons:
            print(verdict.source, verdict.batch, verdict.verdict.value, verdict.excluded, verdict.reasons)
    loudest = max(max(t["ours"], t["held_out"]) for t in told)
    print(f"loudest clean set {loudest:.4f}; contrast.LOUDEST_CLEAN is {contrast.LOUDEST_CLEAN}")
    if loudest >= contrast.LOUDEST_CLEAN:
        sys.exit("a clean set is louder than contrast.LOUDEST_CLEAN: raise it")


def shares_of(shares: dict[str, Floats], above: Floats) -> Floats:
    """For each row above the line, its smallest share over the checks."""
    return np.min([values[above] for values in shares.values()], axis=0) + 1e-12


if __name__ == "__main__":
    main()
