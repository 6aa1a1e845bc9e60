"""The inspection sheet: the lines a person has to look at, and what they found."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from goldsmith.engines.acceptance.plan import Plan, drawn
from goldsmith.trust import canonical
from goldsmith.types.artifact import Digest
from goldsmith.types.errors import BadInput, Unavailable


@dataclass(frozen=True, slots=True)
class Sheet:
    """A sheet as filled in: `defective` is None for a line that nobody has judged yet."""

    contract: Digest
    records: Digest
    seed: str
    since: Digest | None
    defective: dict[int, bool | None]
    why: dict[int, str]


def sheet_text(
    contract: Digest, records: Digest, seed: str, plan: Plan, lines: Sequence[int], since: Digest | None = None
) -> str:
    """An empty sheet as JSON Lines: what it is of, then one object a line whose `defective` a person sets."""
    head = {
        "contract": contract, "records": records, "seed": seed, "since": since,
        "lot": plan.lot, "size": plan.size, "accept": plan.accept,
    }  # fmt: skip
    chosen = drawn(lines, plan.size, seed)
    rows: list[dict[str, Any]] = [head, *({"line": line, "defective": None, "why": ""} for line in chosen)]
    return "".join(json.dumps(row) + "\n" for row in rows)


def read_sheet(path: Path) -> Sheet:
    """A sheet from its file. Errors: BadInput naming the line for anything but what `sheet_text` lays out."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise Unavailable("the inspection sheet cannot be read", where=str(path), found=error.strerror) from error
    rows = [
        (number, canonical.read_json(line, where=f"{path} line {number}"))
        for number, line in enumerate(lines, 1)
        if line.strip()
    ]
    if not rows or not isinstance(rows[0][1], dict) or "contract" not in rows[0][1]:
        allowed = "its first line as `goldsmith contract sample` wrote it"
        raise BadInput("this is not an inspection sheet", where=f"{path} line 1", allowed=allowed)
    head = rows[0][1]
    defective: dict[int, bool | None] = {}
    why: dict[int, str] = {}
    for number, row in rows[1:]:
        line = row.get("line") if isinstance(row, dict) else None
        told = row.get("defective") if isinstance(row, dict) else None
        if not isinstance(line, int) or isinstance(line, bool) or not (told is None or isinstance(told, bool)):
            allowed = '{"line": 12, "defective": true, "why": "..."}'
            raise BadInput("this inspection cannot be read", where=f"{path} line {number}", allowed=allowed)
        if line in defective:
            raise BadInput("this line was inspected twice", where=f"{path} line {number}", found=line)
        defective[line] = told
        why[line] = str(row.get("why") or "")
    named = (head.get("contract"), head.get("records"), head.get("seed"))
    if not all(isinstance(one, str) for one in named):
        raise BadInput("this inspection sheet does not say what it is of", where=f"{path} line 1")
    return Sheet(str(named[0]), str(named[1]), str(named[2]), head.get("since"), defective, why)
