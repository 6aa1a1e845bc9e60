"""How a capability comes by others without importing them: it asks by name, and whoever builds it hands them over."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol, Self, runtime_checkable

PLACEHOLDER: Final = "fill_in"
"""Stands where a capability has to be named by whoever uses the recipe; what still holds it is never built."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A capability by kind and name with its settings; or a model, by the name, folder or digest it goes by."""

    kind: Literal["rewards", "evals", "judges", "models"]
    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)


@runtime_checkable
class Asking(Protocol):
    """A capability that works with others: a method with rewards, a reward with an eval, a weighted sum of rewards."""

    def asks(self) -> Mapping[str, Asked]:
        """What it needs, each under a name of its own choosing."""
        ...

    def given(self, handed: Mapping[str, Any]) -> Self:
        """The same capability with what it asked for, under the same names; for a model that is its folder."""
        ...
