"""Settings of a recipe that are wrong: where they stand, what was found and what is allowed instead, in plain words."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from goldsmith import pipeline
from goldsmith.cli.main import _fitted
from goldsmith.types.errors import BadInput

RECIPE = """\
name: parcels
base: goldsmith-nano
sources: [{name: anna, file: rows.jsonl}]
train: [STEP]
examine: [{eval: EVAL}]
promote: {rules: [{eval: EVAL, metric: answered, at_least: 0.5}]}
"""


def refusal(folder: Path, step: str, more: str = "", exam: str = "over_refusal") -> BadInput:
    path = folder / "recipe.yaml"
    path.write_text(RECIPE.replace("STEP", step).replace("EVAL", exam) + more, encoding="utf-8")
    with pytest.raises(BadInput) as error:
        pipeline.dry_run(pipeline.read_recipe(path)[0])
    return error.value


@pytest.mark.parametrize(
    ("settings", "where", "allowed"),
    [
        ("{batch_size: lots}", "sft.batch_size", "a whole number"),
        ("{learning_rate: -1}", "sft.learning_rate", "greater than 0"),
        ("{precision: bf16}", "sft.precision", "'float32', 'bfloat16_mixed' or 'bfloat16'"),
        ("{adapter: lora}", "sft.adapter", "kind: ..."),
        ("{mix: [{part: replay, sources: [anna], shre: 0.2}]}", "sft.mix.0.shre", "share"),
    ],
)
def test_a_wrong_value_is_told_what_is_allowed_for_it_alone(tmp_path: Path, settings: str, where: str, allowed: str):
    error = refusal(tmp_path, f"{{method: sft, settings: {settings}}}")
    assert error.where == f"train, step 1: {where}"
    assert allowed in (error.allowed or "")
    assert "router_balance" not in str(error)  # another setting, which has nothing to do with it
    assert "pydantic" not in str(error)
    assert error.next_step


def test_several_wrong_settings_are_told_at_once(tmp_path: Path):
    told = str(refusal(tmp_path, "{method: sft, settings: {batch_size: lots, epochs: -1, lr: 2}}"))
    assert all(name in told for name in ("batch_size", "epochs", "'lr'"))


def test_a_list_whose_items_are_wrong_is_not_called_too_short(tmp_path: Path):
    error = refusal(tmp_path, "{method: sft, setings: {}}")
    assert error.what == "unknown key 'train.0.setings'; did you mean 'settings'?"
    rewards = refusal(tmp_path, "{method: grpo, settings: {rewards: [{rewrd: length}]}}")
    assert "did you mean 'reward'?" in rewards.what
    assert "at least 1" not in str(rewards)
    assert "rewards' is empty" in refusal(tmp_path, "{method: grpo, settings: {rewards: []}}").what


def test_a_setting_of_training_among_the_recipes_own_keys_is_told_where_it_belongs(tmp_path: Path):
    error = refusal(tmp_path, "{method: sft}", "epochs: 3\n")
    assert error.what == "'epochs' is a setting of a training step, not of the recipe"
    assert "settings: {epochs: 3}" in (error.next_step or "")
    assert (error.where or "").endswith("recipe.yaml:7:1")


@pytest.mark.parametrize("method", ["reward_model", "process_reward"])
def test_a_model_that_writes_nothing_is_not_trained_to_be_examined_by_what_it_writes(tmp_path: Path, method: str):
    error = refusal(tmp_path, f"{{method: {method}}}")
    assert "writes none" in error.what
    assert error.found == "over_refusal"
    path = tmp_path / "recipe.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("over_refusal", "preference_accuracy"), encoding="utf-8")
    pipeline.dry_run(pipeline.read_recipe(path)[0])


def test_an_error_fits_a_narrow_terminal_and_is_whole_in_a_file(tmp_path: Path):
    (tmp_path / "recipe.yaml").write_text(
        RECIPE.replace("STEP", "{method: sft, settings: {lr: 1}}").replace("EVAL", "fit_gap"), encoding="utf-8"
    )
    command = [sys.executable, "-m", "goldsmith.cli.main", "run", "recipe.yaml"]
    ours, theirs = pty.openpty()
    more = {**os.environ, "COLUMNS": "80"}
    done = subprocess.run(command, cwd=tmp_path, env=more, stderr=theirs, timeout=240, check=False)
    os.close(theirs)
    shown = os.read(ours, 65536).decode().replace("\r\n", "\n")
    os.close(ours)
    assert done.returncode == 2
    assert max(len(line) for line in shown.splitlines()) <= 80
    assert "\n           " in shown  # what goes on stands under where its fact began
    piped = subprocess.run(command, cwd=tmp_path, env=more, capture_output=True, text=True, timeout=240, check=False)
    assert shown.split() == piped.stderr.split()
    assert any(len(line) > 80 for line in piped.stderr.splitlines())


def test_what_cannot_be_broken_stays_whole(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "40")
    path = "/very/long/" + "path-" * 20
    assert path in _fitted(f"BadInput: no such file\n  where:   {path}\n  next:    look")
