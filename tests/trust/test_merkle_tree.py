"""The Merkle tree: RFC 6962's published vectors, a naive oracle, and proofs that fail when anything is altered."""

import hashlib
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goldsmith.trust import canonical, merkle
from goldsmith.trust.records import Digests
from goldsmith.types.errors import BadInput

LEAVES = [bytes.fromhex(one) for one in (
    "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")]  # fmt: skip
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
N1 = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7"
N2 = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"
N3 = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"
N4 = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"
N5 = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"
N6 = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a"
PROPERTY = settings(max_examples=100, derandomize=True, deadline=None)


def test_published_roots() -> None:
    for size, expected in enumerate(ROOTS):
        assert merkle.Tree(LEAVES[:size]).root().hex() == expected
        assert merkle.Tree(LEAVES).root_at(size).hex() == expected


@pytest.mark.parametrize(
    ("index", "size", "expected"),
    [(0, 1, []), (0, 8, [N1, N2, N3]), (5, 8, [N4, N5, ROOTS[4]]), (2, 3, [ROOTS[2]]), (1, 5, [ROOTS[1], N2, N4])],
)
def test_published_inclusion_proofs(index: int, size: int, expected: list[str]) -> None:
    assert [one.hex() for one in merkle.Tree(LEAVES).inclusion(index, size)] == expected


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [(1, 1, []), (1, 8, [N1, N2, N3]), (6, 8, [N6, N5, ROOTS[4]]), (2, 5, [N2, N4])],
)
def test_published_consistency_proofs(old: int, new: int, expected: list[str]) -> None:
    assert [one.hex() for one in merkle.Tree(LEAVES).consistency(old, new)] == expected


