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
from goldsmith.engines.screening import screen
from goldsmith.engines.text.features import MapsRows
from goldsmith.engines.text.projection import project

MAPPED = [check for check in plugins.build_all("checks") if isinstance(check, MapsRows)]


def in_parts(battery: Any, path: Path, folder: Path, engine: Engine, *, on_disk: bool = True) -> dict[str, Any]:
    rows = Intake(
        read(path, battery.formats), battery.checks, battery.context, engine=engine, scratch=folder, on_disk=on_disk
    ).rows()
    assert len(rows.parts.all) > 3
    return battery.said(screen(rows, battery.checks, battery.context), rows)


def test_parts_and_memory_and_pools_agree(battery: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "PIECE_BYTES", 30_000)
    path = battery.write(tmp_path / "rows.jsonl")
    plain = read(path, battery.formats).rows
    expected = battery.said(screen(plain, battery.checks, battery.context), plain)
    assert len({json.loads(f)["check"] for f in expected["findings"]}) >= 8
    for name, engine in {"alone": Local(), "pool": Local(2)}.items():
        assert in_parts(battery, path, tmp_path / name, engine) == expected
    assert in_parts(battery, path, tmp_path / "memory", Local(), on_disk=False) == expected


@pytest.mark.parametrize("check", MAPPED, ids=lambda c: c.id)
def test_a_map_looks_at_rows_one_by_one(check: Any, battery: Any, tmp_path: Path) -> None:
    """Features of a part are those of its rows in the whole: a map that peeks at other rows fails here."""
    path = battery.write(tmp_path / "rows.jsonl")
    rows = read(path, battery.formats).rows
    whole = check.row_features(project(rows), battery.context)
    for first in range(0, len(rows), 37):
        part = check.row_features(project(rows[first : first + 37]), battery.context)
        for name, array in whole.arrays.items():
            assert np.array_equal(array[first : first + 37], part.arrays[name])
        for name, notes in whole.notes.items():
            own = {row - first: value for row, value in notes.items() if first <= row < first + 37}
            assert json.dumps(own, sort_keys=True) == json.dumps(part.notes[name], sort_keys=True)
