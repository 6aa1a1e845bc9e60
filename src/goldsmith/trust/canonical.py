"""Canonical bytes and digests: RFC 8785 (JSON Canonicalization Scheme) over a domain small enough to be
fast and unambiguous.

Our own values hold strings, integers within ±(2^53 - 1), booleans, null, lists and objects with ASCII keys.
On that domain `orjson` with sorted keys writes exactly the bytes RFC 8785 asks for; everything outside it
is refused, so two encoders can never disagree about a digest.
"""

import hashlib
import json
import os
import re
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any, BinaryIO, Literal, NoReturn, TypeVar

import orjson
from pydantic import BaseModel, ValidationError

from goldsmith.types.artifact import Digest, Frozen, Spec
from goldsmith.types.errors import BadInput, Unavailable

MAX_INTEGER = 2**53 - 1
"""The largest integer that every JSON reader keeps exact (RFC 7493)."""

_ORJSON = (
    orjson.OPT_SORT_KEYS
    | orjson.OPT_STRICT_INTEGER
    | orjson.OPT_PASSTHROUGH_DATACLASS
    | orjson.OPT_PASSTHROUGH_DATETIME
    | orjson.OPT_PASSTHROUGH_SUBCLASS
)
_MAX_DEPTH = 100
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_DOMAIN = "strings, integers within ±(2^53 - 1), booleans, null, lists, objects with ASCII keys"

AnyFrozen = TypeVar("AnyFrozen", bound=Frozen)


def encode(value: object) -> bytes:
    """RFC 8785 bytes of a value in our domain.

    Errors: BadInput naming the JSON path (`$.a[3]`) of the first thing outside the domain: a float, bytes,
    an integer beyond 2^53 - 1, a lone surrogate, a key that is not ASCII text, or nesting deeper than 100.
    """
    _require_domain(value, (), 0)
    try:
        return orjson.dumps(value, option=_ORJSON)
    except TypeError:
        _name_surrogate(value, ())
        raise  # pragma: no cover - the walk above leaves only surrogates for the encoder to refuse


def _require_domain(value: object, path: tuple[str | int, ...], depth: int) -> None:
    kind = type(value)
    if kind is str or value is None or kind is bool:
        return
    if kind is int:
        if not -MAX_INTEGER <= value <= MAX_INTEGER:  # type: ignore[operator]
            _refuse("an integer beyond 2^53 - 1", path, value)
        return
    if depth > _MAX_DEPTH:
        _refuse("nesting deeper than 100", path, kind.__name__)
    if kind is dict:
        for key, item in value.items():  # type: ignore[attr-defined]
            if type(key) is not str or not key.isascii():
                _refuse("an object key that is not ASCII text", path, repr(key)[:80])
            _require_domain(item, (*path, key), depth + 1)
        return
    if kind is list or kind is tuple:
        for position, item in enumerate(value):  # type: ignore[arg-type]
            _require_domain(item, (*path, position), depth + 1)
        return
    _refuse(f"a {kind.__name__}", path, repr(value)[:80])


def _name_surrogate(value: object, path: tuple[str | int, ...]) -> None:
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            _refuse("a lone surrogate, which is not a character", path, ascii(value)[:80])
    elif isinstance(value, dict):
        for key, item in value.items():
            _name_surrogate(item, (*path, key))
    elif isinstance(value, list | tuple):
        for position, item in enumerate(value):
            _name_surrogate(item, (*path, position))


def _refuse(what: str, path: tuple[str | int, ...], found: object) -> NoReturn:
    where = "$" + "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in path)
    raise BadInput(f"{what} has no canonical form here", where=where, found=found, allowed=_DOMAIN)


def load(data: bytes) -> Any:
    """The value of canonical bytes. Any other encoding of the same value (spaces, key order, escapes, a
    repeated key) is a BadInput: `encode(load(b)) == b` always holds."""
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise BadInput("this is not JSON", where=f"byte {error.pos}", found=error.msg) from error
    if encode(value) != data:
        raise BadInput(
            "this JSON is not in its canonical encoding (RFC 8785)",
            found=repr(bytes(data[:60])),
            allowed="sorted keys, no spaces, shortest escapes, no repeated keys, nothing after the value",
        )
    return value


class _Refusal(ValueError):
    """Raised inside the JSON scanner, where the path is not known."""


def read_json(
    data: bytes | str, *, big_integers: Literal["refuse", "keep"] = "refuse", where: str | None = None
) -> Any:
    """Foreign JSON, strictly: what two readers could understand differently is refused.

    Repeated keys, NaN and Infinity, lone surrogates, invalid UTF-8, a byte order mark and text after the
    value are BadInput with `where`. Integers beyond 2^53 - 1 are refused, or kept exact as Python integers.
    Floats are legal.
    """
    text = _decode(data, where)

    def integer(digits: str) -> int:
        if len(digits) > 400:
            raise _Refusal(f"an integer of {len(digits)} digits")
        number = int(digits)
        if big_integers == "refuse" and not -MAX_INTEGER <= number <= MAX_INTEGER:
            raise _Refusal(f"the integer {digits[:40]} is beyond 2^53 - 1: other readers would change it")
        return number

    try:
        value = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_constant=_no_constant,
            parse_int=integer,
            parse_float=_finite,
        )
        _require_characters(text, value)
    except json.JSONDecodeError as error:
        found = text[max(0, error.pos - 20) : error.pos + 20]
        place = f"{where or 'text'}, line {error.lineno} column {error.colno}"
        raise BadInput(f"this is not JSON: {error.msg}", where=place, found=ascii(found)) from error
    except _Refusal as error:
        raise BadInput(f"this JSON is ambiguous: {error}", where=where) from error
    except RecursionError as error:
        raise BadInput("this JSON is nested too deeply to be read", where=where) from error
    return value


