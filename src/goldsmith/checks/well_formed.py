"""Rows that cannot teach what they claim to: empty answers, identical pairs, broken tool calls, turns out of
order.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Final

import orjson

from goldsmith.engines.text.evidence import findings_by_group
from goldsmith.engines.text.features import RowFeatures
from goldsmith.engines.text.projection import ProjectedRows, project
from goldsmith.types.artifact import Spec
from goldsmith.types.check import CheckContext, CheckReport, Row
from goldsmith.types.finding import Finding, Severity
from goldsmith.types.record import Comparison, Conversation, Message, Rating, Record, Role, ToolSchema

_DEFECTS: Final[dict[str, tuple[Severity, float, str]]] = {
    "no_answer": (Severity.EXCLUDE, 1.0, "{n} without any assistant turn to learn from"),
    "empty_answer": (Severity.EXCLUDE, 1.0, "{n} with an empty answer"),
    "identical_pair": (Severity.EXCLUDE, 1.0, "{n} whose chosen and rejected answers are the same"),
    "arguments_not_json": (Severity.WARN, 0.7, "{n} with a tool call whose arguments are not a JSON object"),
    "undeclared_tool": (Severity.WARN, 0.6, "{n} with a call of a tool that the row does not declare"),
    "missing_argument": (Severity.WARN, 0.6, "{n} with a call that lacks an argument its schema requires"),
    "orphan_result": (Severity.WARN, 0.5, "{n} with a tool result that answers no call"),
    "call_without_result": (
        Severity.WARN,
        0.4,
        "{n} with a call that gets no result although the conversation goes on",
    ),
    "turn_order": (Severity.WARN, 0.4, "{n} whose turns do not alternate sensibly"),
    "ends_on_user": (Severity.NOTE, 0.1, "{n} that end on a user turn, which nothing can be learnt from"),
    "truncated": (Severity.NOTE, 0.2, "{n} whose answer looks cut off"),
}
_OPEN_END = re.compile(r"[\w,;(\[]$")
_LAST_LINE_IS_PROSE = re.compile(r"^[^\W\d_][^{}<>=`|#*]{80,}$")


class WellFormed(Spec):
    """Structural defects of conversations, comparisons and ratings; the three that leave nothing to learn exclude
    their rows.

    `truncated_from`: answers from this many characters on are looked at for a cut-off end. `prompts_alone`: rows that
    ask and hold no answer are as they should be, since the model writes its own; a run whose every step learns from
    rewards sets it by itself.
    """

    id: ClassVar[str] = "well_formed"
    version: ClassVar[int] = 1
    truncated_from: int = 200
    prompts_alone: bool = False

    def __call__(self, rows: Sequence[Row], context: CheckContext) -> CheckReport:
        """Findings per defect and source x batch; score 1 for rows that cannot be used."""
        view = project(rows)
        by_defect: dict[str, list[int]] = {}
        scores: list[float | None] = [0.0] * len(view)
        for index, defects in view.features(self, context).notes("defects").items():
            for defect in defects:
                by_defect.setdefault(defect, []).append(index)
            scores[index] = max(_DEFECTS[d][1] for d in defects)
        findings: list[Finding] = []
        for defect, (severity, score, words) in _DEFECTS.items():
            findings += findings_by_group(
                view, by_defect.get(defect, ()), check=self.id, severity=severity, score=score,
                evidence=f"{defect}: {words}",
            )  # fmt: skip
        return CheckReport(findings, scores, facts={d: len(m) for d, m in sorted(by_defect.items())})

    def row_features(self, rows: ProjectedRows, context: CheckContext) -> RowFeatures:
        """The defects of each row that has any."""
        schemas: dict[str, frozenset[str]] = {}
        found = {index: sorted(set(self._defects(row.record, rows, index, schemas))) for index, row in enumerate(rows)}
        return RowFeatures({"defects": {index: defects for index, defects in found.items() if defects}})

    def _defects(
        self, record: Record, view: ProjectedRows, index: int, schemas: dict[str, frozenset[str]]
    ) -> Iterator[str]:
        content = record.content
        if isinstance(content, Conversation):
            yield from _turns(content.messages, open_end=self.prompts_alone)
            learnt = [m for m in content.messages if m.role is Role.ASSISTANT]
            if not learnt:
                if not self.prompts_alone or not _asks(content.messages):
                    yield "no_answer"
            elif all(not m.calls and not m.text.strip() for m in learnt) or _is_empty(learnt[-1]):
                yield "empty_answer"
            yield from _calls(content.messages, content.tools, schemas)
        elif isinstance(content, Comparison):
            if _same(content.chosen, content.rejected):
                yield "identical_pair"
            for side in (content.chosen, content.rejected):
                if all(_is_empty(m) for m in side):
                    yield "empty_answer"
                yield from _calls(side, content.tools, schemas)
            yield from _turns(content.prompt, ends_open=True)
        elif isinstance(content, Rating):
            if all(_is_empty(m) for m in content.answer):
                yield "empty_answer"
            yield from _calls(content.answer, content.tools, schemas)
            yield from _turns(content.prompt, ends_open=True)
        elif not content.text.strip():
            yield "empty_answer"
        columns = view.columns
        if columns.calls[index]:
            if any(call.answered is False for call in columns.calls[index]):
                yield "call_without_result"
        elif self._looks_truncated(columns.answer[index]):
            yield "truncated"

    def _looks_truncated(self, answer: str) -> bool:
        tail = answer[-400:].rstrip()
        if len(answer) < self.truncated_from or not _OPEN_END.search(tail) or "```" in answer:
            return False
        return bool(_LAST_LINE_IS_PROSE.match(tail.rsplit("\n", 1)[-1].strip()))


def _asks(messages: Sequence[Message]) -> bool:
    return any(m.role is Role.USER and m.text.strip() for m in messages)


def _is_empty(message: Message) -> bool:
    return not message.calls and not message.text.strip()


def _same(chosen: Sequence[Message], rejected: Sequence[Message]) -> bool:
    return [(m.role, m.text.split(), [(c.name, c.arguments) for c in m.calls]) for m in chosen] == [
        (m.role, m.text.split(), [(c.name, c.arguments) for c in m.calls]) for m in rejected
    ]


def _turns(messages: Sequence[Message], *, ends_open: bool = False, open_end: bool = False) -> Iterator[str]:
    previous: Role | None = None
    calls_open = False
    for position, message in enumerate(messages):
        role = message.role
        if (
            (role is Role.SYSTEM and position > 0 and previous is not Role.SYSTEM)
            or (role is Role.USER and previous is Role.USER)
            or (role is Role.ASSISTANT and previous is Role.ASSISTANT and not calls_open and not message.calls)
            or (role is Role.ASSISTANT and previous in (None, Role.SYSTEM) and not ends_open)
        ):
            yield "turn_order"
        if role is Role.TOOL and not calls_open and previous is not Role.TOOL:
            yield "orphan_result"
        if role is Role.ASSISTANT:
            calls_open = bool(message.calls)
        elif role is Role.USER:
            calls_open = False
        previous = role
    if not (ends_open or open_end) and previous is Role.USER:
        yield "ends_on_user"


def _calls(
    messages: Sequence[Message], tools: Sequence[ToolSchema], schemas: dict[str, frozenset[str]]
) -> Iterator[str]:
    declared = {tool.name: tool for tool in tools}
    for message in messages:
        for call in message.calls:
            arguments = _json(call.arguments)
            if not isinstance(arguments, dict):
                yield "arguments_not_json"
                continue
            if declared and call.name not in declared:
                yield "undeclared_tool"
            elif declared and not _required(declared[call.name].definition, schemas) <= arguments.keys():
                yield "missing_argument"


def _json(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


def _required(definition: str, known: dict[str, frozenset[str]]) -> frozenset[str]:
    if definition not in known:
        schema = _json(definition)
        for key in ("function", "parameters"):
            schema = schema.get(key, schema) if isinstance(schema, dict) else {}
        names = schema.get("required") if isinstance(schema, dict) else None
        known[definition] = (
            frozenset(n for n in names if isinstance(n, str)) if isinstance(names, list) else frozenset()
        )
    return known[definition]


_TOOL = {
    "type": "function",
    "function": {
        "name": "order_get",
        "description": "Look up an order.",
        "parameters": {
            "type": "object",
            "properties": {"order_id": {"type": "string"}},
            "required": ["order_id"],
        },
    },
}
CAUGHT = [
    {"messages": [{"role": "user", "content": "What is a mole?"}, {"role": "assistant", "content": "   "}]},
    {
        "input": {"messages": [{"role": "user", "content": "Name a river."}]},
        "preferred_output": [{"role": "assistant", "content": "The Rhine."}],
        "non_preferred_output": [{"role": "assistant", "content": "The  Rhine."}],
    },
    {
        "messages": [
            {"role": "user", "content": "Where is order 4711?"},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {"id": "c1", "type": "function", "function": {"name": "order_get", "arguments": '{"id": "4711"}'}}
                ],
            },
            {"role": "tool", "tool_call_id": "c1", "content": "shipped"},
            {"role": "assistant", "content": "It was shipped."},
        ],
        "tools": [_TOOL],
    },
]
CLEAN = [
    {
        "messages": [
            {"role": "user", "content": "What is a mole?"},
            {"role": "assistant", "content": "A digging mammal."},
        ]
    },
    {
        "messages": [
            {"role": "user", "content": "Where is order 4711?"},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {
                        "id": "c1",
                        "type": "function",
                        "function": {"name": "order_get", "arguments": '{"order_id": "4711"}'},
                    }
                ],
            },
            {"role": "tool", "tool_call_id": "c1", "content": "shipped"},
            {"role": "assistant", "content": "It was shipped."},
        ],
        "tools": [_TOOL],
    },
]
