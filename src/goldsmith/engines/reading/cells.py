"""Cells of tables: what tables cannot hold (lists of turns in CSV) comes as JSON text and is unfolded here."""

from typing import Any, Final

from goldsmith.engines.reading.json_text import decode
from goldsmith.types.row_format import RowProblem

_TURN_KEYS: Final = frozenset(("role", "from", "messages", "turns"))


def unfold(row: dict[str, Any]) -> dict[str, Any]:
    """The row, with every cell that is JSON text of turns (a list of objects with `role` or `from`, or an object with
    `messages`) replaced by these. Other JSON text, an answer that is JSON for instance, stays text."""
    for name, cell in row.items():
        if isinstance(cell, str) and cell[:1] in ("[", "{"):
            row[name] = _turns_of(cell)
    return row


def _turns_of(cell: str) -> Any:
    try:
        value = decode(cell)
    except RowProblem:
        return cell
    first = value[0] if isinstance(value, list) and value else value
    return value if isinstance(first, dict) and not _TURN_KEYS.isdisjoint(first) else cell
