"""Files that a killed run leaves for the next: whole or absent, named by what made them, checked before reuse."""

import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import BinaryIO

import goldsmith
from goldsmith.trust.durable import storage_errors

HEADER_BYTES = 64
_MAGIC = b"goldsmith part 1".ljust(32, b"\0")
_ABANDONED_AFTER_S = 7 * 24 * 3600


def default_folder() -> Path:
    """`$GOLDSMITH_SCRATCH`, or `goldsmith/parts` in the user's cache folder."""
    told = os.environ.get("GOLDSMITH_SCRATCH")
    if told:
        return Path(told)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "goldsmith" / "parts"


@cache
def code_digest() -> str:
    """SHA-256 over this package's source: what another version of the code made is not reused."""
    running = hashlib.sha256()
    root = Path(goldsmith.__file__).parent
    for path in sorted(root.rglob("*.py")):
        running.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes() + b"\0")
    return running.hexdigest()


def sealed(data: bytes) -> bytes:
    """`data` behind a header with its SHA-256."""
    return _MAGIC + hashlib.sha256(data).digest() + data


class Scratch:
    """A folder of one run's files, locked while the run lives.

    A second run over the same input while the first lives gets a folder of its own; after a kill it gets this one,
    with what is in it.
    """

    def __init__(self, base: Path, name: str) -> None:
        with storage_errors(base):
            base.mkdir(parents=True, exist_ok=True, mode=0o700)
            _sweep(base)
            self.folder, self._lock = _claim(base, name)

    def find(self, name: str) -> Path | None:
        """The file `name` if an earlier run left it whole; a damaged one is removed."""
        path = self.folder / name
        try:
            with path.open("rb") as stream:
                head = stream.read(HEADER_BYTES)
                whole = head[:32] == _MAGIC and hashlib.file_digest(stream, "sha256").digest() == head[32:]
        except FileNotFoundError:
            return None
        if whole:
            return path
        path.unlink(missing_ok=True)
        return None

    def write(self, name: str, data: bytes) -> Path:
        """Keep sealed `data` as `name`, all of it or nothing. Errors: Unavailable (a full disk)."""
        path, partial = self.folder / name, self.folder / (name + ".partial")
        with storage_errors(path):
            try:
                partial.write_bytes(data)
                partial.replace(path)
            except BaseException:
                with suppress(OSError):
                    partial.unlink(missing_ok=True)
                raise
        return path

    def keep_only(self, names: Sequence[str]) -> None:
        """Remove what this run does not use: parts of the input's earlier state."""
        wanted = {*names, "lock"}
        for path in self.folder.iterdir():
            if path.name not in wanted:
                path.unlink(missing_ok=True)

    def remove(self) -> None:
        """The run is over and needs nothing of it any more."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self._lock.close()


def _claim(base: Path, name: str) -> tuple[Path, BinaryIO]:
    for number in range(1000):
        folder = base / (name if number == 0 else f"{name}-{number}")
        folder.mkdir(exist_ok=True, mode=0o700)
        lock = (folder / "lock").open("wb")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        if (folder / "lock").exists():  # not removed between its making and its locking
            return folder, lock
        lock.close()
    raise OSError(f"a thousand runs are using {base}")


def _sweep(base: Path) -> None:
    """Remove what runs left that were killed a week ago and never taken up again."""
    for folder in base.iterdir():
        lock = folder / "lock"
        with suppress(OSError):
            if time.time() - lock.stat().st_mtime < _ABANDONED_AFTER_S:
                continue
            with lock.open("rb") as stream:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
