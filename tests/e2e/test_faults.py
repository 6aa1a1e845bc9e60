"""What happens to `goldsmith run` when it is killed, interrupted or out of disk at any stage: nothing is lost, nothing
is half-written, and the same command again gives the same model as a run that nothing happened to."""

import json
import re
import shutil
import signal
import subprocess
import urllib.request
from typing import Any

import pytest

from goldsmith.trust.verify import verify

STAGES = ("collect", "check", "release", "train", "examine", "promote", "report")
RUN = ("run", "recipe.yaml", "--report", "report.html", "--json")


def plan(straight: Any, stage: str, share: float, do: str) -> dict[str, Any]:
    """A fault in the middle of a stage: at `share` of the file operations that a straight run does there."""
    where = f"stages/{stage}.py"
    return {"where": where, "at": max(1, int(share * straight.operations[where])), "do": do}


def assert_goes_on(desk: Any, straight: Any, before: dict[str, bytes]) -> None:
    """The same command again ends as if nothing had happened, and what was stated before still stands."""
    again = desk.run(*RUN)
    assert again.returncode == 0, again.stderr
    facts = json.loads(again.stdout)
    for kind in ("models", "release", "collections", "examination"):
        assert facts[kind] == straight.facts[kind], kind
    assert facts["verdict"] == "pass"
    assert (desk.folder / "report.html").exists()
    after = desk.entries()
    assert {name: after[name] for name in before} == before
    report = verify(desk.workspace)
    assert report.ok, str(report)
    assert desk.half_written() == []


def test_the_same_recipe_and_seed_give_the_same_model_digest(straight, desk):
    facts = desk.json(*RUN)
    again = desk.json(*RUN)
    assert facts["models"] == again["models"] == straight.facts["models"]
    assert facts["weights"] == again["weights"] == straight.facts["weights"]


def test_every_stage_touches_files(straight):
    """Otherwise no fault below would be where it is meant to be."""
    counts = [straight.operations.get(f"stages/{stage}.py", 0) for stage in STAGES]
    assert min(counts) >= 10, straight.operations


@pytest.mark.parametrize("stage", STAGES)
def test_killed_in_the_middle_of_a_stage(desk, straight, stage):
    killed = desk.run(*RUN, fault=plan(straight, stage, 0.5, "kill"))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert (desk.folder / "report.html").exists() is False
    assert_goes_on(desk, straight, desk.entries())


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.05, 0.9])
@pytest.mark.parametrize("stage", STAGES)
def test_killed_early_and_late_in_a_stage(desk, straight, stage, share):
    killed = desk.run(*RUN, fault=plan(straight, stage, share, "kill"))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert_goes_on(desk, straight, desk.entries())


@pytest.mark.slow
def test_killed_at_every_stage_in_turn(desk, straight):
    """One workspace, one kill after another: each run gets as far as the next stage."""
    for stage in STAGES:
        killed = desk.run(*RUN, fault=plan(straight, stage, 0.6, "kill"))
        assert killed.returncode == -signal.SIGKILL, (stage, killed.stderr)
    assert_goes_on(desk, straight, desk.entries())


@pytest.mark.parametrize("operation", [1, 3])
def test_killed_twice_while_the_metrics_are_taken_up_again(desk, straight, operation):
    """The log of a run is evidence, so what the first attempt measured must not be lost by the second."""
    for fault in (
        {"where": "training/checkpointing/checkpoints.py:write", "at": 24, "do": "kill"},
        {"where": "training/journal.py:__init__", "at": operation, "do": "kill"},
    ):
        killed = desk.run(*RUN, fault=fault)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert_goes_on(desk, straight, desk.entries())


def assert_whole(desk: Any) -> None:
    """A run that ended by its own doing leaves nothing half-written, and evidence that holds at once."""
    assert desk.half_written() == []
    report = verify(desk.workspace)
    assert report.ok, str(report)


QUICK = ("collect", "train", "report")


def each(stages: tuple[str, ...], quick: tuple[str, ...]) -> list[Any]:
    """The stages as parameters; those that are not `quick` run in `make test-slow`."""
    return [pytest.param(one, marks=() if one in quick else pytest.mark.slow) for one in stages]


