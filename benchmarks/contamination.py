"""Eval items planted into training rows in ten disguises: how many are found, and how many clean rows are accused.

Run: python benchmarks/contamination.py [SHARED_DATA_FOLDER]. One item a row, between words of another row; the check's
EXCLUDE findings count. False alarms: rows of the clean sets against evals that are not in them.
"""

import gzip
import json
import random
import sys
import time
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import clean_sets
import results

from goldsmith import plugins
from goldsmith.types.check import CheckContext, Row
from goldsmith.types.finding import Severity
from goldsmith.types.record import Conversation, Message, Origin, Record, Role, TextPart

_ITEMS = 300


def read(path: Path) -> list[dict[str, Any]]:
    """Rows of a JSON-lines file, gzipped or not."""
    raw = path.read_bytes()
    return [json.loads(line) for line in (gzip.decompress(raw) if path.suffix == ".gz" else raw).splitlines()]


def evals(data: Path) -> dict[str, list[str]]:
    """Items of public evals, as they would be put to a model."""

    def options(one: dict[str, Any]) -> str:
        return "\n".join(f"{letter}) {one[f'ans{k}']}" for k, letter in enumerate("ABC"))

    bbq = read(data / "bbq/Religion.jsonl") + read(data / "bbq/Disability_status.jsonl")
    return {
        "gsm8k": [one["question"] for one in read(data / "gsm8k/test.jsonl")],
        "truthfulqa": [one["Question"] for one in read(data / "truthfulqa/questions.jsonl")],
        "bbq": [f"{one['context']} {one['question']}\n{options(one)}" for one in bbq],
        "mt-bench": [turn for one in read(data / "mt-bench/question.jsonl") for turn in one["turns"]],
        "pubmedqa": [one["question"] for one in read(data / "pubmedqa/pqal.jsonl.gz") if "question" in one],
    }


def fullwidth(text: str, _rng: random.Random) -> str:
    """ASCII as full-width forms."""
    return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text)


def numbered(text: str, _rng: random.Random) -> str:
    """A numbered line for each sentence."""
    parts = [part for line in text.split("\n") for part in line.replace("? ", "?\n").replace(". ", ".\n").split("\n")]
    return "\n".join(f"{k}. {part}" for k, part in enumerate(parts, 1))


def reordered(text: str, rng: random.Random) -> str:
    """Answer options in another order under other labels."""
    head, *rest = text.split("\n")
    rng.shuffle(rest)
    return "\n".join([head, *(f"({k}) {line[3:]}" for k, line in enumerate(rest, 1))])


def spaced(text: str, rng: random.Random) -> str:
    """One to three spaces for each, a tenth of them with a line break."""
    return "".join(" " * rng.randrange(1, 4) + "\n" * (rng.random() < 0.1) if c == " " else c for c in text)


def tagged(text: str, _rng: random.Random) -> str:
    """HTML with tags, line breaks and entities."""
    marked = text.replace(" ", " <b>", 1).replace("\n", "<br/>\n").replace("'", "&#39;")
    return f'<p class="item">{marked}</b></p>'


DISGUISES: dict[str, Callable[[str, random.Random], str]] = {
    "as it is": lambda text, _: text,
    "case": lambda text, rng: "".join(c.upper() if rng.random() < 0.5 else c.lower() for c in text),
    "spacing": spaced,
    "punctuation": lambda text, _: "".join(c if c.isalnum() or c.isspace() else "" for c in text).replace(" ", " - "),
    "accents and quotes": lambda text, _: unicodedata.normalize("NFD", text.replace("'", "’").replace('"', "“")),
    "full width": fullwidth,
    "markdown": lambda text, _: "\n".join(f"> **{line.replace(' ', '** **')}**" for line in text.split("\n")),
    "numbered lines": numbered,
    "JSON": lambda text, _: json.dumps({"question": text, "id": 7}),
    "HTML": tagged,
}


def chat(user: str, answer: str, line: int) -> Row:
    """One training row."""
    turns = tuple(Message(role=r, parts=(TextPart(text=t),)) for r, t in ((Role.USER, user), (Role.ASSISTANT, answer)))
    return Row(line, Record(content=Conversation(messages=turns), origin=Origin(source="s", batch="b")))


def found(check: Any, rows: list[Row], context: CheckContext) -> set[int]:
    """Lines the check leaves out."""
    return {line for f in check(rows, context).findings if f.severity is Severity.EXCLUDE for line in f.lines}


def main() -> None:
    """Recall by eval and disguise, then false alarms; the figures go to `benchmarks/results/contamination.json`."""
    data = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[2] / "shared" / "data"
    check: Any = plugins.build("checks", "eval_overlap")
    sets = {name: items for name, items in evals(data).items() if items}
    out, hits, planted = [], 0, 0
    for name, items in sets.items():
        rng = random.Random(name)
        context = CheckContext(eval_texts=items, eval_names=[name] * len(items))
        chosen = rng.sample(items, min(_ITEMS, len(items)))
        disguises = {**DISGUISES, **({"options reordered": reordered} if name == "bbq" else {})}
        for disguise, change in disguises.items():
            rows = [
                chat(f"Please help me with this one.\n{change(item, rng)}\nThank you.", "Let me think about it.", k)
                for k, item in enumerate(chosen, 1)
            ]
            hit = found(check, rows, context)
            missed = [chosen[row.line - 1][:70] for row in rows if row.line not in hit][:3]
            recall = len(hit) / len(rows)
            hits, planted = hits + round(recall * len(rows)), planted + len(rows)
            print(f"{name:14} {disguise:20} recall {recall:.4f} of {len(rows)}", *missed, sep="; ")
            out.append(
                {**results.row(f"recall, {name}, {disguise}", [recall], None, "share found"), "items": len(rows)}
            )
    out.append({**results.row("recall, all", [hits / planted], None, "share found"), "items": planted})
    context = CheckContext(
        eval_texts=[t for items in sets.values() for t in items],
        eval_names=[name for name, items in sets.items() for _ in items],
    )
    accused = total = 0
    started = time.process_time()
    for name in [*clean_sets.FILES, "toolalpaca", "nano"]:
        rows = clean_sets.renumbered(clean_sets.clean_rows(data, [name]))
        lines = found(check, rows, context)
        accused, total = accused + len(lines), total + len(rows)
        if lines:
            print(f"{name}: {len(lines)} of {len(rows)} accused")
            for f in check(rows, context).findings[:3]:
                print("   ", f.lines, f.evidence[:160])
    out.append({**results.row("clean rows accused", [accused / total], None, "share of rows"), "rows": total})
    spent = time.process_time() - started
    print(f"recall {hits}/{planted} = {hits / planted:.4f}; accused {accused}/{total}; {spent:.1f} CPU-s")
    results.save("contamination", out)


if __name__ == "__main__":
    main()