def _decode(data: bytes | str, where: str | None) -> str:
    if isinstance(data, bytes):
        try:
            data = data.decode()
        except UnicodeDecodeError as error:
            raise BadInput(
                "this is not UTF-8",
                where=f"{where or 'text'}, byte {error.start}",
                found=repr(error.object[error.start : error.start + 4]),
                allowed="UTF-8",
            ) from error
    if data.startswith("\ufeff"):
        raise BadInput("this JSON begins with a byte order mark", where=where, next_step="save it as UTF-8 without BOM")
    return data


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _Refusal(f"the key {ascii(key)[:80]} appears twice in one object")
            seen.add(key)
    return value


def _no_constant(name: str) -> NoReturn:
    raise _Refusal(f"{name} is not a JSON number")


def _finite(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise _Refusal(f"the number {digits[:40]} is too large for a float")
    return number


def _require_characters(text: str, value: object) -> None:
    # Lone surrogates enter as \uD8xx escapes or, in text, as themselves; the walk is needed only then.
    if "\\ud" in text or "\\uD" in text or not _encodable(text):
        try:
            _walk_strings(value)
        except UnicodeEncodeError as error:
            raise _Refusal("a lone surrogate is not a character") from error


def _encodable(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _walk_strings(value: object) -> None:
    if isinstance(value, str):
        value.encode()
    elif isinstance(value, dict):
        for key, item in value.items():
            key.encode()
            _walk_strings(item)
    elif isinstance(value, list):
        for item in value:
            _walk_strings(item)


def digest(data: bytes) -> Digest:
    """SHA-256 of the bytes, as `sha256:<hex>`."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def file_digest(path: str | os.PathLike[str]) -> Digest:
    """SHA-256 of a file, read in pieces. Errors: Unavailable if it cannot be read."""
    try:
        with open(path, "rb") as stream:
            return stream_digest(stream)
    except OSError as error:
        raise Unavailable(f"cannot read {Path(path).name}", where=str(path), found=error.strerror) from error


def stream_digest(stream: BinaryIO) -> Digest:
    """SHA-256 of what is left of a stream."""
    return "sha256:" + hashlib.file_digest(stream, "sha256").hexdigest()  # type: ignore[arg-type]


def is_digest(text: object) -> bool:
    """Whether this is a well-formed digest text."""
    return isinstance(text, str) and _DIGEST.fullmatch(text) is not None


def raw(value: Digest) -> bytes:
    """The 32 bytes of a digest. Errors: BadInput if it is not one."""
    if not is_digest(value):
        raise BadInput("this is not a digest", found=repr(value)[:80], allowed="sha256:<64 lower-case hex digits>")
    return bytes.fromhex(value[7:])


def schema_of(kind: Frozen | type[Frozen]) -> str:
    """`goldsmith.<kind>/v1`; the kind is the default of the type's `kind` field, else its name in snake
    case."""
    cls = kind if isinstance(kind, type) else type(kind)
    field = cls.model_fields.get("kind")
    name = field.default if field is not None and isinstance(field.default, str) else _snake(cls.__name__)
    return f"goldsmith.{name}/v1"


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def artifact_bytes(value: Frozen) -> bytes:
    """Canonical bytes of a value with its schema inside."""
    return encode({**value.model_dump(mode="json"), "schema": schema_of(value)})


def artifact_digest(value: Frozen) -> Digest:
    """Digest of `artifact_bytes`: the value's name in the store."""
    return digest(artifact_bytes(value))


def schema_in(data: bytes) -> str | None:
    """The schema that canonical bytes of an artifact name; None if they are of no artifact."""
    if data[:1] != b"{":
        return None
    try:
        schema = load(data).get("schema")
    except BadInput:
        return None
    return schema if isinstance(schema, str) else None


def read_artifact(data: bytes, kind: type[AnyFrozen]) -> AnyFrozen:
    """The value in canonical `data`, which must be of this kind.

    Errors: BadInput if the encoding is not canonical, the schema is another, or a field is wrong.
    """
    fields = load(data)
    expected = schema_of(kind)
    found = fields.pop("schema", None) if isinstance(fields, dict) else None
    if found != expected:
        raise BadInput("this is another kind of value", found=found, allowed=expected)
    try:
        value = kind.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise BadInput(f"{expected}: {first['msg']}", where=place) from error
    if artifact_bytes(value) != data:
        raise BadInput(
            f"{expected}: a field is written in a form that is not its own",
            allowed="what artifact_bytes writes",
        )
    return value


def spec_text(spec: Spec) -> str:
    """A capability's identity as canonical JSON text: its id, its version, and its settings.

    Floats in settings are written as their shortest exact decimal text, so equal settings give equal text.
    """
    cls = type(spec)
    settings = {name: _plain(getattr(spec, name)) for name in cls.model_fields}
    identity = {"id": cls.id, "schema": "goldsmith.spec/v1", "settings": settings, "version": cls.version}  # type: ignore[attr-defined]
    return encode(identity).decode()


def spec_digest(spec: Spec) -> Digest:
    """Digest of `spec_text`."""
    return digest(spec_text(spec).encode())


def _plain(value: object) -> object:
    if isinstance(value, BaseModel):
        return {name: _plain(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, Enum):
        return _plain(value.value)
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, Path):
        return value.as_posix()
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted((_plain(item) for item in value), key=lambda item: encode(item))
    return value


def encode_models(value: object, default: Callable[[Any], Any]) -> bytes:
    """`encode` without the walk, for values whose types already keep them in the domain (pydantic models)."""
    try:
        return orjson.dumps(value, option=_ORJSON, default=default)
    except TypeError as error:
        raise BadInput("this value has no canonical form", found=error, allowed=_DOMAIN) from error
