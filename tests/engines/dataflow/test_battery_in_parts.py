"""The whole battery says the same of rows in parts as of rows in memory, whoever maps the parts."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from goldsmith import plugins
from goldsmith.engines.dataflow import intake
from goldsmith.engines.dataflow.engine import Engine, Local
from goldsmith.engines.dataflow.intake import Intake
from goldsmith.engines.reading.read import read
from goldsmith.engines.screening import Screening, decide, screen
from goldsmith.engines.text.features import MapsRows
from goldsmith.types.check import CheckContext

FORMATS: Any = plugins.build_all("sources")
CHECKS: Any = plugins.build_all("checks")
CONTEXT = CheckContext(
    eval_texts=["A farmer has 17 sheep and all but 9 run away. How many sheep does the farmer have left?"],
    eval_names=["farm"],
    trusted_sources=frozenset({"s1"}),
)


def defects(repeats: int = 2) -> list[dict[str, Any]]:
    """Every check's planted rows and clean rows, in several sources, with copies."""
    rows: list[dict[str, Any]] = []
    for turn in range(repeats):
        for name in plugins.names("checks"):
            module = plugins.module("checks", name)
            for n, plain in enumerate([*module.CAUGHT, *module.CLEAN]):
                rows.append({"source": f"s{n % 3}", "batch": f"b{turn}", **plain})
    rows.append({"messages": [{"role": "user", "content": CONTEXT.eval_texts[0].upper()},
                              {"role": "assistant", "content": "Nine."}]})  # fmt: skip
    return rows


def write(path: Path) -> Path:
    lines = [json.dumps(row) for row in defects()]
    lines.insert(len(lines) // 2, "{broken")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def said(result: Screening, rows: Any) -> dict[str, Any]:
    return {
        "findings": [f.model_dump_json() for f in result.findings],
        "scores": {name: values.tobytes() for name, values in result.scores.items()},
        "combined": result.combined.tobytes(),
        "inconclusive": result.inconclusive,
        "facts": result.facts,
        "verdicts": decide(result.findings, rows),
    }


def in_parts(path: Path, folder: Path, engine: Engine, *, on_disk: bool = True) -> dict[str, Any]:
    rows = Intake(read(path, FORMATS), CHECKS, CONTEXT, engine=engine, scratch=folder, on_disk=on_disk).rows()
    assert len(rows.parts.all) > 3
    return said(screen(rows, CHECKS, CONTEXT), rows)


def test_parts_and_memory_and_pools_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "PIECE_BYTES", 30_000)
    path = write(tmp_path / "rows.jsonl")
    plain = read(path, FORMATS).rows
    expected = said(screen(plain, CHECKS, CONTEXT), plain)
    assert len({json.loads(f)["check"] for f in expected["findings"]}) >= 8
    for name, engine in {"alone": Local(), "pool": Local(2)}.items():
        assert in_parts(path, tmp_path / name, engine) == expected
    assert in_parts(path, tmp_path / "memory", Local(), on_disk=False) == expected


@pytest.mark.parametrize("check", [c for c in CHECKS if isinstance(c, MapsRows)], ids=lambda c: c.id)
def test_a_map_looks_at_rows_one_by_one(check: Any, tmp_path: Path) -> None:
    """Features of a part are those of its rows in the whole: a map that peeks at other rows fails here."""
    path = write(tmp_path / "rows.jsonl")
    rows = read(path, FORMATS).rows
    from goldsmith.engines.text.projection import project

    whole = check.row_features(project(rows), CONTEXT)
    for first in range(0, len(rows), 37):
        part = check.row_features(project(rows[first : first + 37]), CONTEXT)
        for name, array in whole.arrays.items():
            assert np.array_equal(array[first : first + 37], part.arrays[name])
        for name, notes in whole.notes.items():
            own = {row - first: value for row, value in notes.items() if first <= row < first + 37}
            assert json.dumps(own, sort_keys=True) == json.dumps(part.notes[name], sort_keys=True)
