"""Rows in parts say what rows in memory say: each column, group, origin and rebuilt row, however asked for."""

import gzip
import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from goldsmith import plugins
from goldsmith.engines.dataflow import intake, stored
from goldsmith.engines.dataflow.engine import Local
from goldsmith.engines.dataflow.intake import Intake
from goldsmith.engines.dataflow.stored import StoredRows
from goldsmith.engines.reading.read import Reading, read
from goldsmith.engines.text.projection import Columns, Origins, ProjectedRows, project
from goldsmith.engines.text.projection import taken as values_of

FORMATS: Any = plugins.build_all("sources")


def plain_rows(count: int, seed: int = 0) -> Iterator[dict[str, Any]]:
    """Rows of every kind, with calls, results, other scripts, repeated schemas and uneven origins."""
    rng = random.Random(seed)
    words = ["ship", "ångström", "注文", "🙂", "nine", "over", "line\nbreak", "\u0000", "table"]
    tool = {"type": "function", "function": {"name": "look", "description": "d" * 300, "parameters": {}}}

    def text(most: int) -> str:
        return " ".join(rng.choices(words, k=rng.randint(1, most)))

    for n in range(count):
        told = {"source": f"s{rng.randint(0, 3)}", "batch": f"b{rng.randint(0, 1)}"}
        if rng.random() < 0.3:
            told |= {"annotator": f"a{rng.randint(0, 5)}", "maker": "human", "generation_depth": 0, "licence": "MIT"}
        user = [{"role": "user", "content": text(20)}]
        kind = n % 4
        if kind == 0:
            system = [{"role": "system", "content": "be " + "very " * 30 + "good"}] if n % 3 else []
            yield {"messages": [*system, *user, {"role": "assistant", "content": text(60)}], "own_field": n, **told}
        elif kind == 1:
            call = {"id": f"c{n}", "type": "function", "function": {"name": "look", "arguments": '{"at": 1.50}'}}
            yield {
                "messages": [
                    *user,
                    {"role": "assistant", "content": None, "tool_calls": [call]},
                    {"role": "tool", "tool_call_id": f"c{n}", "content": text(5)},
                    {"role": "assistant", "content": text(9)},
                ],
                "tools": [tool],
                **told,
            }
        elif kind == 2:
            yield {
                "input": {"messages": user},
                "preferred_output": [{"role": "assistant", "content": text(12)}],
                "non_preferred_output": [{"role": "assistant", "content": text(12)}],
                **told,
            }
        else:
            yield {"text": text(30), **told}


def write(path: Path, rows: Iterator[dict[str, Any]], bad: Sequence[int] = ()) -> Path:
    lines = [json.dumps(row, ensure_ascii=bool(n % 2)) for n, row in enumerate(rows)]
    for place in sorted(bad, reverse=True):
        lines.insert(place, '{"messages": [{"role": "wizard", "content": "x"}]}' if place % 2 else "{broken")
    lines.insert(7, "")
    data = ("\n".join(lines) + "\n").encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def taken(path: Path, **settings: Any) -> tuple[StoredRows, Reading]:
    reading = read(path, FORMATS)
    return Intake(reading, **settings).rows(), reading


def assert_same(rows: StoredRows, expected: ProjectedRows) -> None:
    assert len(rows) == len(expected)
    for name in Columns.__dataclass_fields__:
        assert list(getattr(rows.columns, name)) == list(getattr(expected.columns, name)), name
    for name in Origins.__dataclass_fields__:
        assert list(getattr(rows.origins, name)) == list(getattr(expected.origins, name)), name
    assert rows.groups.names == expected.groups.names
    assert rows.groups.of_row.tolist() == expected.groups.of_row.tolist()
    assert rows.groups.counts().tolist() == expected.groups.counts().tolist()
    assert rows.lines.tolist() == expected.lines.tolist()
    assert np.array_equal(rows.content_digests, expected.content_digests)
    assert list(rows) == list(expected)


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "PIECE_BYTES", 20_000)


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz"])
@pytest.mark.parametrize("on_disk", [False, True])
def test_parts_say_what_rows_in_memory_say(tmp_path: Path, small_pieces: None, name: str, on_disk: bool) -> None:
    path = write(tmp_path / name, plain_rows(700), bad=(3, 120, 121, 555))
    rows, reading = taken(path, scratch=tmp_path / "scratch", on_disk=on_disk)
    plain = read(path, FORMATS)
    assert len(rows.parts.all) > 5
    assert_same(rows, project(plain.rows))
    assert reading.faults == plain.faults
    assert len(reading.faults) == 4
    assert reading.format_counts == plain.format_counts
    assert reading.facts == plain.facts


