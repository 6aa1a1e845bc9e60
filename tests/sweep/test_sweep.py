"""Whole sweeps: over the built-in model in real processes, and over a stand-in for them where the order matters."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from goldsmith_test_records import answered, compared

from goldsmith import pipeline, plugins
from goldsmith.cli.main import cli
from goldsmith.engines import model_files
from goldsmith.engines.evidence import records_of
from goldsmith.engines.splits import prompt_key, split_records
from goldsmith.engines.sweeping import process
from goldsmith.engines.sweeping.handing import handing
from goldsmith.engines.sweeping.process import Attempt
from goldsmith.stages import sweep as stage
from goldsmith.stages import train as train_stage
from goldsmith.trust import records
from goldsmith.trust.keys import KeyRing
from goldsmith.trust.workspace import Workspace
from goldsmith.types.errors import BadInput, GoldsmithError, Unavailable
from goldsmith.types.record import Record

COLOURS = ("red", "blue", "green", "white", "black", "grey", "brown", "orange")
RECIPE = """\
name: boxes
seed: 3
sources: [{name: anna, file: anna.jsonl, maker: human}]
train: [{method: sft, settings: {max_steps: 4, batch_size: 4}}]
validation_share: 0.1
examine:
  - {eval: fit_gap, name: fit}
  - {eval: answer_match, name: quiz, settings: {paths: [TEST]}}
promote: {rules: [{eval: fit, metric: gap, at_most: 5.0, min_items: 1}]}
sweep:
  tune: [full, lora]
  rank: [4]
  learning_rate: [1e-3, 1e9]
  full_learning_rate: [1e-3, 1e-6]
  min_steps: 2
  budget: {euros: 10, euros_per_hour: 3.6}
