"""Everything that can go wrong, as one tree.

::

    GoldsmithError
    ├── GateRefused      exit 1    a gate said no: the evidence is on file
    ├── BadInput         exit 2    the user's file, recipe or argument is wrong (also a ValueError)
    ├── Inconclusive     exit 3    could not tell; never counted as fine
    ├── Unavailable      exit 4    something needed is missing or full: disk, port, extra, model (also an OSError)
    └── IntegrityFailure exit 5
        ├── Tampered               stored bytes are not what their digest says
        ├── Forged                 a signature is missing, wrong, or by a key that may not say this
        └── Replayed               a delivery came twice, or out of order

A message says what happened, where, what was found, what is allowed and what to do next. Secrets and
whole records never appear in it.
"""

from typing import ClassVar


class GoldsmithError(Exception):
    """The root. `str(error)` is complete, one fact a line; `as_dict()` is the same for machines."""

    exit_code: ClassVar[int] = 2

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        found: object = None,
        allowed: str | None = None,
        next_step: str | None = None,
    ) -> None:
        self.what = what
        self.where = where
        self.found = None if found is None else str(found)
        self.allowed = allowed
        self.next_step = next_step
        super().__init__(what)

    def as_dict(self) -> dict[str, str]:
        """The parts that are known, keyed by their names."""
        parts = {
            "error": type(self).__name__,
            "what": self.what,
            "where": self.where,
            "found": self.found,
            "allowed": self.allowed,
            "next": self.next_step,
        }
        return {key: value for key, value in parts.items() if value is not None}

    def __str__(self) -> str:
        parts = self.as_dict()
        lines = [parts["what"]]
        for key in ("where", "found", "allowed", "next"):
            if key in parts:
                lines.append(f"  {key + ':':<9}{parts[key]}")
        return "\n".join(lines)


class GateRefused(GoldsmithError):
    """A gate said no."""

    exit_code = 1


class BadInput(GoldsmithError, ValueError):
    """The user's file, recipe or argument is wrong."""

    exit_code = 2


class Inconclusive(GoldsmithError):
    """There was not enough to decide on."""

    exit_code = 3


class Unavailable(GoldsmithError, OSError):
    """Something needed is not there: a disk with room, a port, an optional package, a model."""

    exit_code = 4

    def __str__(self) -> str:  # OSError would otherwise win
        return GoldsmithError.__str__(self)


class IntegrityFailure(GoldsmithError):
    """Evidence does not hold."""

    exit_code = 5


class Tampered(IntegrityFailure):
    """Stored bytes are not what their digest says."""


class Forged(IntegrityFailure):
    """A signature is missing, wrong, or by a key that may not say this."""


class Replayed(IntegrityFailure):
    """A delivery came twice, or out of order."""


INTERRUPTED_EXIT_CODE = 130
