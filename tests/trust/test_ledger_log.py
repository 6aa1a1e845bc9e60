"""The ledger: committed together or not at all, one writer, heads that are consistent, kills survived."""

import errno
import os
import shutil
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from goldsmith.trust import attest, canonical, merkle, note
from goldsmith.trust.ledger import Ledger, entry_name
from goldsmith.trust.workspace import Workspace
from goldsmith.types.errors import BadInput, Forged, GoldsmithError, Tampered, Unavailable

DIGEST = canonical.digest(b"thing")


def stated(ws: Workspace, number: int) -> bytes:
    return attest.sign(
        "admission", {"thing": DIGEST}, {"number": number}, ws.key_for("operator"), role="operator", self_attested=True
    )


def reopened(ws: Workspace, **more: Any) -> Ledger:
    return Ledger(ws.path / "ledger", scratch=ws.scratch, **more)


def add(ws: Workspace, *numbers: int) -> None:
    with ws.atomically():
        for number in numbers:
            ws.append(stated(ws, number))


def test_every_head_is_a_prefix_of_every_later_one(ws: Workspace) -> None:
    heads = [ws.checkpoint()]
    for batch in ([1], [2, 3, 4], [5]):
        add(ws, *batch)
        heads.append(ws.checkpoint())
    keys = ws.journal.operator_keys()
    checked = [note.verify(text, ws.info.origin, keys) for text in heads]
    assert [one.size for one in checked] == [2, 3, 6, 7]
    for old in checked:
        for new in checked:
            if old.size <= new.size:
                proof = ws.ledger.consistency(old.size, new.size)
                assert merkle.verify_consistency(old.size, new.size, proof, old.root, new.root)
        assert ws.ledger.root_at(old.size) == old.root
    last = checked[-1]
    for index, entry in enumerate(ws.ledger):
        assert merkle.verify_inclusion(merkle.leaf_hash(entry), index, last.size, ws.ledger.inclusion(index), last.root)
        assert (ws.path / "ledger" / "entries" / entry_name(index)).read_bytes() == entry
    assert ws.ledger.entry(0) == (ws.path / "trust-root.json").read_bytes()
    for wrong in (-1, 7):
        with pytest.raises(BadInput):
            ws.ledger.entry(wrong)


def test_an_error_inside_commits_nothing(ws: Workspace) -> None:
    before = ws.checkpoint()

    def change_of_mind() -> None:
        with ws.atomically():
            ws.append(stated(ws, 1))
            assert ws.ledger.size == 3
            assert ws.ledger.entry(2) == list(ws.ledger)[-1]
            raise RuntimeError("changed my mind")

    with pytest.raises(RuntimeError):
        change_of_mind()
    assert ws.ledger.size == 2
    assert ws.checkpoint() == before
    assert reopened(ws).size == 2


def test_an_empty_transaction_changes_nothing(ws: Workspace) -> None:
    before = ws.checkpoint()
    with ws.atomically(), ws.atomically():
        pass
    assert ws.checkpoint() == before


def test_only_what_the_trust_root_allows_is_appended(ws: Workspace, make: SimpleNamespace, tmp_path: Path) -> None:
    stranger = make.party(tmp_path / "strangers")
    foreign = attest.sign(
        "admission", {"thing": DIGEST}, {}, stranger.ring.get("operator"), role="operator", self_attested=True
    )
    with pytest.raises(Forged):
        ws.append(foreign)
    assert ws.ledger.size == 2
    with pytest.raises(BadInput, match="transaction"):
        ws.ledger.append(stated(ws, 1))


def test_a_second_writer_waits_or_gives_up(ws: Workspace) -> None:
    other = reopened(ws, lock_timeout_s=0.05)
    key = ws.key_for("operator")
    with ws.atomically():
        ws.append(stated(ws, 1))
        with pytest.raises(Unavailable, match="another process"), other.transaction(key):
            pytest.fail("two writers at once")
    with other.transaction(key):
        other.append(stated(ws, 2))
    assert other.size == 4
    ws.refresh()
    assert ws.ledger.size == 4


