"""Which stored objects the ledger leads to: every digest a signed statement mentions, and every digest
those mention.

An object that nothing leads to is evidence of nothing: `verify` calls it unexpected, and what a crashed run
left behind is swept out of the store when the workspace is next opened.
"""

import re
from collections.abc import Callable, Iterable
from pathlib import Path

from goldsmith.types.artifact import Digest

_MENTION = re.compile(rb"sha256:([0-9a-f]{64})|\"sha256\":\"([0-9a-f]{64})\"")
_LONGEST = 75
_PIECE_BYTES = 8 << 20


def mentions(data: bytes) -> set[Digest]:
    """The digests mentioned in some bytes: ours (`sha256:<hex>`) and in-toto's (`"sha256":"<hex>"`)."""
    return {"sha256:" + (ours or other).decode() for ours, other in _MENTION.findall(data)}


def mentions_in_file(path: Path) -> set[Digest]:
    """The same for a file, read in pieces that overlap by the length of a mention."""
    found: set[Digest] = set()
    with open(path, "rb") as stream:
        tail = b""
        while piece := stream.read(_PIECE_BYTES):
            found |= mentions(tail + piece)
            tail = (tail + piece)[-_LONGEST:]
    return found


def reachable(
    roots: Iterable[bytes],
    locate: Callable[[Digest], Path],
    *,
    wanted: set[Digest] | None = None,
) -> set[Digest]:
    """The stored objects that the `roots` (payloads of statements) lead to.

    `locate`: where an object would be. With `wanted`, stops as soon as all of these are found; small
    objects are read first, as they are the ones that mention others.
    """
    found: set[Digest] = set()
    waiting: list[tuple[int, Digest]] = []

    def note(mentioned: Iterable[Digest]) -> None:
        for digest in sorted(set(mentioned) - found):
            path = locate(digest)
            if path.is_file() and not path.is_symlink():
                found.add(digest)
                waiting.append((path.stat().st_size, digest))

    for payload in roots:
        note(mentions(payload))
    while waiting and not (wanted is not None and wanted <= found):
        waiting.sort(reverse=True)
        note(mentions_in_file(locate(waiting.pop()[1])))
    return found
