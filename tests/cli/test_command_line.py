"""The command line as a user meets it: real processes, exit codes, messages."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pyarrow.parquet as pq
import pytest

GOLDSMITH = [sys.executable, "-m", "goldsmith.cli.main"]


def run(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*GOLDSMITH, *arguments], capture_output=True, text=True, cwd=cwd, timeout=240, check=False)


def chat(number: int, **more: object) -> dict[str, object]:
    answer = f"Parcel {number} left our house on day {number % 27 + 1}."
    turns = [{"role": "user", "content": f"Where is parcel {number}?"}, {"role": "assistant", "content": answer}]
    return {"messages": turns, "source": "acme", "batch": "b1", **more}


def write(path: Path, rows: list[dict[str, object]], tail: str = "") -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + tail, encoding="utf-8")
    return path


def test_help_is_quick_because_it_imports_no_torch():
    code = "import sys; sys.argv = ['goldsmith', '--help']\nfrom goldsmith.cli.main import main\n"
    code += (
        "try:\n    main()\nexcept SystemExit as e:\n    print('torch' in sys.modules, 'pyarrow' in sys.modules, e.code)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True).stdout
    assert out.splitlines()[-1] == "False False 0"
    assert "recall" in out


def test_every_listed_command_explains_itself():
    from goldsmith.cli.main import COMMANDS, cli

    for name in COMMANDS:
        command = cli.get_command(None, name)
        assert command is not None
        assert command.help, name


def every_command() -> Iterator[tuple[str, click.Command]]:
    from goldsmith.cli.main import COMMANDS, cli

    yield "", cli
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        yield name, command
        if isinstance(command, click.Group):
            yield from ((f"{name} {sub}", one) for sub, one in command.commands.items())


def test_no_help_is_cut_on_a_narrow_terminal():
    def letters(text: str | None) -> str:
        return "".join((text or "").split())  # wherever its lines are broken

    for name, command in every_command():
        shown = command.get_help(click.Context(command, info_name=f"goldsmith {name}", terminal_width=80))
        for parameter in command.params:
            if isinstance(parameter, click.Option) and not parameter.hidden:
                assert letters(parameter.help) in letters(shown), (name, parameter.name)
        for sub, one in getattr(command, "commands", {}).items():
            assert letters(str(one.help).split("\n\n")[0]) in letters(shown), (name, sub)
        assert max(len(line) for line in shown.splitlines()) <= 80, name


def test_a_misspelt_command_gets_a_suggestion():
    done = run("chekc")
    assert done.returncode == 2
    assert "Did you mean 'check'" in done.stderr


def test_check_reports_a_faulty_row_with_its_line_and_goes_on(tmp_path: Path):
    path = write(tmp_path / "rows.jsonl", [chat(n) for n in range(30)], tail='{"messages": [}\n')
    scores = tmp_path / "scores.parquet"
    done = run("check", str(path), "--json", "--scores", str(scores))
    document = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert document["verdict"] == "pass"
    assert [(s["source"], s["batch"], s["verdict"]) for s in document["sources"] if s["source"] == "acme"] == [
        ("acme", "b1", "pass")
    ]
    faulty = [f for f in document["findings"] if f["check"] == "faulty_row"]
    assert [f["lines"] for f in faulty] == [[31]]
    table = pq.read_table(scores).to_pylist()
    assert {"line", "source", "batch", "check", "score"} == set(table[0])
    assert sorted(r["line"] for r in table if r["check"] == "combined") == list(range(1, 31))


def test_check_strict_refuses_the_file_naming_the_line(tmp_path: Path):
    path = write(tmp_path / "rows.jsonl", [chat(1), chat(2)], tail="not json\n")
    done = run("check", str(path), "--strict")
    assert done.returncode == 2
    assert "line 3" in done.stderr


@pytest.mark.parametrize(
    ("name", "data", "code"),
    [
        ("latin.jsonl", b'{"messages": "\xe9"}\n', 2),
        ("empty.jsonl", b"", 2),
        ("cut.parquet", b"PAR1\x00\x00", 2),
    ],
)
def test_a_faulty_file_is_an_error(tmp_path: Path, name: str, data: bytes, code: int):
    path = tmp_path / name
    path.write_bytes(data)
    done = run("check", str(path), "--json")
    assert done.returncode == code, done.stderr
    assert json.loads(done.stdout)["exit_code"] == code
    assert name in done.stderr


def test_check_finds_rows_of_an_eval_set(tmp_path: Path):
    question = "Which of the three northern harbours freezes first when an easterly wind blows for a week in January?"
    held = {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": "The smallest one."}]}
    evals = write(tmp_path / "evals.jsonl", [held])
    leaked = {**held, "source": "acme", "batch": "b1"}
    path = write(tmp_path / "rows.jsonl", [*[chat(n) for n in range(20)], leaked])
    document = json.loads(run("check", str(path), "--json", "--evals", str(evals)).stdout)
    assert [f["lines"] for f in document["findings"] if f["check"] == "eval_overlap"] == [[21]]


def test_a_misspelt_recipe_key_is_named_with_its_line(tmp_path: Path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("name: x\nsources: [{name: a, file: a.jsonl}]\ntrian: [{method: sft}]\n", encoding="utf-8")
    done = run("run", str(recipe), cwd=tmp_path)
    assert done.returncode == 2
    assert "recipe.yaml:" in done.stderr
    assert not (tmp_path / ".goldsmith").exists()


def test_a_misspelt_setting_of_a_method_gets_a_suggestion(tmp_path: Path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "name: x\nsources: [{name: a, file: a.jsonl}]\ntrain: [{method: sft, settings: {learning_rat: 1e-4}}]\n"
        "examine: [{eval: over_refusal}]\n"
        "promote: {rules: [{eval: over_refusal, metric: answered, at_least: 0.9}]}\n",
        encoding="utf-8",
    )
    done = run("run", str(recipe), cwd=tmp_path)
    assert done.returncode == 2
    assert "did you mean 'learning_rate'" in done.stderr


def test_verify_says_what_it_does_not_know(tmp_path: Path):
    made = json.loads(run("init", "--workspace", str(tmp_path / "ws"), "--json").stdout)
    alone = run("verify", str(tmp_path / "ws"))
    assert alone.returncode == 0
    assert "self-consistent only" in alone.stdout
    wrong = run("verify", str(tmp_path / "ws"), "--root", "sha256:" + "0" * 64)
    assert wrong.returncode == 5
    assert made["root_fingerprint"].startswith("sha256:")


def test_a_workspace_that_is_not_there_is_unavailable(tmp_path: Path):
    done = run("trace", "anything", "--workspace", str(tmp_path / "none"))
    assert done.returncode == 4
    assert "goldsmith init" in done.stderr
