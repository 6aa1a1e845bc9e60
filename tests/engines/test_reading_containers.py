"""Containers: the same rows whatever they are packed in, and exact words for what is broken."""

import csv
import gzip
import io
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from goldsmith import plugins
from goldsmith.engines.reading.read import raw_rows, read
from goldsmith.types.errors import BadInput, Unavailable
from goldsmith.types.record import Conversation
from goldsmith.types.row_format import RowFormat

FORMATS = [cast(RowFormat, plugins.build("sources", name)) for name in plugins.names("sources")]
ROWS: list[dict[str, Any]] = [
    {
        "messages": [
            {"role": "user", "content": f"Frage {n}, “ä”?"},
            {"role": "assistant", "content": f"Zeile 1\nZeile {n}"},
        ],
        "source": "acme",
        "id": n,
    }
    for n in range(7)
]


def lines(rows: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def table(rows: list[dict[str, Any]]) -> Any:
    return pa.Table.from_pylist(rows)


def as_csv(rows: list[dict[str, Any]]) -> bytes:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(rows[0]))
    writer.writeheader()
    writer.writerows([{**row, "messages": json.dumps(row["messages"])} for row in rows])
    return stream.getvalue().encode()


def save(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def parquet(path: Path, rows: list[dict[str, Any]]) -> Path:
    pq.write_table(table(rows), path, row_group_size=3)
    return path


def arrow_stream(path: Path, rows: list[dict[str, Any]]) -> Path:
    content = table(rows)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, content.schema) as writer:
        writer.write_table(content, max_chunksize=2)
    return path


def arrow_file(path: Path, rows: list[dict[str, Any]]) -> Path:
    content = table(rows)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, content.schema) as writer:
        writer.write_table(content)
    return path


def saved(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.mkdir()
    names = ["data-00000-of-00002.arrow", "data-00001-of-00002.arrow"]
    arrow_stream(path / names[0], rows[:4])
    arrow_stream(path / names[1], rows[4:])
    (path / "dataset_info.json").write_text("{}")
    (path / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names]}))
    return path