def test_other_containers(tmp_path: Path, small_pieces: None) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [{"prompt": f"question {n} " * 20, "chosen": f"yes {n} " * 20, "rejected": "no"} for n in range(300)]
    (tmp_path / "list.json").write_text(json.dumps(rows), encoding="utf-8")
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    (tmp_path / "rows.csv").write_text(
        "prompt,chosen,rejected\n" + "".join(f"{r['prompt']},{r['chosen']},{r['rejected']}\n" for r in rows),
        encoding="utf-8",
    )
    for name in ("list.json", "rows.parquet", "rows.csv"):
        found, _ = taken(tmp_path / name, scratch=tmp_path / "scratch", on_disk=True)
        assert len(found.parts.all) > 3
        assert_same(found, project(read(tmp_path / name, FORMATS).rows))


@pytest.mark.parametrize("on_disk", [False, True])
def test_any_way_of_asking(tmp_path: Path, small_pieces: None, on_disk: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "_OPEN_PARTS", 3)
    monkeypatch.setattr(stored, "_ALONE_BEFORE_RELEASE", 50)
    path = write(tmp_path / "rows.jsonl", plain_rows(900, seed=4))
    rows, _ = taken(path, scratch=tmp_path / "scratch", on_disk=on_disk)
    expected = project(read(path, FORMATS).rows)
    rng = random.Random(1)
    for name in Columns.__dataclass_fields__:
        column, truth = getattr(rows.columns, name), list(getattr(expected.columns, name))
        assert len(column) == len(truth)
        some = np.array(sorted(rng.sample(range(len(truth)), 60)))
        for chosen in (some, some[::-1], some[:0], np.array([5, 5, 899, 0])):
            assert values_of(column, chosen) == values_of(truth, chosen) == [truth[i] for i in chosen.tolist()]
        assert [column[i] for i in range(len(column))] == truth
        assert [column[i] for i in range(5, len(column), 7)] == truth[5::7]
        order = rng.sample(range(len(truth)), 300)
        assert [column[i] for i in order] == [truth[i] for i in order]
        assert column[-1] == truth[-1]
        for _ in range(20):
            a, b = rng.randint(-900, 900), rng.randint(-900, 900)
            assert list(column[a:b]) == truth[a:b]
        assert list(column[::-13]) == truth[::-13]
        assert list(zip(column, column, strict=True)) == list(zip(truth, truth, strict=True))
        with pytest.raises(IndexError):
            column[len(truth)]
    assert [rows[i] for i in order] == [expected[i] for i in order]
    assert rows[-1] == expected[-1]
    assert list(rows[10:20]) == list(expected[10:20])
    assert rows.origins.annotator.count("a1") == list(expected.origins.annotator).count("a1")
    with pytest.raises(IndexError):
        rows[900]


def test_a_pool_gives_the_same_bytes(tmp_path: Path, small_pieces: None) -> None:
    path = write(tmp_path / "rows.jsonl", plain_rows(400), bad=(50,))
    alone, _ = taken(path)
    pooled, _ = taken(path, engine=Local(2))
    assert [part.source for part in alone.parts.all] == [part.source for part in pooled.parts.all]


def test_a_line_that_is_too_long_is_one_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from goldsmith.engines.reading import json_lines, pieces

    for module in (json_lines, pieces):
        monkeypatch.setattr(module, "MAX_ROW_BYTES", 3000)
    good = [json.dumps({"text": f"row {n} " * 10}) for n in range(30)]
    good.insert(11, json.dumps({"text": "x" * 9000}))
    path = tmp_path / "rows.jsonl"
    for end in ("\n", ""):
        path.write_text("\n".join(good) + end, encoding="utf-8")
        plain = read(path, FORMATS)
        assert [fault.line for fault in plain.faults] == [12]
        for size in (100, 1000, 2990, 3000, 3100, 50_000):
            monkeypatch.setattr(intake, "PIECE_BYTES", size)
            rows, reading = taken(path)
            assert reading.faults == plain.faults
            assert rows.lines.tolist() == [row.line for row in plain.rows]
