"""verify-model: real weights pass, what is broken fails, and what cannot be told is no pass."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from goldsmith import nano, pipeline
from goldsmith.engines import verifying
from goldsmith.engines.sampler import LocalAnswerer
from goldsmith.engines.training.guards import self_test
from goldsmith.engines.verifying import CHECKS, verify_model
from goldsmith.stages import verify_model as stage
from goldsmith.trust.workspace import Workspace
from goldsmith.types.errors import Unavailable


def found(folder: Path) -> dict[str, tuple[str, str]]:
    return {result.name: (result.verdict, result.detail) for result in verify_model(folder)}


def test_the_real_weights_of_nano_pass() -> None:
    results = found(nano.model_path())
    assert list(results) == [name for name, _ in CHECKS]
    assert {name for name, (verdict, _) in results.items() if verdict != "pass"} == set(), results


def test_random_weights_learn_but_do_not_stop(tiny_base: Path) -> None:
    results = found(tiny_base)
    assert {name: verdict for name, (verdict, _) in results.items() if verdict != "pass"} == {
        "an answer stops": "could not tell"
    }, results


def test_a_broken_template_fails(tiny: Any, tmp_path: Path) -> None:
    deaf = tiny.qwen_template.replace(
        "+ message.content }}", "+ (message.content if message.role == 'assistant' else '') }}"
    )
    results = found(tiny.base(tmp_path / "deaf", template=deaf))
    assert results["chat template"][0] == results["loss mask"][0] == "fail"
    endless = tiny.qwen_template.replace(
        "<|im_end|>\\n' }}{%- endif %}{%- endfor %}", "\\n' }}{%- endif %}{%- endfor %}"
    )
    assert endless != tiny.qwen_template
    results = found(tiny.base(tmp_path / "endless", template=endless))
    assert "only the last answer" in results["loss mask"][1]
    results = found(tiny.base(tmp_path / "none", template=None))
    assert results["chat template"][0] == "could not tell"


def test_what_computes_otherwise_fails(tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = LocalAnswerer.complete

    def wrong(self: Any, *args: Any, **named: Any) -> Any:
        from dataclasses import replace

        return [replace(one, token_ids=(5, *one.token_ids)) for one in original(self, *args, **named)]

    with monkeypatch.context() as patch:
        patch.setattr(LocalAnswerer, "complete", wrong)
        patch.setattr(self_test, "_difference", lambda *_: torch.tensor([0.3]))
        patch.setattr(verifying, "LEARNING_RATE", -1e-3)
        results = found(tiny_base)
    for name in ("packed equals alone", "greedy equals transformers", "a step lowers the loss"):
        assert results[name][0] == "fail", results[name]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    code = "from goldsmith.cli.main import main; main()"
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)


def test_the_command_prints_a_table_or_json(tiny_base: Path, tmp_path: Path) -> None:
    done = run("verify-model", str(tiny_base), "--json")
    document = json.loads(done.stdout)
    assert done.returncode == document["exit_code"] == 3
    assert document["counts"]["pass"] == len(CHECKS) - 1
    table = run("verify-model", "goldsmith-nano")
    assert table.returncode == 0
    assert [line.split("  ")[0] for line in table.stdout.splitlines()] == ["pass"] * len(CHECKS)
    missing = run("verify-model", str(tmp_path / "nowhere"))
    assert missing.returncode == 4
    assert "download it first" in missing.stderr


def test_a_model_of_a_workspace_is_taken_by_its_name(tiny: Any, tiny_base: Path, tmp_path: Path) -> None:
    """An adapter, which is merged for the tests alone; what is stated in the workspace stays as it was."""
    base = tmp_path / "base"
    shutil.copytree(tiny_base, base)
    recipe = tmp_path / "recipe.yaml"
    rows = [{"question": f"What is {n} plus {n}?", "answer": f"{n} plus {n} is {2 * n}."} for n in range(12)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    recipe.write_text(
        f"name: sums\nbase: {base}\nsources: [{{name: anna, file: rows.jsonl, maker: human}}]\n"
        "train: [{method: sft, settings: {max_steps: 1, batch_size: 4, adapter: {kind: lora, rank: 2}}}]\n"
        "examine: [{eval: fit_gap, name: fit}]\n"
        "promote: {rules: [{eval: fit, metric: gap, at_most: 9.0, min_items: 1}]}\n",
        encoding="utf-8",
    )
    ws = Workspace.create(tmp_path / "ws")
    circle = pipeline.run(ws, pipeline.read_recipe(recipe)[0], tmp_path, progress=False)
    before = ws.checkpoint()
    assert circle.trained[-1].model.form == "adapter"
    results = list(stage.verify_model("sums", ws=ws))
    assert len(results) == len(CHECKS)
    assert not [result for result in results if result.verdict == "fail"]
    assert ws.checkpoint() == before
    with pytest.raises(Unavailable) as error:
        list(stage.verify_model("summs", ws=ws))
    assert "sums" in str(error.value.allowed)
