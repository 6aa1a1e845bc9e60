"""Annotator votes from a file: JSONL, CSV or Parquet with `item`, `annotator`, `label` and, where known, the other
fields of `Vote` (`gold`, `seconds`, `position`, `length`, `domain`, `text`, `time`, `line`, `repeat`)."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from goldsmith.engines.reading.faults import Fault
from goldsmith.engines.reading.json_text import Number
from goldsmith.engines.reading.read import raw_rows
from goldsmith.types.check import Vote
from goldsmith.types.errors import BadInput

_NEEDED = ("item", "annotator", "label")
_TEXTS = ("gold", "position", "domain", "text", "time", "repeat")
_ALLOWED = ", ".join((*_NEEDED, *_TEXTS, "seconds", "length", "line"))


def read_votes(path: Path) -> list[Vote]:
    """All votes of a file.

    Errors: BadInput naming the line for a vote without item, annotator or label, or with a number that is none.
    """
    votes = []
    for line, row in raw_rows(path):
        where = f"{path} line {line}"
        if isinstance(row, Fault):
            raise BadInput(f"a vote cannot be read: {row.what}", where=where, found=row.found)
        missing = [name for name in _NEEDED if row.get(name) in (None, "")]
        if missing:
            found = ", ".join(sorted(map(str, row)))
            raise BadInput(f"a vote lacks {', '.join(missing)}", where=where, found=found, allowed=_ALLOWED)
        known: dict[str, Any] = {name: _text(row, name) for name in (*_NEEDED, *_TEXTS)}
        known["seconds"] = _number(row, "seconds", where)
        for name in ("length", "line"):
            number = _number(row, name, where)
            known[name] = None if number is None else int(number)
        votes.append(Vote(**known))
    return votes


def _text(row: Mapping[str, Any], name: str) -> str | None:
    value = row.get(name)
    if isinstance(value, Number):
        return value.text
    return None if value in (None, "") else str(value)


def _number(row: Mapping[str, Any], name: str, where: str) -> float | None:
    """A number from 0, or None where it was not measured: nothing, an empty cell, NaN."""
    value = _text(row, name)
    if value is None:
        return None
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    if math.isnan(number):
        return None
    if number < 0 or math.isinf(number):
        raise BadInput(f"a vote's `{name}` is not a number from 0", where=where, found=value[:60], allowed="12.5")
    return number
