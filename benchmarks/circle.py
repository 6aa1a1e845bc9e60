"""`make bench NAME=circle`: records a second through collect and the first checks, on generated chat rows."""

import json
import random
import tempfile
import time
from pathlib import Path

from results import row, save

from goldsmith.stages.check import check_collections
from goldsmith.stages.collect import collect
from goldsmith.trust.keys import KeyRing
from goldsmith.trust.workspace import Workspace
from goldsmith.types.recipe import CheckEntry, SourceEntry

RECORDS = 20_000
REPEATS = 3


def main() -> None:
    """Three repeats after a warm-up that compiles the kernels."""
    _once(500)
    runs = [_once(RECORDS) for _ in range(REPEATS)]
    save(
        "circle",
        [
            row("collect", [r[0] for r in runs], None, "records/s wall"),
            row("first checks", [r[1] for r in runs], None, "records/s wall"),
            row("first checks, CPU per 100k records", [r[2] for r in runs], None, "CPU-s"),
        ],
    )


def _once(count: int) -> tuple[float, float, float]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "rows.jsonl").write_text("".join(json.dumps(one) + "\n" for one in _rows(count)), encoding="utf-8")
        with Workspace.create(folder / "ws", keys=KeyRing(folder / "keys")) as ws:
            started = time.perf_counter()
            taken = collect(ws, SourceEntry(name="bench", file="rows.jsonl"), folder)
            between, cpu = time.perf_counter(), time.process_time()
            check_collections(ws, [taken.digest], CheckEntry(), [])
            wall, used = time.perf_counter() - between, time.process_time() - cpu
    return count / (between - started), count / wall, used / count * 100_000


def _rows(count: int) -> list[dict[str, object]]:
    rng = random.Random(5)
    words = ["".join(rng.choices("abcdefghijklmnoprstuvw", k=rng.randint(3, 9))) for _ in range(6000)]

    def text(low: int, high: int) -> str:
        return " ".join(rng.choices(words, k=rng.randint(low, high)))

    return [
        {
            "messages": [{"role": "user", "content": text(8, 25)}, {"role": "assistant", "content": text(20, 90)}],
            "source": f"s{n % 5}",
        }
        for n in range(count)
    ]


if __name__ == "__main__":
    main()
