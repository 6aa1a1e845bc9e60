"""Foreign JSON, strictly read and losslessly written: what was delivered is what is hashed.

Numbers keep their text: integers within ±(2^53 - 1) become Python integers, all others (floats, larger integers, -0)
become `Number`. Repeated keys, NaN and Infinity, lone surrogates and nesting bombs are refused (RFC 7493, I-JSON).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import orjson

from goldsmith.types.row_format import RowProblem

_EXACT = 2**53 - 1
_DUMPS = orjson.OPT_PASSTHROUGH_DATACLASS


@dataclass(frozen=True, slots=True)
class Number:
    """A JSON number whose text a Python int or float would not keep for every reader."""

    text: str

    def __float__(self) -> float:
        return float(self.text)


class Refused(RowProblem):
    """JSON that is well-formed but means different things to different readers, or cannot be read at all.

    `at_end`: whether the text looks cut off, i.e. the fault is at its very end.
    """

    at_end = False


class _Ambiguous(ValueError):
    """Raised inside the scanner, which does not know the path."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _Ambiguous(f"the key {ascii(key)[:60]} appears twice in one object")
            seen.add(key)
    return value


def _integer(digits: str) -> int | Number:
    if len(digits) <= 15:
        return int(digits) if digits != "-0" else Number(digits)
    if len(digits) <= 17 and -_EXACT <= int(digits) <= _EXACT:
        return int(digits)
    return Number(digits)


def _constant(name: str) -> NoReturn:
    raise _Ambiguous(f"{name} is not a JSON number")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_int=_integer, parse_float=Number, parse_constant=_constant)


def decode(text: str) -> Any:
    """The value of a JSON text.

    Errors: Refused, with `where` = the column for syntax errors and `at_end` for texts that look cut off.
    """
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise _syntax(text, error) from error
    except _Ambiguous as error:
        raise Refused(str(error), allowed="JSON that every reader understands the same way (RFC 7493)") from error
    except RecursionError as error:
        raise Refused("JSON nested too deeply to be read", allowed="a few hundred levels") from error
    if "\\ud" in text or "\\uD" in text:
        _require_characters(value, "")
    return value


def _syntax(text: str, error: json.JSONDecodeError) -> Refused:
    shown = text[max(0, error.pos - 20) : error.pos + 20]
    allowed = "one JSON object on one line"
    place = f"column {error.pos + 1}"
    refused = Refused(f"this is not JSON: {error.msg}", where=place, found=ascii(shown), allowed=allowed)
    rest = text[error.pos :].strip()
    refused.at_end = (
        not rest
        or error.msg.startswith(("Unterminated string", "Invalid \\u"))
        or any(word.startswith(rest) for word in ("true", "false", "null", "-"))
    )
    return refused


def _require_characters(value: Any, path: str) -> None:
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            found = ascii(value[error.start : error.start + 1])
            raise Refused("a lone surrogate is not a character", where=path or None, found=found) from error
    elif isinstance(value, dict):
        for key, item in value.items():
            _require_characters(key, path)
            _require_characters(item, f"{path}.{key}" if path else ascii(key)[1:-1])
    elif isinstance(value, list):
        for position, item in enumerate(value):
            _require_characters(item, f"{path}[{position}]")


def encode(value: Any, *, sort_keys: bool = False) -> str:
    """JSON text without spaces; numbers read by `decode` are written as they were. Errors: RowProblem if too deep."""
    option = _DUMPS | orjson.OPT_SORT_KEYS if sort_keys else _DUMPS
    try:
        return orjson.dumps(value, default=_own_text, option=option).decode()
    except TypeError as error:
        raise RowProblem(
            "this value cannot be written as JSON", found=error, allowed="254 levels of plain JSON"
        ) from error


def _own_text(value: Any) -> Any:
    if isinstance(value, Number):
        return orjson.Fragment(value.text)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def show(value: Any) -> str:
    """A short, harmless picture of a delivered value for messages: type and at most 60 ASCII characters."""
    if value is None:
        return "null"
    if isinstance(value, str):
        return ascii(value[:60]) + (f"... ({len(value)} characters)" if len(value) > 60 else "")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)[:60]
    if isinstance(value, Number):
        return value.text[:60]
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    if isinstance(value, Mapping):
        return "an object with " + (", ".join(ascii(k)[1:-1][:40] for k in list(value)[:8]) or "no fields")
    return type(value).__name__
