"""API-Bank dialogues (arXiv:2304.08244): `{"turns": [...]}` of users, the AI, and API calls with their results."""

from collections.abc import Mapping
from typing import Any, ClassVar

from goldsmith.engines.reading.fields import as_json_text, rest_of
from goldsmith.engines.reading.json_text import show
from goldsmith.types.artifact import Spec
from goldsmith.types.record import Content, Conversation, Message, Part, Role, TextPart, ToolCallPart, ToolResultPart
from goldsmith.types.row_format import Parsed, RowProblem

_ROLES = ("User", "AI", "API")


class APIBank(Spec):
    """Dialogues with API calls and their results.

    An API turn becomes a call of the assistant (in the turn that announces it, if there is one) and a tool turn with
    the result's `output`, or its `exception`. The rows declare no schemas. `turns`: the field with the turns.
    """

    id: ClassVar[str] = "api_bank"
    version: ClassVar[int] = 1
    turns: str = "turns"

    def confidence(self, row: Mapping[str, Any]) -> float:
        turns = row.get(self.turns)
        if type(turns) is not list or not turns or type(turns[0]) is not dict:
            return 0.0
        return 0.95 if turns[0].get("role") in _ROLES else 0.0

    def parse(self, row: Mapping[str, Any]) -> Parsed:
        rest = rest_of(row, frozenset((self.turns,)))
        turns = row.get(self.turns)
        if not isinstance(turns, list) or not turns:
            found = show(turns)
            raise RowProblem("a dialogue without turns", where=self.turns, found=found, allowed="at least one turn")
        said: list[Message] = []
        for position, turn in enumerate(turns):
            path = f"{self.turns}[{position}]"
            role = turn.get("role") if isinstance(turn, dict) else None
            if role not in _ROLES:
                raise RowProblem("an unknown role", where=f"{path}.role", found=show(role), allowed=", ".join(_ROLES))
            if role == "API":
                _add_call(said, turn, path, rest)
                continue
            if not isinstance(turn.get("text"), str):
                raise RowProblem(
                    "a turn that says nothing", where=f"{path}.text", found=show(turn.get("text")), allowed="text"
                )
            speaker = Role.USER if role == "User" else Role.ASSISTANT
            said.append(Message(role=speaker, parts=(TextPart(text=turn["text"]),)))
            _keep(turn, ("role", "text"), path, rest)
        return Parsed(Conversation(messages=tuple(said)), rest)

    def render(self, content: Content) -> dict[str, Any]:
        raise RowProblem(
            "API-Bank dialogues are read, not written", found=content.kind, allowed="openai_chat, sharegpt"
        )


def _keep(turn: dict[str, Any], known: tuple[str, ...], path: str, rest: dict[str, Any]) -> None:
    for key, value in turn.items():
        if key not in known and value is not None:
            rest[f"{path}.{key}"] = value


def _add_call(said: list[Message], turn: dict[str, Any], path: str, rest: dict[str, Any]) -> None:
    name, arguments, result = turn.get("api_name"), turn.get("param_dict"), turn.get("result")
    if not isinstance(name, str) or not name or not isinstance(arguments, dict) or not isinstance(result, dict):
        allowed = '{"api_name": text, "param_dict": object, "result": object}'
        raise RowProblem("an API turn of another shape", where=path, found=show(turn), allowed=allowed)
    parts: tuple[Part, ...] = (ToolCallPart(name=name, arguments=as_json_text(arguments)),)
    last = said[-1] if said else None
    if last is not None and last.role is Role.ASSISTANT and not last.calls:
        parts = (*said.pop().parts, *parts)
    failure = result.get("exception")
    answer = as_json_text(result.get("output") if failure is None else failure)
    said.append(Message(role=Role.ASSISTANT, parts=parts))
    said.append(Message(role=Role.TOOL, parts=(ToolResultPart(name=name, text=answer),)))
    _keep(turn, ("role", "api_name", "param_dict", "result"), path, rest)
    known = {"api_name": name, "input": arguments, "exception": None, "output": result.get("output")}
    if failure is not None or any(key not in known or known[key] != value for key, value in result.items()):
        rest[f"{path}.result"] = result


ROWS = [
    (
        {
            "apis": "Clock",
            "turns": [
                {"role": "User", "text": "Time?"},
                {"role": "AI", "text": "Let me see."},
                {
                    "role": "API",
                    "api_name": "Clock",
                    "param_dict": {"zone": "CET"},
                    "result": {"api_name": "Clock", "input": {"zone": "CET"}, "output": {"t": 12}, "exception": None},
                },
                {"role": "AI", "text": "Noon."},
            ],
        },
        'user: Time? | assistant: Let me see. Clock({"zone":"CET"}) | tool: Clock={"t":12} | assistant: Noon.',
    ),
]
