"""Does a value fit a tool's parameter schema? The part of JSON Schema (2020-12) that tool definitions use.

Checked: type, enum, const, properties, required, additionalProperties, items, minItems, maxItems, minimum,
maximum, minLength, maxLength, pattern, anyOf, oneOf, allOf and local `$ref`. Other keywords are annotations
here: not checked.
"""

import re
from collections.abc import Mapping
from typing import Any

_DEPTH = 32


def problem_with(value: Any, schema: Any, where: str = "") -> str | None:
    """What is wrong with `value`, in a few words that name the argument, or None if nothing is.

    `where` is the path of the value, as `to` or `rows.0.id`; empty for the arguments object itself.
    """
    return _problem(value, schema, where, schema, 0)


def _problem(value: Any, schema: Any, where: str, root: Any, depth: int) -> str | None:
    if schema is True or not isinstance(schema, Mapping):
        return f"unexpected argument {where}" if schema is False else None
    if depth > _DEPTH:
        return f"argument {where or 'object'} is nested too deeply"
    reference = schema.get("$ref")
    if isinstance(reference, str):
        return _problem(value, _resolve(reference, root), where, root, depth + 1)
    return (
        _wrong_type(value, schema, where)
        or _wrong_choice(value, schema, where)
        or _wrong_size(value, schema, where)
        or _wrong_member(value, schema, where, root, depth)
        or _wrong_branch(value, schema, where, root, depth)
    )


def _resolve(reference: str, root: Any) -> Any:
    if not reference.startswith("#"):
        return {}
    node = root
    for part in reference.lstrip("#").strip("/").split("/"):
        if part:
            key = part.replace("~1", "/").replace("~0", "~")
            node = node.get(key, {}) if isinstance(node, Mapping) else {}
    return node


def json_type(value: Any) -> str:
    """The JSON Schema name of a parsed JSON value's type; whole numbers are `integer`."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return "integer"
    names: dict[type, str] = {float: "number", str: "string", list: "array", dict: "object"}
    return names.get(type(value), "object")


_ARTICLE = {"integer": "an integer", "array": "a list", "object": "an object", "null": "null"}
_SYNONYM = {
    "str": "string",
    "int": "integer",
    "float": "number",
    "bool": "boolean",
    "list": "array",
    "dict": "object",
}


def _wrong_type(value: Any, schema: Mapping[str, Any], where: str) -> str | None:
    wanted = schema.get("type")
    names = [wanted] if isinstance(wanted, str) else wanted if isinstance(wanted, list) else []
    names = [_SYNONYM.get(str(n).lower(), str(n).lower()) for n in names]
    known = [n for n in names if n in ("string", "integer", "number", "boolean", "array", "object", "null")]
    if len(known) < len(names) or not known:  # a made-up type name says nothing
        return None
    have = json_type(value)
    if have in known or (have == "integer" and "number" in known):
        return None
    words = " or ".join(_ARTICLE.get(n, f"a {n}") for n in known)
    return f"argument {where} must be {words}" if where else f"the arguments must be {words}"


def _wrong_choice(value: Any, schema: Mapping[str, Any], where: str) -> str | None:
    choices = schema.get("enum")
    if isinstance(choices, list) and choices and not any(_same(value, c) for c in choices):
        return f"argument {where} must be one of {', '.join(map(str, choices[:8]))}"
    if "const" in schema and not _same(value, schema["const"]):
        return f"argument {where} must be {schema['const']}"
    return None


def _same(a: Any, b: Any) -> bool:
    return isinstance(a, bool) == isinstance(b, bool) and bool(a == b)


def _wrong_size(value: Any, schema: Mapping[str, Any], where: str) -> str | None:
    def limit(key: str) -> float | None:
        bound = schema.get(key)
        return bound if isinstance(bound, int | float) and not isinstance(bound, bool) else None

    if isinstance(value, int | float) and not isinstance(value, bool):
        low, high = limit("minimum"), limit("maximum")
        if (low is not None and value < low) or (high is not None and value > high):
            return f"argument {where} is out of range"
    if isinstance(value, str | list):
        low = limit("minLength" if isinstance(value, str) else "minItems")
        high = limit("maxLength" if isinstance(value, str) else "maxItems")
        if (low is not None and len(value) < low) or (high is not None and len(value) > high):
            return f"argument {where} has the wrong length"
    pattern = schema.get("pattern")
    if isinstance(value, str) and isinstance(pattern, str) and len(value) <= 1000 and len(pattern) <= 200:
        try:
            if not re.search(pattern, value):
                return f"argument {where} must match {pattern}"
        except re.error:  # not a Python pattern: an annotation then
            return None
    return None


def _wrong_member(value: Any, schema: Mapping[str, Any], where: str, root: Any, depth: int) -> str | None:
    prefix = f"{where}." if where else ""
    if isinstance(value, dict):
        declared = schema.get("properties")
        properties: Mapping[str, Any] = declared if isinstance(declared, Mapping) else {}
        required = schema.get("required")
        for key in required if isinstance(required, list) else []:
            if key not in value:
                return f"missing argument {prefix}{key}"
        others = schema.get("additionalProperties", True)
        for key, item in value.items():
            if key not in properties and others is False:
                return f"unknown argument {prefix}{key}"
            wrong = _problem(item, properties.get(key, others), f"{prefix}{key}", root, depth + 1)
            if wrong:
                return wrong
    if isinstance(value, list) and "items" in schema:
        for index, item in enumerate(value):
            wrong = _problem(item, schema["items"], f"{prefix}{index}", root, depth + 1)
            if wrong:
                return wrong
    return None


def _wrong_branch(value: Any, schema: Mapping[str, Any], where: str, root: Any, depth: int) -> str | None:
    for key in ("allOf", "anyOf", "oneOf"):
        branches = schema.get(key)
        if not isinstance(branches, list) or not branches:
            continue
        wrongs = [_problem(value, branch, where, root, depth + 1) for branch in branches]
        fitting = sum(wrong is None for wrong in wrongs)
        enough = {"allOf": fitting == len(branches), "anyOf": fitting >= 1, "oneOf": fitting == 1}[key]
        if not enough:
            return next((wrong for wrong in wrongs if wrong), f"argument {where} fits more than one form")
    return None
