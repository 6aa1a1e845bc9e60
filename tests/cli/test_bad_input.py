"""Every kind of bad input, through the command: the exit code, and what, where, found, allowed, next."""

import contextlib
import gzip
import io
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from goldsmith_test_records import said

from goldsmith.cli.main import main
from goldsmith.engines.splits import split_records
from goldsmith.nano import model_path
from goldsmith.trust import canonical, clock, root
from goldsmith.trust.keys import KeyRing, PrivateKey
from goldsmith.trust.root import TrustRoot
from goldsmith.types.record import Conversation, Record, Role


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def goldsmith(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Done]:
    """The command in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> Done:
        out, err = io.StringIO(), io.StringIO()
        monkeypatch.setattr(sys, "argv", ["goldsmith", *arguments])
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as ended:
            main()
        return Done(int(ended.value.code or 0), out.getvalue(), err.getvalue())

    return call


def refused(done: Done, code: int, **parts: str) -> dict[str, str]:
    """The error: with this exit code, each part holding the text given, in the JSON and in the words on stderr."""
    assert done.code == code, done.out + done.err
    error: dict[str, str] = done.document["error"]
    assert done.document["exit_code"] == code
    for name, text in parts.items():
        assert text in error.get(name, ""), (name, error)
        assert text in done.err
    return error


def chat(number: int, answer: Any = None, **more: Any) -> dict[str, Any]:
    said = f"Parcel {number} left our house on day {number % 27 + 1}." if answer is None else answer
    turns = [{"role": "user", "content": f"Where is parcel {number}?"}, {"role": "assistant", "content": said}]
    return {"messages": turns, **more}


GOOD = "".join(json.dumps(chat(n)) + "\n" for n in range(20))


def parquet(rows: int = 3) -> bytes:
    stream = io.BytesIO()
    pq.write_table(pa.table({"question": ["a"] * rows, "answer": ["b"] * rows}), stream)
    return stream.getvalue()


FAULTY_FILES = {
    "latin.jsonl": (GOOD.encode() + b'{"messages": "\xe9"}\n', "not UTF-8", "line 21, byte", "UTF-8"),
    "cut.jsonl.gz": (gzip.compress(GOOD.encode())[:-20], "cut off", "cut.jsonl.gz", "whole gzip"),
    "cut.parquet": (parquet()[:-9], "cut off", "cut.parquet", "whole Parquet"),
    "cut.csv": (b'question,answer\n"a","b"\n"c\n', "cut off", "line 3", "RFC 4180"),
    "empty.jsonl": (b"", "empty", "empty.jsonl", "at least one row"),
    "letter.doc": (b"Dear madam", "unknown kind", "letter.doc", "JSON lines"),
}


@pytest.mark.parametrize("name", FAULTY_FILES)
def test_a_faulty_file_is_refused(goldsmith, tmp_path, name):
    data, what, where, allowed = FAULTY_FILES[name]
    (tmp_path / name).write_bytes(data)
    error = refused(goldsmith("check", name, "--json"), 2, what=what, where=where, allowed=allowed)
    assert error["found"]
    assert error["next"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [name]


def test_a_file_that_is_not_there_is_wrong_usage(goldsmith):
    done = goldsmith("check", "absent.jsonl")
    assert done.code == 2
    assert "'absent.jsonl' does not exist" in done.err


FAULTY_ROWS = {
    "cut off": (GOOD[:40], "cut off inside its last row", "a whole JSON object"),
    "unknown role": (json.dumps({"messages": [{"role": "usr", "content": "x"}]}), "'usr'", "system, developer, user"),
    "null content": (json.dumps({"messages": [{"role": "user", "content": None}]}), "says nothing", "text"),
    "duplicate keys": ('{"messages": [{"role": "user", "content": "a", "content": "b"}]}', "appears twice", "RFC 7493"),
    "not a number": ('{"messages": [{"role": "user", "content": "a"}], "x": NaN}', "NaN", ""),
    "no object": ("[1, 2]", "not an object", ""),
}


@pytest.mark.parametrize("kind", FAULTY_ROWS)
def test_a_faulty_row_is_a_finding_with_its_line_or_with_strict_refused(goldsmith, tmp_path, kind):
    row, words, allowed = FAULTY_ROWS[kind]
    (tmp_path / "rows.jsonl").write_text(GOOD + row + ("" if kind == "cut off" else "\n"), encoding="utf-8")
    done = goldsmith("check", "rows.jsonl", "--json")
    assert done.code == 0, done.err
    (finding,) = [one for one in done.document["findings"] if one["check"] == "faulty_row"]
    assert (finding["lines"], finding["severity"]) == ([21], "exclude")
    assert words in finding["evidence"]
    assert allowed in finding["evidence"]
    strict = refused(goldsmith("check", "rows.jsonl", "--json", "--strict"), 2, what="1 faulty row", where="line 21")
    assert "--strict" in strict["next"]


@pytest.mark.parametrize("count", [100_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_the_wrong_line_among_very_many_has_its_number(goldsmith, tmp_path, count):
    row = b'{"question": "Q", "answer": "A"}\n'
    wrong = count * 2 // 3
    (tmp_path / "many.jsonl").write_bytes(row * (wrong - 1) + b"{broken\n" + row * (count - wrong))
    done = goldsmith("show", "rows", "many.jsonl", "-n", "1")
    assert done.code == 0
    assert done.err.startswith(f"line {wrong}: this is not JSON")
    assert done.err.count("line ") == 1


def test_mixed_formats_are_a_fact_and_with_a_format_named_a_fault(goldsmith, tmp_path):
    (tmp_path / "mixed.jsonl").write_text(GOOD + '{"question": "What is it?", "answer": "A box."}\n', encoding="utf-8")
    done = goldsmith("check", "mixed.jsonl", "--json")
    assert (done.code, done.document["formats"]) == (0, {"openai_chat": 20, "question_answer": 1})
    named = goldsmith("check", "mixed.jsonl", "--json", "--format", "openai_chat")
    assert [f["lines"] for f in named.document["findings"] if f["check"] == "faulty_row"] == [[21]]
    refused(
        goldsmith("check", "mixed.jsonl", "--json", "--format", "openai_chat", "--strict"),
        2, what="must be a list of turns", where="mixed.jsonl line 21", found="null", allowed="a list of turns",
    )  # fmt: skip


UNUSABLE = {
    "an empty answer": (chat(20, answer=""), "empty_answer"),
    "no assistant turn": ({"messages": [{"role": "user", "content": "Hello?"}]}, "no_answer"),
}


@pytest.mark.parametrize("kind", UNUSABLE)
def test_a_row_that_teaches_nothing_is_left_out_with_the_reason(goldsmith, tmp_path, kind):
    row, words = UNUSABLE[kind]
    (tmp_path / "rows.jsonl").write_text(GOOD + json.dumps(row) + "\n", encoding="utf-8")
    done = goldsmith("check", "rows.jsonl", "--json")
    found = [f for f in done.document["findings"] if f["severity"] == "exclude"]
    assert [(f["check"], f["lines"]) for f in found] == [("well_formed", [21])]
    assert words in found[0]["evidence"]


def test_identical_chosen_and_rejected_are_left_out(goldsmith, tmp_path):
    pairs = [{"prompt": f"Which is {n}?", "chosen": f"This {n}.", "rejected": f"That {n}."} for n in range(12)]
    pairs.append({"prompt": "Which is best?", "chosen": "This one.", "rejected": "This one."})
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(p) + "\n" for p in pairs), encoding="utf-8")
    found = goldsmith("check", "pairs.jsonl", "--json").document["findings"]
    assert [(f["check"], f["lines"]) for f in found if f["severity"] == "exclude"] == [("well_formed", [13])]
    assert "identical_pair" in json.dumps(found)


def test_numbers_beyond_two_to_the_fifty_third_stay_exact(goldsmith, tmp_path):
    (tmp_path / "rows.jsonl").write_text(json.dumps(chat(1, id=2**60 + 1)) + "\n", encoding="utf-8")
    done = goldsmith("show", "rows", "rows.jsonl")
    assert done.code == 0
    assert json.loads(done.document["extra"])["id"] == 2**60 + 1


RECIPE = """\
name: parcels
sources: [{name: anna, file: rows.jsonl, maker: human}]
train: [{method: sft, settings: {max_steps: 1, batch_size: 2}}]
examine: [{eval: fit_gap, name: fit}]
promote: {rules: [{eval: fit, metric: gap, at_most: 9.0, min_items: 1}]}
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    (tmp_path / "rows.jsonl").write_text(GOOD, encoding="utf-8")
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("right", "wrong", "line", "meant"),
    [
        ("train:", "trian:", 3, "train"),
        ("maker:", "makre:", 2, "maker"),
        ("at_most:", "atmost:", 5, "at_most"),
        ("batch_size:", "batchsize:", None, "batch_size"),
        ("method: sft", "method: sfft", None, "sft"),
        ("eval: fit_gap", "eval: fitgap", None, "fit_gap"),
    ],
)
def test_a_misspelt_recipe_key_gets_a_suggestion_and_nothing_is_made(
    goldsmith, tmp_path, recipe, right, wrong, line, meant
):
    recipe.write_text(RECIPE.replace(right, wrong, 1), encoding="utf-8")
    done = goldsmith("run", "recipe.yaml", "--json")
    error = refused(done, 2)
    assert f"'{meant}'" in json.dumps(error) or meant in error.get("allowed", ""), error
    assert "did you mean" in json.dumps(error).lower(), error
    if line is not None:
        assert f"recipe.yaml:{line}" in error["where"], error
    assert not (tmp_path / ".goldsmith").exists()


