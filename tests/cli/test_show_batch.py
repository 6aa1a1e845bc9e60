"""`goldsmith show batch`: what it shows is what training trains on, on a terminal and off it."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from goldsmith_test_records import said

from goldsmith import pipeline, plugins
from goldsmith.cli import batch_text
from goldsmith.engines.chat import open_chat
from goldsmith.engines.training.data.prepare import plan_of, prepare_data
from goldsmith.engines.training.data.preview import Preview, preview
from goldsmith.nano import deliveries, model_path
from goldsmith.stages.show_batch import show_batch
from goldsmith.types.errors import BadInput
from goldsmith.types.record import Comparison, Conversation, Origin, Record, Role

GOLDSMITH = [sys.executable, "-m", "goldsmith.cli.main"]
RECIPE = """\
name: shown
sources: [{name: experts, file: rows.jsonl}]
train: [{method: METHOD, settings: {batch_size: 6, SETTINGS}}]
examine: [{eval: fit_gap, name: fit}]
promote: {rules: [{eval: fit, metric: gap, at_most: 9.0}]}
"""


def chat_record(number: int, answer: str) -> Record:
    turns = (said(Role.USER, f"Where is parcel {number}?"), said(Role.ASSISTANT, answer))
    return Record(content=Conversation(messages=turns), origin=Origin(source="s", batch="b"))


def pair_record(number: int) -> Record:
    asked = (said(Role.USER, f"Where is parcel {number}?"),)
    good, bad = (said(Role.ASSISTANT, f"It left on day {number}."),), (said(Role.ASSISTANT, f"No idea {number}."),)
    content = Comparison(prompt=asked, chosen=good, rejected=bad)
    return Record(content=content, origin=Origin(source="s", batch="b"))


def made(method: str, records: list[Record], settings: dict[str, Any]) -> Preview:
    spec: Any = plugins.build("methods", method, settings)
    return preview(spec, spec, open_chat(model_path()), records, [f"row {n}" for n in range(len(records))], seed=3)


def run(*arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*GOLDSMITH, *arguments], capture_output=True, text=True, timeout=240, check=False, **more)


def recipe(folder: Path, settings: str = "", method: str = "sft") -> Path:
    rows = deliveries.expert_sft(12, 6)
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    path = folder / "recipe.yaml"
    path.write_text(RECIPE.replace("METHOD", method).replace("SETTINGS", settings or "max_steps: 2"), encoding="utf-8")
    return path


@pytest.mark.parametrize("method", ["sft", "dpo"])
def test_the_shown_labels_are_the_batchs_labels(method: str, tmp_path: Path):
    """The labels of the forward, rebuilt from what is shown, against those of the engine's own batch."""
    settings = {"batch_size": 5, "max_length": 512}
    records = [chat_record(n, f"It left on day {n}.") for n in range(12)] if method == "sft" else [
        pair_record(n) for n in range(12)
    ]  # fmt: skip
    shown = made(method, records, settings)
    spec: Any = plugins.build("methods", method, settings)
    chat = open_chat(model_path())
    data = prepare_data(spec, spec, chat, records, None, None, tmp_path)
    batch = plan_of(spec, data.train, 3, device="cpu", share=True).update(0).batches[0]
    assert (shown.tokens, shown.labels) == (batch.tokens, len(batch.labels_N))
    texts = [t.text for row in shown.rows for part in row.parts for t in part.tokens if t.kind == "trained"]
    order = np.argsort(np.asarray(batch.owners_N), kind="stable")
    assert texts == [chat.tokenizer.decode([int(i)]) for i in np.asarray(batch.labels_N)[order]]
    assert sum(row.trained for row in shown.rows) == shown.labels


