"""A killed check is taken up where it was; damaged parts are made again; a full disk is said."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from goldsmith.engines.dataflow import intake, scratch
from goldsmith.engines.dataflow.engine import Local
from goldsmith.engines.dataflow.intake import Intake, Job
from goldsmith.engines.reading.read import read
from goldsmith.engines.screening import screen
from goldsmith.engines.text.features import MapsRows
from goldsmith.types.errors import BadInput, Unavailable

SOURCE = str(Path(__file__).parents[3] / "src")


class Counting:
    """A local engine that counts what it maps, and stops after `most`."""

    def __init__(self, most: int = 10**9) -> None:
        self.mapped, self.most = 0, most

    def map(self, function: Any, shared: Job, tasks: Any) -> Any:
        for task in tasks:
            if self.mapped == self.most:
                raise KeyboardInterrupt
            self.mapped += 1
            yield function(shared, task)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "PIECE_BYTES", 20_000)


def quick(battery: Any) -> list[Any]:
    """The checks with a map side: what is resumed is theirs."""
    return [check for check in battery.checks if isinstance(check, MapsRows)]


def take(battery: Any, path: Path, folder: Path, engine: Any) -> tuple[dict[str, Any], Intake, Any]:
    took = Intake(read(path, battery.formats), quick(battery), battery.context, engine=engine, scratch=folder,
                  on_disk=True)  # fmt: skip
    rows = took.rows()
    return battery.said(screen(rows, quick(battery), battery.context), rows), took, rows


def parts_in(folder: Path) -> list[Path]:
    return sorted(folder.glob("*/*.part"))


def test_an_interrupted_run_is_taken_up(battery: Any, tmp_path: Path) -> None:
    path = battery.write(tmp_path / "rows.jsonl")
    straight = Counting()
    expected, _, _ = take(battery, path, tmp_path / "straight", straight)
    assert straight.mapped > 6
    cut = Counting(most=4)
    with pytest.raises(KeyboardInterrupt):
        take(battery, path, tmp_path / "cut", cut)
    assert len(parts_in(tmp_path / "cut")) == 4
    left = {part.name: part.stat().st_mtime_ns for part in parts_in(tmp_path / "cut")}
    again = Counting()
    found, took, rows = take(battery, path, tmp_path / "cut", again)
    assert again.mapped == straight.mapped - 4
    assert found == expected
    kept = {part.name: part.stat().st_mtime_ns for part in parts_in(tmp_path / "cut")}
    assert left.items() <= kept.items()
    took.done(rows)
    del rows, took
    assert not parts_in(tmp_path / "cut")


def test_a_damaged_part_is_made_again(battery: Any, tmp_path: Path) -> None:
    path = battery.write(tmp_path / "rows.jsonl")
    expected, took, rows = take(battery, path, tmp_path / "scratch", Counting())
    del took, rows
    for number, spoil in enumerate((lambda d: d[:-1] + bytes([d[-1] ^ 1]), lambda d: d[: len(d) // 2], lambda d: b"")):
        for kind in ("part", "features"):
            victim = sorted((tmp_path / "scratch").glob(f"*/*.{kind}"))[number]
            victim.write_bytes(spoil(victim.read_bytes()))
    again = Counting()
    found, _, _ = take(battery, path, tmp_path / "scratch", again)
    assert 3 <= again.mapped <= 6
    assert found == expected


def test_other_settings_or_another_file_use_no_old_part(battery: Any, tmp_path: Path) -> None:
    path = battery.write(tmp_path / "rows.jsonl")
    first = Counting()
    take(battery, path, tmp_path / "scratch", first)
    changed = [c.model_copy(update={"truncated_from": 50}) if c.id == "well_formed" else c for c in quick(battery)]
    again = Counting()
    Intake(read(path, battery.formats), changed, battery.context, engine=again, scratch=tmp_path / "scratch",
           on_disk=True).rows()  # fmt: skip
    assert again.mapped == first.mapped
    text = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(text[:-1]), encoding="utf-8")
    shorter = Counting()
    take(battery, path, tmp_path / "other", shorter)
    grown = Counting()
    path.write_text("".join(text), encoding="utf-8")
    take(battery, path, tmp_path / "other", grown)
    assert grown.mapped < shorter.mapped


def test_two_runs_at_once_do_not_meet(battery: Any, tmp_path: Path) -> None:
    path = battery.write(tmp_path / "rows.jsonl")
    one, _, _rows = take(battery, path, tmp_path / "scratch", Counting())
    other = Counting()
    two, _, _ = take(battery, path, tmp_path / "scratch", other)
    assert other.mapped > 0
    assert one == two


def test_a_full_disk_is_said(battery: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = battery.write(tmp_path / "rows.jsonl")
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8000, old[1]))
    try:
        with pytest.raises(Unavailable, match="the disk is full") as caught:
            take(battery, path, tmp_path / "scratch", Local())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)
    assert caught.value.exit_code == 4
    assert not list((tmp_path / "scratch").glob("*/*.partial"))


def test_a_spoilt_file_leaves_nothing_lying(battery: Any, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"text": "a row of plain text that is not short"}\n' * 2000 + b'{"text": "\xff"}\n')
    engine = Counting()
    with pytest.raises(BadInput, match="line 2001"):
        take(battery, path, tmp_path / "scratch", engine)
    assert engine.mapped > 2
    assert not list((tmp_path / "scratch").iterdir())


def test_what_was_abandoned_is_swept(tmp_path: Path) -> None:
    held = scratch.Scratch(tmp_path, "held")
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "lock").touch()
    week_ago = time.time() - 8 * 24 * 3600
    for name in ("old", "held"):
        os.utime(tmp_path / name / "lock", (week_ago, week_ago))
    scratch.Scratch(tmp_path, "mine").remove()
    assert sorted(one.name for one in tmp_path.iterdir()) == ["held", "new"]
    held.remove()


SLOW_CHECK = """
import time
from goldsmith.engines.dataflow import intake
intake.PIECE_BYTES, intake.ON_DISK_FROM_BYTES = 20_000, 0
real = intake.map_piece
def slowly(job, piece):
    time.sleep(SLEEP)
    return real(job, piece)