@pytest.mark.parametrize("method", ["dpo", "process_reward"])
def test_rows_that_a_method_cannot_learn_from_are_told_with_where_to_look(goldsmith, tmp_path, recipe, method):
    recipe.write_text(RECIPE.replace("method: sft", f"method: {method}"), encoding="utf-8")
    (tmp_path / "rows.jsonl").write_text(GOOD, encoding="utf-8")
    refused(goldsmith("run", "recipe.yaml", "--json"), 2, next="goldsmith show rows FILE", found="")


def travelled(stops: int) -> str:
    """A long answer that says something new in each sentence."""
    return " ".join(f"On day {n} it was at stop {n * 37 % 1009} with {n * 91 % 997} others." for n in range(stops))


@pytest.mark.parametrize("share", [0.0, 0.45])
def test_rows_over_max_length_are_named_by_their_delivery_and_line(goldsmith, tmp_path, recipe, share):
    rows = GOOD.splitlines(keepends=True)
    kept = [n for n in range(20) if n != 2]
    asked = [Record(content=Conversation(messages=(said(Role.USER, f"Where is parcel {n}?"),))) for n in kept]
    trained, aside = split_records(asked, share)
    long = kept[asked.index((aside or trained)[-1])]  # one that is validated on, where any is
    assert long > 2
    rows[long] = json.dumps(chat(long, travelled(12))) + "\n"
    rows[2] = "{broken\n"  # a line that is left out does not shift the others
    (tmp_path / "rows.jsonl").write_text("".join(rows), encoding="utf-8")
    text = RECIPE.replace("batch_size: 2", "batch_size: 2, max_length: 60")
    recipe.write_text(f"{text}validation_share: {share}\n", encoding="utf-8")
    error = refused(goldsmith("run", "recipe.yaml", "--json"), 2, what="longer than max_length", allowed="60 tokens")
    assert error["where"] == f"anna / 1 line {long + 1}"
    assert f"(anna / 1 line {long + 1})" in error["found"]
    longest = int(error["found"].split(" tokens")[0].removeprefix("up to "))
    assert error["next"].startswith(f"set max_length to {longest}, or over_long")


