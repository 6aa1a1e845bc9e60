"""Every row format, present and future: its own rows are read as they say, and no neighbour claims them."""

import contextlib
from types import ModuleType
from typing import Any, cast

import pytest

from goldsmith import plugins
from goldsmith.engines.reading import detect
from goldsmith.types.errors import BadInput
from goldsmith.types.record import (
    Comparison,
    Content,
    Conversation,
    Message,
    Rating,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    ToolSchema,
)
from goldsmith.types.row_format import CLAIMED, MARGIN, RowFormat, RowProblem

NAMES = plugins.names("sources")
MODULES: dict[str, ModuleType] = {name: plugins.module("sources", name) for name in NAMES}
FORMATS = [cast(RowFormat, plugins.build("sources", name)) for name in NAMES]
EXAMPLES = [(name, n) for name in NAMES for n in range(len(MODULES[name].ROWS))]


def words(content: Content) -> str:
    """A content in one line, as the formats' `ROWS` write it."""
    if isinstance(content, Conversation):
        return _turns(content.messages) + _tools(content.tools)
    if isinstance(content, Comparison):
        return " || ".join(map(_turns, (content.prompt, content.chosen, content.rejected))) + _tools(content.tools)
    if isinstance(content, Rating):
        verdict = {True: "good", False: "bad", None: str(content.score)}[content.label]
        return f"{_turns(content.prompt)} || {_turns(content.answer)} || {verdict}{_tools(content.tools)}"
    return content.text


def _tools(tools: tuple[ToolSchema, ...]) -> str:
    return " | tools: " + ", ".join(tool.name for tool in tools) if tools else ""


def _turns(turns: tuple[Message, ...]) -> str:
    return " | ".join(f"{t.role}{'' if t.trained else ' (untrained)'}: {' '.join(map(_part, t.parts))}" for t in turns)


def _part(part: Any) -> str:
    if isinstance(part, TextPart):
        return part.text.replace("\n", "\\n")
    if isinstance(part, ToolCallPart):
        return part.name + (f"#{part.id}" if part.id else "") + f"({part.arguments})"
    assert isinstance(part, ToolResultPart)
    told = (part.name or "") + (f"#{part.call_id}" if part.call_id else "")
    return f"{told}={part.text}" if told else part.text


def test_the_folder_is_the_registry() -> None:
    assert {
        "alpaca", "api_bank", "hh", "labelled_chat", "oasst", "openai_chat", "openai_preference",
        "plain_text", "question_answer", "sharegpt", "trl",
    } <= set(NAMES)  # fmt: skip
    for name, form in zip(NAMES, FORMATS, strict=True):
        assert form.id == name
        assert form.version >= 1
        assert type(form).__doc__
        assert MODULES[name].ROWS, "a row format must show rows of its own"


@pytest.mark.parametrize(("name", "number"), EXAMPLES)
def test_each_example_is_claimed_by_its_format_alone_and_read_as_it_says(name: str, number: int) -> None:
    row, expected = MODULES[name].ROWS[number]
    confidence = {form.id: form.confidence(row) for form in FORMATS}
    assert confidence[name] >= CLAIMED
    assert all(confidence[name] - other >= MARGIN - 1e-9 for key, other in confidence.items() if key != name), (
        confidence
    )
    assert detect.choose(FORMATS, row).id == name
    assert words(FORMATS[NAMES.index(name)].parse(row).content) == expected


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.id)
def test_hostile_shapes_never_escape_as_another_error(form: RowFormat) -> None:
    """Whatever stands in a field, `confidence` answers and `parse` either reads the row or raises a RowProblem."""
    shapes: list[Any] = [None, "", "x", 3, True, [], {}, [None], [[]], [{}], [3], {"role": "user"}, {"messages": 3}]
    shapes += [[{"role": 3, "content": 4}], [{"role": "user", "content": {}}], [{"from": "gpt", "value": []}]]
    for row, _ in MODULES[form.id].ROWS:
        for key in row:
            for shape in shapes:
                changed = {**row, key: shape}
                assert 0 <= form.confidence(changed) <= 1
                with contextlib.suppress(RowProblem):
                    assert form.parse(changed).content.kind


@pytest.mark.parametrize(("name", "number"), EXAMPLES)
def test_what_a_format_writes_it_reads_back(name: str, number: int) -> None:
    form = FORMATS[NAMES.index(name)]
    content = form.parse(MODULES[name].ROWS[number][0]).content
    if name in ("api_bank", "oasst"):
        with pytest.raises(RowProblem, match="read, not written"):
            form.render(content)
        return
    row = form.render(content)
    again = form.parse(row)
    assert again.rest == {}
    assert words(again.content).replace("\\n", "") == words(content).replace("\\n", "")
    assert form.confidence(row) >= CLAIMED


def test_unknown_fields_of_rows_turns_and_calls_are_kept_by_their_path() -> None:
    row = {
        "id": 7,
        "messages": [
            {"role": "user", "name": "ann", "content": "Hi"},
            {
                "role": "assistant",
                "content": [{"type": "reasoning", "value": "hm"}, {"type": "text", "text": "Hello"}],
                "tool_calls": [{"id": "c", "index": 0, "function": {"name": "f", "arguments": {"a": 1}}}],
                "refusal": None,
            },
        ],
    }
    content, rest = plugins_format("openai_chat").parse(row)
    assert words(content) == 'user: Hi | assistant: Hello f#c({"a":1})'
    assert rest == {
        "id": 7,
        "messages[0].name": "ann",
        "messages[1].content[0]": {"type": "reasoning", "value": "hm"},
        "messages[1].tool_calls[0].index": 0,
    }


def plugins_format(name: str, **settings: Any) -> RowFormat:
    return cast(RowFormat, plugins.build("sources", name, settings))