@pytest.mark.parametrize("stage", each(STAGES, QUICK))
def test_ctrl_c_says_so_and_leaves_a_workspace_that_continues(desk, straight, stage):
    stopped = desk.run(*RUN, fault=plan(straight, stage, 0.5, "interrupt"))
    assert stopped.returncode == 130, stopped.stderr
    assert stopped.stderr.splitlines()[-1] == "interrupted"
    assert "Traceback" not in stopped.stderr
    assert_whole(desk)
    assert_goes_on(desk, straight, desk.entries())


WRITING = tuple(stage for stage in STAGES if stage != "check")
"""The check stage of a run writes nothing: its findings are the release's."""


@pytest.mark.parametrize("stage", each(WRITING, QUICK))
def test_a_full_disk_is_said_and_nothing_is_half_written(desk, straight, stage):
    full = desk.run(*RUN, fault=plan(straight, stage, 0.2, "full"))
    assert_says_full(full)
    assert (desk.folder / "report.html").exists() is False
    assert_whole(desk)
    assert_goes_on(desk, straight, desk.entries())


def assert_says_full(done: Any) -> None:
    """Exit code 4, and what, where and what next, on stderr and as JSON."""
    assert done.returncode == 4, done.stderr
    assert "Traceback" not in done.stderr
    error = json.loads(done.stdout)["error"]
    assert "disk is full" in error["what"]
    assert error["where"] in done.stderr
    assert "free some space" in error["next"]


def test_a_full_disk_while_scores_are_written(desk):
    fault = {"where": "cli/check.py", "at": 1, "do": "full"}
    full = desk.run("check", "anna.jsonl", "--scores", "scores.parquet", "--json", fault=fault)
    assert_says_full(full)
    assert not list(desk.folder.glob("scores.parquet*"))
    again = desk.run("check", "anna.jsonl", "--scores", "scores.parquet", "--json")
    assert again.returncode == 0, again.stderr
    assert (desk.folder / "scores.parquet").stat().st_size > 500


def test_on_a_real_full_disk(desk, straight, tmp_path):
    """A file system that has room for the data and half a model."""
    mount = tmp_path / "small"
    mount.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", str(mount)], capture_output=True).returncode:
        pytest.skip("mounting a file system is not allowed here")
    try:
        shutil.copytree(desk.folder, mount / "copy", symlinks=True)
        small = type(desk)(mount / "copy")
        assert_says_full(small.run(*RUN))
        stated = small.entries()
        assert_whole(small)
        subprocess.run(["mount", "-o", "remount,size=400m", str(mount)], check=True)
        assert_goes_on(small, straight, stated)
    finally:
        subprocess.run(["umount", str(mount)], check=True)


def started(desk: Any, **more: Any) -> tuple[Any, str]:
    """A server of the model, and where it listens."""
    server = desk.start("serve", "boxes", "--port", "0", **more)
    address = next((m[0] for line in server.stderr if (m := re.search(r"http://\S+/v1", line))), "")
    return server, address


def test_killed_while_it_serves(straight, tmp_path):
    """In the middle of laying the model out, and in the middle of an answer: the next server serves the same model."""
    desk = type(straight.desk)(tmp_path / "copy")
    shutil.copytree(straight.desk.folder, desk.folder, symlinks=True)
    shutil.rmtree(desk.workspace / "scratch" / "models")
    killed, _ = started(desk, fault={"where": "model_files.py:lay_out", "at": 12, "do": "kill"})
    assert killed.wait(60) == -signal.SIGKILL
    killed.communicate()
    before = desk.entries()
    for _ in range(2):
        server, address = started(desk)
        body = {"model": "boxes", "messages": [{"role": "user", "content": "Hello?"}], "stream": True, "max_tokens": 64}
        request = urllib.request.Request(
            f"{address}/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            assert answer.headers["x-goldsmith-model"] == straight.facts["models"][-1]
            assert answer.readline().startswith(b"data: ")
            server.kill()
        server.communicate()
    assert desk.entries() == before
    assert verify(desk.workspace).ok


def test_a_full_disk_while_a_model_is_laid_out_to_serve(straight, tmp_path):
    desk = type(straight.desk)(tmp_path / "copy")
    shutil.copytree(straight.desk.folder, desk.folder, symlinks=True)
    shutil.rmtree(desk.workspace / "scratch" / "models")
    full = desk.run("serve", "boxes", "--port", "0", fault={"where": "stages/serve.py", "at": 1, "do": "full"})
    assert full.returncode == 4, full.stderr
    assert "disk is full" in full.stderr
    assert "free some space" in full.stderr
    assert not list((desk.workspace / "scratch" / "models").rglob("*.partial"))
    assert_whole(desk)
