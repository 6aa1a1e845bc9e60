"""`make bench NAME=neardup`: near duplicates among 200k texts, beside rensa and datasketch, in CPU-seconds.

Run: python benchmarks/neardup.py [SHARED_DATA_FOLDER] [TEXTS] [REPEATS]. The tools take turns, each run in a process of
its own that reads the texts, does a small warm-up (compiled kernels, imports), and reports user + system time of the
work alone. What counts as found is decided by which texts each tool would remove:

* recall: of the pairs with exact Jaccard >= 0.7 of lower-cased word 5-gram sets, the share of which not both stay;
* precision: of the removed texts, the share with such a Jaccard to an earlier text.

rensa and datasketch get the same 5-grams as Python strings, as their documentation shows. "rensa at equal recall" has
its threshold and bands set so that its recall is at least ours.
"""

import json
import pickle
import re
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from neardup_corpus import corpus, true_pairs
from results import peak_mb, row, save

THRESHOLD = 0.7
_WORD = re.compile(r"[^\W_]+")


def shingled(text: str) -> list[str]:
    """Lower-cased word 5-grams as strings, what a user of rensa or datasketch writes."""
    words = _WORD.findall(text.lower())
    return [" ".join(words[i : i + 5]) for i in range(max(1, len(words) - 4))]


def ours(texts: list[str]) -> list[bool]:
    """Which texts stay."""
    from goldsmith.engines.text import minhash

    kept, _ = minhash.earliest_kept(minhash.near_duplicates(texts, threshold=THRESHOLD), len(texts))
    return [bool(one < 0) for one in kept]


def rensa(texts: list[str], threshold: float = THRESHOLD, bands: int | None = None) -> list[bool]:
    """Which texts stay, by rensa's deduplicator (which checks candidates against the sketches)."""
    from rensa import RMinHashDeduplicator

    found = RMinHashDeduplicator(threshold=threshold, num_perm=128, use_lsh=True, num_bands=bands)
    return list(found.add_pairs((str(i), shingled(text)) for i, text in enumerate(texts)))


def rensa_equal(texts: list[str]) -> list[bool]:
    """rensa with more bands and a lower threshold, for the recall that ours has."""
    return rensa(texts, threshold=0.62, bands=32)


def datasketch(texts: list[str]) -> list[bool]:
    """Which texts stay, by datasketch's LSH index, text after text."""
    from datasketch import MinHash, MinHashLSH

    index = MinHashLSH(threshold=THRESHOLD, num_perm=128)
    kept = []
    for number, text in enumerate(texts):
        sketch = MinHash(num_perm=128)
        sketch.update_batch([gram.encode() for gram in shingled(text)])
        kept.append(not index.query(sketch))
        if kept[-1]:
            index.insert(number, sketch)
    return kept


TOOLS: dict[str, Callable[[list[str]], list[bool]]] = {
    "ours": ours,
    "rensa": rensa,
    "rensa at equal recall": rensa_equal,
    "datasketch": datasketch,
}


def cpu_s() -> float:
    """User and system seconds of this process (all its threads) so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def one_run(tool: str, path: str) -> None:
    """In a process of its own: run a tool over the pickled corpus; print its CPU seconds, peak memory and quality."""
    with Path(path).open("rb") as stream:
        texts, pairs = pickle.load(stream)
    TOOLS[tool](texts[:200])
    started = cpu_s()
    kept = np.array(TOOLS[tool](texts))
    used = cpu_s() - started
    removed = np.flatnonzero(~kept)
    told = {
        "cpu_s": used,
        "peak_mb": peak_mb(),
        "recall": float(1 - (kept[pairs[:, 0]] & kept[pairs[:, 1]]).mean()),
        "precision": float(np.isin(removed, pairs[:, 1]).mean()),
    }
    print(json.dumps(told))


def main() -> None:
    """Build the corpus and its truth, let the tools take turns, save the rows."""
    data = Path(sys.argv[1] if len(sys.argv) > 1 else "../shared/data")
    count, repeats = (int(sys.argv[k]) if len(sys.argv) > k else d for k, d in ((2, 200_000), (3, 3)))
    texts, _ = corpus(data, count)
    pairs, _ = true_pairs(texts, THRESHOLD)
    print(f"{count} texts, {sum(map(len, texts)) / 1e6:.0f} MB, {len(pairs)} true pairs", file=sys.stderr)
    runs: dict[str, list[dict[str, float]]] = {tool: [] for tool in TOOLS}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "corpus.pickle"
        path.write_bytes(pickle.dumps((texts, pairs)))
        del texts, pairs
        for _ in range(repeats):
            for tool in TOOLS:
                runs[tool].append(_in_process(tool, path))
                print(tool, runs[tool][-1], file=sys.stderr)
    save("neardup", _rows(runs, count))


def _in_process(tool: str, path: Path) -> dict[str, float]:
    command = [sys.executable, __file__, "--one", tool, str(path)]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def _rows(runs: dict[str, list[dict[str, float]]], count: int) -> list[dict[str, Any]]:
    mine = runs["ours"]
    rows = []
    for tool, package in (("rensa", "rensa"), ("rensa at equal recall", "rensa"), ("datasketch", "datasketch")):
        theirs = runs[tool]
        version = f"{package} {metadata.version(package)}"
        rows.append(
            row(tool, [r["cpu_s"] for r in mine], [r["cpu_s"] for r in theirs], f"CPU-s for {count} texts",
                peer_version=version)
        )  # fmt: skip
        rows += [
            row(f"{tool}: {what}", [r[what] for r in mine], [r[what] for r in theirs], "share", peer_version=version)
            for what in ("recall", "precision")
        ]
    rows.append(row("peak memory", [r["peak_mb"] for r in mine], [r["peak_mb"] for r in runs["rensa"]], "MB"))
    return rows


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        one_run(sys.argv[2], sys.argv[3])
    else:
        main()
