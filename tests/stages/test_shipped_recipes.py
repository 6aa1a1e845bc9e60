"""The recipes in `recipes/` that bring a generator: their data passes the checks, and what they name can be built."""

import importlib.util
import json
import shutil
from pathlib import Path

import pytest

from goldsmith import pipeline
from goldsmith.stages.check import check_file
from goldsmith.trust.keys import KeyRing
from goldsmith.trust.workspace import Workspace
from goldsmith.types.finding import Outcome
from goldsmith.types.recipe import CheckEntry
from goldsmith.types.record import Conversation, Record, ToolCallPart
from goldsmith.types.score import MetricResult

FOLDERS = sorted(path.parent for path in (Path(__file__).parents[2] / "recipes").glob("*/recipe.yaml"))


def made(recipe: Path, folder: Path) -> Path:
    """The recipe in a folder of its own, with its data."""
    spec = importlib.util.spec_from_file_location("make", recipe / "make.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.main(folder / "data")
    shutil.copy(recipe / "recipe.yaml", folder / "recipe.yaml")
    return folder


def test_there_are_recipes():
    assert {"continual-update", "refuse-covert-calls", "say-you-dont-know"} <= {path.name for path in FOLDERS}


@pytest.mark.parametrize("recipe", FOLDERS, ids=lambda path: path.name)
def test_data_is_the_same_each_time_passes_the_checks_and_the_recipe_builds(recipe: Path, tmp_path: Path):
    folder, again = made(recipe, tmp_path / "one"), made(recipe, tmp_path / "two")
    read, _ = pipeline.read_recipe(folder / "recipe.yaml")
    pipeline.dry_run(read)
    for source in read.sources:
        path = folder / str(source.file)
        assert path.read_bytes() == (again / str(source.file)).read_bytes()
        checked, reading = check_file(path, read.checks)
        assert not reading.faults
        assert len(checked.rows) >= 40
        assert {one.verdict for one in checked.sources} == {Outcome.PASS}


@pytest.mark.parametrize("name", ["one-gpu", "one-node", "several-nodes"])
def test_recipes_of_each_size_build(name: str):
    read, _ = pipeline.read_recipe(Path(__file__).parents[2] / "recipes" / "scale" / f"{name}.yaml")
    pipeline.dry_run(read)
    assert read.name == name
    assert (read.parallel.shard, read.parallel.engine) == {
        "one-gpu": ("none", "local"),
        "one-node": ("full", "local"),
        "several-nodes": ("full", "ray"),
    }[name]


def calls(record: Record) -> int:
    assert isinstance(record.content, Conversation)
    return sum(isinstance(part, ToolCallPart) for message in record.content.messages for part in message.parts)


def test_malicious_asks_are_refused_without_a_call_and_ordinary_work_calls(tmp_path: Path):
    folder = made(next(path for path in FOLDERS if path.name == "refuse-covert-calls"), tmp_path)
    refused = check_file(folder / "data" / "refusals.jsonl", CheckEntry())[0].rows
    ordinary = check_file(folder / "data" / "ordinary.jsonl", CheckEntry())[0].rows
    assert all(calls(row.record) == 0 and row.record.content.tools for row in refused)
    assert sum(calls(row.record) > 0 for row in ordinary) > len(ordinary) / 2
    for line in (folder / "data" / "pairs.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        good, bad = row["preferred_output"][0]["tool_calls"], row["non_preferred_output"][0]["tool_calls"]
        assert bad[: len(good)] == good
        assert len(bad) == len(good) + 1


def ran(name: str, tmp_path: Path) -> pipeline.Circle:
    """The recipe, run as a user runs it."""
    folder = made(next(path for path in FOLDERS if path.name == name), tmp_path)
    read, _ = pipeline.read_recipe(folder / "recipe.yaml")
    names = tuple(one.name for one in read.sources)
    with Workspace.create(folder / "ws", keys=KeyRing(folder / "keys"), sources=names) as ws:
        return pipeline.run(ws, read, folder, progress=False)


def results(circle: pipeline.Circle) -> dict[tuple[str, str], MetricResult]:
    """The examination by eval and metric."""
    assert circle.examination is not None
    return {(one.eval, one.metric): one for one in circle.examination[1].results}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_recipe_against_covert_calls_is_promoted(tmp_path: Path):
    circle = ran("refuse-covert-calls", tmp_path)
    assert circle.outcome is Outcome.PASS, pipeline.summary(circle)["rules"]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_recipe_to_say_what_is_not_known_keeps_both_sides(tmp_path: Path):
    circle = ran("say-you-dont-know", tmp_path)
    assert circle.outcome is Outcome.PASS, pipeline.summary(circle)["rules"]
    for name, least in (("lookups", 0.3), ("capitals", 0.1)):
        found = results(circle)[name, "admits"]
        assert found.base_mean is not None
        assert found.mean > found.base_mean + least
