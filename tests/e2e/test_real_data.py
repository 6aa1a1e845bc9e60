"""The circle on real public data: collected, checked, released, trained on, examined and reported."""

import gzip
import json
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from goldsmith import pipeline
from goldsmith.stages.report import report
from goldsmith.trust.keys import KeyRing
from goldsmith.trust.verify import verify
from goldsmith.trust.workspace import Workspace
from goldsmith.types.finding import Outcome
from goldsmith.types.recipe import Recipe

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not DATA.is_dir(), reason="shared data absent"),
]

RECIPES = sorted((ROOT / "recipes" / "real-data").glob("*.yaml"))


def _some(source: Path, target: Path, count: int) -> None:
    """The first rows of a shared file, so that the test stays short; the recipe runs on the whole file."""
    opener: Any = gzip.open if source.suffix == ".gz" else open
    with opener(source, "rt", encoding="utf-8") as stream:
        target.write_text("".join(islice(stream, count)), encoding="utf-8")


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_the_circle_runs_on_real_rows(path: Path, tmp_path: Path):
    read, _ = pipeline.read_recipe(path)
    entries = []
    for entry in read.sources:
        name = Path(str(entry.file)).name.removesuffix(".gz")
        _some((path.parent / str(entry.file)).resolve(), tmp_path / name, 160)
        entries.append(entry.model_copy(update={"file": name}))
    short = [step.model_copy(update={"settings": {**step.settings, "max_steps": 3}}) for step in read.train]
    recipe = Recipe.model_validate({**read.model_dump(), "sources": entries, "train": short})
    with Workspace.create(tmp_path / "ws", keys=KeyRing(tmp_path / "keys")) as ws:
        circle = pipeline.run(ws, recipe, tmp_path, progress=False)
        written = report(ws, circle.trained[-1].digest, tmp_path / "report.html")
        fingerprint, checkpoint = ws.root_fingerprint, ws.checkpoint()
    assert circle.checked is not None
    failed = [(s.source, s.reasons) for s in circle.checked.sources if s.verdict is Outcome.FAIL]
    assert failed == []
    assert circle.release is not None
    assert circle.release[1].count >= 100
    assert circle.verdict is not None
    assert circle.examination is not None
    assert all(result.n > 0 for result in circle.examination[1].results)
    assert "<svg" in written.read_text(encoding="utf-8")
    assert verify(tmp_path / "ws", fingerprint, checkpoint).standing == "verified"
    assert json.dumps(pipeline.summary(circle))


def test_there_are_recipes_for_real_data():
    assert len(RECIPES) >= 4
