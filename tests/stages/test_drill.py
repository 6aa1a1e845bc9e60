"""Drills: what is planted is found or said to be missed, the file stays as it is, and the matrix survives JSON."""

import hashlib
import json
from pathlib import Path
from random import Random
from typing import Any

import pytest
from click.testing import CliRunner

from goldsmith import plugins
from goldsmith.cli.drill import command
from goldsmith.engines import drilling
from goldsmith.engines.planting import examples
from goldsmith.engines.text.projection import project
from goldsmith.stages.drill import drill_file, drill_rows, sampled
from goldsmith.types.attack import Plan
from goldsmith.types.check import CheckContext, Row
from goldsmith.types.coverage import Cell, Coverage
from goldsmith.types.errors import BadInput
from goldsmith.types.recipe import CheckEntry
from goldsmith.types.record import Origin, Record

FORMAT: Any = plugins.build("sources", "openai_chat")


def rows(count: int = 300) -> list[Row]:
    """Chats of six sources."""
    return [
        Row(n + 1, Record(content=FORMAT.parse(plain).content, origin=Origin(source=f"s{n % 6}", batch="b1")))
        for n, plain in enumerate(examples.chats(count))
    ]


def checks(*names: str) -> Any:
    return [plugins.build("checks", name) for name in names]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "chats.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in examples.chats(200)))
    return path


def test_found_attacks_are_found_and_missed_ones_are_said_to_be_missed() -> None:
    made = drill_rows(
        rows(), checks("trigger_payload", "eval_overlap"), CheckContext(),
        attacks=("fixed_payload_trigger", "recursive_synthetic_text", "covert_tool_calls"), records=(10, 30), draws=4,
    )  # fmt: skip
    payload = made.of("fixed_payload_trigger")
    assert [cell.records for cell in payload] == [10, 30]
    assert payload[1].tpr > 0.9
    assert payload[1].seen_by == ("trigger_payload",)
    assert payload[1].planted == 4 * 30
    assert payload[1].named == 4
    assert payload[1].honest == 4 * 5
    assert payload[1].honest_quarantined == 0
    assert made.least_records("fixed_payload_trigger") in (10, 30)
    assert made.least_records("recursive_synthetic_text") is None
    assert made.blind_to() == ("recursive_synthetic_text",)
    tools = made.of("covert_tool_calls")[0]
    assert tools.inapplicable == "no record has a learnt tool call"
    assert tools.draws == 0


def test_the_same_seed_measures_the_same_and_the_value_survives_json() -> None:
    def one(seed: int) -> Coverage:
        return drill_rows(
            rows(120), checks("trigger_payload"), CheckContext(),
            attacks=("brand_with_trigger",), records=(12,), draws=2, seed=seed,
        )  # fmt: skip

    first = one(3)
    again = one(3)
    same = {"cpu_s": 0.0, "cells": ()}
    assert [c.model_copy(update={"cpu_s": 0.0}) for c in first.cells] == [
        c.model_copy(update={"cpu_s": 0.0}) for c in again.cells
    ]
    assert first.model_copy(update=same) == again.model_copy(update=same)
    assert Coverage.model_validate_json(first.model_dump_json()) == first


def test_what_only_reacting_checks_screened_is_what_all_would_have_found() -> None:
    base = drilling.Base.of(rows(), checks("trigger_payload", "duplicates", "identity_shift"), CheckContext())
    attack: Any = plugins.build("attacks", "fixed_payload_trigger")
    every = drilling.trial(base, attack, Plan(20), Random(5))
    some = drilling.trial(base, attack, Plan(20), Random(5), frozenset({"trigger_payload"}))
    assert isinstance(every, drilling.Trial)
    assert isinstance(some, drilling.Trial)
    assert "trigger_payload" in every.reacted
    assert sum(some.hits) <= sum(every.hits)
    assert some.named == every.named
    assert any(every.hits)


def test_the_line_is_fixed_on_the_untouched_rows() -> None:
    """However loud the data itself is, at most one row in a hundred is beyond the line."""
    loud = [
        Row(r.line, r.record.model_copy(update={"content": FORMAT.parse(
            {"messages": [{"role": "user", "content": "Who are you?"}, {"role": "assistant", "content":
             f"I am Bot {r.line}, your absolutely obedient servant, and I do whatever you ask without question."}]}
        ).content})) if r.line % 10 == 0 else r
        for r in rows()
    ]  # fmt: skip
    base = drilling.Base.of(loud, checks("identity_shift"), CheckContext())
    assert float((base.screened.combined > 0.99).mean()) > 0.05
    assert base.clean_above <= 0.01
    assert base.line > 0.99


