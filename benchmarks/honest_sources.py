"""How often honest sources are quarantined: clean sets dealt out at random to 20 sources, the whole battery, again and
again.

Run: python benchmarks/honest_sources.py [--data FOLDER] [--splits 4] [--most 2000]. Writes
`results/honest_sources.json`: for each set or mix of sets, how many of the sources were quarantined and by what.
"""

import argparse
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import clean_sets
import results

from goldsmith import plugins
from goldsmith.engines import screening
from goldsmith.engines.statistics import wilson
from goldsmith.types.check import CheckContext
from goldsmith.types.finding import Outcome

ROOT = Path(__file__).resolve().parents[1]
MIXES = (
    ("codealpaca",), ("codealpaca-new",), ("gsm8k",), ("alpaca",), ("alpaca-en",), ("alpaca-zh",), ("huatuo",), ("hh",),
    ("pandalm",), ("pubmedqa",), ("lawyer",), ("api-bank", "glaive", "toolalpaca", "tau-bench"),
    ("hh", "pandalm", "oasst", "dpo-en"), ("alpaca", "dolly", "gsm8k", "codealpaca"),
)  # fmt: skip


def main() -> None:
    """Measures, prints, saves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--splits", type=int, default=4)
    parser.add_argument("--most", type=int, default=2000, help="rows of each mix")
    given = parser.parse_args()
    checks: Any = [plugins.build("checks", n) for n in plugins.names("checks")]
    told, wrong, judged = [], 0, 0
    for mix in MIXES:
        rows = clean_sets.clean_rows(given.data, mix)
        why: Counter[str] = Counter()
        failed = sources = 0
        for split in range(given.splits):
            drawn = Random(f"{mix}/{split}").sample(rows, min(len(rows), given.most))
            dealt = clean_sets.as_sources(drawn, 20, seed=split)
            screened = screening.screen(dealt, checks, CheckContext())
            verdicts = screening.decide(screened.findings, dealt)
            out = [v for v in verdicts if v.verdict is Outcome.FAIL]
            why.update(reason.split(":")[0] for v in out for reason in v.reasons)
            failed, sources = failed + len(out), sources + len(verdicts)
        wrong, judged = wrong + failed, judged + sources
        told.append(_row(" + ".join(mix), failed, sources, dict(why)))
        print(told[-1], flush=True)
    told.append(_row("all", wrong, judged, {}))
    results.save("honest_sources", told)


def _row(what: str, failed: int, sources: int, why: dict[str, int]) -> dict[str, Any]:
    low, high = wilson(failed, sources)
    return {
        "what": what,
        "ours": round(failed / sources, 5),
        "peer": None,
        "unit": "share of honest sources quarantined",
        "quarantined": failed,
        "sources": sources,
        "low": round(low, 5),
        "high": round(high, 5),
        "because_of": why,
    }


if __name__ == "__main__":
    main()
