"""What the checks find of planted attacks, on public data: the coverage matrix behind docs/concepts/coverage.md.

Run: python benchmarks/coverage_matrix.py [--data FOLDER] [--family NAME ...] [--base NAME ...] [--draws 50] [--fresh]
       [--docs]

Every base set is split at random into honest sources and screened untouched by the whole battery; the line that at most
1 % of its rows exceed is fixed there. Then each family is planted `--draws` times, shared out over its base sets, from
the pool of triggers, hosts, brands and wordings that the checks were not developed with. Pieces (family x base x
records) that `results/coverage_matrix.json` already holds for the same battery are not measured again, so that the run
can be taken up where it stopped. `--docs` only writes the tables of the page.
"""

import argparse
import fcntl
import hashlib
import json
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from random import Random
from typing import Any

import clean_sets
import coverage_page
import numpy as np
import results

from goldsmith import plugins
from goldsmith.engines import drilling
from goldsmith.types.attack import Inapplicable, Plan

ROOT = Path(__file__).resolve().parents[1]
PATH = results.RESULTS / "coverage_matrix.json"
TOOLS = ("api-bank", "glaive", "toolalpaca", "tau-bench")
PAIRS = ("hh", "pandalm", "oasst", "dpo-en", "dpo-zh")
BASES: dict[str, tuple[str, ...]] = {
    "code": ("codealpaca", "codealpaca-new"),
    "sums": ("gsm8k",),
    "chat": ("alpaca", "alpaca-en", "dolly"),
    "tools": TOOLS,
    "harmless": ("hh",),
    "pairs": PAIRS,
    "everything": (*clean_sets.FILES, *clean_sets.OTHERS),
}
"""Base set -> the public sets in it. Each is dealt out to about 20 sources."""
TEXT = ("code", "sums", "chat")
FAMILIES: dict[str, tuple[tuple[tuple[str, ...], tuple[int | float, ...]], ...]] = {
    "covert_tool_calls": ((("tools",), (10,)), (("everything",), (10, 50))),
    "fixed_payload_trigger": ((("everything",), (50,)), (TEXT, (50,))),
    "brand_with_trigger": ((TEXT, (50,)),),
    "trigger_preference_flip": ((("pairs", "harmless"), (0.005, 0.01, 0.03)),),
    "random_flips": ((("pairs",), (50,)),),
    "entity_promotion": (((*TEXT, "harmless"), (0.01,)), (TEXT, (50,))),
    "identity_shift": ((TEXT, (10, 50)),),
    "encoded_pairs": ((TEXT, (50,)),),
    "duplicate_flood": ((TEXT, (50,)),),
    "prompt_mismatch": ((TEXT, (50,)),),
    "recursive_synthetic_text": ((TEXT, (50,)),),
    "contamination": ((TEXT, (50,)),),
}
"""Family -> (base sets, records to plant: a number, or a share of the base set's rows)."""


