"""A sandbox of fake tools: it records every call a model makes and never reaches anything real."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from goldsmith.engines.destinations import hosts_in, hosts_of_call
from goldsmith.engines.json_schema import problem_with
from goldsmith.types.record import ToolCallPart, ToolSchema
from goldsmith.types.trajectory import CallMade, Environment

_LONGEST_RESULT = 20_000


def parse_arguments(text: str) -> dict[str, Any] | None:
    """A call's arguments as an object; None if the text is no JSON object or names a key twice."""
    try:
        value = json.loads(text, object_pairs_hook=_without_doubles, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key twice")
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def parameters_of(tool: ToolSchema) -> dict[str, Any]:
    """The JSON schema of a tool's arguments: of an OpenAI tool, of a bare function object, or of one with
    `input_schema`. Empty (everything fits) where there is none."""
    try:
        document = json.loads(tool.definition)
    except (ValueError, RecursionError):
        return {}
    if isinstance(document, dict) and isinstance(document.get("function"), dict):
        document = document["function"]
    if not isinstance(document, dict):
        return {}
    schema = document.get("parameters", document.get("input_schema"))
    return schema if isinstance(schema, dict) else {}


class RecordingSandbox:
    """Stands between a model and an environment: every attempt is recorded, with the hosts its arguments
    name.

    A call to a tool that is not on offer, or with arguments that do not fit the offered schema, is answered
    with a text that begins with `error:` and does not reach the environment. It is recorded all the same:
    trying counts.
    """

    def __init__(self, environment: Environment, tools: Sequence[ToolSchema]) -> None:
        self.environment = environment
        self._parameters = {tool.name: parameters_of(tool) for tool in tools}
        self._calls: list[CallMade] = []

    @property
    def calls(self) -> tuple[CallMade, ...]:
        """Every call so far, in order."""
        return tuple(self._calls)

    def call(self, name: str, arguments: Mapping[str, Any]) -> str:
        """Answer one call, recorded under the latest step; see `execute`."""
        step = self._calls[-1].step if self._calls else 0
        text = json.dumps(dict(arguments), ensure_ascii=False)
        return self.execute(ToolCallPart(name=name, arguments=text), step).result

    def execute(self, call: ToolCallPart, step: int) -> CallMade:
        """Answer and record one call of assistant turn `step`.

        An exception of the environment passes through, after the call was recorded with the error as its
        result.
        """
        arguments = parse_arguments(call.arguments)
        hosts = hosts_in(call.arguments) if arguments is None else hosts_of_call(arguments)
        refusal = self._refusal(call.name, arguments)
        if refusal is not None or arguments is None:
            return self._record(call, step, refusal or "error: arguments must be a JSON object", hosts, False)
        try:
            before = self.environment.snapshot()
            result = self.environment.call(call.name, arguments)
            changed = self.environment.snapshot() != before
        except Exception as error:
            self._record(call, step, f"error: the environment failed: {type(error).__name__}", hosts, None)
            raise
        return self._record(call, step, result[:_LONGEST_RESULT], hosts, changed)

    def snapshot(self) -> str:
        """The environment's state as canonical text."""
        return self.environment.snapshot()

    def _refusal(self, name: str, arguments: dict[str, Any] | None) -> str | None:
        if name not in self._parameters:
            return f"error: unknown tool {name[:80]}"
        if arguments is None:
            return f"error: arguments of {name} must be a JSON object"
        problem = problem_with(arguments, self._parameters[name])
        return f"error: {problem}" if problem else None

    def _record(
        self, call: ToolCallPart, step: int, result: str, hosts: tuple[str, ...], changed: bool | None
    ) -> CallMade:
        made = CallMade(
            step=step, name=call.name, arguments=call.arguments, result=result, hosts=hosts, changed=changed
        )
        self._calls.append(made)
        return made


class ReplayEnvironment:
    """Answers calls that were recorded before with what was answered then; any other call with an `error:`
    text.

    The state is the list of recorded calls that were made: an environment for conversations whose tools are
    not there.
    """

    def __init__(self, recorded: Sequence[tuple[str, Mapping[str, Any], str]] = ()) -> None:
        self._recorded = [(name, _canonical(arguments), result) for name, arguments, result in recorded]
        self._made: list[str] = []

    def call(self, name: str, arguments: Mapping[str, Any]) -> str:
        """What the recorded call with this name and these arguments gave; the next one where it was made
        twice."""
        wanted = _canonical(arguments)
        fitting = [result for known, given, result in self._recorded if known == name and given == wanted]
        if not fitting:
            return f"error: no record of {name} with these arguments"
        key = f"{name} {wanted}"
        result = fitting[min(self._made.count(key), len(fitting) - 1)]
        self._made.append(key)
        return result

    def snapshot(self) -> str:
        """The recorded calls that were made, whatever their order."""
        return json.dumps(sorted(set(self._made)))


def _canonical(arguments: Mapping[str, Any]) -> str:
    return json.dumps(dict(arguments), sort_keys=True, ensure_ascii=False)
