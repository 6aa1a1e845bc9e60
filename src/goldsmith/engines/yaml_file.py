"""YAML 1.2 files into pydantic models, with errors that name line, column and the key that was probably meant.

Only plain data is read: the node tree is resolved here, by the core schema of YAML 1.2 (`1e-5` is a number, `no` is
text, dates are text), so no tag can construct an object and no alias can blow up memory.
"""

import difflib
import math
import re
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.tokens import (
    BlockEndToken,
    BlockMappingStartToken,
    BlockSequenceStartToken,
    FlowMappingEndToken,
    FlowMappingStartToken,
    FlowSequenceEndToken,
    FlowSequenceStartToken,
    TagToken,
)

from goldsmith.engines.reading.json_text import show
from goldsmith.types.errors import BadInput, Unavailable

AnyModel = TypeVar("AnyModel", bound=BaseModel)
Steps = tuple[str | int, ...]
"""Where a value stands: keys and list positions from the top."""

_MAX_BYTES = 4 * 2**20
_MAX_NODES = 100_000
_MAX_DEPTH = 60
_OPENING = (BlockMappingStartToken, BlockSequenceStartToken, FlowMappingStartToken, FlowSequenceStartToken)
_CLOSING = (BlockEndToken, FlowMappingEndToken, FlowSequenceEndToken)
_NULL = re.compile(r"(?:null|Null|NULL|~|)\Z")
_TRUE = re.compile(r"(?:true|True|TRUE)\Z")
_FALSE = re.compile(r"(?:false|False|FALSE)\Z")
_INTEGER = re.compile(r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)\Z")
_REAL = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_INFINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)\Z")
_NOT_A_NUMBER = re.compile(r"\.(?:nan|NaN|NAN)\Z")


def read_yaml(path: Path | str, model: type[AnyModel]) -> AnyModel:
    """The model that a YAML file describes.

    Errors: BadInput with `file:line:column` of the first problem, all others named below it: broken YAML, a repeated
    key, a tag, an unknown key (with a suggestion), a value of the wrong kind. Unavailable if the file cannot be read.
    """
    where = Path(path)
    try:
        data = where.read_bytes()
    except OSError as error:
        raise Unavailable("the file cannot be read", where=str(where), found=error.strerror) from error
    return parse_yaml(data, model, name=str(where))


def read_plain(path: Path) -> tuple[Any, dict[Steps, tuple[int, int]]]:
    """A YAML file's plain data, and line and column of every key and item. Errors: as `read_yaml`."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise Unavailable("the file cannot be read", where=str(path), found=error.strerror) from error
    return _Reader(str(path)).read(data)


def parse_yaml(data: bytes | str, model: type[AnyModel], *, name: str = "text") -> AnyModel:
    """`read_yaml` for YAML text that is already here; `name` stands for the file in messages."""
    value, places = _Reader(name).read(data)
    if not isinstance(value, dict):
        found = "nothing" if value is None else show(value)
        raise BadInput(f"{name} holds no settings", where=f"{name}:1:1", found=found, allowed="key: value")
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise _explained(name, model, places, error) from error


class _Reader:
    """Turns a node tree into plain data and notes where every key and item stands."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._places: dict[Steps, tuple[int, int]] = {(): (1, 1)}
        self._count = 0

    def read(self, data: bytes | str) -> tuple[Any, dict[Steps, tuple[int, int]]]:
        text = self._decoded(data)
        try:
            self._require_plain(text)
            node = YAML(typ="safe", pure=True).compose(text)
        except BadInput:
            raise
        except RecursionError as error:
            allowed = f"{_MAX_DEPTH} levels"
            raise BadInput(f"{self._name} is nested too deeply", where=self._name, allowed=allowed) from error
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            what = f"this is not YAML: {error.problem or error.context}"
            tabs = "spaces before a key, never tabs" if "'\\t'" in what else None
            self._refuse(what, mark, allowed=tabs)
        except (YAMLError, ValueError) as error:
            found = str(error).splitlines()[0][:160]
            raise BadInput(f"{self._name} is not YAML", where=self._name, found=found) from error
        return (None if node is None else self._value(node, ())), self._places

    def _require_plain(self, text: str) -> None:
        depth = 0  # counted before the tree is built: deep nesting costs the scanner quadratic time
        for token in YAML(typ="safe", pure=True).scan(text):
            depth += isinstance(token, _OPENING) - isinstance(token, _CLOSING)
            if depth > _MAX_DEPTH:
                self._refuse("this YAML is nested too deeply", token.start_mark, allowed=f"{_MAX_DEPTH} levels")
            if isinstance(token, TagToken):
                found = "".join(str(part) for part in (token.value or ()) if part)[:80]
                self._refuse(
                    "tags are not read: a file holds plain data", token.start_mark, found=found, allowed="no tag"
                )

    def _decoded(self, data: bytes | str) -> str:
        if len(data) > _MAX_BYTES:
            found = f"{len(data)} bytes"
            raise BadInput(f"{self._name} is too large", where=self._name, found=found, allowed=f"{_MAX_BYTES} bytes")
        if isinstance(data, str):
            return data
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            column = error.start - data.rfind(b"\n", 0, error.start)
            found = repr(data[error.start : error.start + 4])
            place = f"{self._name}:{line}:{column}"
            raise BadInput(f"{self._name} is not UTF-8", where=place, found=found, allowed="UTF-8") from error

    def _refuse(self, what: str, mark: Any, *, found: str | None = None, allowed: str | None = None) -> NoReturn:
        place = self._name if mark is None else f"{self._name}:{mark.line + 1}:{mark.column + 1}"
        raise BadInput(what, where=place, found=found, allowed=allowed)

    def _value(self, node: Node, path: Steps) -> Any:
        self._count += 1
        if self._count > _MAX_NODES or len(path) > _MAX_DEPTH:
            what = "this YAML is too large or too deep, its aliases followed"
            self._refuse(what, node.start_mark, allowed=f"{_MAX_NODES} values, {_MAX_DEPTH} levels")
        self._places.setdefault(path, (node.start_mark.line + 1, node.start_mark.column + 1))
        if isinstance(node, ScalarNode):
            # quoted and block scalars are text, whatever they look like
            return str(node.value) if node.style in ("'", '"', "|", ">") else _core_value(str(node.value))
        if isinstance(node, SequenceNode):
            return [self._value(item, (*path, position)) for position, item in enumerate(node.value)]
        assert isinstance(node, MappingNode)
        return self._mapping(node, path)

    def _mapping(self, node: MappingNode, path: Steps) -> dict[str, Any]:
        value: dict[str, Any] = {}
        for key_node, item in node.value:
            if not isinstance(key_node, ScalarNode):
                self._refuse("a key must be plain text", key_node.start_mark, allowed="text")
            key = str(key_node.value)
            if key in value:
                first = f"first on line {self._places[(*path, key)][0]}"
                self._refuse(f"the key {key!r} stands twice", key_node.start_mark, found=first, allowed="once")
            self._places[(*path, key)] = (key_node.start_mark.line + 1, key_node.start_mark.column + 1)
            value[key] = self._value(item, (*path, key))
        return value


