"""A file with every check's planted and clean rows, and what a screening said in a form that can be compared."""

import json
from pathlib import Path
from typing import Any

import pytest

from goldsmith import plugins
from goldsmith.engines.screening import Screening, decide
from goldsmith.types.check import CheckContext

FORMATS: Any = plugins.build_all("sources")
CHECKS: Any = plugins.build_all("checks")
CONTEXT = CheckContext(
    eval_texts=["A farmer has 17 sheep and all but 9 run away. How many sheep does the farmer have left?"],
    eval_names=["farm"],
    trusted_sources=frozenset({"s1"}),
)


def defects(repeats: int = 2) -> list[dict[str, Any]]:
    """Of every check's planted and clean rows the first, in several sources, with copies."""
    rows: list[dict[str, Any]] = []
    for turn in range(repeats):
        for name in plugins.names("checks"):
            module = plugins.module("checks", name)
            for n, plain in enumerate([*module.CAUGHT[:40], *module.CLEAN[:20]]):
                rows.append({"source": f"s{n % 3}", "batch": f"b{turn}", **plain})
    rows.append({"messages": [{"role": "user", "content": CONTEXT.eval_texts[0].upper()},
                              {"role": "assistant", "content": "Nine."}]})  # fmt: skip
    return rows


def write(path: Path) -> Path:
    lines = [json.dumps(row) for row in defects()]
    lines.insert(len(lines) // 2, "{broken")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


class Battery:
    """All checks at their defaults, over the defects they are made for."""

    formats, checks, context = FORMATS, CHECKS, CONTEXT

    @staticmethod
    def write(path: Path) -> Path:
        return write(path)

    @staticmethod
    def said(result: Screening, rows: Any) -> dict[str, Any]:
        return {
            "findings": [f.model_dump_json() for f in result.findings],
            "scores": {name: values.tobytes() for name, values in result.scores.items()},
            "combined": result.combined.tobytes(),
            "inconclusive": result.inconclusive,
            "facts": result.facts,
            "verdicts": decide(result.findings, rows),
        }


@pytest.fixture
def battery() -> Battery:
    return Battery()
