"""The folder is the registry: find a capability by its module's name, or by a dotted path of somebody else's."""

import difflib
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, Literal

from pydantic import ValidationError

from goldsmith.engines.yaml_file import by_cause, keys_at
from goldsmith.types.artifact import Spec
from goldsmith.types.asking import PLACEHOLDER, Asked, Asking
from goldsmith.types.errors import BadInput, Unavailable

Kind = Literal["sources", "checks", "methods", "rewards", "evals", "judges", "defences", "attacks"]
Hand = Callable[[Asked], Any]


def names(kind: Kind) -> list[str]:
    """The built-in capabilities of a kind, sorted."""
    package = importlib.import_module(f"goldsmith.{kind}")
    return sorted(m.name for m in pkgutil.iter_modules(package.__path__) if not m.name.startswith("_"))


def module(kind: Kind, name: str) -> ModuleType:
    """The module of capability `name`; a dotted name is a third party's module and is imported as it is."""
    if "." not in name and name not in names(kind):
        close = difflib.get_close_matches(name, names(kind), n=1)
        raise BadInput(
            f"there is no {kind[:-1]} named {name!r}" + (f"; did you mean {close[0]!r}?" if close else ""),
            found=name,
            allowed=", ".join(names(kind)) + ", or a dotted path such as acme.checks.licences",
        )
    dotted = name if "." in name else f"goldsmith.{kind}.{name}"
    try:
        return importlib.import_module(dotted)
    except ImportError as error:
        raise Unavailable(
            f"{kind[:-1]} {name!r} could not be imported",
            where=dotted,
            found=error,
            next_step="install what it needs, or take it out of the recipe",
        ) from error


def find(kind: Kind, name: str) -> type[Spec]:
    """The one public Spec class defined in capability `name`'s module."""
    found = module(kind, name)
    classes = [
        member
        for _, member in inspect.getmembers(found, inspect.isclass)
        if issubclass(member, Spec) and member.__module__ == found.__name__ and hasattr(member, "id")
    ]
    if len(classes) != 1:
        raise BadInput(
            f"{found.__name__} must define exactly one capability (a Spec with an id)",
            found=", ".join(c.__name__ for c in classes) or "none",
        )
    return classes[0]


def build(kind: Kind, name: str, settings: Mapping[str, Any] | None = None, *, hand: Hand | None = None) -> Spec:
    """Capability `name` with `settings`; a misspelt setting fails with a suggestion.

    What it asks for (see `types/asking.py`) is built and handed over. `hand` is asked first, for what only its caller
    can give, such as a model by digest; it returns None for what it does not know.
    """
    capability = find(kind, name)
    try:
        built = capability.model_validate(dict(settings or {}))
    except ValidationError as error:
        raise _explain(kind, name, capability, error) from error
    if not isinstance(built, Asking):
        return built
    return built.given({key: _hand_over(asked, hand, f"{name}.{key}") for key, asked in built.asks().items()})


def _hand_over(asked: Asked, hand: Hand | None, where: str) -> Any:
    found = hand(asked) if hand is not None else None
    if found is not None:
        return found
    if asked.name == PLACEHOLDER:
        what = asked.kind[:-1]
        raise BadInput(
            f"the recipe does not name its {what} yet: {PLACEHOLDER!r} only holds the place",
            where=where,
            found=f"{what}: {PLACEHOLDER}",
            allowed=", ".join(names(asked.kind)) if asked.kind != "models" else "a folder, a hub id or a digest",
            next_step=f"name the {what} you mean in its place, with settings: goldsmith show capabilities {asked.kind}",
        )
    if asked.kind == "models":
        if asked.name.startswith("sha256:"):
            raise BadInput(
                "a model by digest can only be found in a workspace",
                where=where,
                found=asked.name,
                allowed="a folder or a hub id, outside of a recipe",
            )
        return asked.name
    return build(asked.kind, asked.name, asked.settings, hand=hand)


def _explain(kind: Kind, name: str, capability: type[Spec], error: ValidationError) -> BadInput:
    problems = [_problem(capability, dict(one)) for one in by_cause(error)]
    where, what, found, allowed = problems[0]
    for place, also, _, _ in problems[1:6]:
        what += f"\n  also:    {name}.{place}: {also}" if place else f"\n  also:    {also}"
    return BadInput(
        f"{kind[:-1]} {name}: {what}",
        where=f"{name}.{where}" if where else name,
        found=found,
        allowed=allowed,
        next_step=f"correct it and run the same command again (goldsmith show capabilities {kind} lists all settings)",
    )


def _problem(capability: type[Spec], error: dict[str, Any]) -> tuple[str, str, str, str | None]:
    """Where, what, found and allowed of one of pydantic's errors."""
    place: tuple[str | int, ...] = tuple(error["loc"])
    where = ".".join(str(step) for step in place)
    found = repr(error.get("input"))
    found = found if len(found) <= 80 else found[:79] + "…"
    message = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        fields = sorted(keys_at(capability, place[:-1]))
        close = difflib.get_close_matches(str(place[-1]), fields, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        return where, f"unknown setting {str(place[-1])!r}{hint}", found, ", ".join(fields) or "no settings"
    if error["type"] == "missing":
        return where, f"the setting {where!r} is missing", "nothing", None
    if error["type"] == "too_short":
        return where, f"{where!r} is empty", found, f"at least {error['ctx']['min_length']}"
    if error["type"] in ("model_type", "model_attributes_type", "dataclass_type", "dict_type"):
        fields = sorted(keys_at(capability, place))
        return where, f"{where!r} is a group of settings", found, "{" + ": ..., ".join(fields) + ": ...}"
    if message.startswith("Input should be "):
        allowed = message.removeprefix("Input should be ").split(", unable to parse")[0]
        allowed = allowed.replace("a valid integer", "a whole number").replace("a valid ", "a ")
        return where, f"{where!r} does not take this value", found, allowed
    return where, f"{where!r}: {message}" if where else message, found, None


def build_all(
    kind: Kind, settings: Mapping[str, Mapping[str, Any]] | None = None, off: tuple[str, ...] = ()
) -> list[Spec]:
    """Every built-in capability of a kind but those in `off`, each with its own `settings` by name."""
    given = dict(settings or {})
    for name in (*given, *off):
        module(kind, name)
    wanted = [name for name in names(kind) if name not in off]
    return [build(kind, name, given.get(name)) for name in dict.fromkeys([*wanted, *given]) if name not in off]