def _core_value(text: str) -> Any:
    """The value of a plain scalar by YAML 1.2's core schema (chapter 10.3)."""
    if _NULL.match(text):
        return None
    if _TRUE.match(text) or _FALSE.match(text):
        return text[0] in "tT"
    if _INTEGER.match(text) and len(text) < 400:
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
    if _REAL.match(text):
        return float(text)
    if _INFINITE.match(text):
        return -math.inf if text[0] == "-" else math.inf
    return math.nan if _NOT_A_NUMBER.match(text) else text


def _explained(
    name: str, model: type[BaseModel], places: Mapping[Steps, tuple[int, int]], error: ValidationError
) -> BadInput:
    problems = [_problem(model, places, one) for one in by_cause(error)]
    problems.sort(key=lambda problem: (problem[2] == "nothing", problem[0]))
    (line, column), what, found, allowed = problems[0]
    for (other_line, other_column), other, _, _ in problems[1:6]:
        what += f"\n  also:    {name}:{other_line}:{other_column}: {other}"
    if len(problems) > 6:
        what += f"\n  and {len(problems) - 6} more"
    return BadInput(
        what,
        where=f"{name}:{line}:{column}",
        found=found,
        allowed=allowed,
        next_step="correct the file and run the same command again",
    )


def by_cause(error: ValidationError) -> list[dict[str, Any]]:
    """pydantic's errors, what is there and wrong before what is missing (a misspelt key is both), and without those of
    a list that seems too short only because its items are wrong."""
    found: list[dict[str, Any]] = [dict(one) for one in error.errors(include_url=False)]

    def follows(one: dict[str, Any]) -> bool:
        place = one["loc"]
        return one["type"] == "too_short" and any(
            len(other["loc"]) > len(place) and other["loc"][: len(place)] == place for other in found
        )

    return sorted((one for one in found if not follows(one)), key=lambda one: one["type"] == "missing")


def _problem(
    model: type[BaseModel], places: Mapping[Steps, tuple[int, int]], error: dict[str, Any]
) -> tuple[tuple[int, int], str, str, str | None]:
    loc: Steps = tuple(error["loc"])
    path = _real_path(loc, places)
    key = ".".join(str(step) for step in path)
    if error["type"] == "extra_forbidden" and path:
        allowed = sorted(keys_at(model, path[:-1]))
        close = difflib.get_close_matches(str(path[-1]), allowed, n=1, cutoff=0.6)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        return places[path], f"unknown key {key!r}{hint}", show(error.get("input")), ", ".join(allowed) or None
    if error["type"] == "missing":
        wanted = ".".join(str(step) for step in (*path, loc[-1]))
        return places[path], f"the key {wanted!r} is missing", "nothing", None
    if error["type"] == "too_short":
        return places[path], f"{key} is empty", show(error.get("input")), f"at least {error['ctx']['min_length']}"
    message = str(error["msg"]).removeprefix("Value error, ").replace("a valid dictionary", "a group of keys")
    return places[path], f"{key}: {message}" if key else message, show(error.get("input")), None


