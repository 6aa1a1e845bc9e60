"""`goldsmith verify` on the workspace that `goldsmith run` makes: no byte of what it says it covers can be changed."""

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from goldsmith.trust.verify import verify

CHANCE = random.Random(11)


@pytest.fixture(scope="module")
def spoiled(straight: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A copy of a finished workspace with a decision in it, to spoil and to mend again."""
    desk = type(straight.desk)(tmp_path_factory.mktemp("spoiled") / "copy")
    shutil.copytree(straight.desk.folder, desk.folder, symlinks=True)
    done = desk.run("review", "reject", "--source", "bert", "--line", "3", "--reason", "a test")
    assert done.returncode == 0, done.stderr
    shutil.rmtree(desk.workspace / "scratch")
    return desk


def covered(workspace: Path) -> list[Path]:
    return sorted(p for p in workspace.rglob("*") if p.is_file() and "scratch" not in p.relative_to(workspace).parts)


def test_it_says_what_it_covers_and_that_is_every_file(spoiled):
    report = spoiled.json("verify", ".goldsmith", "--json")
    files = covered(spoiled.workspace)
    assert report["counts"]["files"] == len(files)
    assert report["counts"]["bytes"] == sum(path.stat().st_size for path in files)
    assert report["counts"]["objects"] == sum("store" in path.parts for path in files)
    assert report["counts"]["review statements"] == 1
    assert report["standing"] == "self-consistent only"
    words = spoiled.run("verify", ".goldsmith").stdout
    assert f"{len(files)} files" in words
    assert "not checked: whether this is the right trust root" in words


def test_with_both_pins_from_outside_it_is_verified(spoiled):
    checkpoint = spoiled.folder / "checkpoint.txt"
    shutil.copy(spoiled.workspace / "ledger" / "checkpoint", checkpoint)
    root = spoiled.json("verify", ".goldsmith", "--json")["root_fingerprint"]
    pins = ("--root", root, "--checkpoint", str(checkpoint))
    assert spoiled.json("verify", ".goldsmith", "--json", *pins)["standing"] == "verified"
    for half in (pins[:2], pins[2:]):
        assert spoiled.json("verify", ".goldsmith", "--json", *half)["standing"] == "self-consistent only"


def assert_named(workspace: Path, path: Path) -> None:
    report = verify(workspace)
    place = path.relative_to(workspace).as_posix()
    names = {place, "sha256:" + place[6:].replace("/", "")}
    assert report.standing == "failed", place
    assert names & {problem.object for problem in report.problems}, str(report)


def test_a_changed_byte_in_any_file_is_named(spoiled):
    """One byte at a random place of every single file, one after another."""
    for path in covered(spoiled.workspace):
        right = path.read_bytes()
        if not right:
            continue
        wrong = bytearray(right)
        wrong[CHANCE.randrange(len(right))] ^= 1 << CHANCE.randrange(8)
        path.chmod(0o644)
        path.write_bytes(wrong)
        assert_named(spoiled.workspace, path)
        path.write_bytes(right)
    assert verify(spoiled.workspace).ok


def test_the_command_names_it_and_says_so_with_its_exit_code(spoiled):
    path = CHANCE.choice([p for p in covered(spoiled.workspace) if "store" in p.parts and p.stat().st_size])
    right = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(right[:-1] + bytes([right[-1] ^ 1]))
    done = spoiled.run("verify", ".goldsmith", "--json")
    path.write_bytes(right)
    assert done.returncode == 5
    (problem, *_) = json.loads(done.stdout)["problems"]
    assert path.name in problem["object"]
    assert path.name in done.stderr


@pytest.mark.parametrize("place", ["extra", "store/00/extra", "ledger/entries/99999999.json", "store/zz/" + "0" * 62])
def test_an_added_file_is_named(spoiled, place):
    path = spoiled.workspace / place
    made = [parent for parent in path.parents if not parent.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    try:
        report = verify(spoiled.workspace)
        named = {problem.object for problem in report.problems}
        assert named & {place, *(parent.relative_to(spoiled.workspace).as_posix() for parent in made)}, str(report)
    finally:
        path.unlink()
        for parent in made:
            parent.rmdir()
    assert verify(spoiled.workspace).ok