def naive(leaves: list[bytes]) -> bytes:
    """RFC 6962 section 2.1, word for word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return hashlib.sha256(b"\x01" + naive(leaves[:split]) + naive(leaves[split:])).digest()


def naive_path(index: int, leaves: list[bytes]) -> list[bytes]:
    if len(leaves) == 1:
        return []
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    if index < split:
        return [*naive_path(index, leaves[:split]), naive(leaves[split:])]
    return [*naive_path(index - split, leaves[split:]), naive(leaves[:split])]


@PROPERTY
@given(st.integers(0, 70), st.data())
def test_against_the_naive_oracle(size: int, data: st.DataObject) -> None:
    leaves = [bytes([number % 7, number]) for number in range(size)]
    built = merkle.Tree(leaves)
    grown = merkle.Tree()
    for number, leaf in enumerate(leaves):
        assert grown.append(leaf) == number
    old = data.draw(st.integers(0, size))
    assert built.root() == grown.root() == naive(leaves)
    assert built.root_at(old) == grown.root_at(old) == naive(leaves[:old])
    proof = grown.consistency(old, size)
    assert proof == built.consistency(old)
    assert merkle.verify_consistency(old, size, proof, naive(leaves[:old]), naive(leaves))
    if old:
        index = data.draw(st.integers(0, old - 1))
        assert built.leaf(index) == merkle.leaf_hash(leaves[index])
        path = built.inclusion(index, old)
        assert path == naive_path(index, leaves[:old])
        assert merkle.verify_inclusion(built.leaf(index), index, old, path, naive(leaves[:old]))


@PROPERTY
@given(st.integers(1, 40), st.data())
def test_an_altered_inclusion_proof_fails(size: int, data: st.DataObject) -> None:
    tree = merkle.Tree(bytes([number]) for number in range(size))
    index = data.draw(st.integers(0, size - 1))
    path, leaf, root = tree.inclusion(index), tree.leaf(index), tree.root()
    other = data.draw(st.integers(-2, size + 3).filter(lambda one: one != index))
    assert not merkle.verify_inclusion(leaf, other, size, path, root)
    assert not merkle.verify_inclusion(merkle.leaf_hash(b"other"), index, size, path, root)
    assert not merkle.verify_inclusion(leaf, index, size, path, merkle.leaf_hash(b"other"))
    assert not merkle.verify_inclusion(leaf, index, size, [*path, root], root)
    assert not merkle.verify_inclusion(leaf, index, 2 * size + 1, path, root)
    if path:
        assert not merkle.verify_inclusion(leaf, index, size, path[:-1], root)
        place = data.draw(st.integers(0, len(path) - 1))
        bad = [bytes([one[0] ^ 1]) + one[1:] if here == place else one for here, one in enumerate(path)]
        assert not merkle.verify_inclusion(leaf, index, size, bad, root)


@PROPERTY
@given(st.integers(2, 40), st.data())
def test_an_altered_consistency_proof_fails(new: int, data: st.DataObject) -> None:
    tree = merkle.Tree(bytes([number]) for number in range(new))
    old = data.draw(st.integers(1, new - 1))
    proof, before, after = tree.consistency(old), tree.root_at(old), tree.root()
    wrong = merkle.leaf_hash(b"other")
    assert not merkle.verify_consistency(old, new, proof, wrong, after)
    assert not merkle.verify_consistency(old, new, proof, before, wrong)
    assert not merkle.verify_consistency(old, new, proof[:-1], before, after)
    assert not merkle.verify_consistency(old, new, [*proof, wrong], before, after)
    assert not merkle.verify_consistency(new, old, proof, before, after)
    other = data.draw(st.integers(1, new - 1).filter(lambda one: one != old)) if new > 2 else new
    assert not merkle.verify_consistency(other, new, proof, before, after)
    place = data.draw(st.integers(0, len(proof) - 1))
    bad = [bytes([one[0] ^ 1]) + one[1:] if here == place else one for here, one in enumerate(proof)]
    assert not merkle.verify_consistency(old, new, bad, before, after)


def test_edges() -> None:
    tree = merkle.Tree(LEAVES)
    root = tree.root()
    assert merkle.verify_consistency(8, 8, [], root, root)
    assert not merkle.verify_consistency(8, 8, [root], root, root)
    assert merkle.verify_consistency(0, 8, [], merkle.EMPTY_ROOT, root)
    assert not merkle.verify_consistency(0, 8, [], root, root)
    assert not merkle.verify_consistency(3, 8, [], root, root)
    assert not merkle.verify_inclusion(root, 0, 0, [], root)
    for wrong in (lambda: tree.root_at(9), lambda: tree.inclusion(8), lambda: tree.inclusion(0, 9),
                  lambda: tree.consistency(5, 4), lambda: tree.inclusion(-1), lambda: tree.root_at(-1)):  # fmt: skip
        with pytest.raises(BadInput):
            wrong()


def test_a_record_is_proved_to_be_in_a_release() -> None:
    leaves = [canonical.digest(bytes([number])) for number in range(11)]
    proof = merkle.record_proof(leaves, leaves[7])
    assert proof.root == merkle.root_of(leaves)
    assert proof.root[7:] == naive([canonical.raw(one) for one in leaves]).hex()
    assert merkle.check_record_proof(proof)
    for change in (
        {"record": leaves[6]}, {"index": 6}, {"size": 17}, {"path": proof.path[1:]}, {"path": ("zz",)},
        {"root": leaves[0]},
    ):  # fmt: skip
        assert not merkle.check_record_proof(proof.model_copy(update=change))
    with pytest.raises(BadInput):
        merkle.record_proof(leaves, canonical.digest(b"absent"))


def test_a_hundred_thousand_leaves_take_no_quadratic_time() -> None:
    start = time.process_time()
    tree = merkle.Tree(number.to_bytes(4, "big") for number in range(100_000))
    for index in range(0, 100_000, 500):
        assert merkle.verify_inclusion(tree.leaf(index), index, tree.size, tree.inclusion(index), tree.root())
        tree.consistency(index)
    assert time.process_time() - start < 5


@given(st.integers(0, 70), st.randoms(use_true_random=False))
def test_a_running_root_and_packed_digests_are_those_of_lists(size: int, rng: Any) -> None:
    digests = [canonical.digest(rng.randbytes(8)) for _ in range(size)]
    packed = Digests(digests)
    assert list(packed) == digests
    assert list(packed.sorted()) == sorted(digests)
    assert merkle.root_of(packed) == "sha256:" + merkle.Tree(map(canonical.raw, digests)).root().hex()
