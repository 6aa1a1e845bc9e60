"""CONTRIBUTING.md, walked through as a newcomer does: each file written where it says, each proof run as it says."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from goldsmith import plugins
from goldsmith.engines.reading.read import read
from goldsmith.types.check import CheckContext

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def section(thing: str) -> str:
    """The page's part on adding `thing`."""
    found = re.search(rf"## Add {thing} in three steps\n(.*?)\n## ", TEXT, re.DOTALL)
    assert found is not None
    return found[1]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the repository to write into, without its large files, which are linked."""
    folder = tmp_path / "goldsmith"
    folder.mkdir()
    for name in ("src", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.safetensors"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    weights = Path("src", "goldsmith", "nano", "model", "model.safetensors")
    (folder / weights).symlink_to(ROOT / weights)
    return folder


def run(checkout: Path, command: str) -> subprocess.CompletedProcess[str]:
    """A command of the page, with this environment's Python for `.venv/bin/python`."""
    words = [sys.executable if word == ".venv/bin/python" else word for word in shlex.split(command)]
    environment = {**os.environ, "PYTHONPATH": str(checkout / "src"), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        words, cwd=checkout, env=environment, capture_output=True, text=True, timeout=280, check=False
    )


@pytest.mark.parametrize(
    ("thing", "kind", "name"),
    [
        ("a check", "checks", "shouting"),
        ("an eval", "evals", "one_sentence"),
        ("a training method", "methods", "unsure"),
    ],
)
def test_three_steps(checkout: Path, thing: str, kind: str, name: str):
    text = section(thing)
    blocks = [re.sub(r"(?m)^ {3}", "", block) for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL)]
    places = re.findall(r"`((?:src|tests)/\S+\.py)`", text)
    assert places[0] == f"src/goldsmith/{kind}/{name}.py"
    for place, block in zip(dict.fromkeys(places), blocks, strict=True):
        assert not (checkout / place).exists()
        (checkout / place).write_text(block, encoding="utf-8")
    proof = re.search(r"`(\.venv/bin/python -m pytest [^`]*)`", text)
    assert proof is not None
    done = run(checkout, f"{proof[1]} -v")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert re.search(r"[1-9]\d* passed", done.stdout)
    listed = run(checkout, f"{sys.executable} -m goldsmith.cli.main show capabilities {kind}")
    assert name in listed.stdout


def test_the_example_check_works_as_a_third_partys_module_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    block = re.search(r"```python\n(.*?)```", section("a check"), re.DOTALL)
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


@pytest.mark.parametrize("thing", ["a check", "an eval", "a training method"])
def test_a_no_op_fails_its_proof(checkout: Path, thing: str):
    """The proofs that the page tells to run are no formality."""
    spoil = {
        "a check": ("checks/shouting.py", "a.isupper()", "a.islower()", "tests/contracts -k shouting"),
        "an eval": ("evals/one_sentence.py", "float(short)", "1.0", "tests/contracts -k one_sentence"),
        "a training method": (
            "methods/unsure.py",
            "optimizer.step()",
            "optimizer.clip()",
            "tests/methods/test_unsure.py",
        ),
    }
    file, right, wrong, proof = spoil[thing]
    text = section(thing)
    blocks = [re.sub(r"(?m)^ {3}", "", block) for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL)]
    places = dict.fromkeys(re.findall(r"`((?:src|tests)/\S+\.py)`", text))
    for place, block in zip(places, blocks, strict=True):
        (checkout / place).write_text(block, encoding="utf-8")
    target = checkout / "src" / "goldsmith" / file
    assert right in target.read_text(encoding="utf-8")
    target.write_text(target.read_text(encoding="utf-8").replace(right, wrong), encoding="utf-8")
    assert run(checkout, f".venv/bin/python -m pytest {proof}").returncode == 1