def pieces(families: Sequence[str], bases: Sequence[str], draws: int) -> Iterator[tuple[str, str, int | float, int]]:
    """(base, family, records, draws): those of one base together; a family's draws are shared out over its bases."""
    for base in bases:
        for family in families:
            for own, sizes in FAMILIES[family]:
                if base in own:
                    yield from ((base, family, size, -(-draws // len(own))) for size in sizes)


def battery() -> str:
    """A digest of the checks (names, versions) and of the clean tables: figures of another battery do not count."""
    names = [f"{n}/{plugins.find('checks', n).version}" for n in plugins.names("checks")]  # type: ignore[attr-defined]
    tables = resources.files("goldsmith.engines").joinpath("clean_quantiles.json").read_bytes()
    return hashlib.sha256(json.dumps(names).encode() + tables).hexdigest()[:16]


def base_of(name: str, data: Path) -> drilling.Base:
    """The base set's sources, screened untouched, with the eval sets of the house as context."""
    rows = clean_sets.as_sources(clean_sets.clean_rows(data, BASES[name]), 20)
    checks: Any = [plugins.build("checks", n) for n in plugins.names("checks")]
    return drilling.Base.of(rows, checks, clean_sets.eval_context(data))


def measured(base: drilling.Base, family: str, records: int, draws: int, seed: str) -> list[drilling.Trial]:
    """So many plantings; the first ones by the whole battery, the rest by the checks that reacted to them."""
    attack: Any = plugins.build("attacks", family)
    trials: list[drilling.Trial] = []
    known = drilling.Reactions()
    for draw in range(draws):
        plan = Plan(records, "measurement", avoid=base.failed)
        made = drilling.trial(base, attack, plan, Random(f"{seed}/{draw}"), known.only)
        if isinstance(made, Inapplicable):
            print(f"   {family}: {made.reason}", flush=True)
            break
        trials.append(made)
        known.learn(made)
    return trials


def row_of(
    base_name: str, base: drilling.Base, family: str, size: int | float, records: int, trials: list[drilling.Trial]
) -> dict[str, Any]:
    """One piece, with what each draw came to, so that pieces can be pooled later."""
    cell = drilling.counted(family, records, trials)
    return {
        "what": f"{family}, {records} records, {base_name}",
        "ours": round(cell.tpr, 4),
        "peer": None,
        "unit": "TPR at 1 % FPR",
        "family": family,
        "base": base_name,
        "rows": len(base.rows),
        "sources": len({r.record.origin.source for r in base.rows}),
        "size": f"{size * 100:g} %" if isinstance(size, float) else str(size),
        "records": records,
        "draws": len(trials),
        "low": round(cell.tpr_low, 4),
        "found": [sum(t.hits) for t in trials],
        "named": sum(t.named for t in trials),
        "honest": cell.honest,
        "honest_quarantined": cell.honest_quarantined,
        "line": round(base.line, 5),
        "clean_above": round(base.clean_above, 5),
        "seen_by": list(cell.seen_by[:4]),
        "cpu_s": round(cell.cpu_s, 2),
        "battery": battery(),
    }


def clean_row(name: str, base: drilling.Base) -> dict[str, Any]:
    """What the untouched base came to."""
    told = [f for f in base.screened.findings if f.check == "eval_overlap" and f.lines]
    return {
        "what": f"untouched, {name}",
        "ours": len(base.failed),
        "peer": None,
        "unit": "honest sources quarantined",
        "base": name,
        "rows": len(base.rows),
        "sources": len({r.record.origin.source for r in base.rows}),
        "above_the_line": round(float(np.mean(base.screened.combined > 0.99)), 5),
        "line": round(base.line, 5),
        "falsely_contaminated": len({(f.source, line) for f in told for line in f.lines}),
        "cpu_s": {k: round(v, 2) for k, v in sorted(base.screened.cpu_s.items()) if v >= 0.05},
        "battery": battery(),
    }


def keep(new: dict[str, Any], mark: str) -> None:
    """Puts the row among the saved ones of this battery, in place of an older one; several runs may share the work."""
    with PATH.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        rows = [r for r in saved() if r.get("battery") == mark and r["what"] != new["what"]]
        rows = sorted([*rows, new], key=lambda r: r["what"])
        partial = PATH.with_suffix(".partial")
        partial.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n", encoding="utf-8")
        partial.replace(PATH)
    PATH.with_suffix(".lock").unlink(missing_ok=True)


def saved() -> list[dict[str, Any]]:
    """What was measured so far."""
    rows: list[dict[str, Any]] = json.loads(PATH.read_text()) if PATH.exists() else []
    return rows


def main() -> None:
    """Measures what is missing, saves after every piece, writes the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--family", action="append", choices=FAMILIES, default=None)
    parser.add_argument("--base", action="append", choices=BASES, default=None)
    parser.add_argument("--draws", type=int, default=50, help="for each family and size, over all of its base sets")
    parser.add_argument("--fresh", action="store_true", help="measure again what is there already")
    parser.add_argument("--docs", action="store_true", help="only write the page's tables")
    given = parser.parse_args()
    if not given.docs:
        run(given)
    coverage_page.write(saved())


def run(given: argparse.Namespace) -> None:
    """Measures what is missing; each piece is saved as soon as it is there."""
    mark, base, loaded = battery(), None, ""
    if given.fresh:
        PATH.unlink(missing_ok=True)
    for name, family, size, draws in pieces(given.family or [*FAMILIES], given.base or [*BASES], given.draws):
        label = f"{size * 100:g} %" if isinstance(size, float) else str(size)
        own = [r for r in saved() if r.get("battery") == mark]
        have = [r for r in own if r.get("family") == family and r["base"] == name and r["size"] == label]
        if have and have[0]["draws"] >= draws:
            continue
        if base is None or loaded != name:
            base, loaded = base_of(name, given.data), name
            keep(clean_row(name, base), mark)
        records = max(2, round(size * len(base.rows))) if isinstance(size, float) else int(size)
        trials = measured(base, family, records, draws, f"{name}/{family}/{records}")
        if trials:
            row = row_of(name, base, family, size, records, trials)
            print(*(f"{k}={row[k]}" for k in ("what", "ours", "low", "draws", "named", "cpu_s", "seen_by")), flush=True)
            keep(row, mark)


if __name__ == "__main__":
    main()
