"""Merkle trees as in RFC 6962 section 2.1 and RFC 9162: leaf = H(0x00 || data), node = H(0x01 || left ||
right).

The tree over n leaves splits at the largest power of two below n, so its complete subtrees never change as
it grows. `Tree` keeps just those, in two hashes per leaf; any root or proof, for now or for an earlier
size, is then O(log² n) look-ups.
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Literal

from goldsmith.trust import canonical
from goldsmith.types.artifact import Digest, Frozen, SafeInt
from goldsmith.types.errors import BadInput

EMPTY_ROOT = hashlib.sha256(b"").digest()
"""The root of no leaves."""


def leaf_hash(data: bytes) -> bytes:
    """The hash of a leaf, 32 bytes."""
    return hashlib.sha256(b"\x00" + data).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def _split(size: int) -> int:
    """The largest power of two below `size` (size >= 2)."""
    return 1 << ((size - 1).bit_length() - 1)


class Tree:
    """An append-only tree. `size` leaves; a root for every size it has had; proofs between any two of
    them."""

    def __init__(self, leaf_data: Iterable[bytes] = ()) -> None:
        sha256 = hashlib.sha256
        level = [sha256(b"\x00" + data).digest() for data in leaf_data]
        self._levels = [level]
        while len(level) > 1:
            pairs = iter(level)
            level = [sha256(b"\x01" + left + right).digest() for left, right in zip(pairs, pairs, strict=False)]
            self._levels.append(level)

    @property
    def size(self) -> int:
        return len(self._levels[0])

    def append(self, data: bytes) -> int:
        """Add a leaf; its index."""
        index = self.size
        self._levels[0].append(leaf_hash(data))
        height = 0
        while len(self._levels[height]) % 2 == 0:
            level = self._levels[height]
            if height + 1 == len(self._levels):
                self._levels.append([])
            self._levels[height + 1].append(_node(level[-2], level[-1]))
            height += 1
        return index

    def leaf(self, index: int) -> bytes:
        """The hash of leaf `index`."""
        return self._levels[0][index]

    def _range(self, start: int, end: int) -> bytes:
        size = end - start
        if size & (size - 1) == 0:
            # RFC 6962 only ever asks for ranges that start at a multiple of their own power of two.
            height = size.bit_length() - 1
            return self._levels[height][start >> height]
        middle = start + _split(size)
        return _node(self._range(start, middle), self._range(middle, end))

    def root(self) -> bytes:
        """The root over all leaves, 32 bytes."""
        return self.root_at(self.size)

    def root_at(self, size: int) -> bytes:
        """The root over the first `size` leaves. Errors: BadInput if there were never so many."""
        self._require(0 <= size <= self.size, f"size {size}", f"0 to {self.size}")
        return self._range(0, size) if size else EMPTY_ROOT

    def inclusion(self, index: int, size: int | None = None) -> list[bytes]:
        """Proof that leaf `index` is in the tree of `size` leaves (RFC 6962 section 2.1.1), siblings from
        the leaf up."""
        size = self.size if size is None else size
        self._require(0 <= index < size <= self.size, f"leaf {index} of {size}", f"a leaf of the {self.size}")
        proof: list[bytes] = []
        start, end = 0, size
        while end - start > 1:
            middle = start + _split(end - start)
            if index < middle:
                proof.append(self._range(middle, end))
                end = middle
            else:
                proof.append(self._range(start, middle))
                start = middle
        return proof[::-1]

    def consistency(self, old: int, new: int | None = None) -> list[bytes]:
        """Proof that the tree of `old` leaves is a prefix of that of `new` (RFC 6962 section 2.1.2)."""
        new = self.size if new is None else new
        self._require(0 <= old <= new <= self.size, f"{old} to {new}", f"sizes up to {self.size}, ascending")
        if old in (0, new):
            return []
        proof: list[bytes] = []
        start, end, whole = 0, new, True
        while old != end:
            middle = start + _split(end - start)
            if old <= middle:
                proof.append(self._range(middle, end))
                end = middle
            else:
                proof.append(self._range(start, middle))
                start, whole = middle, False
        if not whole:
            proof.append(self._range(start, end))
        return proof[::-1]

    @staticmethod
    def _require(holds: bool, found: str, allowed: str) -> None:
        if not holds:
            raise BadInput("the Merkle tree has no such place", found=found, allowed=allowed)


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether `proof` shows that the leaf hash is at `index` of the tree of `size` with `root` (RFC 9162
    2.1.3.2)."""
    if not 0 <= index < size:
        return False
    position, last, running = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if position & 1 or position == last:
            running = _node(sibling, running)
            while position and not position & 1:
                position >>= 1
                last >>= 1
        else:
            running = _node(running, sibling)
        position >>= 1
        last >>= 1
    return last == 0 and running == root


