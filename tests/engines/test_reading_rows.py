"""Rows: strict JSON, faults with their lines, detection, origins, extra fields, and writing back."""

import gzip
import json
import time
import tracemalloc
from pathlib import Path
from typing import Any, cast

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from goldsmith import plugins
from goldsmith.engines.reading.json_text import Number, Refused, decode, encode
from goldsmith.engines.reading.read import raw_rows, read
from goldsmith.engines.reading.write import render_lines, write
from goldsmith.types.errors import BadInput, Unavailable
from goldsmith.types.record import Conversation, Maker, Message, Origin, Record, Role, TextPart, ToolCallPart
from goldsmith.types.row_format import Parsed, RowFormat

FORMATS = [cast(RowFormat, plugins.build("sources", name)) for name in plugins.names("sources")]
GOOD = b'{"question": "Q", "answer": "A"}\n'


def save(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


BAD_LINES: dict[bytes, tuple[str, str]] = {
    b'{"question": "Q", "answer": }': ("not JSON", "column 29"),
    b"not json": ("not JSON", "column 1"),
    b'{"question": "Q"} {"answer": 1}': ("not JSON: Extra data", "column 19"),
    b"[1, 2]": ("not an object", ""),
    b'"text"': ("not an object", ""),
    b"null": ("not an object", ""),
    b'{"question": "Q", "answer": "A", "answer": "B"}': ("twice", ""),
    b'{"question": "Q", "answer": "A", "m": {"k": 1, "k": 1}}': ("twice", ""),
    b'{"question": "Q", "answer": "A", "x": NaN}': ("NaN", ""),
    b'{"question": "Q", "answer": "A", "x": [-Infinity]}': ("-Infinity", ""),
    b'{"question": "Q", "answer": "\\ud83d"}': ("surrogate", "answer"),
    b'{"question": "Q", "answer": "A", "x": ["\\uDC00"]}': ("surrogate", "x[0]"),
    b'{"question": "Q", "answer": "a\tb"}': ("not JSON: Invalid control character", ""),
    b'{"question": "Q", "answer": "A", "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}": ("nested too deeply", ""),
    b'{"question": "Q", "answer": "A", "x": ' + b"[" * 400 + b"]" * 400 + b"}": ("cannot be written", ""),
    b'{"question": "Q", "answer": ["A"]}': ("answer must be text", "answer"),
    b'{"question": "Q"}': ("no row format fits", ""),
    b'{"messages": [{"role": "usr", "content": "Q"}]}': ("unknown role", "messages[0].role"),
    b'{"messages": [{"role": "user", "content": null}]}': ("says nothing", "messages[0].content"),
    b'{"messages": []}': ("no turns", "messages"),
}


@pytest.mark.parametrize("bad", BAD_LINES, ids=lambda bad: bad[:48].decode())
def test_one_bad_line_is_named_and_the_rest_is_read(bad: bytes, tmp_path: Path) -> None:
    what, where = BAD_LINES[bad]
    reading = read(save(tmp_path / "rows.jsonl", GOOD * 3 + bad + b"\n" + GOOD * 2), FORMATS)
    assert [row.line for row in reading.rows] == [1, 2, 3, 5, 6]
    [fault] = reading.faults
    assert fault.line == 4
    assert what in fault.what
    assert where in (fault.where or "")
    assert str(fault).startswith("line 4")
    assert str(fault).isprintable()
    assert len(str(fault)) < 600


def test_a_cut_off_last_line_is_called_that(tmp_path: Path) -> None:
    last = '{"question": "Für wen?", "answer": "A \\u00e4", "n": [1, true, null, -2]}'.encode()
    for end in range(1, len(last)):
        reading = read(save(tmp_path / "rows.jsonl", GOOD + last[:end]), FORMATS)
        assert len(reading.rows) == 1
        [fault] = reading.faults
        assert (fault.line, "cut off inside its last row" in fault.what) == (2, True), last[:end]
    reading = read(save(tmp_path / "rows.jsonl", GOOD + b'{"question": oops}'), FORMATS)
    assert len(reading.rows) == 1
    assert "cut off" not in reading.faults[0].what


def test_the_one_wrong_line_among_two_hundred_thousand_has_its_number(tmp_path: Path) -> None:
    data = GOOD * 123_455 + b'{"question": "Q", "answer": "A", "answer": "B"}\n' + GOOD * 76_544
    found = [(line, row) for line, row in raw_rows(save(tmp_path / "rows.jsonl", data)) if not isinstance(row, dict)]
    assert [line for line, _ in found] == [123_456]


def test_memory_stays_bounded_while_streaming(tmp_path: Path) -> None:
    path = save(tmp_path / "rows.jsonl.gz", gzip.compress(b'{"text": "%s"}\n' % (b"x" * 1000) * 20_000, 1))
    tracemalloc.start()
    for batch in read(path, FORMATS).batches(size=100):
        assert batch
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6 * 2**20  # the file unpacked: 20 MB


def test_a_text_of_five_megabytes_is_read(tmp_path: Path) -> None:
    text = "ä\u2028\x00“" * 1_250_000
    data = json.dumps({"text": text}).encode() + b"\n" + json.dumps({"text": "b"}, ensure_ascii=False).encode()
    reading = read(save(tmp_path / "long.jsonl", data), FORMATS)
    assert cast(Any, reading.rows[0].record.content).text == text
    assert len(reading.rows) == 2


def test_a_line_without_end_is_a_fault_and_not_a_full_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from goldsmith.engines.reading import json_lines

    monkeypatch.setattr(json_lines, "MAX_ROW_BYTES", 1000)
    data = GOOD + b'{"text": "' + b"x" * 5000 + b'"}\n' + GOOD
    reading = read(save(tmp_path / "rows.jsonl", data), FORMATS)
    assert [row.line for row in reading.rows] == [1, 3]
    assert "too long" in reading.faults[0].what


def test_numbers_beyond_two_to_the_fifty_third_and_floats_keep_their_text(tmp_path: Path) -> None:
    row = (
        b'{"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": null, "tool_calls": '
        b'[{"id": "c", "type": "function", "function": '
        b'{"name": "f", "arguments": {"id": 12345678901234567890, "x": 1.10}}}]}],'
        b'"tools": [{"type": "function", "function": '
        b'{"name": "f", "parameters": {"default": 1e5, "maximum": 9007199254740993}}}],'
        b'"z": -0, "a": [1.0, 123456789012345678901234567890, 9007199254740991]}\n'
    )
    [found] = read(save(tmp_path / "rows.jsonl", row), FORMATS).rows
    content = cast(Conversation, found.record.content)
    assert content.messages[1].calls[0].arguments == '{"id":12345678901234567890,"x":1.10}'
    assert '"default":1e5,"maximum":9007199254740993' in content.tools[0].definition
    assert found.record.extra == '{"a":[1.0,123456789012345678901234567890,9007199254740991],"z":-0}'


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=12,
)