intake.map_piece = slowly
from goldsmith.cli.main import main
main()
"""


@pytest.mark.timeout(280)
def test_kill_and_check_again_on_the_command_line(battery: Any, tmp_path: Path) -> None:
    path = battery.write(tmp_path / "rows.jsonl")

    off = [word for check in battery.checks if not isinstance(check, MapsRows) for word in ("--off", check.id)]

    def command(folder: str, sleep: float) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-c", SLOW_CHECK.replace("SLEEP", str(sleep)),
             "check", str(path), *off, "--json", "--scores", str(tmp_path / f"{folder}.parquet"),
             "--scratch", str(tmp_path / folder)],
            env={**os.environ, "PYTHONPATH": SOURCE}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    straight = command("straight", 0)
    said, _ = straight.communicate(timeout=200)
    killed = command("killed", 1.0)
    until = time.monotonic() + 100
    while len(parts_in(tmp_path / "killed")) < 3 and time.monotonic() < until:
        time.sleep(0.05)
    killed.kill()
    killed.communicate()
    left = {part.name: part.stat().st_mtime_ns for part in parts_in(tmp_path / "killed")}
    assert len(left) >= 3
    again = command("killed", 0)
    found, remarks = again.communicate(timeout=200)
    assert found == said
    assert json.loads(found)["findings"]
    assert again.returncode == straight.returncode
    assert straight.returncode in (0, 1)  # by what the checks with a map side say of the rows
    assert (tmp_path / "killed.parquet").read_bytes() == (tmp_path / "straight.parquet").read_bytes()
    assert b"its parts are used again" in remarks
    assert not parts_in(tmp_path / "killed")
