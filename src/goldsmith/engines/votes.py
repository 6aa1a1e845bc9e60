"""Annotator votes from a file: JSONL, CSV or Parquet with `item`, `annotator`, `label` and, if known, `gold`."""

from pathlib import Path

from goldsmith.engines.reading.faults import Fault
from goldsmith.engines.reading.read import raw_rows
from goldsmith.types.check import Vote
from goldsmith.types.errors import BadInput


def read_votes(path: Path) -> list[Vote]:
    """All votes of a file. Errors: BadInput naming the line for a vote without item, annotator or label."""
    votes = []
    for line, row in raw_rows(path):
        if isinstance(row, Fault):
            raise BadInput(f"a vote cannot be read: {row.what}", where=f"{path} line {line}", found=row.found)
        missing = [name for name in ("item", "annotator", "label") if row.get(name) in (None, "")]
        if missing:
            raise BadInput(
                f"a vote lacks {', '.join(missing)}",
                where=f"{path} line {line}",
                found=", ".join(sorted(map(str, row))),
                allowed="item, annotator, label, gold (or null)",
            )
        gold = row.get("gold")
        votes.append(
            Vote(
                str(row["item"]),
                str(row["annotator"]),
                str(row["label"]),
                None if gold is None else str(gold),
            )
        )
    return votes