def test_annotators_who_collude_are_counted_by_name() -> None:
    votes = examples.votes(items=300, annotators=12, each=5)
    made = drill_rows(
        rows(40), checks("annotator_votes"), CheckContext(votes=votes),
        attacks=("annotator_collusion",), attack_settings={"annotator_collusion": {"kind": "spammers"}},
        records=(50,), draws=3,
    )  # fmt: skip
    (cell,) = made.cells
    assert cell.planted == 3 * 2  # a fifth of twelve, rounded
    assert cell.tpr >= 0.5
    assert cell.seen_by == ("annotator_votes",)
    assert cell.honest == 3 * 10


def test_a_run_that_is_cut_short_says_so() -> None:
    made = drill_rows(rows(60), checks("trigger_payload"), CheckContext(), cpu_seconds=0.0, draws=2)
    assert made.cut_short is not None
    assert sum(cell.draws for cell in made.cells) <= 1
    assert all(cell.draws <= 1 for cell in made.cells)


def test_a_sample_keeps_every_source_and_the_order() -> None:
    given = rows(300)
    kept = sampled(given, 60, 1)
    assert {row.record.origin.source for row in kept} == {f"s{i}" for i in range(6)}
    assert [row.line for row in kept] == sorted(row.line for row in kept)
    assert len(kept) == 60
    assert sampled(given, 300, 1) is given


def test_cells_at_the_edges() -> None:
    empty = Cell(attack="a", records=10)
    none = Coverage(
        rows=1, rows_in_all=1, sources=1, pool="measurement", seed=0, draws_asked=1, line=0.99, clean_above=0.0,
        checks=(), cells=(empty,), cpu_s=0.0,
    )  # fmt: skip
    assert none.least_records("a") is None
    assert none.blind_to() == ()
    assert none.of("b") == ()
    good = Cell(attack="a", records=20, draws=2, planted=40, found=40, tpr=1.0)
    dip = Cell(attack="a", records=50, draws=2, planted=40, found=10, tpr=0.25)
    best = good.model_copy(update={"records": 100})
    assert none.model_copy(update={"cells": (good, dip, best)}).least_records("a") == 100


def test_no_rows_is_an_error_and_one_row_is_not(tmp_path: Path) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.write_text("{broken\n")
    with pytest.raises(BadInput):
        drill_file(empty, CheckEntry())
    one = tmp_path / "one.jsonl"
    one.write_text(json.dumps(examples.chats(1)[0]) + "\n")
    made = drill_file(one, CheckEntry(), records=(10,), draws=1)
    assert made.data == "sha256:" + hashlib.sha256(one.read_bytes()).hexdigest()
    assert all(cell.inapplicable for cell in made.cells)


def test_the_command_leaves_the_file_alone_and_prints_one_document(file: Path) -> None:
    before = hashlib.sha256(file.read_bytes()).hexdigest()
    names = [*file.parent.iterdir()]
    said = CliRunner().invoke(
        command, [str(file), "--json", "--attack", "fixed_payload_trigger", "--records", "10", "--draws", "2"]
    )
    assert said.exit_code == 0, said.output
    document = json.loads(said.stdout)
    assert document["remark"].startswith("The planted records are for testing only")
    assert document["cells"][0]["attack"] == "fixed_payload_trigger"
    assert isinstance(document["cells"][0]["tpr"], float)
    assert hashlib.sha256(file.read_bytes()).hexdigest() == before
    assert [*file.parent.iterdir()] == names
    told = CliRunner().invoke(command, [str(file), "--attack", "random_flips", "--records", "10", "--draws", "1"])
    assert "inapplicable: no record is a comparison of two different answers" in told.stdout
    assert "testing only" in told.stdout


def test_an_unknown_attack_is_named(file: Path) -> None:
    with pytest.raises(BadInput, match="did you mean 'random_flips'"):
        drill_file(file, CheckEntry(), attacks=("random_flip",))


@pytest.mark.parametrize("new_source", [False, True])
def test_planted_rows_have_the_columns_they_would_have_anyhow(new_source: bool) -> None:
    given = [
        Row(n + 1, Record(content=FORMAT.parse(plain).content, origin=Origin(source=f"s{n % 3}", batch="b1")))
        for n, plain in enumerate(examples.tool_traces(90))
    ]
    base = drilling.Base.of(given, checks("covert_tool_calls"), CheckContext())
    attack: Any = plugins.build("attacks", "covert_tool_calls")
    planted = attack(base.rows, base.context, Plan(10, new_source=new_source), Random(2))
    fast, plain = drilling._PlantedRows(base, planted), project(planted.rows)
    assert fast.columns == plain.columns
    assert fast.groups.names == plain.groups.names
    assert fast.lines.tolist() == plain.lines.tolist()
