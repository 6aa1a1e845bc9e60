"""A model that a workspace trained leaves it whole: found by name, merged, compared, and as a file for llama.cpp."""

import json
from pathlib import Path

import pytest
import torch

from goldsmith import nano, pipeline
from goldsmith.engines.evidence import find_model
from goldsmith.engines.sampling.loading import load
from goldsmith.stages import export_model
from goldsmith.trust.keys import KeyRing
from goldsmith.trust.workspace import Workspace
from goldsmith.types.errors import BadInput
from goldsmith.types.recipe import Recipe


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    lines = [
        json.dumps(
            {
                "messages": [
                    {"role": "user", "content": f"Where is box {i}?"},
                    {"role": "assistant", "content": f"Box {i} is on shelf {i % 7}."},
                ]
            }
        )
        for i in range(24)
    ]
    (folder / "anna.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    settings = {"max_steps": 3, "batch_size": 4, "learning_rate": 1e-2, "adapter": {"kind": "lora", "rank": 4}}
    recipe = Recipe.model_validate(
        {
            "name": "boxes",
            "sources": [{"name": "anna", "file": "anna.jsonl", "maker": "human"}],
            "train": [{"method": "sft", "settings": settings}],
            "validation_share": 0.1,
            "examine": [{"eval": "fit_gap", "name": "fit"}],
            "promote": {"rules": [{"eval": "fit", "metric": "gap", "at_most": 9.0, "min_items": 1}]},
        }
    )
    with Workspace.create(folder / "ws", keys=KeyRing(folder / "keys"), sources=("anna",)) as ws:
        pipeline.run(ws, recipe, folder, progress=False)
    return folder


def logits(model: object) -> torch.Tensor:
    with torch.no_grad():
        out: torch.Tensor = model(torch.arange(5, 40)[None]).logits  # type: ignore[operator]
    return out


def test_a_model_is_merged_by_its_name(workspace: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    with Workspace.open(workspace / "ws", KeyRing(workspace / "keys")) as ws:
        folder, adapter = export_model.locate(ws, "boxes")
        assert adapter is not None
        done = export_model.merged(folder, adapter, tmp_path / "out", dtype="float32", device="cpu")
        assert find_model(ws, "boxes")[1].form == "adapter"
    assert done.to_adapter.mean_kl < 1e-6 < done.moved.mean_kl
    found = logits(AutoModelForCausalLM.from_pretrained(tmp_path / "out").eval())
    torch.testing.assert_close(found, logits(load(folder, adapter, dtype="float32").model), rtol=1e-4, atol=2e-4)


def test_an_adapter_becomes_a_file_for_llama_cpp(workspace: Path, tmp_path: Path) -> None:
    pytest.importorskip("gguf")
    with Workspace.open(workspace / "ws", KeyRing(workspace / "keys")) as ws:
        folder, adapter = export_model.locate(ws, "boxes")
    done = export_model.gguf(folder, adapter, tmp_path / "m.gguf", kind="f16", name="boxes", split="gpt-2")
    assert done.path.stat().st_size == done.size


def test_what_cannot_be_found_says_what_to_do(workspace: Path, tmp_path: Path) -> None:
    with Workspace.open(workspace / "ws", KeyRing(workspace / "keys")) as ws:
        _, adapter = export_model.locate(ws, "boxes")
        with pytest.raises(BadInput):
            export_model.locate(ws, "crates")
    assert adapter is not None
    with pytest.raises(BadInput, match="--base"):
        export_model.locate(None, str(adapter))
    folder, again = export_model.locate(None, str(adapter), "goldsmith-nano")
    assert (folder, again) == (nano.model_path(), adapter)
    with pytest.raises(BadInput, match="nothing to merge"):
        export_model.merged(nano.model_path(), None, tmp_path / "x", dtype="float32", device="cpu")