def folder(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.mkdir()
    save(path / "a.jsonl", lines(rows[:2]))
    parquet(path / "b.parquet", rows[2:5])
    save(path / "c.json.gz", gzip.compress(json.dumps(rows[5:]).encode()))
    (path / "README.md").write_text("about")
    return path


PACKED: dict[str, tuple[str, Callable[[Path, list[dict[str, Any]]], Path]]] = {
    "rows.jsonl": ("jsonl", lambda p, r: save(p, lines(r))),
    "rows.jsonl.gz": ("jsonl.gz", lambda p, r: save(p, gzip.compress(lines(r)))),
    "misnamed.txt": ("jsonl", lambda p, r: save(p, lines(r))),
    "unnamed-gzip": ("jsonl.gz", lambda p, r: save(p, gzip.compress(lines(r)))),
    "crlf.jsonl": ("jsonl", lambda p, r: save(p, lines(r).replace(b"\n", b"\r\n"))),
    "bom.jsonl": ("jsonl", lambda p, r: save(p, b"\xef\xbb\xbf" + lines(r))),
    "no-newline-at-end.jsonl": ("jsonl", lambda p, r: save(p, lines(r)[:-1])),
    "list.json": ("json", lambda p, r: save(p, json.dumps(r).encode())),
    "pretty.json": ("json", lambda p, r: save(p, json.dumps(r, indent=2, ensure_ascii=False).encode())),
    "list.json.gz": ("json.gz", lambda p, r: save(p, gzip.compress(json.dumps(r).encode()))),
    "rows.csv": ("csv", lambda p, r: save(p, as_csv(r))),
    "rows.csv.gz": ("csv.gz", lambda p, r: save(p, gzip.compress(as_csv(r)))),
    "rows.parquet": ("parquet", parquet),
    "rows.arrow": ("arrow", arrow_stream),
    "file.arrow": ("arrow", arrow_file),
    "saved": ("datasets", saved),
    "folder": ("folder", folder),
}


@pytest.mark.parametrize("name", PACKED)
def test_the_same_rows_come_out_of_every_container(name: str, tmp_path: Path) -> None:
    container, pack = PACKED[name]
    reading = read(pack(tmp_path / name, ROWS), FORMATS)
    assert reading.container == container
    expected = read(save(tmp_path / "expected.jsonl", lines(ROWS)), FORMATS).rows
    found = reading.rows
    assert [row.record.content for row in found] == [row.record.content for row in expected]
    assert [row.record.origin for row in found] == [row.record.origin for row in expected]
    extra = '{{"id":"{}"}}' if "csv" in name else '{{"id":{}}}'  # a CSV cell is text
    assert [row.record.extra for row in found] == [extra.format(n) for n in range(7)]
    if container not in ("csv", "csv.gz"):
        assert [row.line for row in found] == list(range(1, 8))
    assert reading.faults == ()
    assert reading.format_counts == {"openai_chat": 7}


def test_csv_lines_are_where_the_row_starts_in_the_file(tmp_path: Path) -> None:
    text = 'question,answer\n\nWhat?,"one\ntwo"\nWho?,me\nbroken\n"a ""quoted"" one",fine\n'
    reading = read(save(tmp_path / "qa.csv", text.encode()), FORMATS)
    assert [row.line for row in reading.rows] == [3, 5, 7]
    assert [fault.line for fault in reading.faults] == [6]
    content = reading.rows[2].record.content
    assert isinstance(content, Conversation)
    assert content.messages[0].text == 'a "quoted" one'


def test_folders_number_their_rows_through_and_say_which_file(tmp_path: Path) -> None:
    path = folder(tmp_path / "folder", ROWS)
    save(path / "a.jsonl", lines(ROWS[:1]) + b"\n{broken\n" + lines(ROWS[1:2]))
    reading = read(path, FORMATS)
    assert [row.line for row in reading.rows] == [1, 4, 5, 6, 7, 8, 9]
    assert [(fault.line, reading.place(fault.line)) for fault in reading.faults] == [(3, "a.jsonl line 3")]
    assert reading.place(6) == "b.parquet row 2"
    assert reading.facts["not_read"] == "README.md"


def test_several_saved_splits_must_be_chosen_from(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    whole.mkdir()
    (whole / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    saved(whole / "train", ROWS)
    assert len(read(whole, FORMATS).rows) == 7
    saved(whole / "test", ROWS)
    with pytest.raises(BadInput, match="several splits") as caught:
        read(whole, FORMATS)
    assert caught.value.found == "test, train"


def test_what_datasets_saves_is_read_without_it(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    datasets.Dataset.from_list(ROWS).save_to_disk(str(tmp_path / "real"), num_shards=3)
    reading = read(tmp_path / "real", FORMATS)
    assert [row.record.extra for row in reading.rows] == [f'{{"id":{n}}}' for n in range(7)]
    assert reading.container == "datasets"


def test_numbers_dates_and_nulls_of_tables_become_json(tmp_path: Path) -> None:
    import datetime
    import decimal

    columns = {
        "question": ["Q"],
        "answer": ["A"],
        "big": [2**60],
        "real": [0.1],
        "none": pa.array([None], pa.string()),
        "day": [datetime.date(2026, 1, 2)],
        "money": [decimal.Decimal("1.50")],
        "nested": [{"a": None, "b": [1.0, None]}],
    }
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    [row] = read(tmp_path / "t.parquet", FORMATS).rows
    assert row.record.extra == (
        '{"big":1152921504606846976,"day":"2026-01-02","money":1.50,"nested":{"b":[1.0,null]},"real":0.1}'
    )


def test_a_nan_in_a_table_is_a_fault_of_its_row(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a", "b", "c"], "x": [1.0, float("nan"), 2.0]}), tmp_path / "t.parquet")
    reading = read(tmp_path / "t.parquet", FORMATS)
    assert [row.line for row in reading.rows] == [1, 3]
    assert [(fault.line, fault.where) for fault in reading.faults] == [(2, "x")]


def test_columns_of_bytes_are_refused_by_name(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a"], "image": [{"bytes": b"\x00"}]}), tmp_path / "t.parquet")
    with pytest.raises(BadInput) as caught:
        _ = read(tmp_path / "t.parquet", FORMATS).rows
    assert "column image" in str(caught.value)


def spoilt(path: Path, data: bytes) -> BadInput:
    with pytest.raises(BadInput) as caught:
        _ = read(save(path, data), FORMATS).rows
    assert path.name in str(caught.value)
    return caught.value


def test_faulty_files_say_what_where_and_what_is_allowed(tmp_path: Path) -> None:
    good = lines(ROWS)
    noise = random.Random(1)
    long = b"".join(b'{"text": "%s"}\n' % noise.randbytes(500).hex().encode() for _ in range(5000))
    cut = spoilt(tmp_path / "cut.jsonl.gz", gzip.compress(long, 1)[:-30])
    assert "cut off" in cut.what
    assert "line" in str(cut.where)
    damaged = bytearray(gzip.compress(good * 50))
    damaged[len(damaged) // 2] ^= 0xFF
    assert "damaged" in spoilt(tmp_path / "damaged.jsonl.gz", bytes(damaged)).what
    pq.write_table(table(ROWS), tmp_path / "whole.parquet")
    half = (tmp_path / "whole.parquet").read_bytes()[:-200]
    assert "damaged or cut off" in spoilt(tmp_path / "cut.parquet", half).what
    assert "is empty" in spoilt(tmp_path / "empty.jsonl", b"").what
    assert "holds no rows" in spoilt(tmp_path / "blank.jsonl", b"\n \n").what
    assert "empty list" in spoilt(tmp_path / "empty.json", b" []\n").what
    assert "is empty" in spoilt(tmp_path / "empty.csv", b"\n").what
    assert "holds no rows" in spoilt(tmp_path / "header.csv", b"question,answer\n").what
    assert "zip archive" in spoilt(tmp_path / "rows.zip", b"PK\x03\x04....").what
    assert "UTF-16" in spoilt(tmp_path / "wide.jsonl", '{"text": "a"}'.encode("utf-16")).what
    assert "pickle" in spoilt(tmp_path / "rows.pkl", b"\x80\x04\x95").what
    assert "unknown kind" in spoilt(tmp_path / "prose.txt", b"Once upon a time").what
    assert "does not end" in spoilt(tmp_path / "quote.csv", b'question,answer\na,"b\n').what
    assert "every field once" in spoilt(tmp_path / "twice.csv", b"text,text\na,b\n").what
    assert "separated by something else" in spoilt(tmp_path / "semi.csv", b"question;answer\na;b\n").what
    assert "goes on after its list" in spoilt(tmp_path / "after.json", b'[{"text": "a"}]\n[{"text": "b"}]').what


def test_bytes_that_are_not_utf8_are_named_by_line_and_byte(tmp_path: Path) -> None:
    good = lines(ROWS)
    for name, data, line in (
        ("latin.jsonl", good + '{"text": "für"}\n'.encode("latin-1") + good, 8),
        ("latin.csv", "question,answer\nWas?,für\n".encode("latin-1"), 2),
    ):
        error = spoilt(tmp_path / name, data)
        assert "is not UTF-8" in error.what
        assert f"line {line}, byte {data.index(bytes([0xFC]))}" in str(error.where)
    assert "is not UTF-8" in spoilt(tmp_path / "latin.json", '[{"text": "für"}]'.encode("latin-1")).what


def test_a_missing_file_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="no such file"):
        read(tmp_path / "none.jsonl", FORMATS)
    (tmp_path / "nothing").mkdir()
    with pytest.raises(BadInput, match="holds no data files"):
        read(tmp_path / "nothing", FORMATS)


def test_bare_lists_of_turns_are_rows(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]
    reading = read(save(tmp_path / "turns.jsonl", (json.dumps(turns) + "\n").encode() * 2), FORMATS)
    assert (reading.container, len(reading.rows)) == ("jsonl", 2)
    reading = read(save(tmp_path / "turns.json", json.dumps([turns, turns]).encode()), FORMATS)
    assert (reading.container, len(reading.rows)) == ("json", 2)


def test_a_broken_element_of_a_list_stays_one_element(tmp_path: Path) -> None:
    text = b'[{"text": "a [ { \\" ]"}, {"text": oops}, {"text": "c"} {"text": "d"}, 7, {"text": "e"},\n {"text": "f"'
    reading = read(save(tmp_path / "list.json", text), FORMATS)
    assert [(row.line, cast(Any, row.record.content).text) for row in reading.rows] == [(1, 'a [ { " ]'), (3, "c")]
    assert [(fault.line, fault.what.split(":")[0]) for fault in reading.faults] == [
        (2, "this is not JSON"),
        (4, "no comma before this row"),
        (5, "this is not JSON"),
        (6, "the file is cut off"),
    ]


def test_a_list_longer_than_a_piece_is_read_in_pieces(tmp_path: Path) -> None:
    rows = [{"text": f'{n} \\" [{{' + "x" * (5_000_000 if n == 3 else 70_000)} for n in range(40)]
    found = list(raw_rows(save(tmp_path / "long.json", json.dumps(rows).encode())))
    assert found == list(enumerate(rows, start=1))


def test_streaming_hands_out_batches_before_the_file_is_read_through(tmp_path: Path) -> None:
    path = save(tmp_path / "many.jsonl", b"".join(b'{"text": "%d"}\n' % n for n in range(5000)) + b"\xff\n")
    reading = read(path, FORMATS)
    batches = reading.batches(size=1000)
    assert [len(next(batches)) for _ in range(5)] == [1000] * 5
    assert reading.format_counts == {"plain_text": 5000}
    with pytest.raises(BadInput, match="is not UTF-8"):
        next(batches)
    with pytest.raises(BadInput, match="already being read"):
        reading.batches()
