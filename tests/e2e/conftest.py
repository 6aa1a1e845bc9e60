"""A small circle of two signed sources, run by the real command in a process of its own, with or without a fault."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

FAULTY = Path(__file__).with_name("faulty.py")
COLOURS = ("red", "blue", "green", "white", "black", "grey", "brown", "orange")
RECIPE = """\
name: boxes
seed: 3
sources:
- {name: anna, file: anna.jsonl, maker: human}
- {name: bert, file: bert.jsonl, maker: human}
train:
- {method: sft, settings: {max_steps: 4, batch_size: 4, learning_rate: 1e-4, checkpoint_every: 1}}
validation_share: 0.1
examine: [{eval: fit_gap, name: fit}]
promote: {rules: [{eval: fit, metric: gap, at_most: 5.0, min_items: 1}]}
"""
RUN = ("run", "recipe.yaml", "--report", "report.html", "--json")


def boxes(source: str, start: int) -> str:
    """24 rows in which a source says where things are."""
    lines = []
    for n in range(start, start + 24):
        question = f"{source} asks: what colour is box {n} of shelf {n * 7 % 31}?"
        answer = f"Box {n} is {COLOURS[n % 8]}, and it stands on shelf {n * 7 % 31}."
        turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        lines.append(json.dumps({"messages": turns}) + "\n")
    return "".join(lines)


@dataclass(frozen=True)
class Desk:
    """A folder with data, a recipe and a workspace, and the command to work on it with."""

    folder: Path

    @property
    def workspace(self) -> Path:
        return self.folder / ".goldsmith"

    def start(self, *arguments: str, fault: dict[str, Any] | None = None, **more: str) -> "subprocess.Popen[str]":
        """The command as a process; `fault` as in faulty.py."""
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1", **more}
        if fault is not None:
            environment["FAULT"] = json.dumps(fault)
        return subprocess.Popen(
            [sys.executable, str(FAULTY), *arguments],
            cwd=self.folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def run(self, *arguments: str, **more: Any) -> "subprocess.CompletedProcess[str]":
        """The command to its end."""
        with self.start(*arguments, **more) as process:
            out, err = process.communicate(timeout=240)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def json(self, *arguments: str) -> Any:
        """What the command prints as JSON; it must succeed."""
        done = self.run(*arguments)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def entries(self) -> dict[str, bytes]:
        """The ledger's committed entries by name."""
        head = (self.workspace / "ledger" / "checkpoint").read_text(encoding="utf-8").split("\n")
        names = [f"{number:08d}.json" for number in range(int(head[1]))]
        return {name: (self.workspace / "ledger" / "entries" / name).read_bytes() for name in names}

    def half_written(self) -> list[str]:
        """Temporary files outside the workspace's scratch folder, which nobody promises anything about."""
        names = [path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*")]
        return [name for name in names if re.search(r"\.partial|\.tmp|\.creating", name) and "/scratch/" not in name]


@dataclass(frozen=True)
class Straight:
    """A circle that ran through, and how many file operations each of its stages took."""

    desk: Desk
    facts: dict[str, Any]
    operations: dict[str, int]
    report: bytes


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """Two signed deliveries and a workspace that has not taken them in yet."""
    desk = Desk(tmp_path_factory.mktemp("template"))
    (desk.folder / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    desk.json("init", "--source", "anna", "--source", "bert", "--json")
    for number, source in enumerate(("anna", "bert")):
        (desk.folder / f"{source}.jsonl").write_text(boxes(source, 100 * number), encoding="utf-8")
        signed = desk.run("sign", f"{source}.jsonl", "--source", source, "--recipe", "recipe.yaml")
        assert signed.returncode == 0, signed.stderr
    return desk


@pytest.fixture(scope="session")
def new_desk(template: Desk, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Desk]:
    """A fresh copy of the template each time."""

    def make() -> Desk:
        folder = tmp_path_factory.mktemp("desk") / "copy"
        shutil.copytree(template.folder, folder, symlinks=True)
        return Desk(folder)

    return make


@pytest.fixture(scope="session")
def straight(new_desk: Callable[[], Desk]) -> Straight:
    """The circle without any fault."""
    desk = new_desk()
    count = desk.folder / "count.json"
    done = desk.run(*RUN, COUNT=str(count))
    assert done.returncode == 0, done.stderr
    report = (desk.folder / "report.html").read_bytes()
    return Straight(desk, json.loads(done.stdout), json.loads(count.read_text()), report)


@pytest.fixture
def desk(new_desk: Callable[[], Desk]) -> Desk:
    return new_desk()
