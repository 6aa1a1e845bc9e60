"""`make bench NAME=battery`: CPU-seconds per 100k records of every check, and peak memory, at growing sizes.

Run: python benchmarks/battery.py [SHARED_DATA_FOLDER] [SIZES...]. The records are generated, the same every time: words
are drawn as a chain from real public rows where the shared data are there, else from invented words; a fifth hold tool
calls, a fifth are comparisons, 2 % are near copies; 20 sources of 5 batches. Each size is checked by the stage behind
`goldsmith check`, in a process of its own.
"""

import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from results import peak_mb, row, save

SIZES = (100_000, 300_000, 1_000_000)


def sentences(data: Path) -> list[list[str]]:
    """Real sentences of the public rows, or invented ones: the stock that texts are put together from."""
    if data.is_dir():
        import neardup_corpus

        texts = neardup_corpus.base_texts(data)
        random.Random(1).shuffle(texts)
        return [text.split()[:400] for text in texts[:20_000]]
    rng = random.Random(2)
    words = ["".join(rng.choices("abcdefghijklmnoprstuvw", k=rng.randint(3, 9))) for _ in range(6000)]
    return [rng.choices(words, k=rng.randint(20, 120)) for _ in range(20_000)]


def records(count: int, data: Path, seed: int = 11) -> Iterator[dict[str, Any]]:
    """Rows as delivered. A text is a few runs of 4 to 14 words from different real texts, so that none repeats."""
    rng = random.Random(seed)
    stock = sentences(data)

    def text(low: int, high: int) -> str:
        words: list[str] = []
        while len(words) < low:
            own = stock[rng.randrange(len(stock))]
            first = rng.randrange(max(1, len(own) - 4))
            words += own[first : first + rng.randint(4, 14)]
        return " ".join(words[:high])

    recent: list[dict[str, Any]] = []
    for number in range(count):
        told = {"source": f"source-{number % 20}", "batch": f"b{number * 5 // count}", "maker": rng.choice(_MAKERS)}
        if recent and rng.random() < 0.02:
            copy = json.loads(json.dumps(rng.choice(recent)))
            copy["messages"][-1]["content"] += " " + text(1, 2)
            yield {**copy, **told}
            continue
        asked = {"role": "user", "content": text(8, 40)}
        kind = number % 5
        if kind == 0:
            yield {"messages": [asked, *_tool_turns(number, rng, text)], "tools": [_TOOL], **told}
        elif kind == 1:
            sides = [[{"role": "assistant", "content": text(20, 120)}] for _ in range(2)]
            pair = {"preferred_output": sides[0], "non_preferred_output": sides[1]}
            yield {"input": {"messages": [asked]}, **pair, **told}
        else:
            made = {"messages": [asked, {"role": "assistant", "content": text(20, 160)}], **told}
            recent = [*recent[-50:], made]
            yield made


_MAKERS = ("human", "model", "model", "unknown")
_TOOL = {
    "type": "function",
    "function": {
        "name": "order_get",
        "description": "Look up an order.",
        "parameters": {"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]},
    },
}


def _tool_turns(number: int, rng: random.Random, text: Any) -> list[dict[str, Any]]:
    arguments = json.dumps({"id": str(rng.randrange(10**6))})
    call = {"id": f"c{number}", "type": "function", "function": {"name": "order_get", "arguments": arguments}}
    return [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": f"c{number}", "content": text(4, 20)},
        {"role": "assistant", "content": text(10, 40)},
    ]


def write(path: Path, count: int, data: Path) -> None:
    """The generated records as JSON lines."""
    with path.open("w", encoding="utf-8") as stream:
        for one in records(count, data):
            stream.write(json.dumps(one) + "\n")


def one_run(path: Path, scratch: Path) -> None:
    """In a process of its own: check a file; print CPU seconds by check and the peak memory of the process."""
    from goldsmith.stages.check import check_file
    from goldsmith.types.recipe import CheckEntry

    started = time.process_time()
    checked, _ = check_file(path, CheckEntry(), scratch=scratch)
    whole = time.process_time() - started
    rows = len(checked.rows)
    by_check = {name: 1e5 * used / rows for name, used in checked.screening.cpu_s.items()}
    told = {
        "rows": rows,
        "whole": 1e5 * whole / rows,
        "by_check": {**by_check, "read and map": 1e5 * whole / rows - sum(by_check.values())},
        "peak_mb": peak_mb(),
        "findings": len(checked.findings),
    }
    print(json.dumps(told))


def measured(count: int, data: Path, folder: Path) -> dict[str, Any]:
    """One size, warm: a small run before it has compiled the kernels."""
    path = folder / f"{count}.jsonl"
    write(path, count, data)
    command = [sys.executable, __file__, "--one", str(path), str(folder / "scratch")]
    try:
        found: dict[str, Any] = json.loads(
            subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        )
    finally:
        path.unlink()
    return found


def main() -> None:
    """Every size once, smallest first; rows for the whole, the memory, and each check at every size."""
    arguments = sys.argv[1:]
    data = Path(arguments[0]) if arguments and not arguments[0].isdigit() else Path("../shared/data")
    sizes = [int(one) for one in arguments if one.isdigit()] or SIZES
    rows = []
    with tempfile.TemporaryDirectory() as name:
        measured(2000, data, Path(name))
        for count in sizes:
            found = measured(count, data, Path(name))
            rows += [
                row(f"whole battery, {count} records", [found["whole"]], None, "CPU-s per 100k records"),
                row(f"peak memory, {count} records", [found["peak_mb"]], None, "MB"),
            ]
            for check, used in sorted(found["by_check"].items(), key=lambda item: -item[1]):
                rows.append(row(f"{check}, {count} records", [used], None, "CPU-s per 100k records"))
            for one in rows[-len(found["by_check"]) - 2 :][:14]:
                print(one["what"], one["ours"], one["unit"], file=sys.stderr, flush=True)
            save("battery", rows)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        one_run(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        main()