def test_no_max_length_beyond_the_models_context_is_advised(goldsmith, tmp_path, recipe):
    rows = [*GOOD.splitlines(keepends=True)[:5], json.dumps(chat(5, travelled(400))) + "\n"]
    (tmp_path / "rows.jsonl").write_text("".join(rows), encoding="utf-8")
    recipe.write_text(RECIPE.replace("batch_size: 2", "batch_size: 2, max_length: 100"), encoding="utf-8")
    error = refused(goldsmith("run", "recipe.yaml", "--json"), 2, what="longer than max_length")
    longest = error["found"].split(" tokens")[0].removeprefix("up to ")
    assert int(longest) > 1024
    assert longest not in error["next"]
    assert "reads no more than 1024 tokens (max_position_embeddings)" in error["next"]
    assert "set max_length to 1024 at most" in error["next"]
    assert "over_long: drop" in error["next"]


def test_what_was_left_out_and_what_to_do_after_an_interruption_is_said(goldsmith, tmp_path, recipe, monkeypatch):
    twice = GOOD + GOOD.splitlines(keepends=True)[3]
    (tmp_path / "rows.jsonl").write_text(twice, encoding="utf-8")

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("goldsmith.stages.train.train", interrupted)
    done = goldsmith("run", "recipe.yaml")
    assert done.code == 130
    assert "1 left out (1 for duplicates): goldsmith show left-out parcels" in done.err
    assert "the same command goes on" in done.err


