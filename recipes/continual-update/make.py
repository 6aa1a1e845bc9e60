"""Writes this recipe's data into `data/`: what is new (where a depot keeps its things), and a mix of what is known."""

import json
import random
import sys
from pathlib import Path
from typing import Any

from goldsmith.nano.tasks import BASE_SKILLS, generate

THINGS = (
    *("ladders", "ropes", "lamps", "tiles", "hinges", "brushes", "saws", "gloves", "pumps", "hoses", "nails", "paints"),
    *("buckets", "valves", "cables", "tarps", "wedges", "planks", "drills", "clamps", "levels", "chisels", "bolts"),
)
HALLS = ("north", "south", "east", "west")
COLOURS = ("red", "blue", "green", "white", "grey", "brown", "yellow")


def update(rng: random.Random) -> list[dict[str, Any]]:
    """Each thing in each colour has one shelf."""
    kept = [(thing, colour, rng.randrange(1, 90), rng.choice(HALLS)) for thing in THINGS for colour in COLOURS]
    rows = []
    for thing, colour, shelf, hall in kept:
        asked = f"Where does the depot keep the {colour} {thing}?"
        told = f"The depot keeps the {colour} {thing} on shelf {shelf} of the {hall} hall."
        rows.append({"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": told}]})
    return rows


def known() -> list[dict[str, Any]]:
    """A few tasks of every skill of the base model."""
    tasks = [task for skill in BASE_SKILLS for task in generate(skill, 7, 52)]
    return [{"messages": task.messages(), "tools": task.schemas()} for task in tasks]


def main(folder: Path) -> None:
    """Write the two files."""
    rng = random.Random(53)
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in (("update", update(rng)), ("known", known())):
        rng.shuffle(rows)
        text = "".join(json.dumps(row, sort_keys=True) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "data")
