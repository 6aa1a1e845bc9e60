"""Eval sets in files: read strictly, with the line in every error, in every shape that is promised."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from goldsmith.engines.call_matching import calls_in
from goldsmith.engines.eval_files import conversations_of, rows_of, sample, text_field
from goldsmith.types.errors import BadInput, Unavailable
from goldsmith.types.record import Conversation, Message, Record, Role, TextPart, ToolResultPart

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"


def write(folder: Path, *lines: str | bytes, name: str = "rows.jsonl") -> Path:
    file = folder / name
    raw = b"\n".join(line if isinstance(line, bytes) else line.encode() for line in lines)
    file.write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    return file


def test_rows_come_with_their_lines(tmp_path: Path) -> None:
    assert list(rows_of(write(tmp_path, '{"a": 1}', "", '{"a": 2}'))) == [(1, {"a": 1}), (3, {"a": 2})]
    assert list(rows_of(write(tmp_path, '{"a": 1}', name="r.jsonl.gz"))) == [(1, {"a": 1})]


@pytest.mark.parametrize(
    ("bad", "words"),
    [('{"a": ', "not JSON"), (b'{"a": "\xff"}', "not UTF-8"), ("[1]", "no JSON object"), ("[" * 9999, "not JSON")],
)
def test_a_bad_line_is_named(tmp_path: Path, bad: str | bytes, words: str) -> None:
    with pytest.raises(BadInput, match=words) as caught:
        list(rows_of(write(tmp_path, '{"a": 1}', bad, '{"a": 2}')))
    assert "line 2" in (caught.value.where or "")


def test_a_cut_gzip_and_a_missing_file_are_errors(tmp_path: Path) -> None:
    whole = write(tmp_path, *(json.dumps({"a": n, "b": str(n) * 50}) for n in range(500)), name="r.jsonl.gz")
    whole.write_bytes(whole.read_bytes()[:-40])
    with pytest.raises(BadInput, match="cut short"):
        list(rows_of(whole))
    with pytest.raises(Unavailable, match="no such eval file"):
        list(rows_of(tmp_path / "none.jsonl"))


def test_a_missing_field_is_named() -> None:
    with pytest.raises(BadInput, match="lacks a field") as caught:
        text_field({"a": "x", "b": None}, ("question", "prompt"), "f, line 3")
    assert caught.value.allowed == "question or prompt"
    assert text_field({"prompt": 7}, ("question", "prompt"), "f") == "7"


OPENAI = {
    "messages": [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Weather?"}]},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c", "function": {"name": "w", "arguments": {"t": 1}}}],
        },
        {"role": "tool", "tool_call_id": "c", "content": "sun"},
        {"role": "assistant", "content": "Sunny."},
    ],
    "tools": [{"type": "function", "function": {"name": "w", "parameters": {"type": "object"}}}],
}


def test_openai_rows(tmp_path: Path) -> None:
    ((name, conversation),) = conversations_of(write(tmp_path, json.dumps(OPENAI)))
    assert name == "rows:1"
    assert [m.role.value for m in conversation.messages] == ["system", "user", "assistant", "tool", "assistant"]
    assert conversation.messages[2].calls[0].arguments == '{"t": 1}'
    assert conversation.messages[3].parts == (ToolResultPart(call_id="c", text="sun"),)
    assert conversation.tools[0].name == "w"


def test_stored_records(tmp_path: Path) -> None:
    message = Message(role=Role.USER, parts=(TextPart(text="Hi"),))
    answer = Message(role=Role.ASSISTANT, parts=(TextPart(text="Ho"),))
    record = Record(content=Conversation(messages=(message, answer)))
    ((_, conversation),) = conversations_of(write(tmp_path, record.model_dump_json()))
    assert conversation == record.content


@pytest.mark.parametrize(
    "row",
    [
        {"text": "no conversation"},
        {"messages": [{"content": "who said it?"}]},
        {"messages": [{"role": "wizard", "content": "x"}]},
        {"messages": [{"role": "assistant", "tool_calls": [{"function": {}}]}]},
        {"turns": [{"role": "API"}]},
        {"content": {"kind": "conversation"}},
    ],
)
def test_what_is_no_conversation_is_refused_with_its_line(tmp_path: Path, row: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match="no conversation") as caught:
        list(conversations_of(write(tmp_path, json.dumps(OPENAI), json.dumps(row))))
    assert "line 2" in (caught.value.where or "")


def test_samples_are_stable_under_additions() -> None:
    items = [str(n) for n in range(100)]
    chosen = sample(items, 20, 7, str)
    assert len(chosen) == 20
    assert chosen == sorted(chosen, key=int) == sample(items, 20, 7, str)
    assert (
        set(sample([*items, "new"], 20, 7, str)) >= set(chosen) - {max(chosen)}
        or len(set(sample([*items, "new"], 20, 7, str)) & set(chosen)) >= 19
    )
    assert sample(items, 20, 8, str) != chosen
    assert sample(items, None, 7, str) == items == sample(items, 100, 7, str)


def test_api_bank_dialogues() -> None:
    file = DATA / "api-bank" / "dialogues.jsonl"
    if not file.exists():
        pytest.skip("shared data absent")
    found = list(conversations_of(file))
    assert len(found) == 119
    for _, conversation in found:
        offered = {tool.name for tool in conversation.tools}
        assert {call.name for call in calls_in(conversation.messages)} <= offered
        pairs = zip(conversation.messages, conversation.messages[1:], strict=False)
        assert all(b.role is Role.TOOL for a, b in pairs if a.calls)


def test_tool_alpaca_rows() -> None:
    file = DATA / "toolalpaca" / "eval_real.jsonl"
    if not file.exists():
        pytest.skip("shared data absent")
    found = list(conversations_of(file))
    assert len(found) > 20
    assert len({name for name, _ in found}) == len(found)
    first = found[0][1]
    assert first.messages[-1].calls[0].name == "AirportApi_getAirport"
    assert json.loads(first.tools[0].definition)["function"]["parameters"]["required"] == ["icao_code"]
