"""The content-addressed store: an object's name is the SHA-256 of its bytes, and every read checks that it
still is.

Layout: `<folder>/<first 2 hex digits>/<other 62>`. An object is wholly there or not at all (see `durable`),
so a killed writer leaves nothing but a partial file, which the next opening removes.
"""

import io
import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from goldsmith.trust import canonical, durable
from goldsmith.trust.canonical import AnyFrozen
from goldsmith.types.artifact import Digest, Frozen
from goldsmith.types.errors import BadInput, Tampered, Unavailable

_SHARD = re.compile(r"[0-9a-f]{2}")
_REST = re.compile(r"[0-9a-f]{62}")


class Store:
    """Objects by digest in a folder. `partial`: where temporary files live, on the same file system.

    `on_new` is called with the digest of every object before it is put in place for the first time.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        partial: str | os.PathLike[str] | None = None,
        on_new: Callable[[Digest], None] | None = None,
    ) -> None:
        self.folder = Path(folder)
        self._partial = Path(partial) if partial is not None else self.folder / "partial"
        self._on_new = on_new
        durable.make_folder(self.folder)
        durable.make_folder(self._partial)
        durable.clean(self._partial)

    def locate(self, digest: Digest) -> Path:
        """Where the object is or would be; its bytes are not checked."""
        name = canonical.raw(digest).hex()
        return self.folder / name[:2] / name[2:]

    def put_bytes(self, data: bytes) -> Digest:
        """Store bytes. Errors: Unavailable (full disk), with nothing changed."""
        digest = canonical.digest(data)
        if not self._holds(digest):
            self._put(digest, (data,))
        return digest

    def put_file(self, path: str | os.PathLike[str]) -> Digest:
        """Store a file's bytes, read in pieces.

        Errors: Unavailable (full disk, no such file); BadInput if the file changed while it was read.
        """
        digest = canonical.file_digest(path)
        if not self._holds(digest):
            with open(path, "rb") as stream:
                self._put(digest, durable.pieces(stream))
        return digest

    def spool(self) -> durable.Spool:
        """A file to fill bit by bit, for `put_spool`."""
        return durable.Spool(self._partial)

    def put_spool(self, spool: durable.Spool) -> Digest:
        """Store what was spooled; nothing may be added to it after. Errors: Unavailable, with nothing changed."""
        digest = spool.digest()
        if not self._holds(digest):
            if self._on_new is not None:
                self._on_new(digest)
            place = self.locate(digest)
            durable.make_folder(place.parent)
            spool.place(place)
        return digest

    def _put(self, digest: Digest, data: tuple[bytes, ...] | Iterator[bytes]) -> None:
        if self._on_new is not None:
            self._on_new(digest)
        place = self.locate(digest)
        durable.make_folder(place.parent)
        durable.write(place, data, partial=self._partial, expected=digest)

    def _holds(self, digest: Digest) -> bool:
        # A put of what is there already must not pass over a damaged object: its bytes are checked like any
        # read.
        if not self.has(digest):
            return False
        self.path(digest)
        return True

    def has(self, digest: Digest) -> bool:
        """Whether there is an object of this name (its bytes are checked when it is read)."""
        return os.path.lexists(self.locate(digest))

    def size(self, digest: Digest) -> int:
        """The object's size in bytes. Errors: Unavailable if it is not there, Tampered if it is not a plain
        file."""
        return self._stat(digest).st_size

    def _stat(self, digest: Digest) -> os.stat_result:
        place = self.locate(digest)
        try:
            found = place.lstat()
        except FileNotFoundError:
            raise Unavailable(
                "the store has no such object",
                where=digest,
                next_step="copy the whole workspace, or run the stage that makes it again",
            ) from None
        if not stat.S_ISREG(found.st_mode):
            raise Tampered("this object is a link or something else, not a plain file", where=f"{digest} ({place})")
        return found

    def get_bytes(self, digest: Digest) -> bytes:
        """The object's bytes. Errors: Tampered naming it if they are not what its name says; Unavailable if
        absent."""
        self._stat(digest)
        with durable.storage_errors(self.locate(digest)):
            data = self.locate(digest).read_bytes()
        self._require(digest, canonical.digest(data))
        return data

    def path(self, digest: Digest) -> Path:
        """The object's path, after checking its bytes. For libraries that want a file; do not write to it."""
        self._stat(digest)
        place = self.locate(digest)
        self._require(digest, canonical.file_digest(place))
        return place

    def open_file(self, digest: Digest) -> BinaryIO:
        """The object for reading, after checking its bytes through the same open file."""
        self._stat(digest)
        with durable.storage_errors(self.locate(digest)):
            stream = self.locate(digest).open("rb")
        try:
            running = canonical.stream_digest(stream)
            self._require(digest, running)
        except BaseException:
            stream.close()
            raise
        stream.seek(0, io.SEEK_SET)
        return stream

    @staticmethod
    def _require(digest: Digest, found: Digest) -> None:
        if found != digest:
            raise Tampered(
                "a stored object is not what its name says",
                where=digest,
                found=found,
                next_step="run `goldsmith verify`, and restore the object from a copy that verifies",
            )

    def put_artifact(self, value: Frozen) -> Digest:
        """Store a value as canonical bytes with its schema inside."""
        return self.put_bytes(canonical.artifact_bytes(value))

    def get_artifact(self, digest: Digest, kind: type[AnyFrozen]) -> AnyFrozen:
        """The stored value. Errors: as `get_bytes`; BadInput if it is of another kind."""
        try:
            return canonical.read_artifact(self.get_bytes(digest), kind)
        except BadInput as error:
            raise BadInput(error.what, where=digest, found=error.found, allowed=error.allowed) from error

    def list(self) -> Iterator[Digest]:
        """The digests of all objects, sorted. Errors: Tampered for an entry that cannot be an object."""
        for shard in sorted(self.folder.iterdir()):
            if shard == self._partial:
                continue
            if _SHARD.fullmatch(shard.name) is None or shard.is_symlink() or not shard.is_dir():
                raise Tampered("this does not belong in the store", where=str(shard))
            for entry in sorted(shard.iterdir()):
                if _REST.fullmatch(entry.name) is None or entry.is_symlink() or not entry.is_file():
                    raise Tampered("this does not belong in the store", where=str(entry))
                yield f"sha256:{shard.name}{entry.name}"
