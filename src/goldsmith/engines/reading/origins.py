"""A row's Origin: from its fields named `source`, `batch`, `licence` and so on, over the delivery's defaults."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from goldsmith.engines.reading.json_text import Number
from goldsmith.types.record import Maker, Origin

FIELDS: Final = {
    "source": "source",
    "batch": "batch",
    "project": "project",
    "licence": "licence",
    "license": "licence",
    "maker": "maker",
    "generator": "generator",
    "generation_depth": "generation_depth",
    "domain": "domain",
    "language": "language",
    "annotator": "annotator",
    "qualification": "qualification",
}
"""Row field -> field of Origin."""
_NAMES: Final = FIELDS.keys()
_BOUND: Final = ("source", "batch")
_MAKERS: Final = frozenset(str(maker) for maker in Maker)
_CHECKED: Final = ("generation_depth", "maker")


def take(rest: dict[str, Any], defaults: Origin, *, row_origin: bool) -> Origin:
    """The Origin that `rest` states, its fields taken out of `rest`.

    A value that cannot be one (an object as `source`, a negative depth, an unknown `maker`) stays in `rest`, and so do
    `source` and `batch` that differ from the defaults where `row_origin` is False.
    """
    if _NAMES.isdisjoint(rest):
        return defaults
    told: dict[str, str | int] = {}
    for name in _NAMES & rest.keys():
        field = FIELDS[name]
        value = rest[name]
        if type(value) is not str or not value or field in _CHECKED:
            value = _value(field, value)
        if value is None or told.get(field, value) != value:
            continue
        if field in _BOUND and not row_origin and value != getattr(defaults, field):
            continue
        told[field] = value
        del rest[name]
    return _origin(defaults, tuple(sorted(told.items()))) if told else defaults


def _value(field: str, value: Any) -> str | int | None:
    if field == "generation_depth":
        if isinstance(value, str) and value.isdecimal() and len(value) < 6:
            value = int(value)
        return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
    if field == "maker":
        word = value.strip().lower() if isinstance(value, str) else ""
        return word if word in _MAKERS else None
    if isinstance(value, Number):
        return value.text
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) and value else None


@lru_cache(maxsize=65536)
def _origin(defaults: Origin, told: tuple[tuple[str, str | int], ...]) -> Origin:
    fields: Mapping[str, Any] = {**{name: getattr(defaults, name) for name in Origin.model_fields}, **dict(told)}
    if "qualification" in dict(told):
        return Origin(**{**fields, "qualification_basis": "attested"})
    return Origin(**fields)