def test_a_waiting_writer_gets_its_turn(ws: Workspace) -> None:
    other, key, done = reopened(ws, lock_timeout_s=20), ws.key_for("operator"), threading.Event()

    def second() -> None:
        with other.transaction(key):
            other.append(stated(ws, 2))
        done.set()

    with ws.atomically():
        thread = threading.Thread(target=second)
        thread.start()
        assert not done.wait(0.1)
        ws.append(stated(ws, 1))
    thread.join(20)
    assert [one.predicate.get("number") for one in other.journal.statements[1:]] == [1, 2]


def test_a_ledger_that_another_opens_meanwhile_loses_nothing(ws: Workspace) -> None:
    """Opening puts aside what a killed writer left, but not what a live one is writing."""
    with ws.atomically():
        ws.append(stated(ws, 1))
        (ws.path / "ledger" / "entries" / entry_name(2)).write_bytes(b"being written")
        reopened(ws)
        assert (ws.path / "ledger" / "entries" / entry_name(2)).exists()
    assert reopened(ws).size == 3


@pytest.mark.parametrize("call", ["write", "fsync", "rename"])
def test_a_full_disk_commits_nothing(ws: Workspace, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    add(ws, 1)
    before = ws.checkpoint()
    real, left = getattr(os, call), 2

    def fail(*args: Any) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*args)

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(Unavailable, match="full"):
            add(ws, 2, 3, 4)
    assert ws.checkpoint() == before
    assert ws.ledger.size == 3
    assert reopened(ws).size == 3
    add(ws, 2, 3, 4)
    assert reopened(ws).size == 6


def test_leftovers_of_a_killed_writer_are_put_aside(ws: Workspace) -> None:
    add(ws, 1)
    entries = ws.path / "ledger" / "entries"
    (entries / entry_name(3)).write_bytes(stated(ws, 2))
    (entries / entry_name(4)).write_bytes(b"torn")
    ledger = reopened(ws)
    assert ledger.size == 3
    assert sorted(one.name for one in entries.iterdir()) == [entry_name(index) for index in range(3)]
    assert len(list((ws.scratch / "uncommitted").iterdir())) == 2


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: (folder / "entries" / entry_name(1)).unlink(),
        lambda folder: (folder / "entries" / entry_name(2)).write_bytes(b"{}"),
        lambda folder: (folder / "checkpoint").unlink(),
        lambda folder: (folder / "checkpoint").write_text("nonsense"),
        lambda folder: (folder / "checkpoint").write_bytes(b"\xff"),
        lambda folder: (folder / "checkpoint").write_text(
            (folder / "checkpoint").read_text().replace("\n3\n", "\n9\n")
        ),
        lambda folder: shutil.copy(folder / "entries" / entry_name(1), folder / "entries" / entry_name(2)),
    ],
)
def test_a_damaged_ledger_is_not_opened_and_nothing_is_deleted(ws: Workspace, spoil: Callable[[Path], Any]) -> None:
    add(ws, 1)
    spoil(ws.path / "ledger")
    present = sorted((ws.path / "ledger" / "entries").iterdir())
    with pytest.raises(Tampered):
        reopened(ws)
    assert sorted((ws.path / "ledger" / "entries").iterdir()) == present


def test_a_checkpoint_by_a_stranger_or_of_another_ledger_is_refused(
    ws: Workspace, make: SimpleNamespace, tmp_path: Path
) -> None:
    head, _ = note.parse(ws.checkpoint())
    path = ws.path / "ledger" / "checkpoint"
    path.write_text(note.sign(head, make.party(tmp_path / "strangers").ring.get("operator")))
    with pytest.raises(Forged, match="not signed"):
        reopened(ws)
    path.write_text(note.sign(note.Checkpoint("elsewhere", head.size, head.root), ws.key_for("operator")))
    with pytest.raises(Forged, match="another ledger"):
        reopened(ws)


