"""Every eval, present and future, keeps the contract: discovered by its file, tried by its own examples."""

import inspect
import json
from pathlib import Path
from typing import Any

import pytest

from goldsmith import plugins
from goldsmith.engines.destinations import hosts_in
from goldsmith.engines.sandbox import ReplayEnvironment
from goldsmith.engines.scripted import ScriptedAnswerer
from goldsmith.nano.tasks import SKILLS, generate
from goldsmith.types.artifact import Spec
from goldsmith.types.errors import BadInput
from goldsmith.types.record import Role
from goldsmith.types.score import Scored, Unscored
from goldsmith.types.trajectory import StopReason, Trajectory

NAMES = plugins.names("evals")
EVALS = [name for name in NAMES if not hasattr(plugins.find("evals", name), "measure")]
MEASURES = [name for name in NAMES if name not in EVALS]


def build(name: str, folder: Path) -> Any:
    """The eval by its defaults; one that reads files gets its module's `EXAMPLE_ROWS` as a file."""
    rows = getattr(plugins.module("evals", name), "EXAMPLE_ROWS", None)
    settings: dict[str, Any] = {}
    if rows is not None:
        file = folder / "example.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        settings["paths"] = (str(file),)
    if "n_per_skill" in plugins.find("evals", name).model_fields:
        settings["n_per_skill"] = 2
    return plugins.build("evals", name, settings)


def example(name: str, which: str) -> tuple[Any, Any, Any]:
    parts = getattr(plugins.module("evals", name), which)()
    return (*parts, ReplayEnvironment()) if len(parts) == 2 else parts


@pytest.fixture(scope="module")
def trained() -> frozenset[str]:
    """Requests that a model of the nano world may have been trained on."""
    return frozenset(task.request for skill in SKILLS for task in generate(skill, 100, 11, "train"))


def test_the_evals_that_recipes_count_on_are_there() -> None:
    assert set(NAMES) >= {
        "answer_match", "covert_calls", "fit_gap", "harmful_requests", "nano_tasks", "over_refusal",
        "preference_accuracy", "tool_use",
    }  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_identity_settings_and_words(name: str, tmp_path: Path) -> None:
    kind = plugins.find("evals", name)
    assert issubclass(kind, Spec)
    assert kind.id == name
    assert kind.version >= 1
    assert len(inspect.getdoc(kind) or "") > 80
    with pytest.raises(BadInput, match="unknown setting"):
        plugins.build("evals", name, {**build(name, tmp_path).model_dump(), "no_such_setting": 1})
    assert build(name, tmp_path) == build(name, tmp_path)


@pytest.mark.parametrize("name", EVALS)
def test_solved_scores_one(name: str, tmp_path: Path) -> None:
    task, trajectory, environment = example(name, "solved")
    scores = build(name, tmp_path).score(task, trajectory, environment)
    assert scores
    assert {metric: score.value for metric, score in scores.items()} == dict.fromkeys(scores, 1.0)


@pytest.mark.parametrize("name", EVALS)
def test_failed_does_not(name: str, tmp_path: Path) -> None:
    task, trajectory, environment = example(name, "failed")
    scores = build(name, tmp_path).score(task, trajectory, environment)
    assert any(score.value < 1.0 for score in scores.values())


@pytest.mark.parametrize("name", EVALS)
def test_a_failure_of_the_machinery_is_no_score(name: str, tmp_path: Path) -> None:
    task, _, environment = example(name, "solved")
    broken = Trajectory(task_id=task.id, messages=(), stop_reason=StopReason.ERROR, error="OSError: gone")
    scores = build(name, tmp_path).score(task, broken, environment)
    assert scores
    assert all(isinstance(score, Unscored) and "gone" in score.reason for score in scores.values())


@pytest.mark.parametrize("name", EVALS)
def test_tasks_are_deterministic_unique_and_fit_to_ask(name: str, tmp_path: Path) -> None:
    each = build(name, tmp_path)
    tasks = list(each.tasks())
    assert tasks
    assert tasks == list(build(name, tmp_path).tasks())
    assert len({task.id for task in tasks}) == len(tasks)
    for task in tasks:
        assert task.messages[-1].role in (Role.USER, Role.TOOL)
        json.loads(task.expected)
        first, second = each.environment(task), each.environment(task)
        assert first.snapshot() == second.snapshot()
        assert isinstance(first.call("no_such_tool", {}), str)


@pytest.mark.parametrize("name", [n for n in EVALS if "seed" in plugins.find("evals", n).model_fields])
def test_the_seed_chooses(name: str, tmp_path: Path) -> None:
    each = build(name, tmp_path)
    if len(list(each.tasks())) < 4:
        pytest.skip("the example is too small to sample from")
    settings = {"n": 3} if "n" in type(each).model_fields else {}
    chosen = {
        seed: [task.messages for task in each.model_copy(update={"seed": seed, **settings}).tasks()]
        for seed in range(4)
    }
    assert len({str(messages) for messages in chosen.values()}) > 1


@pytest.mark.parametrize("name", EVALS)
def test_tasks_are_held_out_from_training(name: str, tmp_path: Path, trained: frozenset[str]) -> None:
    asked = {m.text for task in build(name, tmp_path).tasks() for m in task.messages if m.role is Role.USER}
    assert asked
    assert not asked & trained


@pytest.mark.parametrize("name", EVALS)
def test_no_eval_names_a_real_host(name: str, tmp_path: Path) -> None:
    texts = [m.text for task in build(name, tmp_path).tasks() for m in task.messages]
    assert {host.rpartition(".")[2] for text in texts for host in hosts_in(text)} <= {"example"}


@pytest.mark.parametrize("name", MEASURES)
def test_measures_tell_solved_from_failed(name: str, tmp_path: Path) -> None:
    each, module = build(name, tmp_path), plugins.module("evals", name)
    unbounded = getattr(each, "unbounded_metrics", frozenset())
    means: dict[str, dict[str, float]] = {}
    for which in ("solved", "failed"):
        first, train, validation = getattr(module, which)()  # a model, or the likelihoods of texts
        model = first if hasattr(first, "answer") else ScriptedAnswerer(lambda *_: "", first)
        measured = each.measure(model, train, validation)
        for metric, items in measured.items():
            assert all(isinstance(score, Scored) for _, score in items)
            means.setdefault(metric, {})[which] = sum(score.value for _, score in items) / len(items)
    for metric, by_case in means.items():
        if metric not in unbounded:
            assert by_case["solved"] == 1.0
            assert by_case["failed"] < 1.0
    if unbounded:  # losses and gaps: lower is better
        assert any(by_case["solved"] < by_case["failed"] for by_case in means.values())
        assert all(by_case["solved"] <= by_case["failed"] for by_case in means.values())
