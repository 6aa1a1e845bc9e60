"""The built-in model's own template and tokenizer."""

from importlib.util import find_spec
from pathlib import Path

import pytest
from goldsmith_test_records import said

from goldsmith.engines.chat import Chat, open_chat
from goldsmith.types.record import Conversation, Message, Role, ToolCallPart, ToolResultPart, ToolSchema


@pytest.fixture(scope="module")
def nano() -> Chat:
    spec = find_spec("goldsmith.nano")
    folder = Path(str(spec.origin)).with_name("model") if spec else Path("absent")
    if not (folder / "tokenizer.json").is_file():
        pytest.skip("goldsmith-nano's files are absent")
    return open_chat(folder)


def test_calls_round_trip_through_its_tokens(nano: Chat) -> None:
    call = ToolCallPart(id="call_1", name="send_mail", arguments='{"to": "ann@x.example", "body": "hi \\"you\\""}')
    turns = (
        said("system", "Be short."),
        said("user", "Mail Ann."),
        Message(role=Role.ASSISTANT, parts=(call,)),
        Message(role=Role.TOOL, parts=(ToolResultPart(call_id="call_1", text="sent"),)),
        said("assistant", "Done."),
    )
    schema = '{"type": "function", "function": {"name": "send_mail", "description": "d", "parameters": {}}}'
    tools = (ToolSchema(name="send_mail", definition=schema),)
    encoded = nano.encode_conversation(Conversation(messages=turns, tools=tools))
    prompt = nano.encode_prompt(turns[:2], tools)
    assert encoded.input_ids[: len(prompt)].tolist() == prompt.tolist()
    first = nano.parse_turn(encoded.input_ids[len(prompt) :])
    assert first.finished
    assert first.message is not None
    assert [(c.name, c.arguments) for c in first.message.calls] == [(call.name, call.arguments)]
    later = nano.encode_prompt(turns[:4], tools)
    last = nano.parse_turn(encoded.input_ids[len(later) :])
    assert last.message is not None
    assert last.message.text == "Done."
    assert nano.form == "nano"
    assert nano.call_start == "<|call|>"
