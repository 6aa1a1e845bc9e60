"""The base of every value: frozen, closed to unknown keys, free of floats on the wire."""

import math
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, PlainSerializer, StringConstraints

Digest = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
"""SHA-256 as `sha256:<64 lower-case hex digits>`."""


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError("must be a finite number")
    return value


Real = Annotated[float, AfterValidator(_finite), PlainSerializer(repr, return_type=str)]
"""A finite float that is written as its shortest exact decimal string, so that canonical JSON holds no floats."""

SafeInt = Annotated[int, AfterValidator(lambda v: _safe(v))]


def _safe(value: int) -> int:
    if not -(2**53) < value < 2**53:
        raise ValueError("must be within ±(2^53 - 1), the integers every JSON reader keeps exact")
    return value


class Frozen(BaseModel):
    """A value: immutable, no unknown keys. What is stored, signed or handed on derives from it."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class Spec(BaseModel):
    """A capability that *is* its configuration: fields are settings, docstring is help, unknown keys fail.

    Subclasses declare `id` and `version` (class variables) which enter its digest: a plug-in's identity is
    not its file's name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)
