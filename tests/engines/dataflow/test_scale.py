"""Work that grows with the rows and no faster; a million rows, one of them broken, in bounded memory."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = str(Path(__file__).parents[3] / "src")
MEASURE = """
import json, sys, time
from pathlib import Path
from goldsmith.stages.check import check_file
from goldsmith.types.recipe import CheckEntry
used = []
for name in sys.argv[2:]:
    started = time.process_time()
    checked, reading = check_file(Path(name), CheckEntry(), scratch=Path(sys.argv[1]))
    used.append(time.process_time() - started)
broken = [f.lines for f in checked.findings if f.check == "faulty_row"]
peak = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024
print(json.dumps({"cpu_s": used, "rows": len(checked.rows), "broken": broken, "peak_mb": peak}))
"""


def lines(count: int, broken: int | None = None) -> Iterator[str]:
    """Conversations, comparisons and calls of invented words; line `broken` is cut in the middle."""
    rng = random.Random(3)
    words = ["".join(rng.choices("abcdefghijklmnoprstuvw", k=rng.randint(3, 9))) for _ in range(4000)]

    def text(low: int, high: int) -> str:
        return " ".join(rng.choices(words, k=rng.randint(low, high)))

    for n in range(count):
        asked, told = {"role": "user", "content": text(6, 20)}, {"source": f"s{n % 9}", "batch": f"b{n % 2}"}
        if n % 4:
            row = {"messages": [asked, {"role": "assistant", "content": text(10, 60)}], **told}
        else:
            sides = [[{"role": "assistant", "content": text(10, 40)}] for _ in range(2)]
            row = {
                "input": {"messages": [asked]},
                "preferred_output": sides[0],
                "non_preferred_output": sides[1],
                **told,
            }
        line = json.dumps(row)
        yield line[: len(line) // 2] if n + 1 == broken else line


def write(path: Path, count: int, broken: int | None = None) -> Path:
    with path.open("w", encoding="utf-8") as stream:
        stream.writelines(line + "\n" for line in lines(count, broken))
    return path


def measured(folder: Path, *files: Path) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(folder / "scratch"), *map(str, files)],
        env={**os.environ, "PYTHONPATH": SOURCE, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found: dict[str, object] = json.loads(done.stdout)
    return found


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_four_times_the_rows_are_four_times_the_work(tmp_path: Path) -> None:
    few, many = (write(tmp_path / f"{count}.jsonl", count) for count in (6000, 24_000))
    found = measured(tmp_path, few, few, many)  # the first compiles the kernels
    _, short, long = found["cpu_s"]  # type: ignore[misc]
    assert long / short < 4 * 1.5


@pytest.mark.soak
@pytest.mark.timeout(4 * 3600)
def test_one_bad_row_in_a_million(tmp_path: Path) -> None:
    found = measured(tmp_path, write(tmp_path / "million.jsonl", 1_000_000, broken=654_321))
    assert found["rows"] == 999_999
    assert found["broken"] == [[654_321]]
    assert found["peak_mb"] < 2048  # type: ignore[operator]