def stored(folder: Path, digest: str) -> Path:
    return folder / ".goldsmith" / "store" / digest[7:9] / digest[9:]


def spoil(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)


def test_an_altered_stored_record_stops_every_command_that_reads_it(goldsmith, tmp_path, recipe):
    (taken,) = goldsmith("collect", "recipe.yaml", "--json").document
    spoil(stored(tmp_path, taken["records"]))
    entries = sorted((tmp_path / ".goldsmith" / "ledger" / "entries").iterdir())
    error = refused(goldsmith("run", "recipe.yaml", "--json"), 5, where=taken["records"])
    assert error["error"] == "Tampered"
    assert "verify" in error["next"]
    assert sorted((tmp_path / ".goldsmith" / "ledger" / "entries").iterdir()) == entries
    name = stored(tmp_path, taken["records"]).relative_to(tmp_path / ".goldsmith").as_posix()
    checked = goldsmith("verify", ".goldsmith")
    assert checked.code == 5
    assert name in checked.out
    assert name in checked.err


def test_a_tampered_or_missing_weight_file_is_never_served(goldsmith, tmp_path):
    assert goldsmith("init").code == 0
    assert goldsmith("admit", "goldsmith-nano", "--reason", "a test").code == 0
    weights = stored(tmp_path, canonical.file_digest(model_path() / "model.safetensors"))
    spoil(weights)
    tampered = goldsmith("serve", "goldsmith-nano", "--port", "0")
    assert tampered.code == 5
    assert weights.name in tampered.err
    weights.unlink()
    missing = goldsmith("serve", "goldsmith-nano", "--port", "0")
    assert missing.code == 4
    assert "the store has no such object" in missing.err
    assert weights.name in missing.err


def test_a_base_model_without_weights_is_refused(goldsmith, tmp_path, recipe):
    base = tmp_path / "base"
    shutil.copytree(model_path(), base)
    (base / "model.safetensors").unlink()
    recipe.write_text(RECIPE.replace("sources:", "base: base\nsources:"), encoding="utf-8")
    done = goldsmith("run", "recipe.yaml", "--json")
    error = refused(done, 2, what="no safetensors weights", where="base")
    assert "collect" not in done.err  # it is told before any source is read
    assert "tokenizer.json" in error["found"]
    assert error["allowed"]
    assert error["next"]
    assert goldsmith("verify", ".goldsmith").code == 0


@pytest.mark.parametrize(
    "command", [("run", "recipe.yaml"), ("run", "recipe.yaml", "--dry-run"), ("sweep", "recipe.yaml")]
)
@pytest.mark.parametrize(
    ("adapter", "setting", "words"),
    [
        ("kind: lora, targets: [q_prj]", "targets", "did you mean 'q_proj'?"),
        ("kind: lora, exclude: [ffn]", "exclude", "nothing called 'ffn'"),
        ("kind: lora, parameters: [experts.down_proj]", "parameters", "nothing called 'experts.down_proj'"),
        ("kind: lora, last_layers: 99", "last_layers", "the model has fewer layers"),
        ("kind: none, only: ['*.attn.*']", "only", "no weight of the model has such a name"),
    ],
)
def test_parts_that_the_base_lacks_are_told_before_any_source_is_read(
    goldsmith, tmp_path, recipe, command, adapter, setting, words
):
    (tmp_path / "rows.jsonl").unlink()
    step = f"train: [{{method: sft}}, {{method: sft, settings: {{max_steps: 1, adapter: {{{adapter}}}}}}}]"
    recipe.write_text("".join(step + "\n" if one.startswith("train") else one + "\n" for one in RECIPE.splitlines()))
    error = refused(goldsmith(*command, "--json"), 2, what=words)
    assert error["where"] == f"train, step 2: sft.adapter.{setting}"
    assert error["found"]
    assert error["allowed"]


def test_parts_of_a_base_that_only_its_owner_can_tell_are_left_to_training(goldsmith, tmp_path, recipe):
    base = tmp_path / "base"
    shutil.copytree(model_path(), base)
    (base / "config.json").write_text('{"model_type": "theirs"}', encoding="utf-8")
    text = RECIPE.replace("sources:", "base: base\nsources:").replace(
        "max_steps: 1", "adapter: {kind: lora, targets: [x]}"
    )
    recipe.write_text(text, encoding="utf-8")
    assert goldsmith("run", "recipe.yaml", "--dry-run").code == 0


