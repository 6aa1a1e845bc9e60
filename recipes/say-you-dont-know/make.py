"""Writes this recipe's data into `data/`: questions with and without the passage that answers them, capitals that the
model knows and does not, and ordinary work."""

import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from goldsmith.engines.honesty.asking import ask
from goldsmith.engines.honesty.questions import Question
from goldsmith.engines.honesty.rows import from_knowledge
from goldsmith.nano import model_path
from goldsmith.nano.gaps import capitals, lookups
from goldsmith.nano.tasks import BASE_SKILLS, generate

Row = dict[str, Any]


def by_lookup(each: int, seed: int) -> list[Row]:
    """What a tool finds, and the same request where it finds nothing: the answer is read off, or said to be missing."""
    return [{"messages": one.task.messages(), "tools": one.task.schemas()} for one in lookups(each, seed)]


def by_knowledge(base: Path) -> list[Row]:
    """Capitals: the model's own answer where it knows them, an honest one where it does not. It is asked, in each of
    the ways there are to ask for a capital."""
    lands = [land for told in (True, False) for land in capitals("train", told=told)]
    questions = [Question(land.id, land.request, (land.capital,)) for land in lands]
    said = [answer for (answer,) in ask(base, questions, ways=("{prompt}",))]
    ways = [[other for other, one in enumerate(lands) if one.capital == land.capital] for land in lands]
    answers = [[said[place], *(said[other] for other in ways[place] if other != place)] for place in range(len(lands))]
    return list(from_knowledge(questions, answers, admitted_share=0.3).rows)


def ordinary(each: int, seed: int) -> list[Row]:
    """A few tasks of every skill of the base model, so that declining does not become a habit."""
    tasks = [task for skill in BASE_SKILLS for task in generate(skill, each, seed)]
    return [{"messages": task.messages(), "tools": task.schemas()} for task in tasks]


def write(path: Path, rows: Sequence[Row]) -> None:
    """One row a line."""
    path.write_text("".join(json.dumps(row, sort_keys=True) + "\n" for row in rows), encoding="utf-8")


def main(folder: Path) -> None:
    """Write the three files."""
    rng = random.Random(61)
    folder.mkdir(parents=True, exist_ok=True)
    files = {"by-lookup": by_lookup(60, 62), "by-knowledge": by_knowledge(model_path()), "ordinary": ordinary(8, 63)}
    for name, rows in files.items():
        rng.shuffle(rows)
        write(folder / f"{name}.jsonl", rows)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "data")
