"""Rows already tokenised, by content digest, as flat memory-mapped files.

A folder for each (way of encoding, tokenizer, template, stop tokens); in it immutable segments, each written whole
and closed by a manifest with the digests of its files. A segment whose bytes are not what its manifest says is
ignored, so a damaged cache costs time and never gives a wrong row.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from goldsmith.engines.training.checkpointing.folders import new_folder
from goldsmith.engines.training.data.rows import Node, Row

FORMAT: Final = 3
_FILES: Final = {
    "keys": "S71",
    "node_counts": "<i4",
    "node_lengths": "<i4",
    "node_parents": "<i4",
    "ids": "<i4",
    "trained": "|b1",
    "values": "<f8",
    "place_counts": "<i4",
    "place_values": "<f8",
}
_Known = tuple[tuple[Node, ...], float | None, tuple[float, ...]]


class TokenCache:
    """Tokenised rows in `folder` for one encoder; `identity` says all that the tokens depend on besides the content."""

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        text = json.dumps({**identity, "format": FORMAT}, sort_keys=True)
        self.folder = folder / hashlib.sha256(text.encode()).hexdigest()[:32]
        self._rows: dict[str, _Known] = {}
        self.ignored = 0
        """Segments that were damaged."""
        for segment in sorted(self.folder.glob("segment-*")):
            arrays = _read(segment)
            if arrays is None:
                self.ignored += 1
            else:
                self._rows.update(_rows(arrays))

    def get(self, key: str, name: str) -> Row | None:
        """The row of a content digest, or None."""
        known = self._rows.get(key)
        return None if known is None else Row(known[0], name, key, known[1], known[2])

    def add(self, rows: list[Row]) -> None:
        """Keep rows for later runs.

        Raises:
            Unavailable: the disk is full.
        """
        fresh = list({row.key: row for row in rows if row.key not in self._rows}.values())
        if not fresh:
            return
        nodes = [node for row in fresh for node in row.nodes]
        arrays: dict[str, NDArray[Any]] = {
            "keys": np.array([row.key.encode() for row in fresh], dtype="S71"),
            "node_counts": np.array([len(row.nodes) for row in fresh], dtype="<i4"),
            "node_lengths": np.array([len(node.ids) for node in nodes], dtype="<i4"),
            "node_parents": np.array([node.parent for node in nodes], dtype="<i4"),
            "ids": np.concatenate([node.ids for node in nodes]).astype("<i4"),
            "trained": np.concatenate([node.trained for node in nodes]).astype("|b1"),
            "values": np.array([np.nan if row.value is None else row.value for row in fresh], dtype="<f8"),
            "place_counts": np.array([len(row.values) for row in fresh], dtype="<i4"),
            "place_values": np.array([value for row in fresh for value in row.values], dtype="<f8"),
        }
        digests = {name: hashlib.sha256(array.tobytes()).hexdigest() for name, array in arrays.items()}
        target = self.folder / f"segment-{hashlib.sha256(repr(digests).encode()).hexdigest()[:32]}"
        if target.exists():
            shutil.rmtree(target)  # only a damaged segment gets here
        with new_folder(target) as partial:
            for name, array in arrays.items():
                (partial / f"{name}.bin").write_bytes(array.tobytes())
            (partial / "manifest.json").write_text(json.dumps(digests, sort_keys=True))
        self._rows.update({row.key: (row.nodes, row.value, row.values) for row in fresh})


def _read(segment: Path) -> dict[str, NDArray[Any]] | None:
    try:
        manifest = json.loads((segment / "manifest.json").read_text())
        arrays = {}
        for name, kind in _FILES.items():
            path = segment / f"{name}.bin"
            with path.open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != manifest[name]:
                    return None
            size = path.stat().st_size
            arrays[name] = np.memmap(path, dtype=kind, mode="r") if size else np.empty(0, dtype=kind)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return arrays


def _rows(arrays: Mapping[str, NDArray[Any]]) -> dict[str, _Known]:
    ends = np.concatenate([[0], np.cumsum(arrays["node_lengths"], dtype=np.int64)])
    found: dict[str, _Known] = {}
    place = said = 0
    each = zip(arrays["keys"], arrays["node_counts"], arrays["values"], arrays["place_counts"], strict=True)
    for key, count, value, places in each:
        nodes = tuple(
            Node(
                np.asarray(arrays["ids"][ends[i] : ends[i + 1]]),
                np.asarray(arrays["trained"][ends[i] : ends[i + 1]]),
                int(arrays["node_parents"][i]),
            )
            for i in range(place, place + int(count))
        )
        values = tuple(arrays["place_values"][said : said + int(places)].tolist())
        found[key.decode()] = nodes, None if np.isnan(value) else float(value), values
        place, said = place + int(count), said + int(places)
    return found