def test_the_recipe_is_shown_as_it_trains(tmp_path: Path):
    path = recipe(tmp_path)
    shown = show_batch(pipeline.read_recipe(path)[0], tmp_path)
    assert shown.updates == 2
    assert all(row.name.startswith("experts / 1 line ") for row in shown.rows)
    for row in shown.rows:
        (part,) = row.parts
        assert sum(token.stop for token in part.tokens) >= 1
        assert all(token.kind == "trained" for token in part.tokens if token.stop)


def test_shared_prompts_are_shown_once_with_their_branches():
    shown = made("dpo", [pair_record(n) for n in range(6)], {"batch_size": 3})
    for row in shown.rows:
        assert [(part.name, part.shared_by) for part in row.parts] == [("prompt", 2), ("chosen", 0), ("rejected", 0)]
        assert all(token.kind == "masked" for token in row.parts[0].tokens)
    text = "\n".join(batch_text.lines(shown, colour=False, most_rows=9, bounds=False))
    assert "prompt (once, for 2 branches):" in text


def test_cut_rows_show_what_is_gone_and_keep_their_stop():
    records = [chat_record(n, "It left. " * 60) for n in range(4)] + [chat_record(n, "Gone.") for n in range(9, 13)]
    shown = made("sft", records, {"batch_size": 8, "max_length": 64, "over_long": "cut_keep_stop"})
    cut = [row for row in shown.rows if row.cut]
    assert len(cut) == 4
    for row in cut:
        tokens = row.parts[0].tokens
        assert sum(token.kind == "dropped" for token in tokens) == row.cut
        assert row.tokens == 64
        assert tokens[-1].kind == "dropped" or tokens[-1].stop
        assert any(token.stop for token in tokens)
    text = "\n".join(batch_text.lines(shown, colour=False, most_rows=8, bounds=False))
    assert "[-" in text
    assert "4 cut, 0 left out" in text


def test_rows_that_would_stop_the_run_are_counted_and_the_exit_code_says_so(tmp_path: Path):
    done = run("show", "batch", str(recipe(tmp_path, "max_length: 120")), "--json")
    document = json.loads(done.stdout)
    assert done.returncode == 1, done.stderr
    assert document["stops_the_run"] is True
    assert document["too_long"]
    with pytest.raises(BadInput, match="longer than max_length"):
        _train(tmp_path)


def _train(folder: Path) -> None:
    read, _ = pipeline.read_recipe(folder / "recipe.yaml")
    spec: Any = plugins.build("methods", "sft", read.train[0].settings)
    records = [chat_record(n, "It left. " * 60) for n in range(4)]
    prepare_data(spec, spec, open_chat(model_path()), records, None, None, folder / "cache")


def test_rows_that_hold_no_answer_are_left_out_as_a_run_leaves_them_out(tmp_path: Path):
    path = recipe(tmp_path)
    file = tmp_path / "rows.jsonl"
    whole = len(file.read_text(encoding="utf-8").splitlines())
    before = batch_text.document(show_batch(pipeline.read_recipe(path)[0], tmp_path), 9)
    faulty = [{"messages": [{"role": "user", "content": f"Who is it, {n}?"}]} for n in range(4)]
    with file.open("a", encoding="utf-8") as stream:
        stream.write("".join(json.dumps(row) + "\n" for row in faulty))
    shown = show_batch(pipeline.read_recipe(path)[0], tmp_path)
    (line,) = [one for one in batch_text.head(shown) if "left out" in one]
    assert line.startswith("4 rows hold nothing to learn and are left out, as a run does (check well_formed)")
    assert f"experts / 1 line {whole + 1}, " in line
    assert line.endswith(", ...")
    after = batch_text.document(shown, 9)
    assert after.pop("left_out") == [f"experts / 1 line {whole + n}" for n in range(1, 5)]
    assert before.pop("left_out") == []
    assert before == after
    path.write_text(path.read_text() + "checks: {off: [well_formed]}\n", encoding="utf-8")
    with pytest.raises(BadInput) as stopped:  # so would the run
        show_batch(pipeline.read_recipe(path)[0], tmp_path)
    assert f"experts / 1 line {whole + 1}" in str(stopped.value.where)


