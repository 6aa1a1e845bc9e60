"""Folders that are either wholly there or not there at all."""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from goldsmith.trust.durable import storage_errors, sync_folder
from goldsmith.types.errors import GoldsmithError, Unavailable

_PARTIAL = ".partial-"


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A folder to fill; at the end it is flushed to the disk and takes `target`'s place.

    On any error nothing of it is left and `target` is as before.

    Raises:
        Unavailable: the disk is full, or the folder may not be written.
    """
    with storage_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.parent / f"{_PARTIAL}{target.name}-{secrets.token_hex(4)}"
        partial.mkdir()
        try:
            yield partial
            for path in partial.rglob("*"):
                if path.is_file():
                    with path.open("rb") as file:
                        os.fsync(file.fileno())
            sync_folder(partial)
            old = None
            if target.exists():
                old = target.parent / f"{_PARTIAL}old-{target.name}-{secrets.token_hex(4)}"
                os.rename(target, old)
            os.rename(partial, target)
            sync_folder(target.parent)
            if old is not None:
                shutil.rmtree(old)
        except GoldsmithError:
            raise
        except Exception as error:
            if type(error).__name__ == "SafetensorError" and "os error" in str(error).lower():
                raise Unavailable(
                    "the disk is full: nothing was changed",
                    where=str(target),
                    found=str(error)[:200],
                    next_step="free some space and run the same command again; the last checkpoint is kept",
                ) from error
            raise
        finally:
            if partial.exists():
                shutil.rmtree(partial, ignore_errors=True)


def require_writable(target: Path) -> None:
    """Find out before the work whether `target` can be made after it; what a dead writer of it left is removed.

    Raises:
        Unavailable: its folder may not be written.
    """
    with storage_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        clean(target.parent, target.name)
        probe = target.parent / f"{_PARTIAL}{target.name}-{secrets.token_hex(4)}"
        probe.mkdir()
        probe.rmdir()


def clean(folder: Path, name: str = "") -> None:
    """Remove what writers that died have left in `folder`: of the target `name`, or of any."""
    for begins in (f"{name}-*", f"old-{name}-*") if name else ("*",):
        for path in folder.glob(_PARTIAL + begins):
            shutil.rmtree(path, ignore_errors=True)
