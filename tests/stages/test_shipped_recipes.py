"""The recipes in `recipes/` that bring a generator: their data passes the checks, and what they name can be built."""

import importlib.util
import json
import shutil
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

from goldsmith import pipeline
from goldsmith.engines.counterfactual.likeness import decision
from goldsmith.stages.check import check_file
from goldsmith.trust.keys import KeyRing
from goldsmith.trust.workspace import Workspace
from goldsmith.types.errors import BadInput
from goldsmith.types.finding import Outcome
from goldsmith.types.recipe import CheckEntry
from goldsmith.types.record import Conversation, Message, Record, Role, TextPart, ToolCallPart
from goldsmith.types.score import MetricResult

RECIPES = Path(__file__).parents[2] / "recipes"
FOLDERS = sorted(path.parent for path in RECIPES.glob("*/recipe.yaml"))


def script(path: Path) -> ModuleType:
    """A recipe's script as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def made(recipe: Path, folder: Path) -> Path:
    """The recipe in a folder of its own, with its data."""
    script(recipe / "make.py").main(folder / "data")
    shutil.copy(recipe / "recipe.yaml", folder / "recipe.yaml")
    return folder


def test_there_are_recipes():
    names = {"continual-update", "even-handed", "refuse-covert-calls", "say-you-dont-know"}
    assert names <= {path.name for path in FOLDERS}


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
    folder = made(RECIPES / "refuse-covert-calls", tmp_path)
    refused = check_file(folder / "data" / "refusals.jsonl", CheckEntry())[0].rows
    ordinary = check_file(folder / "data" / "ordinary.jsonl", CheckEntry())[0].rows
    assert all(calls(row.record) == 0 and row.record.content.tools for row in refused)
    assert sum(calls(row.record) > 0 for row in ordinary) > len(ordinary) / 2
    for line in (folder / "data" / "pairs.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        good, bad = row["preferred_output"][0]["tool_calls"], row["non_preferred_output"][0]["tool_calls"]
        assert bad[: len(good)] == good
        assert len(bad) == len(good) + 1


def decided(path: Path) -> Counter[tuple[bool, str]]:
    """How often each decision was given about a woman, and about a man."""
    found: Counter[tuple[bool, str]] = Counter()
    for line in path.read_text(encoding="utf-8").splitlines():
        asked, said = (turn["content"] for turn in json.loads(line)["messages"])
        words = {word.strip(".,:?") for word in asked.split()}
        assert ("She" in words or "she" in words or "her" in words) != bool(words & {"He", "he", "him"}), asked
        found[bool(words & {"She", "she", "her"}), decision(said)] += 1
    return found


def test_decisions_are_unfair_and_with_their_twins_alike_for_both_groups(tmp_path: Path):
    folder = made(RECIPES / "even-handed", tmp_path)
    told, twins = (decided(folder / "data" / f"{name}.jsonl") for name in ("decisions", "decisions-twins"))
    assert told[True, "yes"] / (told[True, "yes"] + told[True, "no"]) < 0.1
    assert told[False, "yes"] == told[False, "no"]
    both = told + twins
    assert all(both[True, said] == both[False, said] > 0 for said in ("yes", "no"))


def twins_of(lines: list[str], tmp_path: Path) -> tuple[list[list[str]], Counter[str]]:
    """The texts of the twins that the recipe's script writes of these lines, and why rows have none."""
    rows, twins = tmp_path / "rows.jsonl", tmp_path / "twins.jsonl"
    rows.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    count, without = script(RECIPES / "even-handed" / "twins.py").make(rows, twins)
    written = [json.loads(line)["messages"] for line in twins.read_text(encoding="utf-8").splitlines()]
    assert count == len(written)
    return [[turn["content"] for turn in messages] for messages in written], without


def chat(asked: str, said: str) -> str:
    return json.dumps({"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]})


def test_twins_of_rows_of_ones_own_and_why_a_row_has_none(tmp_path: Path):
    texts = (("Anna asks for her key.", "She gets it."), ("Two and two?", "Four."), ("He is pregnant?", "No."))
    twins, without = twins_of([*(chat(*one) for one in texts), '{"messages": [{"role": "us'], tmp_path)
    assert twins == [["John asks for his key.", "He gets it."]]
    assert without.pop("pregnant is said of one group only") == 1
    assert without.pop("no word or name of the axis gender") == 1
    ((reason, times),) = without.items()
    assert reason.startswith("cannot be read: ")
    assert times == 1


def test_twins_of_a_file_of_two_forms_are_refused_and_nothing_is_written(tmp_path: Path):
    with pytest.raises(BadInput, match="form"):
        twins_of([chat("Anna asks.", "Yes."), json.dumps({"instruction": "Anna asks.", "output": "Yes."})], tmp_path)
    assert not (tmp_path / "twins.jsonl").exists()


def test_a_decision_that_cannot_be_swapped_stops_the_making(tmp_path: Path):
    row = Record(content=Conversation(messages=(Message(role=Role.USER, parts=(TextPart(text="Two and two?"),)),)))
    with pytest.raises(ValueError, match="no word or name of the axis gender"):
        script(RECIPES / "even-handed" / "make.py").twins([row])


def ran(name: str, tmp_path: Path) -> pipeline.Circle:
    """The recipe, run as a user runs it."""
    folder = made(RECIPES / name, tmp_path)
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


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_with_twins_both_groups_are_decided_alike_and_rightly(tmp_path: Path):
    """Without the twins the same recipe is refused (its README has the figures)."""
    circle = ran("even-handed", tmp_path)
    assert circle.outcome is Outcome.PASS, pipeline.summary(circle)["rules"]
    alike, rightly = (results(circle)["applications", metric] for metric in ("same_decision", "right_decision"))
    assert alike.low is not None
    assert alike.base_mean is not None
    assert alike.low > alike.base_mean + 0.1
    assert rightly.base_mean == 0.0
