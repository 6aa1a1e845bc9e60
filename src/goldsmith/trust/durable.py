"""Files that are either wholly there or not there at all, whatever happens in between.

A file is written under a temporary name on the same file system, flushed to the disk (fsync), renamed into
place (atomic in POSIX), and its folder is flushed too. A temporary file is locked while its writer lives;
the kernel drops the lock when the writer dies, so what a killed process left behind is told apart from what
a live one is writing.
"""

import errno
import fcntl
import hashlib
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from goldsmith.types.artifact import Digest
from goldsmith.types.errors import BadInput, Unavailable

_SUFFIX = ".partial"
_SPOOL_BYTES = 1 << 20
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def storage_errors(where: Path) -> Iterator[None]:
    """Turn the operating system's refusals into Unavailable, saying what to do."""
    try:
        yield
    except Unavailable:
        raise
    except OSError as error:
        full = error.errno in _FULL
        raise Unavailable(
            "the disk is full: nothing was changed" if full else "this file cannot be read or written",
            where=str(where),
            found=error.strerror or str(error),
            next_step="free some space and run the same command again"
            if full
            else "check the folder and its permissions",
        ) from error


def write(
    path: Path,
    data: bytes | Iterable[bytes],
    *,
    partial: Path,
    mode: int = 0o644,
    expected: Digest | None = None,
) -> None:
    """Put `data` at `path`, atomically and durably, replacing what was there.

    `partial`: an existing folder on the same file system for the temporary file. `expected`: the digest the
    data must turn out to have. Errors: Unavailable (full disk, no permission), BadInput (another digest),
    with `path` untouched.
    """
    with storage_errors(path):
        temporary, stream = _temporary(partial)
        try:
            with stream:
                written = _fill(stream, (data,) if isinstance(data, bytes) else data)
                if expected is not None and written != expected:
                    raise BadInput("this file changed while it was being read", found=written, allowed=expected)
                os.fchmod(stream.fileno(), mode)
                os.fsync(stream.fileno())
                os.rename(temporary, path)
            sync_folder(path.parent)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise


class Spool:
    """A file that grows before its name is known. As a context manager it is gone at the end, unless it was placed.

    `partial`: an existing folder on the file system where it will be placed. Errors: Unavailable (a full disk).
    """

    def __init__(self, partial: Path) -> None:
        self._running = hashlib.sha256()
        self._held: list[bytes] = []
        self._size = 0
        with storage_errors(partial):
            self._path, self._stream = _temporary(partial)
        self.placed = False

    def write(self, data: bytes) -> None:
        """Add bytes at the end."""
        self._held.append(data)
        self._size += len(data)
        if self._size >= _SPOOL_BYTES:
            self._flush()

    def _flush(self) -> None:
        data = b"".join(self._held)
        self._held, self._size = [], 0
        self._running.update(data)
        with storage_errors(self._path):
            view = memoryview(data)
            while view:
                view = view[os.write(self._stream.fileno(), view) :]

    def digest(self) -> Digest:
        """SHA-256 of everything written so far."""
        self._flush()
        return "sha256:" + self._running.hexdigest()

    def place(self, path: Path, *, mode: int = 0o644) -> None:
        """Put the file at `path`, atomically and durably, replacing what was there; nothing is written after that."""
        self._flush()
        with storage_errors(path):
            os.fchmod(self._stream.fileno(), mode)
            os.fsync(self._stream.fileno())
            os.rename(self._path, path)
            self.placed = True
            sync_folder(path.parent)

    def __enter__(self) -> "Spool":
        return self

    def __exit__(self, *_: object) -> None:
        if not self.placed:
            with suppress(OSError):
                os.unlink(self._path)
        self._stream.close()


def replace(path: Path, data: bytes) -> None:
    """Put `data` at `path`, a file of the user's, whole or not at all; its folder is made where there is none.

    The temporary file is `NAME.partial` beside it: what a killed process leaves there, the same command run again takes
    away. Errors: Unavailable, with `path` untouched and nothing beside it.
    """
    partial = path.with_name(path.name + _SUFFIX)
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with partial.open("wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            partial.replace(path)
        except BaseException:
            with suppress(OSError):
                partial.unlink(missing_ok=True)
            raise


def _fill(stream: BinaryIO, pieces: Iterable[bytes]) -> Digest:
    running = hashlib.sha256()
    for piece in pieces:
        running.update(piece)
        view = memoryview(piece)
        while view:
            view = view[os.write(stream.fileno(), view) :]
    return "sha256:" + running.hexdigest()


def _temporary(partial: Path) -> tuple[Path, BinaryIO]:
    while True:
        path = partial / (secrets.token_hex(16) + _SUFFIX)
        stream = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "r+b", buffering=0)
        fcntl.flock(stream, fcntl.LOCK_EX)
        if os.fstat(stream.fileno()).st_nlink:
            return path, stream
        stream.close()  # a cleaner took it between its making and its locking


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path, *, mode: int = 0o755) -> None:
    """Make a folder (and its parents), durably."""
    with storage_errors(folder):
        if not folder.is_dir():
            folder.mkdir(parents=True, exist_ok=True, mode=mode)
            sync_folder(folder.parent)


def clean(partial: Path) -> int:
    """Remove the temporary files of writers that are no longer alive; how many."""
    removed = 0
    with storage_errors(partial):
        for entry in sorted(partial.glob("*" + _SUFFIX)):
            with suppress(FileNotFoundError, BlockingIOError), open(entry, "rb") as stream:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(entry)
                removed += 1
    return removed


def pieces(stream: BinaryIO, size: int = 1 << 20) -> Iterator[bytes]:
    """A stream in pieces of at most `size` bytes."""
    while piece := stream.read(size):
        yield piece
