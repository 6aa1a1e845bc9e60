"""Files shaped like the examples of LLaMA-Factory and Axolotl: every line is accounted for, every recipe runs."""

import contextlib
import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from goldsmith import pipeline
from goldsmith.engines.migration.migrate import Migrated, as_text
from goldsmith.engines.yaml_file import parse_yaml
from goldsmith.nano import deliveries
from goldsmith.stages.import_recipe import import_recipe, targets
from goldsmith.trust.keys import KeyRing
from goldsmith.trust.workspace import Workspace
from goldsmith.types.errors import BadInput
from goldsmith.types.recipe import Recipe

CONFIGS = Path(__file__).parent / "configs"
EVERY = sorted(path.name for path in CONFIGS.glob("*.yaml"))
GOLDSMITH = [sys.executable, "-m", "goldsmith.cli.main"]


def cli(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*GOLDSMITH, *arguments], capture_output=True, text=True, timeout=240, check=False)


def loaded(made: Migrated, path: Path) -> Recipe:
    """The written text, as `goldsmith run` reads it, with a reward named where one is to be."""
    text = as_text(made, path, path.parent).replace("fill_in", "string_check")
    recipe = parse_yaml(text, Recipe, name=path.name)
    pipeline.dry_run(recipe)
    return recipe


def write(folder: Path, text: str, name: str = "theirs.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def outcome_of(made: Migrated, key: str) -> set[str]:
    return {note.outcome for note in made.notes if note.key == key}


@pytest.mark.parametrize("name", EVERY)
def test_every_key_is_accounted_for_on_its_line_and_the_recipe_loads(name: str):
    path = CONFIGS / name
    made = import_recipe(path)
    assert made.tool == ("llamafactory" if name.startswith("factory") else "axolotl")
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        if key := re.match(r"([A-Za-z_0-9]+):", line):
            lines = {note.line for note in made.notes if note.key == key[1]}
            if key[1] in ("datasets", "pretraining_dataset"):  # told entry by entry, on the lines below
                assert any(note.line > number for note in made.notes if note.key == "dataset")
                continue
            assert number in lines, f"{key[1]} of line {number} is not accounted for"
    for note in made.notes:
        assert note.outcome != "unsupported" or note.next_step, note
    if made.recipe is not None:
        loaded(made, path)


EXPECTED: dict[str, tuple[str, dict[str, Any]]] = {
    "factory_sft_lora": ("sft", {"batch_size": 1, "gradient_accumulation": 8, "warmup_share": 0.1, "max_length": 2048,
                                 "schedule": "cosine", "precision": "bfloat16", "evaluate_every": 500}),
    "factory_sft_full": ("sft", {"precision": "bfloat16_mixed", "packing": "best_fit"}),
    "factory_qlora": ("sft", {"max_steps": 400, "warmup_share": 0.05, "schedule": "linear",
                               "neftune_alpha": 5.0}),
    "factory_dpo": ("dpo", {"beta": 0.2, "loss": "sigmoid", "label_smoothing": 0.1}),
    "factory_simpo": ("simpo", {"beta": 0.2, "gamma": 0.7}),
    "factory_kto": ("kto", {"beta": 0.1, "undesirable_weight": 1.5}),
    "factory_pretrain": ("sft", {"learning_rate": 1e-5, "epochs": 1.0}),
    "axolotl_lora": ("sft", {"over_long": "drop", "schedule": "cosine", "warmup_share": 0.1}),
    "axolotl_qlora": ("sft", {"epochs": 2.0, "learning_rate": 2e-4}),
    "axolotl_full": ("sft", {"over_long": "refuse", "schedule": "cosine"}),
    "axolotl_dpo": ("dpo", {"beta": 0.2, "loss": "sigmoid"}),
    "axolotl_kto": ("kto", {"beta": 0.2, "desirable_weight": 0.5}),
    "axolotl_orpo": ("orpo", {"odds_weight": 0.3}),
    "axolotl_pretrain": ("sft", {"max_steps": 200}),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_settings_say_what_theirs_said(name: str):
    made = import_recipe(CONFIGS / f"{name}.yaml")
    assert made.recipe is not None
    (step,) = made.recipe["train"]
    method, settings = EXPECTED[name]
    assert step["method"] == method
    assert {key: step["settings"].get(key) for key in settings} == settings


@pytest.mark.parametrize(
    ("name", "method"),
    [("factory_reward", "reward_model"), ("factory_ppo", "ppo"), ("axolotl_grpo", "grpo")],
)
def test_a_method_is_taken_where_it_exists_and_refused_with_its_line_where_not(name: str, method: str):
    made = import_recipe(CONFIGS / f"{name}.yaml")
    if method in targets().methods:
        assert made.recipe is not None
        assert made.recipe["train"][0]["method"] == method
        return
    assert made.recipe is None
    (refused,) = [note for note in made.notes if note.key in ("stage", "rl") and note.outcome == "unsupported"]
    assert refused.line > 0
    assert cli("import-recipe", str(CONFIGS / f"{name}.yaml")).returncode == 2


@pytest.mark.parametrize("name", ["factory_ppo", "axolotl_grpo"])
def test_a_reward_that_was_not_imported_has_to_be_named_before_anything_runs(name: str, tmp_path: Path):
    recipe = tmp_path / "recipe.yaml"
    assert cli("import-recipe", str(CONFIGS / f"{name}.yaml"), "--out", str(recipe)).returncode == 0
    assert "fill_in" in recipe.read_text(encoding="utf-8")
    place = ("--workspace", str(tmp_path / "ws"))
    for command in (("run", str(recipe), *place), ("run", str(recipe), "--dry-run"), ("sweep", str(recipe), *place)):
        refused = cli(*command)
        assert refused.returncode == 2, refused.stderr
        assert "'fill_in' only holds the place" in refused.stderr
        assert "string_check" in refused.stderr
        assert "goldsmith show capabilities rewards" in refused.stderr
    assert not (tmp_path / "ws").exists() or not list((tmp_path / "ws").rglob("model*.safetensors"))
    text = recipe.read_text(encoding="utf-8")
    recipe.write_text(text.replace("reward: fill_in", "reward: string_check"), encoding="utf-8")
    done = cli("run", str(recipe), "--dry-run")
    assert "fill_in" not in done.stderr


def test_lora_targets_and_numbers_are_taken():
    made = import_recipe(CONFIGS / "factory_qlora.yaml")
    assert made.recipe is not None
    adapter = made.recipe["train"][0]["settings"]["adapter"]
    assert (adapter["rank"], adapter["alpha"], adapter["dropout"]) == (8, 32.0, 0.05)
    assert adapter["targets"] == ["q_proj", "v_proj"]


@pytest.mark.parametrize("key", ["neftune_noise_alpha", "noisy_embedding_alpha"])
def test_axolotls_noise_is_taken_by_either_name_and_not_into_learning_from_rewards(tmp_path: Path, key: str):
    for name, outcome in (("axolotl_lora", "taken"), ("axolotl_grpo", "unsupported")):
        path = tmp_path / f"{name}.yaml"
        path.write_text((CONFIGS / f"{name}.yaml").read_text(encoding="utf-8") + f"{key}: 5\n", encoding="utf-8")
        made = import_recipe(path)
        assert outcome_of(made, key) == {outcome}
        assert made.recipe is not None
        found = made.recipe["train"][0]["settings"].get("neftune_alpha")
        assert found == (5.0 if outcome == "taken" else None)


def test_misspelt_keys_are_named_with_what_was_probably_meant():
    made = import_recipe(CONFIGS / "factory_misspelt.yaml")
    found = {note.key: note.text for note in made.notes if note.outcome == "unknown"}
    assert set(found) == {"lora_rnak", "datset", "cutoff_lenght"}
    assert "'lora_rank'" in found["lora_rnak"]
    assert "'cutoff_len'" in found["cutoff_lenght"]
    made = import_recipe(CONFIGS / "axolotl_misspelt.yaml")
    found = {note.key: note.text for note in made.notes if note.outcome == "unknown"}
    assert "'adapter'" in found["adaptor"]
    assert "'sequence_len'" in found["sequence_length"]
    assert outcome_of(made, "lora_r") == {"ignored"}, "without an adapter its rank says nothing"


def test_axolotls_kernels_have_no_effect_and_what_changes_a_loss_is_not_taken_for_one(tmp_path: Path):
    path = tmp_path / "kernels.yaml"
    keys = ("liger_rope", "liger_rms_norm", "liger_glu_activation", "liger_fused_linear_cross_entropy")
    more = "".join(f"{key}: true\n" for key in (*keys, "cut_cross_entropy", "liger_use_token_scaling"))
    path.write_text((CONFIGS / "axolotl_lora.yaml").read_text(encoding="utf-8") + more, encoding="utf-8")
    made = import_recipe(path)
    assert all(outcome_of(made, key) == {"ignored"} for key in (*keys, "cut_cross_entropy"))
    assert outcome_of(made, "liger_use_token_scaling") == {"unknown"}


def test_secrets_of_theirs_are_not_repeated():
    done = cli("import-recipe", str(CONFIGS / "factory_misspelt.yaml"), "--json")
    assert done.returncode == 0
    assert "very-secret" not in done.stdout + done.stderr
    assert json.loads(done.stdout)["counts"]["unknown"] == 3


def test_strict_is_a_gate():
    assert cli("import-recipe", str(CONFIGS / "factory_misspelt.yaml"), "--strict").returncode == 1


def test_the_last_line_says_how_many_keys_were_not_taken_and_which(tmp_path: Path):
    text = "model_name_or_path: goldsmith-nano\nstage: sft\nfinetuning_type: lora\nlogging_steps: 5\n"
    asked = ("import-recipe", str(write(tmp_path, text + "loging_stepps: 5\nshift_attn: true\n")))
    last = "not taken: 2 keys: loging_stepps, shift_attn"
    for out in ((), ("--out", str(tmp_path / "recipe.yaml"))):
        done = cli(*asked, *out)
        assert done.returncode == 0
        assert done.stderr.splitlines()[-1] == last
    clean = cli("import-recipe", str(write(tmp_path, text)))
    assert clean.returncode == 0
    assert "not taken" not in clean.stderr


def test_the_account_fits_a_narrow_terminal_and_is_whole_in_a_file():
    command = [*GOLDSMITH, "import-recipe", str(CONFIGS / "axolotl_misspelt.yaml")]
    ours, theirs = pty.openpty()
    more = {**os.environ, "COLUMNS": "80"}
    done = subprocess.run(command, env=more, stdout=subprocess.DEVNULL, stderr=theirs, timeout=240, check=False)
    os.close(theirs)
    shown = ""
    with contextlib.suppress(OSError):  # how a terminal ends
        while part := os.read(ours, 65536):
            shown += part.decode()
    os.close(ours)
    assert done.returncode == 0
    lines = shown.replace("\r\n", "\n").splitlines()
    assert max(len(line) for line in lines if " " in line.strip()) <= 80
    piped = cli(*command[3:]).stderr
    assert shown.split() == piped.split()
    assert any(len(line) > 80 for line in piped.splitlines())


def test_defaults_that_differ_are_written_out(tmp_path: Path):
    made = import_recipe(write(tmp_path, "model_name_or_path: m\nstage: sft\nfinetuning_type: full\ndataset: d\n"))
    assert made.recipe is not None
    settings = made.recipe["train"][0]["settings"]
    assert settings["learning_rate"] == 5e-5
    assert settings["epochs"] == 3.0
    assert settings["schedule"] == "linear"
    assert settings["warmup_share"] == 0.0
    assert (settings["batch_size"], settings["max_length"], made.recipe["seed"]) == (8, 2048, 42)
    assert settings["activation_checkpointing"] is True
    assert "adapter" not in settings


def test_devices_multiply_the_rows_of_an_update(tmp_path: Path):
    text = "base_model: m\ndatasets: [{path: d.jsonl, type: alpaca}]\nmicro_batch_size: 2\nlearning_rate: 1e-4\n"
    one = import_recipe(write(tmp_path, text + "gradient_accumulation_steps: 3\n"), devices=4)
    assert one.recipe is not None
    settings = one.recipe["train"][0]["settings"]
    assert settings["batch_size"] * settings["gradient_accumulation"] == 24
    other = import_recipe(write(tmp_path, text + "batch_size: 32\n"), devices=4)
    assert other.recipe is not None
    settings = other.recipe["train"][0]["settings"]
    assert settings["batch_size"] * settings["gradient_accumulation"] == 32


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name: x\nother: y\n", "whose configuration"),
        ("- a\n- b\n", "no settings"),
        ("model_name_or_path: !!python/object:os.system x\n", "tags are not read"),
        ("model_name_or_path: m\nstage: sft\nfinetuning_type: lora\ndataset: d\nlora_dropout: 7\n", "cannot be used"),
    ],
)
def test_files_that_are_no_configuration_are_refused(tmp_path: Path, text: str, says: str):
    with pytest.raises(BadInput, match=says):
        import_recipe(write(tmp_path, text))


