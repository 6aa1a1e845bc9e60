"""What the OpenAI and ShareGPT formats write, they read back to the same content, whatever that is."""

import json
from typing import Any, cast

import hypothesis.strategies as st
from hypothesis import given, settings

from goldsmith import plugins
from goldsmith.types.record import (
    Comparison,
    Conversation,
    Message,
    Part,
    Role,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    ToolSchema,
)
from goldsmith.types.row_format import RowFormat

texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=30)
words = st.text("abcxyz_0", min_size=1, max_size=8)
numbers = st.sampled_from(["1.50", "-0", "1e400", "9007199254740993", "123456789012345678901234567890", "0.1", "7"])
arguments = st.builds(
    lambda k, n, t: f'{{{json.dumps(k)}:{n},"t":{json.dumps(t)}}}', texts.filter(lambda t: t != "t"), numbers, texts
)


def message(role: Role, *parts: Part, trained: bool = True) -> Message:
    return Message(role=role, parts=parts, trained=trained)


calls = st.builds(ToolCallPart, id=words, name=words, arguments=arguments | texts)
results = st.builds(ToolResultPart, call_id=words, name=st.none() | words, text=texts)
old_results = st.builds(ToolResultPart, name=words, text=texts)
plain = st.builds(lambda t: (TextPart(text=t),), texts)
several = st.lists(st.builds(TextPart, text=texts), min_size=2, max_size=3).map(tuple)
turns = st.one_of(
    st.builds(lambda p: message(Role.SYSTEM, *p), plain),
    st.builds(lambda p: message(Role.USER, *p), plain | several),
    st.builds(lambda p, t: message(Role.ASSISTANT, *p, trained=t), plain | several, st.booleans()),
    st.builds(
        lambda c, t: message(Role.ASSISTANT, *c, trained=t), st.lists(calls, min_size=1, max_size=3), st.booleans()
    ),
    st.builds(lambda n, a: message(Role.ASSISTANT, ToolCallPart(name=n, arguments=a)), words, arguments | texts),
    st.builds(lambda t, c: message(Role.ASSISTANT, TextPart(text=t), c), texts.filter(bool), calls),
    st.builds(lambda r: message(Role.TOOL, r), results | old_results),
)
dialogues = st.lists(turns, min_size=1, max_size=5).map(tuple)


@st.composite
def tools(draw: st.DrawFn) -> tuple[ToolSchema, ...]:
    offered = []
    for name in draw(st.lists(words, max_size=2)):
        title = json.dumps(draw(texts), ensure_ascii=False)
        body = f'{{"name":{json.dumps(name)},"parameters":{{"default":{draw(numbers)},"title":{title}}}}}'
        offered.append(ToolSchema(name=name, definition=f'{{"type":"function","function":{compact(body)}}}'))
    return tuple(offered)


def compact(text: str) -> str:
    from goldsmith.engines.reading.json_text import decode, encode

    return encode(decode(text))


def form(name: str) -> RowFormat:
    return cast(RowFormat, plugins.build("sources", name))


def through_json(row: dict[str, Any]) -> Any:
    """The row as a file would give it back."""
    from goldsmith.engines.reading.json_text import decode, encode

    return decode(encode(row))


@settings(derandomize=True, deadline=None, max_examples=80)
@given(dialogues, tools())
def test_openai_chat(dialogue: tuple[Message, ...], offered: tuple[ToolSchema, ...]) -> None:
    content = Conversation(messages=dialogue, tools=offered)
    assert form("openai_chat").parse(through_json(form("openai_chat").render(content))) == (content, {})


@settings(derandomize=True, deadline=None, max_examples=60)
@given(dialogues, dialogues, dialogues, tools())
def test_openai_preference(
    prompt: tuple[Message, ...], good: tuple[Message, ...], bad: tuple[Message, ...], offered: tuple[ToolSchema, ...]
) -> None:
    content = Comparison(prompt=prompt, chosen=good, rejected=bad, tools=offered)
    assert form("openai_preference").parse(through_json(form("openai_preference").render(content))) == (content, {})


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    st.lists(
        st.one_of(
            st.builds(lambda r, t: message(r, TextPart(text=t)), st.sampled_from([Role.USER, Role.ASSISTANT]), texts),
            st.builds(
                lambda n, a: message(Role.ASSISTANT, ToolCallPart(name=n, arguments=compact(a))), words, arguments
            ),
            st.builds(lambda t: message(Role.TOOL, ToolResultPart(text=t)), texts),
        ),
        min_size=1,
        max_size=5,
    ).map(tuple),
    tools(),
)
def test_sharegpt(dialogue: tuple[Message, ...], offered: tuple[ToolSchema, ...]) -> None:
    content = Conversation(messages=dialogue, tools=offered)
    assert form("sharegpt").parse(through_json(form("sharegpt").render(content))) == (content, {})