def test_a_ledger_that_becomes_shorter_is_noticed(ws: Workspace) -> None:
    before = ws.checkpoint()
    add(ws, 1)
    (ws.path / "ledger" / "checkpoint").write_text(before)
    with pytest.raises(Tampered, match="shorter"):
        ws.refresh()


CALLS = ("write", "fsync", "rename", "open", "unlink")


def killed_at(step: int, work: Callable[[], None]) -> bool:
    """Run `work` in a child that is killed (SIGKILL) at its `step`-th file operation; whether it was."""
    child = os.fork()
    if child == 0:  # pragma: no cover - runs in the child
        count = 0

        def counted(real: Callable[..., Any]) -> Callable[..., Any]:
            def call(*args: Any, **kwargs: Any) -> Any:
                nonlocal count
                count += 1
                if count == step:
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*args, **kwargs)

            return call

        try:
            for name in CALLS:
                setattr(os, name, counted(getattr(os, name)))
            work()
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def test_killed_at_any_point_no_committed_entry_is_lost(ws: Workspace, tmp_path: Path) -> None:
    """Two commits (one of two entries) in a child killed at every single file operation in turn."""
    add(ws, 0)
    ws.close()
    step, killed, sizes = 1, True, set()
    while killed:
        folder = tmp_path / "again" / f"{step}"
        shutil.copytree(ws.path, folder)
        acknowledged = folder / "scratch" / "acknowledged"

        def work(folder: Path = folder, acknowledged: Path = acknowledged) -> None:
            held = Workspace(folder, ws.keys)
            for numbers in ([1, 2], [3]):
                add(held, *numbers)
                with open(acknowledged, "a") as stream:
                    stream.write(f"{held.ledger.size}\n")

        killed = killed_at(step, work)
        promised = int(acknowledged.read_text().split()[-1]) if acknowledged.exists() else 3
        with Workspace(folder, ws.keys) as held:
            assert held.ledger.size in (3, 5, 6)
            assert held.ledger.size >= promised
            numbers = [one.predicate["number"] for one in held.statements("admission")]
            assert numbers == list(range(held.ledger.size - 2))
            add(held, 9)
            sizes.add(held.ledger.size - 1)
        step += 1
    assert sizes == {3, 5, 6}


@pytest.mark.slow
def test_killed_at_random_times_in_a_process_of_its_own(ws: Workspace) -> None:
    """The same from outside: a writing process is killed after a random time, again and again."""
    import random
    import subprocess
    import sys
    import time

    code = (
        "import sys\n"
        "from goldsmith.trust.keys import KeyRing\n"
        "from goldsmith.trust.workspace import Workspace\n"
        "ws = Workspace(sys.argv[1], KeyRing(sys.argv[2]))\n"
        "while True:\n"
        "    digest = ws.store.put_bytes(str(ws.ledger.size).encode())\n"
        "    print(ws.attest('admission', {'thing': digest}, {}, role='operator').index, flush=True)\n"
    )
    source = Path(note.__file__).parents[2]
    chance, promised = random.Random(7), 1
    for _ in range(12):
        with subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", code, ws.path, ws.keys.folder],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(source)},
        ) as process:
            assert process.stdout is not None
            lines = [process.stdout.readline()]
            time.sleep(chance.random() * 0.5)
            process.kill()
            lines += process.stdout.read().splitlines()
        promised = max([promised, *(int(line) for line in lines if line.strip())])
        with Workspace(ws.path, ws.keys) as held:
            assert held.ledger.size > promised
            assert len(list(held.store.list())) >= held.ledger.size - 2
    assert promised > 12


def test_every_error_is_one_of_ours(ws: Workspace) -> None:
    (ws.path / "ledger" / "entries" / entry_name(1)).write_bytes(b"\xff")
    with pytest.raises(GoldsmithError):
        reopened(ws)
