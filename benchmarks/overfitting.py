"""What the overfitting guard measures on runs that should and on runs that should not trigger it, on goldsmith-nano.

Run: python benchmarks/overfitting.py [seeds]. Healthy: the order desk's rows and preferences of goldsmith-nano. By
heart: shelves drawn at random, preferences by the toss of a coin. Surface: the answer follows from how a question
begins.
"""

import json
import random
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import results
import torch

from goldsmith import nano, plugins
from goldsmith.engines.training.driver import TrainingJob, run_training
from goldsmith.nano import deliveries
from goldsmith.types.record import Comparison, Conversation, Message, Record, Role, TextPart

LORA = {"kind": "lora", "rank": 8}
LETTERS = "bcdfghklmnprstvz"
SFT = {"learning_rate": 1e-3, "batch_size": 8, "adapter": LORA}


def said(role: Role, text: str) -> Message:
    return Message(role=role, parts=(TextPart(text=text),))


def asked(question: str, answer: str) -> Record:
    return Record(content=Conversation(messages=(said(Role.USER, question), said(Role.ASSISTANT, answer))))


def word(draw: random.Random) -> str:
    return "".join(draw.choice(LETTERS) + draw.choice("aeiou") for _ in range(3))


def parsed(rows: Sequence[dict[str, Any]]) -> list[Record]:
    kind = "openai_preference" if "input" in rows[0] else "openai_chat"
    source = plugins.build("sources", kind)
    return [Record(content=source.parse(row).content) for row in rows]


def desk(seed: int) -> list[Record]:
    """Rows of the order desk: what is right follows from rules."""
    return parsed(deliveries.expert_sft(56, 24, seed=100 + seed))


def preferences(seed: int) -> list[Record]:
    """The right step against a wrong one."""
    return parsed(deliveries.expert_preferences(80, seed=100 + seed))


def shelves(seed: int) -> list[Record]:
    """What shelf a thing is on follows from nothing."""
    draw = random.Random(seed)
    return [asked(f"On which shelf is the {word(draw)}, please?", f"On shelf {word(draw)}.") for _ in range(64)]


def coins(seed: int) -> list[Record]:
    """Which of two answers is better follows from nothing."""
    draw = random.Random(seed)
    return [
        Record(
            content=Comparison(
                prompt=(said(Role.USER, f"Name a place for the {word(draw)}, please."),),
                chosen=(said(Role.ASSISTANT, f"The {word(draw)}."),),
                rejected=(said(Role.ASSISTANT, f"The {word(draw)}."),),
            )
        )
        for _ in range(64)
    ]


def openers(seed: int) -> list[Record]:
    """The answer follows from the first words alone, which a rewording changes."""
    draw = random.Random(seed)
    found = []
    for number in range(192):
        first, answer = (("Can you ", "Red."), ("Could you ", "Green."), ("Would you ", "Blue."))[number % 3]
        found.append(asked(f"{first}say which colour the {word(draw)} has?", answer))
    draw.shuffle(found)
    return found


RUNS: dict[str, tuple[str, dict[str, Any], Callable[[int], list[Record]], int, bool]] = {
    "random shelves, SFT": (
        "sft", {**SFT, "learning_rate": 3e-3, "epochs": 16, "evaluate_every": 16}, shelves, 32, True,
    ),
    "coin tosses, DPO": ("dpo", {**SFT, "epochs": 6, "evaluate_every": 8}, coins, 32, True),
    "answer by the opener, SFT": ("sft", {**SFT, "epochs": 4, "evaluate_every": 32}, openers, 128, True),
    "order desk, SFT": ("sft", {**SFT, "epochs": 2, "evaluate_every": 6}, desk, 48, False),
    "order desk, DPO": (
        "dpo", {**SFT, "learning_rate": 3e-4, "epochs": 2, "evaluate_every": 6}, preferences, 48, False,
    ),
}  # fmt: skip
"""By name: method, settings, rows by seed, how many of them are trained on, whether the guard should trigger."""


def measured(name: str, seed: int) -> dict[str, float]:
    """The largest that the run shows at any validation."""
    method, settings, rows, train, _ = RUNS[name]
    records = rows(seed)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        job = TrainingJob(
            plugins.build("methods", method, settings),
            str(nano.model_path()),
            records[:train],
            folder / "out",
            folder / "scratch",
            seed=seed,
            validation=records[train:],
            progress=False,
            device="cpu",
        )
        run_training(job)
        lines = [json.loads(line) for line in (folder / "scratch" / "metrics.jsonl").read_text().splitlines()]
    found = [line for line in lines if "validation_gap_share" in line]
    for line in found:
        print(name, seed, {key: round(value, 3) for key, value in line.items()}, flush=True)
    return {key: max(line.get(f"validation_{key}", 0.0) for line in found) for key in ("gap_share", "surface_ratio")}


def main() -> None:
    torch.set_num_threads(1)
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    rows = []
    for name, (*_, should) in RUNS.items():
        each = [measured(name, seed) for seed in range(seeds)]
        for share in ("gap_share", "surface_ratio"):
            values = [one[share] for one in each]
            row = results.row(f"{name}, {share}", values, None, "share" if share == "gap_share" else "times")
            rows.append({**row, "each": [round(value, 3) for value in values], "should_trigger": should})
    results.save("overfitting", rows)


if __name__ == "__main__":
    main()