def _real_path(loc: Steps, places: Mapping[Steps, tuple[int, int]]) -> Steps:
    """pydantic's location without the union tags that it puts in between: the steps that the file has."""
    path: Steps = ()
    for step in loc:
        if (*path, step) in places:
            path = (*path, step)
    return path


def keys_at(model: type[BaseModel], path: Sequence[str | int]) -> set[str]:
    """The keys that a model takes at a path, over all members of unions."""
    current: list[Any] = [model]
    for step in path:
        current = [inner for kind in current for inner in _inner(kind, step)]
    models = [m for kind in current for m in _members(kind) if isinstance(m, type) and issubclass(m, BaseModel)]
    return {field.alias or name for found in models for name, field in found.model_fields.items()}


def _members(kind: Any) -> Iterator[Any]:
    origin = typing.get_origin(kind)
    if origin is typing.Annotated:
        yield from _members(typing.get_args(kind)[0])
    elif origin in (typing.Union, types.UnionType):
        for member in typing.get_args(kind):
            yield from _members(member)
    else:
        yield kind


def _inner(kind: Any, step: str | int) -> Iterator[Any]:
    for member in _members(kind):
        origin, arguments = typing.get_origin(member), typing.get_args(member)
        if isinstance(member, type) and issubclass(member, BaseModel):
            for name, field in member.model_fields.items():
                if step in (name, field.alias):
                    yield field.annotation
        elif isinstance(origin, type) and issubclass(origin, Mapping) and arguments:
            yield arguments[-1]
        elif isinstance(origin, type) and issubclass(origin, Sequence | set | frozenset) and arguments:
            yield arguments[0]


def dump_yaml(value: BaseModel | Mapping[str, Any]) -> str:
    """YAML text that `read_yaml` reads back to the same value; keys in their order, text quoted where it must be.

    Of models, fields that have their default are left out, except the `Literal` ones that say which kind they are.
    Errors: BadInput for anything but plain data.
    """
    lines: list[str] = []
    _write(_settings(value) if isinstance(value, BaseModel) else value, 0, lines)
    return "\n".join(lines) + "\n"


def _settings(model: BaseModel) -> dict[str, Any]:
    plain = model.model_dump(mode="json", by_alias=True)
    told: dict[str, Any] = {}
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        tag = typing.get_origin(field.annotation) is typing.Literal and len(typing.get_args(field.annotation)) == 1
        if tag or field.is_required() or value != field.get_default(call_default_factory=True, validated_data={}):
            told[field.alias or name] = _deep(value, plain[field.alias or name])
    return told


def _deep(value: Any, plain: Any) -> Any:
    if isinstance(value, BaseModel):
        return _settings(value)
    if isinstance(value, list | tuple):
        return [_deep(item, flat) for item, flat in zip(value, plain, strict=True)]
    if isinstance(value, Mapping):
        return {key: _deep(item, plain[str(key)]) for key, item in value.items()}
    return plain


def _write(value: Any, depth: int, lines: list[str]) -> None:
    pad = "  " * depth
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            head = f"{pad}{_quoted(str(key))}:"
            if isinstance(item, Mapping | list | tuple) and item:
                lines.append(head)
                _write(item, depth + 1, lines)
            else:
                lines.append(f"{head} {_flat(item)}")
    elif isinstance(value, list | tuple) and value:
        for item in value:
            first = len(lines)
            _write(item, depth + 1, lines)
            lines[first] = f"{pad}- {lines[first][len(pad) + 2 :]}"
    else:
        lines.append(f"{pad}{_flat(value)}")


def _flat(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        if math.isfinite(value):
            return repr(value)
        return ".nan" if math.isnan(value) else (".inf" if value > 0 else "-.inf")
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, Mapping):
        return "{}"
    if isinstance(value, list | tuple):
        return "[]"
    raise BadInput("only plain data can be written as YAML", found=type(value).__name__, allowed="what JSON has")


_BARE = re.compile(r"[A-Za-z_/][A-Za-z0-9_./@+-]*(?: [A-Za-z0-9_./@+()-]+)*\Z")
_WORDS = frozenset(("null", "true", "false", "yes", "no", "on", "off", "y", "n"))


def _quoted(text: str) -> str:
    """The text bare where every YAML reader, 1.1 too, reads it as text; else in double quotes."""
    if _BARE.match(text) and text.lower() not in _WORDS:
        return text
    return '"' + "".join(_escape(sign) for sign in text) + '"'


def _escape(sign: str) -> str:
    known = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
    if sign in known:
        return known[sign]
    code = ord(sign)
    if code < 0x20 or 0x7F <= code < 0xA0 or code in (0x2028, 0x2029, 0xFEFF) or 0xD800 <= code < 0xE000:
        return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
    return f"\\u{code:04x}" if code in (0xFFFE, 0xFFFF) else sign
