"""Which data this is: one digest for a file or a folder."""

import hashlib
from pathlib import Path

from goldsmith.trust import canonical
from goldsmith.types.artifact import Digest


def digest_of(path: Path) -> Digest:
    """The digest of a file's bytes; of a folder, that of its files' names and digests, sorted."""
    if not path.is_dir():
        return canonical.file_digest(path)
    files = sorted(one for one in path.rglob("*") if one.is_file())
    told = {one.relative_to(path).as_posix(): canonical.file_digest(one) for one in files}
    state = hashlib.sha256()
    for name, digest in told.items():
        state.update(f"{digest} {name}\n".encode())
    return f"sha256:{state.hexdigest()}"