def verify_consistency(old: int, new: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes) -> bool:
    """Whether `proof` shows that the tree of `old` leaves is a prefix of the tree of `new` (RFC 9162
    2.1.4.2)."""
    if not 0 <= old <= new:
        return False
    if old == new:
        return not proof and old_root == new_root
    if old == 0:
        return not proof and old_root == EMPTY_ROOT
    path = list(proof)
    if old & (old - 1) == 0:
        path.insert(0, old_root)
    if not path:
        return False
    position, last = old - 1, new - 1
    while position & 1:
        position >>= 1
        last >>= 1
    old_running = new_running = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if position & 1 or position == last:
            old_running = _node(sibling, old_running)
            new_running = _node(sibling, new_running)
            while position and not position & 1:
                position >>= 1
                last >>= 1
        else:
            new_running = _node(new_running, sibling)
        position >>= 1
        last >>= 1
    return last == 0 and old_running == old_root and new_running == new_root


def root_of(digests: Iterable[Digest]) -> Digest:
    """The root over digests (of records), in the order given; a leaf's data is the digest's 32 bytes.

    Holds one hash for each level of the tree, however many leaves there are.
    """
    complete: list[tuple[int, bytes]] = []  # (height, root) of the complete subtrees so far, the widest first
    for digest in digests:
        height, running = 0, leaf_hash(canonical.raw(digest))
        while complete and complete[-1][0] == height:
            running = _node(complete.pop()[1], running)
            height += 1
        complete.append((height, running))
    if not complete:
        return "sha256:" + EMPTY_ROOT.hex()
    root = complete.pop()[1]
    while complete:
        root = _node(complete.pop()[1], root)
    return "sha256:" + root.hex()


class InclusionProof(Frozen):
    """`record` is leaf `index` of the `size` leaves under `root`; `path` holds the siblings' hex from the
    leaf up."""

    kind: Literal["inclusion-proof"] = "inclusion-proof"
    record: Digest
    index: SafeInt
    size: SafeInt
    path: tuple[str, ...]
    root: Digest


def record_proof(digests: Sequence[Digest], record: Digest) -> InclusionProof:
    """Proof that `record` is among `digests`. Errors: BadInput if it is not."""
    if record not in digests:
        raise BadInput("this record is not among the leaves", found=record)
    index = digests.index(record)
    tree = Tree(map(canonical.raw, digests))
    return InclusionProof(
        record=record,
        index=index,
        size=tree.size,
        path=tuple(step.hex() for step in tree.inclusion(index)),
        root="sha256:" + tree.root().hex(),
    )


def check_record_proof(proof: InclusionProof) -> bool:
    """Whether the proof holds by itself. Before believing more, compare `root` *and* `size` with those of a signed
    Release: a root alone does not commit to its size (RFC 6962 signs both together for that reason)."""
    try:
        path = [bytes.fromhex(step) for step in proof.path]
    except ValueError:
        return False
    leaf = leaf_hash(canonical.raw(proof.record))
    return verify_inclusion(leaf, proof.index, proof.size, path, canonical.raw(proof.root))
