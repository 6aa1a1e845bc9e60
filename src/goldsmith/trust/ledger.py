"""The ledger: DSSE envelopes, one after another, as the leaves of a Merkle tree, with a signed checkpoint
at its head.

One file per entry (`entries/00000000.json`), one checkpoint file. Rather than one growing file because then
every write is the same atomic rename, no line is ever half there, and an entry is copied, sent or proved on
its own. What counts is the checkpoint: an append is done when the checkpoint that covers it is in place, so
a batch of entries is committed together or not at all. Entries beyond the checkpoint are what a killed
writer left; the next opening puts them aside. The checkpoint is one file that is replaced, as every earlier
head can be recomputed from the entries.

There is one writer at a time (flock on the folder, which the kernel drops when its holder dies).
"""

import fcntl
import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from goldsmith.trust import durable, merkle, note
from goldsmith.trust.journal import Journal
from goldsmith.trust.keys import PrivateKey
from goldsmith.trust.note import Checkpoint
from goldsmith.types.errors import BadInput, Forged, Tampered, Unavailable

_ENTRY = re.compile(r"[0-9]{8}\.json")
_POLL_S = 0.01


def entry_name(index: int) -> str:
    """The file name of an entry."""
    return f"{index:08d}.json"


class Ledger:
    """An append-only list of envelopes in `folder`, with what they mean in `journal`.

    `scratch`: a folder on the same file system for temporary files. Errors at opening: Tampered if the
    entries are not what the checkpoint says; Forged if one of them, or the checkpoint, is signed by a key
    that may not.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        scratch: str | os.PathLike[str],
        lock_timeout_s: float = 30.0,
    ) -> None:
        self.folder = Path(folder)
        self._entries_folder = self.folder / "entries"
        self._head = self.folder / "checkpoint"
        self._partial = Path(scratch) / "partial"
        self._aside = Path(scratch) / "uncommitted"
        self._lock_timeout_s = lock_timeout_s
        self._tree = merkle.Tree()
        self._entries: list[bytes] = []
        self._journal = Journal()
        self._seen = ""
        self._pending: list[bytes] = []
        self._working: Journal | None = None
        for path in (self._entries_folder, self._partial):
            durable.make_folder(path)
        durable.clean(self._partial)
        self._recover()
        self.refresh()

    @property
    def size(self) -> int:
        """The number of entries, those of an open transaction included."""
        return len(self._entries) + len(self._pending)

    @property
    def journal(self) -> Journal:
        """What the entries mean, those of an open transaction included."""
        return self._journal if self._working is None else self._working

    @property
    def idle(self) -> bool:
        """Whether no transaction of this object is open."""
        return self._working is None

    def entry(self, index: int) -> bytes:
        """The envelope at `index`. Errors: BadInput if there is none."""
        if not 0 <= index < self.size:
            raise BadInput("the ledger has no such entry", found=index, allowed=f"0 to {self.size - 1}")
        committed = len(self._entries)
        return self._entries[index] if index < committed else self._pending[index - committed]

    def __iter__(self) -> Iterator[bytes]:
        return (self.entry(index) for index in range(self.size))

    def checkpoint(self) -> str:
        """The signed head. Kept outside the folder, it shows every later removal and rewriting."""
        with durable.storage_errors(self._head):
            data = self._head.read_bytes() if self._head.exists() else b""
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise Tampered("the checkpoint is not UTF-8", where=str(self._head)) from error

    def root_at(self, size: int) -> bytes:
        """The Merkle root over the first `size` committed entries."""
        return self._tree.root_at(size)

    def inclusion(self, index: int) -> list[bytes]:
        """Proof that entry `index` is under the present head."""
        return self._tree.inclusion(index)

    def consistency(self, old: int, new: int | None = None) -> list[bytes]:
        """Proof that the ledger of `old` entries is a prefix of that of `new`."""
        return self._tree.consistency(old, new)

    def refresh(self) -> None:
        """Read what other writers have committed; cheap while the head is the one last seen.

        Errors: Tampered if it does not continue what was read before.
        """
        text = self.checkpoint()
        if text == self._seen and (text or not any(self._entries_folder.iterdir())):
            return
        head = self._parsed(text)
        if head.size < len(self._entries):
            raise Tampered(
                "the ledger has become shorter",
                where=str(self._head),
                found=head.size,
                allowed=str(len(self._entries)),
            )
        fresh = [self._read(index) for index in range(len(self._entries), head.size)]
        tree = merkle.Tree(self._entries + fresh) if fresh else self._tree
        if tree.root() != head.root:
            raise Tampered(
                "the ledger's entries are not those its checkpoint was signed over",
                where=str(self._entries_folder),
                next_step="run `goldsmith verify`, and restore the folder from a copy that verifies",
            )
        journal = self._journal.extended(fresh)
        note.verify(text, head.origin, journal.operator_keys())
        if head.origin != journal.workspace.predicate["origin"]:
            raise Forged("this checkpoint is of another ledger", where=str(self._head), found=head.origin)
        self._entries, self._tree, self._journal = self._entries + fresh, tree, journal
        self._seen = text

    def _parsed(self, text: str) -> Checkpoint:
        try:
            return note.parse(text)[0]
        except BadInput as error:
            raise Tampered(error.what, where=str(self._head), found=error.found) from error

    def _read(self, index: int) -> bytes:
        path = self._entries_folder / entry_name(index)
        try:
            return path.read_bytes()
        except FileNotFoundError as error:
            raise Tampered("a ledger entry is missing", where=str(path)) from error

    def _recover(self) -> None:
        # Only while nobody writes: a live writer's entries are beyond the checkpoint, too.
        with durable.storage_errors(self.folder), self._flock(wait=False) as held:
            if held:
                self._drop_uncommitted()

    def _drop_uncommitted(self) -> None:
        text = self.checkpoint()
        if not text:
            return  # nothing says what was committed: `refresh` refuses, nothing is moved
        size = self._parsed(text).size
        for path in sorted(self._entries_folder.iterdir(), reverse=True):
            if _ENTRY.fullmatch(path.name) and int(path.name[:8]) >= size:
                durable.make_folder(self._aside)
                path.rename(self._aside / f"{path.stem}-{secrets.token_hex(8)}.json")

    @contextmanager
    def _flock(self, *, wait: bool) -> Iterator[bool]:
        descriptor = os.open(self.folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            deadline = time.monotonic() + (self._lock_timeout_s if wait else 0)
            held = self._try_lock(descriptor)
            while not held and time.monotonic() < deadline:
                time.sleep(_POLL_S)
                held = self._try_lock(descriptor)
            yield held
        finally:
            os.close(descriptor)

    @staticmethod
    def _try_lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    @contextmanager
    def transaction(self, key: PrivateKey) -> Iterator[None]:
        """Hold the ledger; what is appended inside is committed together at the end, or, on an error, not
        at all.

        `key` signs the new checkpoint. Nested transactions are part of the outermost one. Errors:
        Unavailable if another process holds the ledger for longer than the timeout, or the disk is full.
        """
        if self._working is not None:
            yield
            return
        with self._flock(wait=True) as held:
            if not held:
                raise Unavailable(
                    "another process is writing to the ledger",
                    where=str(self.folder),
                    next_step="wait for it to finish, or end it, and run the same command again",
                )
            with durable.storage_errors(self.folder):
                self._drop_uncommitted()
            self.refresh()
            self._working = self._journal
            try:
                yield
                self._commit(key)
            finally:
                self._working = None
                self._pending = []

    def append(self, envelope: bytes) -> int:
        """Add an envelope inside a transaction; its index. Errors: as `Journal.read_entry`, with nothing
        added."""
        if self._working is None:
            raise BadInput("the ledger is written inside a transaction only")
        self._working = self._working.extended([envelope])
        self._pending.append(envelope)
        return self.size - 1

    def _commit(self, key: PrivateKey) -> None:
        if not self._pending or self._working is None:
            return
        start, entries, journal = len(self._entries), self._entries + self._pending, self._working
        tree = merkle.Tree(entries)
        origin = journal.workspace.predicate["origin"]
        text = note.sign(Checkpoint(origin, len(entries), tree.root()), key)
        note.verify(text, origin, journal.operator_keys())
        try:
            for index in range(start, len(entries)):
                durable.write(self._entries_folder / entry_name(index), entries[index], partial=self._partial)
            durable.write(self._head, text.encode(), partial=self._partial)
        except BaseException:
            with suppress(OSError):  # what cannot be put aside now is put aside by the next transaction
                self._drop_uncommitted()
            raise
        self._entries, self._tree, self._journal = entries, tree, journal
        self._seen = text
