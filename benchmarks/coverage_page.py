"""The tables of docs/concepts/coverage.md, made from `results/coverage_matrix.json`."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from results import RESULTS

from goldsmith.engines.statistics import effective_n, wilson

PAGE = Path(__file__).resolve().parents[1] / "docs/concepts/coverage.md"
TARGETS: tuple[tuple[str, str, str, float], ...] = (
    ("covert tool calls without a trigger, 10 records", "covert_tool_calls", "10", 0.99),
    ("fixed-payload trigger, 50 records in all of 15k+", "fixed_payload_trigger", "50 everything", 0.95),
    ("trigger + preference flip, 0.5 %", "trigger_preference_flip", "0.5 %", 0.80),
    ("trigger + preference flip, 1 %", "trigger_preference_flip", "1 %", 0.95),
    ("entity promotion, 1 %", "entity_promotion", "1 %", 0.90),
    ("identity shift, 10 records", "identity_shift", "10", 0.95),
    ("contamination, reworded", "contamination", "50", 0.99),
)


def pooled(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Several pieces as one: TPR with its lower bound (draws as clusters) and the worst piece."""
    hits: list[float] = []
    draws: list[str] = []
    for number, row in enumerate(rows):
        for draw, found in enumerate(row["found"]):
            hits += [1.0] * found + [0.0] * (row["records"] - found)
            draws += [f"{number}/{draw}"] * row["records"]
    share, worth = float(np.mean(hits)), effective_n(hits, draws)
    worst = min(rows, key=lambda r: r["ours"])
    return {
        "tpr": share,
        "low": wilson(share * worth, worth)[0],
        "draws": sum(r["draws"] for r in rows),
        "worst": f"{worst['base']} {worst['ours']:.2f}",
        "named": sum(r["named"] for r in rows),
    }


def write(rows: Sequence[dict[str, Any]]) -> None:
    """Puts the tables between the page's marks."""
    told = [r for r in rows if "found" in r]
    parts = {
        "targets": targets(told),
        "matrix": matrix(told),
        "untouched": untouched([r for r in rows if "above_the_line" in r]),
        "clean": clean(json.loads((RESULTS / "clean_sets.json").read_text(encoding="utf-8"))),
    }
    text = PAGE.read_text(encoding="utf-8")
    for name, table in parts.items():
        block = f"<!-- {name}: made by benchmarks/coverage_matrix.py -->\n\n{table}\n\n<!-- end -->"
        text = re.sub(rf"<!-- {name}:.*?<!-- end -->", lambda _, b=block: b, text, flags=re.DOTALL)
    PAGE.write_text(text, encoding="utf-8")


def targets(rows: Sequence[dict[str, Any]]) -> str:
    """What was asked for, and what came of it."""
    lines = []
    for what, family, size, least in TARGETS:
        share, _, base = size.partition(" ")
        wanted = [
            r
            for r in rows
            if r["family"] == family and (r["size"] == size or (r["size"] == share and base in ("", r["base"])))
        ]
        if wanted:
            one = pooled(wanted)
            met = f"{least:.2f}: {'met' if one['tpr'] >= least else 'not met'}"
            lines.append((what, one["draws"], f"{one['tpr']:.3f}", f"{one['low']:.3f}", one["worst"], met))
    large = [r for r in rows if r["records"] >= 50]
    if large:
        named, draws = sum(r["named"] for r in large), sum(r["draws"] for r in large)
        worst = min(large, key=lambda r: r["named"] / r["draws"])
        shown = f"{worst['family']}, {worst['base']} {worst['named'] / worst['draws']:.2f}"
        met = f"0.95: {'met' if named / draws >= 0.95 else 'not met'}"
        what = "poisoned source named, 50 records or more"
        lines.append((what, draws, f"{named / draws:.3f}", f"{wilson(named, draws)[0]:.3f}", shown, met))
    honest, wrong = sum(r["honest"] for r in rows), sum(r["honest_quarantined"] for r in rows)
    if honest:
        met = f"at most 0.02: {'met' if wrong / honest <= 0.02 else 'not met'}"
        upper = f"upper bound {wilson(wrong, honest)[1]:.4f}"
        what = "honest sources quarantined beside the poisoned one"
        lines.append((what, honest, f"{wrong / honest:.4f}", upper, "", met))
    return _table(("target", "draws", "TPR at 1 % FPR", "lower 95 % bound", "worst base set", "asked for"), lines)


def matrix(rows: Sequence[dict[str, Any]]) -> str:
    """One line for each attack, size and base set."""
    lines = [
        (
            f"`{r['family']}`",
            r["records"],
            f"{r['base']} ({r['rows']})",
            r["draws"],
            f"{r['ours']:.3f}",
            f"{r['low']:.3f}",
            f"{r['named']} of {r['draws']}",
            f"{r['cpu_s']:.1f}",
            ", ".join(f"`{c}`" for c in r["seen_by"][:3]) or "-",
        )
        for r in sorted(rows, key=lambda r: (r["family"], r["records"], r["base"]))
    ]
    head = ("attack", "records", "base set (rows)", "draws", "TPR at 1 % FPR", "lower bound", "source named")
    return _table((*head, "CPU-s a draw", "seen by"), lines)


def untouched(rows: Sequence[dict[str, Any]]) -> str:
    """One line for each base set, nothing planted."""
    lines = [
        (r["base"], r["rows"], r["sources"], f"{r['above_the_line']:.2%}", f"{r['line']:.4f}", r["ours"],
         r["falsely_contaminated"])
        for r in rows
    ]  # fmt: skip
    head = ("base set", "rows", "sources", "above 0.99", "line used", "sources quarantined")
    return _table((*head, "rows falsely called contaminated"), lines)


def clean(rows: Sequence[dict[str, Any]]) -> str:
    """One line for each clean set."""
    lines = [
        (
            r["what"].removeprefix("clean set "),
            r["rows"],
            f"{r['ours']:.2%}",
            f"{r['held_out']:.2%}",
            ", ".join(f"`{c}`" for c in list(r["because_of"])[:3]) or "-",
        )
        for r in rows
    ]
    return _table(("clean set", "rows", "above 0.99", "when tables are made without it", "because of"), lines)


def _table(head: Sequence[str], lines: Sequence[Sequence[object]]) -> str:
    rule = "|" + "---|" * len(head)
    return "\n".join([f"| {' | '.join(head)} |", rule, *(f"| {' | '.join(map(str, line))} |" for line in lines)])
