"""The store: every read is checked, every write is whole."""

import errno
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goldsmith.trust import canonical, durable
from goldsmith.trust.store import Store
from goldsmith.types.errors import BadInput, Tampered, Unavailable
from goldsmith.types.lineage import LeftOut, WeightFile

WORDS = b"some words to keep"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def test_put_and_get(store: Store, tmp_path: Path) -> None:
    digest = store.put_bytes(WORDS)
    assert digest == canonical.digest(WORDS)
    assert store.get_bytes(digest) == WORDS
    assert store.path(digest).read_bytes() == WORDS
    with store.open_file(digest) as stream:
        assert stream.read() == WORDS
    assert store.size(digest) == len(WORDS)
    file = tmp_path / "big"
    file.write_bytes(os.urandom(3 << 20))
    big = store.put_file(file)
    assert store.get_bytes(big) == file.read_bytes()
    assert list(store.list()) == sorted([digest, big])
    assert store.put_bytes(b"") in set(store.list())


def test_putting_twice_changes_nothing(store: Store) -> None:
    digest = store.put_bytes(WORDS)
    before = store.path(digest).stat()
    assert store.put_bytes(WORDS) == digest
    assert store.path(digest).stat().st_mtime_ns == before.st_mtime_ns


def test_artifacts(store: Store) -> None:
    value = WeightFile(path="model.safetensors", digest=canonical.digest(b""), size=3)
    digest = store.put_artifact(value)
    assert digest == canonical.artifact_digest(value)
    assert store.get_artifact(digest, WeightFile) == value
    with pytest.raises(BadInput, match="another kind") as caught:
        store.get_artifact(digest, LeftOut)
    assert caught.value.where == digest
    with pytest.raises(BadInput):
        store.get_artifact(store.put_bytes(b"not json"), WeightFile)


@pytest.mark.parametrize("path", ["../model.safetensors", "/etc/passwd", "a\\b", "..", "", "a/b.safetensors"])
def test_a_model_whose_file_leads_out_of_its_folder_is_not_read(store: Store, path: str) -> None:
    """As another's workspace may hold it: written by hand, whole, under its digest."""
    forged = WeightFile.model_construct(path=path, digest=canonical.digest(b""), size=0)
    with pytest.raises(BadInput, match="by its name alone"):
        store.get_artifact(store.put_bytes(canonical.artifact_bytes(forged)), WeightFile)


def readers(store: Store, digest: str) -> list[Callable[[], Any]]:
    return [
        lambda: store.get_bytes(digest),
        lambda: store.path(digest),
        lambda: store.open_file(digest),
        lambda: store.get_artifact(digest, WeightFile),
    ]


@settings(max_examples=40, derandomize=True, deadline=None)
@given(st.integers(0, len(WORDS) - 1), st.integers(1, 255))
def test_any_changed_byte_is_named_by_every_read(folder: Path, place: int, flip: int) -> None:
    store = Store(folder)
    digest = canonical.digest(WORDS)
    store.locate(digest).parent.mkdir(exist_ok=True)
    store.locate(digest).write_bytes(WORDS[:place] + bytes([WORDS[place] ^ flip]) + WORDS[place + 1 :])
    for read in (*readers(store, digest), lambda: store.put_bytes(WORDS)):
        with pytest.raises(Tampered) as caught:
            read()
        assert caught.value.where == digest


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("objects")


def test_absent_objects(store: Store, tmp_path: Path) -> None:
    digest = canonical.digest(b"absent")
    assert not store.has(digest)
    for read in readers(store, digest):
        with pytest.raises(Unavailable, match="no such object"):
            read()
    with pytest.raises(BadInput):
        store.get_bytes("../../etc/passwd")
    with pytest.raises(Unavailable):
        store.put_file(tmp_path / "none")


def test_links_are_refused(store: Store, tmp_path: Path) -> None:
    digest = store.put_bytes(WORDS)
    other = tmp_path / "elsewhere"
    store.locate(digest).rename(other)
    store.locate(digest).symlink_to(other)
    for read in (*readers(store, digest), lambda: store.put_bytes(WORDS), lambda: list(store.list())):
        with pytest.raises(Tampered):
            read()


def test_what_does_not_belong_is_named(store: Store) -> None:
    store.put_bytes(WORDS)
    stray = store.folder / "00" / "stray"
    stray.parent.mkdir(exist_ok=True)
    stray.write_text("x")
    with pytest.raises(Tampered, match="does not belong") as caught:
        list(store.list())
    assert caught.value.where == str(stray)
    stray.unlink()
    (store.folder / "zz").mkdir()
    with pytest.raises(Tampered):
        list(store.list())