@settings(derandomize=True, deadline=None, max_examples=150)
@given(json_values)
def test_json_is_read_as_the_standard_library_reads_it_and_written_back_unchanged(value: Any) -> None:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    try:
        text.encode()
    except UnicodeEncodeError:
        return
    again = encode(decode(text))
    assert json.loads(again) == value
    assert decode(again) == decode(text)
    if not any(mark in text for mark in ("\\", "\x7f")):  # other texts may have been escaped in another way
        assert again == text


def test_refused_json_is_refused_and_numbers_are_values() -> None:
    assert decode("[1.50, -0, 9007199254740992, 9007199254740991]") == [
        Number("1.50"),
        Number("-0"),
        Number("9007199254740992"),
        9007199254740991,
    ]
    assert float(Number("1.50")) == 1.5
    for text in ('{"a":1,"a":1}', "NaN", '"\\ud800"', "[1", "", "[" * 200_000):
        with pytest.raises(Refused):
            decode(text)


@settings(derandomize=True, deadline=None, max_examples=150)
@given(place=st.integers(0, 10_000), byte=st.integers(0, 127))
def test_a_damaged_byte_costs_its_own_row_at_most(
    place: int, byte: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    rows = [{"question": f"Frage {n}?", "answer": "A\n\u2028", "x": [1.5, {"k": None}]} for n in range(6)]
    data = bytearray(b"".join(json.dumps(row).encode() + b"\n" for row in rows))
    path = tmp_path_factory.mktemp("damaged") / "rows.jsonl"
    clean = {row.line: row.record for row in read(save(path, bytes(data)), FORMATS).rows}
    place %= len(data)
    if 10 in (data[place], byte) or place == 0:  # a line break more or less moves the lines; the first byte, the kind
        return
    data[place] = byte
    hurt = data[:place].count(b"\n") + 1
    reading = read(save(path, bytes(data)), FORMATS)
    found = {row.line: row.record for row in reading.rows}
    assert {line: record for line, record in found.items() if line != hurt} == {
        line: record for line, record in clean.items() if line != hurt
    }
    assert [fault.line for fault in reading.faults] == ([] if hurt in found else [hurt])


def test_mixed_formats_are_a_fact_and_can_be_refused(tmp_path: Path) -> None:
    data = GOOD * 3 + b'{"text": "t"}\n' + b'{"prompt": "p", "completion": "c"}\n' + GOOD
    reading = read(save(tmp_path / "mixed.jsonl", data), FORMATS)
    assert len(reading.rows) == 6
    assert reading.format_counts == {"question_answer": 4, "plain_text": 1, "trl": 1}
    assert reading.facts["formats"] == "plain_text 1, question_answer 4, trl 1"
    with pytest.raises(BadInput, match="mixes row formats") as caught:
        _ = read(tmp_path / "mixed.jsonl", FORMATS, mixed="refuse").rows
    assert "mixed.jsonl line 4" in str(caught.value)


class Twin:
    """A third party's format that claims what another claims."""

    id = "twin"
    version = 1

    def confidence(self, row: Any) -> float:
        return 0.75 if "question" in row else 0.0

    def parse(self, row: Any) -> Parsed:
        turns = (Message(role=Role.USER, parts=(TextPart(text="twin"),)),)
        return Parsed(Conversation(messages=turns), {})

    def render(self, content: Any) -> dict[str, Any]:
        return {}


def test_an_ambiguous_file_is_refused_until_its_format_is_named(tmp_path: Path) -> None:
    path = save(tmp_path / "rows.jsonl", GOOD)
    with pytest.raises(BadInput, match="ambiguous") as caught:
        _ = read(path, [*FORMATS, Twin()]).rows
    assert "question_answer and twin" in str(caught.value)
    assert "name the format" in str(caught.value)
    [row] = read(path, [*FORMATS, Twin()], format_name="twin").rows
    assert cast(Conversation, row.record.content).messages[0].text == "twin"
    with pytest.raises(BadInput, match="no row format 'twn'"):
        read(path, FORMATS, format_name="twn")


def test_a_file_that_no_format_fits_and_one_without_a_usable_row_are_errors(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no row format fits") as caught:
        _ = read(save(tmp_path / "a.jsonl", b'{"x": 1}\n' * 3), FORMATS).rows
    assert "an object with x" in str(caught.value)
    with pytest.raises(BadInput, match="none of the 3 rows") as caught:
        _ = read(save(tmp_path / "b.jsonl", b'{"messages": []}\n' * 3), FORMATS).rows
    assert "line 1, messages" in str(caught.value)


def test_blank_lines_and_byte_order_marks_are_facts(tmp_path: Path) -> None:
    reading = read(save(tmp_path / "rows.jsonl", b"\xef\xbb\xbf" + GOOD + b"\r\n\n" + GOOD), FORMATS)
    assert [row.line for row in reading.rows] == [1, 4]
    assert reading.facts["blank_lines"] == 2
    assert reading.facts["byte_order_mark"] == "skipped"
    assert (reading.facts["rows"], reading.facts["faults"]) == (2, 0)


def one(tmp_path: Path, fields: dict[str, Any], **how: Any) -> Record:
    data = json.dumps({"question": "Q", "answer": "A", **fields}).encode()
    return read(save(tmp_path / "one.jsonl", data), FORMATS, **how).rows[0].record


def test_origin_comes_from_the_row_over_the_defaults(tmp_path: Path) -> None:
    told = {
        "source": "acme",
        "batch": 7,
        "annotator": "a1",
        "domain": "law",
        "license": "MIT",
        "maker": "Model",
        "generator": "gpt-x",
        "generation_depth": 1,
        "language": "de",
        "project": "p",
        "qualification": "lawyer",
        "other": [1],
    }
    record = one(tmp_path, told, origin_defaults=Origin(source="d", batch="e", domain="f"))
    assert record.origin == Origin(
        source="acme",
        batch="7",
        annotator="a1",
        domain="law",
        licence="MIT",
        maker=Maker.MODEL,
        generator="gpt-x",
        generation_depth=1,
        language="de",
        project="p",
        qualification="lawyer",
        qualification_basis="attested",
    )
    assert record.extra == '{"other":[1]}'
    assert one(tmp_path, {}, origin_defaults=Origin(source="d", licence="X")).origin == Origin(source="d", licence="X")


def test_a_signed_delivery_s_source_and_batch_are_not_overridden(tmp_path: Path) -> None:
    defaults = Origin(source="acme", batch="b1")
    record = one(
        tmp_path, {"source": "humans", "batch": "b1", "domain": "law"}, origin_defaults=defaults, row_origin=False
    )
    assert record.origin == Origin(source="acme", batch="b1", domain="law")
    assert record.extra == '{"source":"humans"}'  # what the row claimed stays on file


@pytest.mark.parametrize(
    "fields",
    [
        {"source": {"a": 1}},
        {"source": ""},
        {"maker": "robot"},
        {"generation_depth": -1},
        {"generation_depth": True},
        {"generation_depth": 1.5},
        {"annotator": ["x"]},
        {"licence": "MIT", "license": "GPL"},
    ],
)
def test_values_that_are_no_origin_stay_among_the_extra_fields(fields: dict[str, Any], tmp_path: Path) -> None:
    record = one(tmp_path, fields)
    assert record.extra is not None
    assert record.origin.maker is Maker.UNKNOWN
    assert record.origin.source == "unknown"


def test_writing_gives_back_what_was_read(tmp_path: Path) -> None:
    call = ToolCallPart(id="c1", name="f", arguments='{"x": 1.10}')
    turns = (
        Message(role=Role.USER, parts=(TextPart(text="Q\n\u2028"),)),
        Message(role=Role.ASSISTANT, parts=(call,), trained=False),
        Message(role=Role.ASSISTANT, parts=(TextPart(text=""),)),
    )
    origin = Origin(source="acme", batch="b", licence="MIT", generation_depth=0, maker=Maker.HUMAN)
    record = Record(content=Conversation(messages=turns), origin=origin, extra='{"a":1.50,"messages[0].name":"ann"}')
    form = cast(RowFormat, plugins.build("sources", "openai_chat"))
    for name in ("rows.jsonl", "rows.jsonl.gz"):
        assert write(tmp_path / name, [record, record], form) == 2
        assert [row.record for row in read(tmp_path / name, FORMATS).rows] == [record, record]
    first = (tmp_path / "rows.jsonl.gz").read_bytes()
    write(tmp_path / "rows.jsonl.gz", [record, record], form)
    assert (tmp_path / "rows.jsonl.gz").read_bytes() == first
    assert next(render_lines([record], form)) == (tmp_path / "rows.jsonl").read_bytes().splitlines(keepends=True)[0]


def test_a_record_that_a_format_cannot_say_leaves_no_file(tmp_path: Path) -> None:
    record = read(save(tmp_path / "rows.jsonl", GOOD), FORMATS).rows[0].record
    with pytest.raises(BadInput, match="record 1 cannot be written as plain_text"):
        write(tmp_path / "out.jsonl", [record], cast(RowFormat, plugins.build("sources", "plain_text")))
    assert [p.name for p in tmp_path.iterdir()] == ["rows.jsonl"]
    with pytest.raises(Unavailable):
        write(tmp_path / "none" / "out.jsonl", [record], cast(RowFormat, plugins.build("sources", "question_answer")))


def test_reading_is_fast_enough_for_a_corpus(tmp_path: Path) -> None:
    """A floor far below what is measured, so that only a blunder (quadratic work) fails it on a busy machine."""
    row = {"messages": [{"role": "user", "content": "What is it?"}, {"role": "assistant", "content": "A mole."}]}
    path = tmp_path / "rows.jsonl"
    path.write_bytes((json.dumps({**row, "source": "acme", "id": 1}) + "\n").encode() * 4000)
    started = time.process_time()
    assert len(read(path, FORMATS).rows) == 4000
    assert 4000 / (time.process_time() - started) > 3000
