"""The check that CONTRIBUTING.md shows how to add works, also as a third party's module named by its dotted path."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from goldsmith import plugins
from goldsmith.engines.reading.read import read
from goldsmith.types.check import CheckContext

ROOT = Path(__file__).resolve().parents[2]


def test_the_example_check_catches_its_planted_row_and_leaves_the_clean_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    block = re.search(r"```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.DOTALL)
    assert block is not None
    (tmp_path / "acme_checks").mkdir()
    (tmp_path / "acme_checks" / "shouting.py").write_text(re.sub(r"(?m)^ {3}", "", block[1]), encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    module = plugins.module("checks", "acme_checks.shouting")
    check: Any = plugins.build("checks", "acme_checks.shouting")
    for rows, lines in ((module.CAUGHT, [(1,)]), (module.CLEAN, [])):
        path = tmp_path / "rows.jsonl"
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
        found = read(path, plugins.build_all("sources")).rows
        assert [finding.lines for finding in check(found, CheckContext()).findings] == lines
    sys.modules.pop("acme_checks.shouting", None)
