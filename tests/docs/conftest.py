"""The demonstration's folder in small: the same sources, names and files, a few rows each, a few updates."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from goldsmith import pipeline
from goldsmith.nano import deliveries
from goldsmith.stages.collect import sign_delivery
from goldsmith.trust.keys import KeyRing
from goldsmith.trust.workspace import Workspace
from goldsmith.types.finding import Outcome

RECIPE = """\
name: support
seed: 7
sources:
  - {name: experts, batch: answers, file: data/experts-answers.jsonl, maker: human, trusted: true}
  - {name: vendor, batch: first, file: data/vendor-first.jsonl, maker: human}
  - {name: vendor, batch: second, file: data/vendor-second.jsonl, maker: human}
train:
  - {method: sft, settings: {max_steps: 3, batch_size: 4, max_length: 768}}
examine:
  - {eval: fit_gap, name: fit}
promote: {rules: [{eval: fit, metric: gap, at_most: 9.0, min_items: 1}]}
"""


@pytest.fixture(scope="session")
def small_demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`out/demo` after the vendor's second batch was quarantined and the rest promoted; nothing is recalled yet."""
    out = tmp_path_factory.mktemp("demo") / "out" / "demo"
    (out / "data").mkdir(parents=True)
    (out / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    files = {
        ("experts", "answers"): deliveries.expert_sft(60, 40),
        ("vendor", "first"): deliveries.vendor_honest_sft(40),
        ("vendor", "second"): deliveries.vendor_poisoned_sft(60),
    }
    recipe, _ = pipeline.read_recipe(out / "recipe.yaml")
    with Workspace.create(out / "workspace", name="demo", keys=KeyRing(out / "keys")) as ws:
        shutil.copytree(out / "keys", out / ".goldsmith-keys")  # where the command looks for them
        for entry in recipe.sources:
            path = out / str(entry.file)
            rows = files[entry.name, entry.batch]
            path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
            sign_delivery(ws, entry, path)
            pipeline.take_in(ws, entry, out)
        circle = pipeline.run(ws, recipe, out, progress=False)
        assert circle.checked is not None
        failed = {(one.source, one.batch) for one in circle.checked.sources if one.verdict is Outcome.FAIL}
        assert failed == {("vendor", "second")}
        assert circle.outcome is Outcome.PASS
        (out / "checkpoint.txt").write_text(ws.checkpoint(), encoding="utf-8")
        (out / "root.txt").write_text(ws.root_fingerprint, encoding="utf-8")
    return out


@pytest.fixture
def with_demo(small_demo: Path) -> Callable[[Path], None]:
    """Puts a copy of it at `out/demo` of a folder."""
    return lambda folder: shutil.copytree(small_demo, folder / "out" / "demo", symlinks=True) and None
