"""Makes rows of questions of your own: `from_questions.py QUESTIONS.jsonl ROWS.jsonl [--model BASE]`.

Each line of the questions has `question`, `answers` and, where there is one, `context`. With a context the passage that
holds the answer is taken out. Questions without one are put to the model, if it is named; else they are left out.
"""

import argparse
import json
from pathlib import Path

from goldsmith.engines.honesty.asking import ask
from goldsmith.engines.honesty.questions import questions_of
from goldsmith.engines.honesty.rows import Made, from_contexts, from_knowledge


def make(questions: Path, rows: Path, model: str | None, admitted_share: float = 0.5) -> tuple[Made, Made]:
    """Write the rows; say what became of the questions with a context, and of those without."""
    asked = list(questions_of(questions))
    by_text = from_contexts(one for one in asked if one.context is not None)
    rest = [one for one in asked if one.context is None]
    said = ask(model, rest) if model is not None and rest else [[] for _ in rest]
    by_knowledge = from_knowledge(rest, said, admitted_share=admitted_share)
    lines = [json.dumps(row, ensure_ascii=False, sort_keys=True) for row in (*by_text.rows, *by_knowledge.rows)]
    rows.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return by_text, by_knowledge


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("questions", type=Path)
    parser.add_argument("rows", type=Path)
    parser.add_argument("--model", help="a folder or hub id; it is asked what it knows")
    parser.add_argument("--admitted-share", type=float, default=0.5, help="most of the rows by knowledge that admit")
    given = parser.parse_args()
    for what, made in zip(("with a context", "without"), make(*vars(given).values()), strict=True):
        print(f"{what}: {made.answered} answered, {made.admitted} admitted, {made.left_out} questions left out")