def test_a_replayed_delivery_is_refused(goldsmith, tmp_path, recipe):
    assert goldsmith("init", "--source", "anna").code == 0
    assert goldsmith("sign", "rows.jsonl", "--source", "anna", "--recipe", "recipe.yaml").code == 0
    assert goldsmith("collect", "recipe.yaml").code == 0
    error = refused(goldsmith("collect", "recipe.yaml", "--json"), 5, what="taken in before", found="number 1")
    assert (error["error"], error["allowed"]) == ("Replayed", "number 2")
    assert goldsmith("verify", ".goldsmith").code == 0


def test_a_reordered_delivery_is_refused(goldsmith, tmp_path, recipe):
    assert goldsmith("init", "--source", "anna").code == 0
    shutil.copytree(tmp_path / ".goldsmith", tmp_path / "before")
    assert goldsmith("sign", "rows.jsonl", "--source", "anna", "--recipe", "recipe.yaml").code == 0
    assert goldsmith("collect", "recipe.yaml").code == 0
    (tmp_path / "rows.jsonl.delivery.json").unlink()
    (tmp_path / "rows.jsonl").write_text(GOOD + json.dumps(chat(99)) + "\n", encoding="utf-8")
    assert goldsmith("sign", "rows.jsonl", "--source", "anna", "--recipe", "recipe.yaml").code == 0
    early = goldsmith("collect", "recipe.yaml", "--json", "--workspace", "before")
    error = refused(early, 5, what="a delivery before this one is missing", found="number 2", allowed="number 1")
    assert "in between" in error["next"]


def test_a_delivery_by_an_unknown_key_is_refused(goldsmith, tmp_path, recipe):
    for folder in ("ours", "theirs"):
        (tmp_path / folder).mkdir()
        assert goldsmith("init", "-w", f"{folder}/ws", "--name", "same", "--source", "anna").code == 0
    signed = goldsmith("sign", "rows.jsonl", "-w", "theirs/ws", "--source", "anna", "--recipe", "recipe.yaml")
    assert signed.code == 0
    error = refused(goldsmith("collect", "recipe.yaml", "--json", "-w", "ours/ws"), 5)
    assert error["error"] == "Forged"
    assert "key" in error["what"]
    assert goldsmith("show", "decisions", "-w", "ours/ws").code == 0
    assert goldsmith("verify", "ours/ws").code == 0


def expiring_root(ring: KeyRing, days: float) -> bytes:
    """A trust root whose source key was good for `days` from yesterday; all else is good for ten years."""
    start = clock.later(clock.now(), days=-1)
    roles = ("trainer", "examiner", "promoter", "operator", "reviewer")
    keys = [root.trusted(role, ring.create(role).public, roles=[role], days=3650, start=start) for role in roles]
    anna = root.trusted("anna", ring.create("anna").public, roles=["source"], sources=["anna"], start=start)
    anna = anna.model_copy(update={"valid_until": clock.later(start, days=days)})
    master = PrivateKey.generate()
    made = TrustRoot(
        name="org", version=1, previous=None, self_attested=False, threshold=1,
        root_keys=(root.root_key(master.public),), keys=(*keys, anna), issued_at=start,
    )  # fmt: skip
    return root.sign_root(made, [master])


def test_an_expired_key_delivers_and_signs_no_more(goldsmith, tmp_path, recipe, monkeypatch):
    (tmp_path / "root.json").write_bytes(expiring_root(KeyRing(tmp_path / "keys"), days=2))
    made = goldsmith("init", "--root", "root.json", "--keys", "keys")
    assert made.code == 0, made.err
    work = ("--keys", "keys", "--json")
    assert goldsmith("sign", "rows.jsonl", "--source", "anna", "--keys", "keys", "--recipe", "recipe.yaml").code == 0
    later = clock.later(clock.now(), days=3)
    monkeypatch.setattr(clock, "now", lambda: later)
    error = refused(goldsmith("collect", "recipe.yaml", *work), 5, what="no longer valid")
    assert error["error"] == "Forged"
    assert "trust root" in error["next"]
    again = goldsmith("sign", "rows.jsonl", "--source", "anna", "--keys", "keys")
    assert again.code == 4
    assert "no key at hand may sign as source" in again.err