def test_hostile_text_does_not_reach_the_terminal_or_the_recipe(tmp_path: Path):
    text = 'model_name_or_path: "a\\e[31mb\\nc: d"\nstage: sft\n"evil\\e[2J": 1\ndataset: "x\\e]0;title\\a"\n'
    path = write(tmp_path, text)
    done = cli("import-recipe", str(path), "--out", str(tmp_path / "out.yaml"))
    assert done.returncode == 0, done.stderr
    written = (tmp_path / "out.yaml").read_text(encoding="utf-8")
    assert "\x1b" not in done.stderr + done.stdout + written
    assert parse_yaml(written, Recipe).base == "a\x1b[31mb\nc: d"


def rows_of(kind: str, count: int) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    for n in range(count):
        asked, good, bad = f"Where is parcel {n}?", f"Parcel {n} left on day {n % 27}.", f"No idea about {n}."
        row: dict[str, Any]
        if kind == "alpaca":
            row = {"instruction": asked, "input": "", "output": good}
        elif kind == "sharegpt":
            row = {"conversations": [{"from": "human", "value": asked}, {"from": "gpt", "value": good}]}
        elif kind == "openai":
            row = {"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": good}]}
        elif kind == "pairs":
            row = {"conversations": [{"from": "human", "value": asked}], "chosen": {"from": "gpt", "value": good},
                   "rejected": {"from": "gpt", "value": bad}}  # fmt: skip
        elif kind == "kto":
            row = {"instruction": asked, "input": "", "output": good if n % 2 else bad, "kto_tag": bool(n % 2)}
        else:
            row = {"text": f"{asked} {good}"}
        made.append(row)
    return made