def test_a_file_that_changes_while_it_is_stored(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "moving"
    file.write_bytes(b"before")
    measured = canonical.file_digest(file)
    monkeypatch.setattr(canonical, "file_digest", lambda _: measured)
    file.write_bytes(b"after!")
    with pytest.raises(BadInput, match="changed while"):
        store.put_file(file)
    assert not store.has(measured)
    assert list(store.list()) == []


@pytest.mark.parametrize("call", ["write", "fsync", "rename"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_full_disk_leaves_nothing_half_written(
    store: Store, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    kept = store.put_bytes(b"kept")

    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(Unavailable) as caught:
            store.put_bytes(WORDS)
    assert caught.value.exit_code == 4
    assert ("full" in caught.value.what) == (number == errno.ENOSPC)
    assert list(store.list()) == [kept]
    assert list((store.folder / "partial").iterdir()) == []
    assert store.get_bytes(store.put_bytes(WORDS)) == WORDS


def test_a_disk_that_fills_up_half_way(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, written = os.write, 0

    def until_full(descriptor: int, data: Any) -> int:
        nonlocal written
        if written > 100_000:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken = real(descriptor, bytes(data)[:65_536])
        written += taken
        return taken

    file = tmp_path / "big"
    file.write_bytes(b"x" * 300_000)
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", until_full)
        with pytest.raises(Unavailable, match="full"):
            store.put_file(file)
    assert list(store.list()) == []
    assert list((store.folder / "partial").iterdir()) == []


def test_short_writes_are_completed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, bytes(data)[:3]))
    assert store.get_bytes(store.put_bytes(WORDS)) == WORDS


def test_on_a_real_full_disk(make: SimpleNamespace) -> None:
    """A file system of 64 kB, where one may be mounted."""
    mount = Path("/dev/shm") / f"goldsmith-test-{os.getpid()}"
    mount.mkdir(exist_ok=True)
    try:
        if os.system(f"mount -t tmpfs -o size=64k tmpfs {mount} 2>/dev/null"):
            pytest.skip("mounting a file system is not allowed here")
        try:
            store = Store(mount / "store")
            kept = store.put_bytes(b"kept")
            with pytest.raises(Unavailable, match="full"):
                store.put_bytes(os.urandom(200_000))
            assert list(store.list()) == [kept]
            assert list((store.folder / "partial").iterdir()) == []
            assert store.get_bytes(kept) == b"kept"
        finally:
            os.system(f"umount {mount}")
    finally:
        shutil.rmtree(mount, ignore_errors=True)


def test_flushed_before_it_is_put_in_place(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    rename = os.rename
    monkeypatch.setattr(os, "fsync", lambda _: order.append("fsync"))
    monkeypatch.setattr(os, "rename", lambda *paths: (order.append("rename"), rename(*paths)))
    store.put_bytes(WORDS)
    place = order.index("rename")
    assert "fsync" in order[:place]
    assert "fsync" in order[place:]


def test_what_a_killed_writer_left_is_cleaned_and_what_a_live_one_writes_is_not(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    partial = store.folder / "partial"
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover - runs in the child
        _, stream = durable._temporary(partial)
        stream.write(b"half of it")
        os.write(writing, b"!")
        signal.pause()
    os.read(reading, 1)
    live = list(partial.iterdir())
    Store(tmp_path / "store")
    assert list(partial.iterdir()) == live
    assert len(live) == 1
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    Store(tmp_path / "store")
    assert list(partial.iterdir()) == []
    assert durable.clean(partial) == 0


CALLS = ("write", "fsync", "rename", "open", "fchmod")


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


def test_killed_at_any_point_nothing_is_half_written(tmp_path: Path) -> None:
    data = [b"first", b"second" * 1000, b"third"]
    step, killed = 1, True
    while killed:
        folder = tmp_path / f"at-{step}"
        kept = Store(folder).put_bytes(b"kept")
        killed = killed_at(step, lambda folder=folder: [Store(folder).put_bytes(one) for one in data])  # type: ignore[misc]
        store = Store(folder)
        found = list(store.list())
        assert kept in found
        assert all(canonical.digest(store.get_bytes(one)) == one for one in found)
        assert list((folder / "partial").iterdir()) == []
        for one in data:
            assert store.get_bytes(store.put_bytes(one)) == one
        step += 1
    assert step > 10