def test_marks_without_colour_and_colour_where_asked(tmp_path: Path):
    path = recipe(tmp_path)
    plain = run("show", "batch", str(path), "-n", "2")
    assert plain.returncode == 0, plain.stderr
    assert "\x1b" not in plain.stdout
    assert "[+" in plain.stdout
    assert "[STOP]" in plain.stdout
    assert plain.stdout.count("--- row ") == 2
    coloured = run("show", "batch", str(path), "--colour", "always")
    assert "\x1b[32m" in coloured.stdout
    for line in coloured.stdout.splitlines():  # nothing stays coloured behind a line
        assert line.count("\x1b[0m") * 2 == line.count("\x1b["), line


def test_hostile_rows_cannot_steer_the_terminal_or_fake_a_mark():
    text = "\x1b[31mred\x1b]0;title\x07 \u202eevil [STOP] [+fake+] \x00"
    shown = made("sft", [chat_record(n, text) for n in range(3)], {"batch_size": 3})
    for colour in (False, True):
        out = "\n".join(batch_text.lines(shown, colour=colour, most_rows=3, bounds=True))
        assert set(re.findall(r"\x1b\[[0-9;]*m", out)) <= {*batch_text.COLOURS.values(), batch_text.OFF}
        assert "\x1b" not in re.sub(r"\x1b\[[0-9;]*m", "", out)
        assert not {"\u202e", "\x07", "\x00"} & set(out)
    bare = "\n".join(list(batch_text.lines(shown, colour=False, most_rows=3, bounds=False))[3:])
    assert bare.count("[STOP]") == sum(token.stop for row in shown.rows for part in row.parts for token in part.tokens)


def test_there_is_no_such_update_step_or_method_kind(tmp_path: Path):
    path = recipe(tmp_path)
    assert run("show", "batch", str(path), "--update", "9").returncode == 2
    assert run("show", "batch", str(path), "--step", "2").returncode == 2
    done = run("show", "batch", str(recipe(tmp_path, method="dpo")))
    assert done.returncode == 2
    assert "none of the" in done.stderr


def test_no_weights_are_read(tmp_path: Path):
    """A base folder with tokenizer files alone will do."""
    base = tmp_path / "base"
    base.mkdir()
    for file in Path(model_path()).iterdir():
        if file.suffix != ".safetensors":
            (base / file.name).write_bytes(file.read_bytes())
    path = recipe(tmp_path)
    path.write_text(path.read_text() + f"base: {base}\n", encoding="utf-8")
    assert show_batch(pipeline.read_recipe(path)[0], tmp_path).labels > 0


@pytest.mark.parametrize("method", ["grpo", "rloo", "ppo", "raft"])
def test_a_round_shows_its_prompts_and_how_many_answers_are_to_come(method: str):
    records = [chat_record(number, "It left.") for number in range(6)]
    settings = {"batch_size": 2, "group_size": 3, "rewards": [{"reward": "repetition"}]}
    shown = made(method, records, settings)
    assert (shown.answers, shown.labels, shown.forwards, len(shown.rows)) == (3, 0, 1, 2)
    text = "\n".join(batch_text.lines(shown, colour=False, most_rows=1, bounds=False))
    assert "2 prompts" in text
    assert "3 answers to each" in text
    assert "Where is parcel" in text
    assert "It left." not in text


def test_signs_of_several_tokens_are_shown_whole():
    shown = made("sft", [chat_record(1, "日本語 😀 שלום 👩‍👧 x")], {"max_steps": 1})
    tokens = [token for row in shown.rows for part in row.parts for token in part.tokens]
    assert "日本語 😀 שלום 👩‍👧 x" in "".join(token.text for token in tokens)
    assert sum(token.kind == "trained" for token in tokens) == shown.labels