@pytest.mark.parametrize(
    ("turn", "where", "found"),
    [
        ({"role": "usr", "content": "x"}, "messages[1].role", "'usr'"),
        ({"content": "x"}, "messages[1].role", "null"),
        ({"role": "assistant", "content": None}, "messages[1].content", "null"),
        ({"role": "assistant"}, "messages[1].content", "no content"),
        ({"role": "assistant", "content": None, "tool_calls": []}, "messages[1].content", "null"),
        ({"role": "assistant", "content": 3}, "messages[1].content", "3"),
        ({"role": "tool", "content": None, "tool_call_id": "c"}, "messages[1].content", "null"),
        ({"role": "assistant", "content": "x", "weight": 2}, "messages[1].weight", "2"),
        (
            {"role": "assistant", "tool_calls": [{"function": {}}]},
            "messages[1].tool_calls[0]",
            "an object with function",
        ),
        (
            {"role": "assistant", "tool_calls": [{"function": {"name": "f"}}]},
            "messages[1].tool_calls[0].arguments",
            "null",
        ),
        ({"role": "user", "content": [{"type": "video"}]}, "messages[1].content[0]", "'video'"),
        ("Hi", "messages[1]", "'Hi'"),
    ],
)
def test_unusable_turns_are_named_with_path_and_finding(turn: Any, where: str, found: str) -> None:
    with pytest.raises(RowProblem) as caught:
        plugins_format("openai_chat").parse({"messages": [{"role": "user", "content": "Q"}, turn]})
    assert (caught.value.where, caught.value.found) == (where, found)
    assert caught.value.allowed


def test_suspicious_rows_are_parsed_for_checks_to_report() -> None:
    chat = plugins_format("openai_chat")
    assert words(chat.parse({"messages": [{"role": "user", "content": "Q"}]}).content) == "user: Q"
    empty = chat.parse({"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": ""}]})
    assert words(empty.content) == "user: Q | assistant: "
    same = plugins_format("trl").parse({"prompt": "Q", "chosen": "A", "rejected": "A"})
    assert words(same.content) == "user: Q || assistant: A || assistant: A"
    hh = plugins_format("hh").parse(dict.fromkeys(("chosen", "rejected"), "\n\nHuman: Q\n\nAssistant: A"))
    assert words(hh.content) == "user: Q || assistant: A || assistant: A"


def test_half_a_pair_is_unusable() -> None:
    asked = {"messages": [{"role": "user", "content": "Q"}]}
    answer = [{"role": "assistant", "content": "A"}]
    for name, row in (
        ("openai_preference", {"input": asked, "preferred_output": answer}),
        ("trl", {"prompt": "Q", "chosen": "A", "rejected": None}),
        ("hh", {"chosen": "\n\nHuman: Q\n\nAssistant: A", "rejected": None}),
        ("sharegpt", {"conversations": [{"from": "human", "value": "Q"}], "chosen": {"from": "gpt", "value": "A"}}),
        ("alpaca", {"instruction": "Q", "chosen": "A"}),
    ):
        with pytest.raises(RowProblem) as caught:
            plugins_format(name).parse(row)
        assert "rejected" in str(caught.value) or "non_preferred" in str(caught.value)


def test_settings_name_other_fields_and_misspelt_ones_fail() -> None:
    form = plugins_format("question_answer", question="user_query", answer="reply")
    assert words(form.parse({"user_query": "Q", "reply": "A", "id": 1}).content) == "user: Q | assistant: A"
    with pytest.raises(BadInput, match="did you mean 'question'"):
        plugins_format("question_answer", qestion="q")


def test_hh_pairs_that_differ_early_keep_what_follows_in_their_answers() -> None:
    pair = plugins_format("hh").parse(
        {
            "chosen": "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant: d",
            "rejected": "\n\nHuman: a\n\nAssistant: x\n\nHuman: c\n\nAssistant: d",
        }
    )
    assert (
        words(pair.content)
        == "user: a || assistant: b | user: c | assistant: d || assistant: x | user: c | assistant: d"
    )


def test_an_image_in_a_data_url_becomes_its_digest_and_one_elsewhere_is_refused() -> None:
    chat = plugins_format("openai_chat")

    def row(url: str) -> dict[str, Any]:
        part = {"type": "image_url", "image_url": {"url": url}}
        return {"messages": [{"role": "user", "content": [part]}, {"role": "assistant", "content": "A dot."}]}

    content = chat.parse(row("data:image/png;base64,AAAA")).content
    assert isinstance(content, Conversation)
    digest = "sha256:709e80c88487a2411e1ee4dfb9f22a861492d20c4765150c0c794abd70f8147c"  # of three zero bytes
    assert content.messages[0].parts[0].model_dump() == {"type": "media", "media_type": "image/png", "digest": digest}
    with pytest.raises(RowProblem, match="not in the row"):
        chat.parse(row("https://example.org/dot.png"))
    with pytest.raises(RowProblem, match="media cannot be written"):
        chat.render(content)


def test_a_margin_is_the_pairs_strength_as_it_was_written() -> None:
    from goldsmith.engines.reading.json_text import decode, encode

    trl: Any = FORMATS[NAMES.index("trl")]
    pair = '{"prompt":"a","chosen":"b","rejected":"c","margin":MARGIN}'
    for text in ("2", "0.50", "1e-3", "-1", "123456789012345678"):
        parsed = trl.parse(decode(pair.replace("MARGIN", text)))
        assert (parsed.content.strength, parsed.rest) == (text, {})
        again = trl.parse(decode(encode(trl.render(parsed.content))))
        assert again.content == parsed.content
    for text in ('"much"', "null", "true", "[1]"):
        parsed = trl.parse(decode(pair.replace("MARGIN", text)))
        assert parsed.content.strength is None