"""


def opened(folder: Path) -> Workspace:
    return Workspace.open(folder / ".goldsmith", KeyRing(folder / ".goldsmith-keys"))


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with the release `boxes`; the file of the recipe's own test is gone since."""
    folder = tmp_path_factory.mktemp("sweep")
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"What colour is box {n} of shelf {n * 7 % 31}?"},
                {"role": "assistant", "content": f"Box {n} is {COLOURS[n % 8]}, on shelf {n * 7 % 31}."},
            ]
        }
        for n in range(60)
    ]
    (folder / "anna.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    test = folder / "test.jsonl"
    asked = {"question": "How many towers has the harbour?", "answer": "7"}
    test.write_text(json.dumps(asked) + "\n", encoding="utf-8")
    (folder / "recipe.yaml").write_text(RECIPE.replace("TEST", str(test)), encoding="utf-8")
    recipe, _ = pipeline.read_recipe(folder / "recipe.yaml")
    with Workspace.create(folder / ".goldsmith", keys=KeyRing(folder / ".goldsmith-keys")) as ws:
        pipeline.prepare(ws, pipeline.Circle(recipe), folder)
    test.unlink()
    return folder


def command(folder: Path, *more: str) -> list[str]:
    recipe, ws, keys = (str(folder / name) for name in ("recipe.yaml", ".goldsmith", ".goldsmith-keys"))
    return ["sweep", recipe, "-w", ws, "--keys", keys, "--release", "boxes", "--device", "cpu", *more]


def killed_after_one_result(folder: Path) -> list[dict[str, Any]]:
    """Start the sweep, kill it (signal 9) once it has a result; the results it had."""
    run = subprocess.Popen(
        [sys.executable, "-m", "goldsmith.cli.main", *command(folder)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    found: list[dict[str, Any]] = []
    try:
        while run.poll() is None and not found:
            time.sleep(0.2)
            for path in (folder / ".goldsmith/scratch/sweeps").glob("*/state.json"):
                found = json.loads(path.read_text())["results"]
    finally:
        run.kill()
        run.wait()
    return found


def test_a_killed_sweep_goes_on_and_reads_no_test(released, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    before = killed_after_one_result(released)
    assert len(before) == 1
    out = released / "best" / "best.yaml"
    ran = CliRunner().invoke(cli, command(released, "--json", "--out", str(out)), catch_exceptions=False)
    assert ran.exit_code == 0
    found = json.loads(ran.stdout)
    assert found["ended"] == "done"
    assert found["rungs"] == [2, 4]
    (state,) = (released / ".goldsmith/scratch/sweeps").glob("*/state.json")
    results = json.loads(state.read_text())["results"]
    assert results[0] == before[0]
    assert len({(one["candidate"], one["rung"]) for one in results}) == len(results) == 4 + 2
    assert sum(one["trained_steps"] for one in results if one["candidate"] == 0) == 4  # two, and two more

    rows = {(row["candidate"]["tune"], row["candidate"]["learning_rate"]): row for row in found["rows"]}
    assert rows["lora", 1e9]["reason"].startswith("Diverged: training diverged")
    assert rows["lora", 1e9]["quality"] is None
    best = found["rows"][0]
    assert best["best"]
    assert best["pareto"]
    assert best["steps"] == 4
    assert best["quality"] == min(row["quality"] for row in rows.values() if row["steps"] == 4)
    assert all(row["memory"] > 100 * 2**20 for row in rows.values())
    assert all(row["cpu_seconds"] > 0 for row in rows.values())
    assert best["cost"] == pytest.approx(best["seconds"] / 1000)
    assert found["seconds"] >= sum(row["seconds"] for row in rows.values())

    ready, _ = pipeline.read_recipe(out)
    assert ready.sweep is None
    assert ready.train[0].settings["learning_rate"] == best["candidate"]["learning_rate"]
    assert (out.parent / str(ready.sources[0].file)).resolve() == (released / "anna.jsonl").resolve()
    with opened(released) as ws:
        everything = list(records_of(ws, pipeline.find_release(ws, "boxes")[1]))
    held = {prompt_key(record) for record in split_records(everything, 0.1)[1]}
    used = [list(records.read((state.parent / name).read_bytes())) for name in ("train.jsonl", "validation.jsonl")]
    assert held
    assert len(used[1]) == found["validation"] > 0
    assert not held & {prompt_key(record) for part in used for record in part}


def taken(folder: Path, method: str, tune: str, rows: list[Record], objective: dict[str, Any]) -> dict[str, Any]:
    """What one candidate answers, as it is really run, to its first step; the last two rows are for validation."""
    for name, some in (("train", rows[:-2]), ("validation", rows[-2:])):
        (folder / name).write_bytes(records.blob(some))
    adapter = {"kind": "lora", "rank": 2} if tune == "lora" else {"kind": "none"}
    task = {
        "method": method,
        "settings": {"max_steps": 4, "batch_size": 4, "adapter": adapter},
        "base": str(model_files.locate_base("goldsmith-nano")),
        "seed": 1,
        "train": str(folder / "train"),
        "validation": str(folder / "validation"),
        "cache": str(folder / "tokens"),
        "folder": str(folder / "one"),
        "answer": str(folder / "answer.json"),
        "until": 1,
        "objective": objective,
        "device": "cpu",
        "models": {},
        "trust": None,
    }
    done = process.attempt(stage.WORKER, task, folder / "one", seconds=600, tick=lambda _: None)
    assert done.exit_code == 0, done.last_words
    assert done.answer is not None
    return done.answer


@pytest.mark.parametrize("metric", ["correct", "corect"])
def test_an_evals_metric_may_decide(tmp_path, monkeypatch, metric):
    """One candidate judged by its answers; a metric there is not is named."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    quiz = tmp_path / "quiz.jsonl"
    quiz.write_text(json.dumps({"question": "What is two and two?", "answer": "4"}) + "\n", encoding="utf-8")
    objective = {"eval": "answer_match", "metric": metric, "settings": {"paths": [str(quiz)]}, "best": "highest"}
    answer = taken(tmp_path, "sft", "lora", [said(n) for n in range(10)], objective)
    if metric == "correct":
        assert (answer["step"], answer["quality"]) in ((1, 0.0), (1, 1.0))
    else:
        assert answer["error"] == "BadInput"
        assert "no such metric" in answer["reason"]


@pytest.mark.parametrize(
    ("method", "tune", "name", "metric"),
    [
        ("process_reward", "lora", "step_accuracy", "auc"),
        ("process_reward", "full", "step_accuracy", "step_accuracy"),
        ("reward_model", "lora", "preference_accuracy", "accuracy"),
    ],
)
def test_models_that_score_are_chosen_by_evals_of_scores(tmp_path, monkeypatch, method, tune, name, metric):
    """The eval is handed a model that scores, not one that writes: something is scored at all."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    objective = {"eval": name, "metric": metric, "settings": {}, "best": "highest"}
    rows = [judged(n) if method == "process_reward" else better(n) for n in range(10)]
    answer = taken(tmp_path, method, tune, rows, objective)
    assert "error" not in answer, answer
    assert answer["step"] == 1
    assert 0 <= answer["quality"] <= 1


def judged(n: int) -> Record:
    """An answer of two steps, the second wrong."""
    content = answered(f"What is {n}?", f"It is {n}.\n\nIt is {n + 1}.").content
    return Record(content=content, extra=json.dumps({"labels": [True, False]}))


def better(n: int) -> Record:
    return compared(f"What is {n}?", f"It is {n}.", f"It is {n + 1}.")


def said(n: int) -> Record:
    return answered(f"What is {n}?", f"It is {n}.")


def test_a_misspelt_key_stops_it_at_once(released, tmp_path):
    text = (released / "recipe.yaml").read_text().replace("min_steps", "min_step")
    (tmp_path / "recipe.yaml").write_text(text)
    with pytest.raises(BadInput, match="min_step") as error:
        CliRunner().invoke(cli, ["sweep", str(tmp_path / "recipe.yaml")], catch_exceptions=False)
    assert "did you mean 'min_steps'" in str(error.value)


# ---- the order of things, with a stand-in for the processes ----------------------------------------------------------

Answering = Callable[[dict[str, Any]], dict[str, Any] | None]


def stand_in(monkeypatch: pytest.MonkeyPatch, answer: Answering, took: float = 10.0) -> list[dict[str, Any]]:
    """Attempts that take `took` seconds each, or are told to stop where there is less; the tasks they got."""
    tasks: list[dict[str, Any]] = []

    def attempt(_module: str, task: dict[str, Any], _folder: Path, *, seconds: float, tick: object) -> Attempt:
        tasks.append(task)
        if seconds < took:
            return Attempt(None, -2, seconds, True, "")
        found = answer(task)
        return Attempt(found, 0 if found is not None else -9, took, False, "")

    monkeypatch.setattr(stage, "attempt", attempt)
    return tasks


def by_rate(task: dict[str, Any]) -> dict[str, Any]:
    quality = abs(task["settings"]["learning_rate"] - 1e-4) + 1 / task["until"]
    facts = {"step": task["until"], "train_seconds": 1.0, "trained_steps": 2, "cpu_seconds": 1.0, "memory": 1000}
    return {"quality": quality, **facts}


def swept(folder: Path, *, train: dict[str, Any] | None = None, **sweep: Any) -> Any:
    recipe, _ = pipeline.read_recipe(folder / "recipe.yaml")
    wish = {"tune": ["full"], "full_learning_rate": [1e-2, 1e-3, 1e-4, 1e-5], "min_steps": 2, **sweep}
    document = {**recipe.model_dump(mode="json", exclude_none=True), "sweep": wish}
    if train is not None:
        document["train"] = [train]
    with opened(folder) as ws:
        return pipeline.try_settings(ws, type(recipe).model_validate(document), folder, from_release="boxes")


def test_a_budget_ends_it_with_what_is_known_and_more_goes_on(released, monkeypatch):
    tasks = stand_in(monkeypatch, by_rate)
    short = swept(released, budget={"hours": 35 / 3600})
    assert short.ended == "out of budget"
    assert len(tasks) == 4
    assert short.seconds == pytest.approx(35)
    assert short.best.candidate.learning_rate == 1e-4
    assert [row.reason for row in short.rows].count("not tried") == 1
    longer = swept(released, budget={"hours": 1})
    assert longer.ended == "done"
    assert len(tasks) == 4 + 1 + 2  # the one that was stopped, and the second rung
    assert longer.best.candidate.learning_rate == 1e-4
    assert longer.best.steps == 4
    assert len({task["settings"]["learning_rate"] for task in tasks if task["until"] == 4}) == 2


def test_no_budget_at_all_is_no_result(released, monkeypatch):
    stand_in(monkeypatch, by_rate)
    nothing = swept(released, budget={"hours": 1 / 3600}, weight_decay=[0.5])
    assert nothing.ended == "out of budget"
    assert nothing.best is None
    recipe, _ = pipeline.read_recipe(released / "recipe.yaml")
    with pytest.raises(BadInput, match="no candidate was measured"):
        stage.write_recipe(recipe, nothing, released / "none.yaml", released)


def test_what_is_killed_is_a_result_and_a_full_disk_is_not(released, monkeypatch):
    stand_in(monkeypatch, lambda task: None if task["settings"]["learning_rate"] == 1e-4 else by_rate(task))
    found = swept(released, weight_decay=[0.25])
    assert found.ended == "done"
    assert "killed (signal 9)" in next(row.reason for row in found.rows if row.candidate.learning_rate == 1e-4)
    assert found.best.candidate.learning_rate == 1e-5
    stand_in(monkeypatch, lambda _: {"error": "Unavailable", "reason": "the disk is full", "memory": 1})
    with pytest.raises(Unavailable, match="disk is full"):
        swept(released, weight_decay=[0.125])


def test_all_failing_is_told(released, monkeypatch):
    stand_in(monkeypatch, lambda _: {"error": "Diverged", "reason": "nan", "memory": 1, "cpu_seconds": 1.0})
    found = swept(released, weight_decay=[0.75])
    assert (found.ended, found.best) == ("nothing trained", None)


def test_the_recipes_own_test_may_not_choose(released, tmp_path):
    quiz = tmp_path / "quiz.jsonl"
    quiz.write_text("{}\n")
    tests = [pipeline.examine.EvalEntry(eval="answer_match", settings={"paths": [str(quiz)]})]
    same = stage.SweepObjective(eval="answer_match", metric="correct", settings={"paths": [str(quiz)]})
    with pytest.raises(BadInput, match="own test"):
        stage.require_untested(same, tests)
    stage.require_untested(same, [])
    stage.require_untested("validation_loss", tests)


# ---- processes -----------------------------------------------------------------------------------------------------

WORKER = """
import json, os, sys, time
from goldsmith.engines.sweeping.process import peak_bytes, read_task
task = read_task()
open(task["pid"], "w").write(str(os.getpid()))
if task["sleep"]:
    time.sleep(100)
held = bytearray(64 * 2**20)
open(task["answer"], "w").write(json.dumps({"peak": peak_bytes()}))
"""


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[bool, float], Attempt]:
    (tmp_path / "sleeping_worker.py").write_text(WORKER)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")

    def start(sleep: bool, seconds: float) -> Attempt:
        task = {"answer": str(tmp_path / "answer.json"), "pid": str(tmp_path / "pid"), "sleep": sleep}
        return process.attempt("sleeping_worker", task, tmp_path / "out", seconds=seconds, tick=lambda _: None)

    return start


def test_memory_is_the_processs_own(worker):
    held = bytearray(400 * 2**20)  # of the parent: no part of it
    held[::4096] = b"x" * len(held[::4096])
    done = worker(False, 100)
    assert done.exit_code == 0
    assert done.answer is not None
    assert 64 * 2**20 <= done.answer["peak"] < 300 * 2**20


def test_out_of_time_it_is_told_to_stop(worker):
    done = worker(True, 3.0)
    assert done.told
    assert done.answer is None
    assert done.exit_code != 0


def test_a_process_ends_with_its_parent(tmp_path, worker):
    code = (
        "from pathlib import Path; from goldsmith.engines.sweeping.process import attempt\n"
        f"task = {{'answer': {str(tmp_path / 'a')!r}, 'pid': {str(tmp_path / 'pid')!r}, 'sleep': True}}\n"
        f"attempt('sleeping_worker', task, Path({str(tmp_path / 'out')!r}), seconds=90, tick=lambda _: None)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code])
    pid = tmp_path / "pid"
    while not (pid.is_file() and pid.read_text()):
        assert parent.poll() is None
        time.sleep(0.1)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    child = int(pid.read_text())
    for _ in range(600):
        if _gone(child):
            return
        time.sleep(0.1)
    os.kill(child, signal.SIGKILL)
    pytest.fail("the process outlived its parent")


def _gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


# ---- what a whole run is given beside its rows ----------------------------------------------------------------------


def grpo(model: str) -> dict[str, Any]:
    rewards = [{"reward": "length"}, {"reward": "reward_model", "settings": {"model": model}}]
    few = {"group_size": 2, "batch_size": 2, "max_new_tokens": 4, "max_steps": 4}
    return {"method": "grpo", "settings": {"rewards": rewards, **few}}


def test_a_model_named_by_digest_reaches_every_candidate_as_its_folder(released, monkeypatch):
    with opened(released) as ws:
        digest = train_stage.register_base(ws, "goldsmith-nano")[0]
    tasks = stand_in(monkeypatch, by_rate)
    swept(released, train=grpo(digest))
    assert tasks
    for task in tasks:
        folder = task["models"][digest]
        assert (Path(folder) / "config.json").is_file()
        # As the worker builds it: without the folder a digest is refused.
        plugins.build("methods", task["method"], task["settings"], hand=handing(task["models"]))
        with pytest.raises(BadInput, match="only be found in a workspace"):
            plugins.build("methods", task["method"], task["settings"], hand=handing({}))


def test_a_digest_that_is_not_there_is_told_before_any_candidate(released, monkeypatch):
    tasks = stand_in(monkeypatch, by_rate)
    with pytest.raises(GoldsmithError):
        swept(released, train=grpo("sha256:" + "0" * 64))
    assert not tasks


def test_rows_are_weighted_by_trust_as_in_a_whole_run(released, monkeypatch):
    """In real processes: with half the rows at a hundredth another model comes out than with all of them in full."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with opened(released) as ws:
        everything = list(records_of(ws, pipeline.find_release(ws, "boxes")[1]))
    halved = {records.record_digest(one): 0.01 for one in everything[::2]}
    monkeypatch.setattr(pipeline, "trust_of", lambda *_: halved)
    found = {}
    for weighting in (False, True):
        settings = {"max_steps": 2, "batch_size": 8, "trust_weighting": weighting, "lowest_weight": 0.01}
        result = swept(released, train={"method": "sft", "settings": settings}, full_learning_rate=[1e-3])
        (row,) = result.rows
        assert row.quality is not None, row.reason
        found[weighting] = row.quality
    assert abs(found[True] - found[False]) > 1e-4
