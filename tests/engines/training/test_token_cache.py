"""The token cache: the same rows back, and a damaged file is never believed."""

from pathlib import Path

import numpy as np
import pytest

from goldsmith.engines.training.data.rows import Node, Row
from goldsmith.engines.training.data.token_cache import TokenCache


def make_rows() -> list[Row]:
    rng = np.random.default_rng(0)

    def node(n: int, parent: int = -1) -> Node:
        return Node(rng.integers(0, 9, size=n).astype(np.int32), rng.random(n) < 0.5, parent)

    keys = ["sha256:" + f"{i:064x}" for i in range(3)]
    return [
        Row((node(5),), "a", keys[0]),
        Row((node(3), node(2, 0), node(4, 0)), "b", keys[1]),
        Row((node(1),), "c", keys[2]),
    ]


def same(a: Row | None, b: Row) -> bool:
    return a is not None and all(
        x.ids.tolist() == y.ids.tolist() and x.trained.tolist() == y.trained.tolist() and x.parent == y.parent
        for x, y in zip(a.nodes, b.nodes, strict=True)
    )


def test_rows_come_back(tmp_path: Path) -> None:
    rows = make_rows()
    cache = TokenCache(tmp_path, {"template": "t"})
    cache.add(rows[:2])
    cache.add(rows)
    again = TokenCache(tmp_path, {"template": "t"})
    assert all(same(again.get(row.key, "n"), row) for row in rows)
    assert again.get(rows[0].key, "line 9").name == "line 9"  # type: ignore[union-attr]
    assert len(list(again.folder.iterdir())) == 2
    assert TokenCache(tmp_path, {"template": "other"}).get(rows[0].key, "n") is None


@pytest.mark.parametrize("name", ["keys", "node_counts", "node_lengths", "node_parents", "ids", "trained"])
def test_a_damaged_file_is_ignored_and_written_again(tmp_path: Path, name: str) -> None:
    rows = make_rows()
    cache = TokenCache(tmp_path, {})
    cache.add(rows)
    path = next(cache.folder.iterdir()) / f"{name}.bin"
    body = bytearray(path.read_bytes())
    body[0] ^= 1
    path.write_bytes(bytes(body))
    damaged = TokenCache(tmp_path, {})
    assert damaged.ignored == 1
    assert damaged.get(rows[0].key, "n") is None
    damaged.add(rows)
    assert TokenCache(tmp_path, {}).ignored == 0
    assert same(TokenCache(tmp_path, {}).get(rows[1].key, "n"), rows[1])


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", b"null"])
def test_a_damaged_manifest_is_ignored(tmp_path: Path, body: bytes) -> None:
    cache = TokenCache(tmp_path, {})
    cache.add(make_rows())
    (next(cache.folder.iterdir()) / "manifest.json").write_bytes(body)
    assert TokenCache(tmp_path, {}).ignored == 1
