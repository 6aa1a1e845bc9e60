"""Typed access to a delivered row's fields, with errors that name the path, what was found and what is allowed."""

from collections.abc import Mapping
from typing import Any

from goldsmith.engines.reading.json_text import Number, Refused, decode, encode, show
from goldsmith.types.row_format import RowProblem


def text(row: Mapping[str, Any], name: str) -> str:
    """A field that must be text."""
    value = row.get(name)
    if type(value) is not str:
        raise RowProblem(f"{name} must be text", where=name, found=show(value), allowed="text")
    return value


def optional_text(row: Mapping[str, Any], name: str) -> str:
    """A field that may be missing or null (then "")."""
    return "" if row.get(name) is None else text(row, name)


def boolean(row: Mapping[str, Any], name: str) -> bool:
    """true or false; 1, 0 and, as tables write them, "true" and "false" too."""
    value = as_boolean(row.get(name))
    if value is None:
        raise RowProblem(f"{name} must be true or false", where=name, found=show(row.get(name)), allowed="true, false")
    return value


def as_boolean(value: Any) -> bool | None:
    """The boolean that a JSON value or a table's cell stands for; None if it stands for none."""
    if isinstance(value, bool):
        return value
    if isinstance(value, Number):
        value = float(value)
    if isinstance(value, int | float) and value in (0, 1):
        return bool(value)
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value.strip().lower())
    return None


def unfolded(value: Any, path: str) -> Any:
    """A value, or what its text holds: many sets keep lists and objects as JSON text. Errors: RowProblem."""
    if not isinstance(value, str):
        return value
    try:
        return decode(value)
    except Refused as error:
        raise RowProblem(
            f"{path} is text that does not hold JSON: {error.what}", where=path, found=show(value), allowed="JSON"
        ) from error


def as_json_text(value: Any) -> str:
    """Text as it is; any other value as JSON text (tool arguments and results come both ways)."""
    return value if isinstance(value, str) else encode(value)


def rest_of(row: Mapping[str, Any], taken: frozenset[str]) -> dict[str, Any]:
    """The fields that are not `taken`, nulls left out (a null field says as much as a missing one)."""
    return {key: value for key, value in row.items() if key not in taken and value is not None}