INFO = {
    "alpaca": {"file_name": "alpaca.json"},
    "sharegpt": {"file_name": "sharegpt.json", "formatting": "sharegpt", "columns": {"messages": "conversations"}},
    "openai": {
        "file_name": "openai.json",
        "formatting": "sharegpt",
        "columns": {"messages": "messages"},
        "tags": {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"},
    },
    "pairs": {
        "file_name": "pairs.json",
        "formatting": "sharegpt",
        "ranking": True,
        "columns": {"messages": "conversations", "chosen": "chosen", "rejected": "rejected"},
    },
    "kto": {"file_name": "kto.json", "columns": {"prompt": "instruction", "response": "output", "kto_tag": "kto_tag"}},
    "text": {"file_name": "text.json", "columns": {"prompt": "text"}},
    "hub": {"hf_hub_url": "somebody/some-data", "formatting": "sharegpt"},
}
FORMATS = {"alpaca": "alpaca", "sharegpt": "sharegpt", "openai": "openai_chat", "pairs": "sharegpt", "kto": "alpaca",
           "text": "plain_text"}  # fmt: skip


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A folder laid out as theirs: data/dataset_info.json, examples/train_lora/FILE."""
    data = tmp_path / "data"
    data.mkdir()
    (tmp_path / "examples" / "train_lora").mkdir(parents=True)
    (data / "dataset_info.json").write_text(json.dumps(INFO), encoding="utf-8")
    for name in FORMATS:
        (data / f"{name}.json").write_text(json.dumps(rows_of(name, 30)), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_described_data_sets_become_sources_that_can_be_read(repository: Path, name: str):
    stage = {"pairs": "dpo", "kto": "kto", "text": "pt"}.get(name, "sft")
    text = f"model_name_or_path: goldsmith-nano\nstage: {stage}\nfinetuning_type: full\ndataset: {name}\n"
    made = import_recipe(write(repository / "examples" / "train_lora", text))
    recipe = loaded(made, repository / "examples" / "train_lora" / "theirs.yaml")
    (source,) = recipe.sources
    assert source.format == FORMATS[name]
    assert (repository / "examples" / "train_lora" / str(source.file)).resolve() == repository / "data" / f"{name}.json"
    assert not [note for note in made.notes if note.key == "dataset" and note.outcome != "taken"]


def test_data_of_the_wrong_kind_and_data_on_a_hub_are_told(repository: Path):
    text = "model_name_or_path: m\nstage: dpo\ndataset: alpaca,hub,nobody\n"
    made = import_recipe(write(repository, text))
    told = [note.text for note in made.notes if note.key == "dataset" and note.outcome == "changed"]
    assert any("dpo learns from comparisons" in one for one in told)
    assert any("somebody/some-data" in one for one in told)
    assert any("no data set of this name" in one for one in told)


def test_full_blocks_become_rows_by_the_length_of_the_data(repository: Path):
    text = "model_name_or_path: m\nstage: sft\npacking: true\ncutoff_len: 512\ndataset: alpaca\n"
    text += "per_device_train_batch_size: 2\n"
    made = import_recipe(write(repository, text))
    assert made.recipe is not None
    each = sum(len(r["instruction"]) + len(r["output"]) for r in rows_of("alpaca", 30)) / 30 / 4
    assert made.recipe["train"][0]["settings"]["batch_size"] == 2 * round(512 / each)
    assert any("contamination" in note.text for note in made.notes if note.key == "packing")


def test_an_imported_recipe_trains(tmp_path: Path):
    (tmp_path / "data").mkdir()
    rows = deliveries.expert_sft(40, 20)
    (tmp_path / "data" / "experts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    info = {"experts": {**INFO["openai"], "file_name": "experts.jsonl"}}
    (tmp_path / "data" / "dataset_info.json").write_text(json.dumps(info), encoding="utf-8")
    path = write(
        tmp_path,
        "model_name_or_path: goldsmith-nano\nstage: sft\nfinetuning_type: lora\nlora_rank: 4\ndataset: experts\n"
        "template: llama3\ncutoff_len: 1024\nper_device_train_batch_size: 4\nlearning_rate: 1.0e-3\nmax_steps: 3\n"
        "val_size: 0.2\ndisable_gradient_checkpointing: true\n",
    )
    done = cli("import-recipe", str(path), "--out", str(tmp_path / "recipe.yaml"))
    assert done.returncode == 0, done.stderr
    recipe, _ = pipeline.read_recipe(tmp_path / "recipe.yaml")
    with Workspace.create(tmp_path / "workspace", name="imported", keys=KeyRing(tmp_path / "keys")) as ws:
        circle = pipeline.run(ws, recipe, tmp_path, progress=False)
    (trained,) = circle.trained
    assert trained.run.steps == 3
    assert trained.model.form == "adapter"
    assert json.loads((trained.folder / "adapter_config.json").read_text())["r"] == 4


def test_what_is_tuned_is_taken_over(tmp_path: Path):
    head = "model_name_or_path: m\nstage: sft\ndo_train: true\ndataset: d\ntemplate: qwen\nbf16: true\n"
    path = write(tmp_path, head + "finetuning_type: lora\npissa_init: true\nuse_rslora: true\n")
    settings = loaded(import_recipe(path), path).train[0].settings
    assert settings["adapter"]["init"] == "pissa"
    assert settings["adapter"]["rank_stabilised"] is True
    assert settings["precision"] == "bfloat16_mixed"
    path = write(tmp_path, head + "finetuning_type: freeze\nfreeze_trainable_layers: 3\n")
    made = import_recipe(path)
    assert loaded(made, path).train[0].settings["adapter"] == {"kind": "none", "last_layers": 3}
    assert outcome_of(made, "freeze_trainable_layers") == {"taken"}
    path = write(tmp_path, head + "finetuning_type: freeze\nfreeze_trainable_layers: -3\n")
    assert "unsupported" in outcome_of(import_recipe(path), "finetuning_type")


AXOLOTL = "base_model: goldsmith-nano\ndatasets:\n  - path: rows.jsonl\n    type: chat_template\n"


@pytest.mark.parametrize(
    ("theirs", "outcomes", "shard"),
    [
        ("deepspeed: examples/deepspeed/ds_z3_config.json", {"taken"}, "full"),
        ("deepspeed: ds_z3_offload_config.json", {"taken", "unsupported"}, "full"),
        ("deepspeed: zero2.json", {"changed"}, "full"),
        ("deepspeed: zero0.json", {"taken"}, None),
        ("deepspeed: mine.json", {"changed", "unsupported"}, "full"),  # the file says stage 2, and main memory
        ("deepspeed: {zero_optimization: {stage: 3, offload_param: {device: none}}}", {"taken"}, "full"),
        ("deepspeed: nowhere.json", {"unsupported"}, None),
        ("fsdp: full_shard auto_wrap", {"taken"}, "full"),
        ("fsdp: [shard_grad_op, auto_wrap, offload]", {"changed", "unsupported"}, "full"),
        ("fsdp: no_shard", {"taken"}, None),
        ("fsdp_version: 2\nfsdp_config: {reshard_after_forward: true, offload_params: false}", {"taken"}, "full"),
        ("fsdp: ful_shard", {"unsupported"}, None),
        ("fsdp_config: {fsdp_sharding_strategy: NO_SHARD}", {"taken"}, None),
        ("fsdp_config: {reshard_after_forward: false}", {"changed"}, "full"),
        ("fsdp_config: nowhere.json", {"unsupported"}, None),
        ("deepspeed: /dev/zero", {"unsupported"}, None),
        ("rl: grpo\nfsdp: full_shard", {"taken"}, "full"),
        ("adapter: qlora\nload_in_4bit: true\nfsdp: full_shard", {"unsupported"}, None),
    ],
)
def test_shards_are_taken_over_where_they_can_be(tmp_path: Path, theirs: str, outcomes: set[str], shard: str | None):
    offloaded = {"zero_optimization": {"stage": 2, "offload_optimizer": {"device": "cpu"}}}
    (tmp_path / "mine.json").write_text(json.dumps(offloaded))
    path = write(tmp_path, AXOLOTL + theirs + "\n")
    made = import_recipe(path, devices=2)
    key = "deepspeed" if "deepspeed" in theirs else "fsdp" if "fsdp:" in theirs else "fsdp_config"
    assert outcome_of(made, key) == outcomes
    recipe = loaded(made, path)
    assert recipe.parallel.processes == 2
    assert recipe.parallel.shard == (shard or "none")
