"""A merged folder computes what the adapter did, or is not written."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from goldsmith.engines.chat import open_chat
from goldsmith.engines.exporting import merged as merged_module
from goldsmith.engines.exporting.merged import export_merged
from goldsmith.engines.exporting.parity import compare
from goldsmith.engines.training.driver import TrainingJob, run_training
from goldsmith.methods.sft import Sft
from goldsmith.types.errors import BadInput, GateRefused
from goldsmith.types.record import Conversation, Message, Record, Role, TextPart

IDS = torch.arange(4, 40)[None]


def conversations() -> list[Record]:
    def said(role: str, text: str) -> Message:
        return Message(role=Role(role), parts=(TextPart(text=text),))

    return [
        Record(content=Conversation(messages=(said("user", f"What is <u>{i}?"), said("assistant", f"It is {i}."))))
        for i in range(6)
    ]


def train(base: Path, folder: Path, rate: float = 1e-2, tokens: tuple[str, ...] = (), **adapter: Any) -> Path:
    method = Sft(learning_rate=rate, max_steps=4, adapter={"kind": "lora", "rank": 4, **adapter}, new_tokens=tokens)
    job = TrainingJob(
        method, str(base), conversations(), folder / "adapter", folder / "s", progress=False, device="cpu"
    )
    return run_training(job).model_dir


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        out: torch.Tensor = model.eval()(IDS).logits
    return out


@pytest.mark.parametrize("variant", [{}, {"dora": True}, {"init": "pissa"}, {"tokens": ("<u>",)}])
def test_plain_transformers_computes_what_plain_peft_does(tiny_base: Path, tmp_path: Path, variant: Any) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

    adapter = train(tiny_base, tmp_path, **variant)
    done = export_merged(adapter, tmp_path / "out")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    base = AutoModelForCausalLM.from_pretrained(tiny_base)
    if variant.get("tokens"):
        base.resize_token_embeddings(max(len(tokenizer), base.config.vocab_size))
    wanted = logits(PeftModel.from_pretrained(base, str(adapter)))
    found = logits(AutoModelForCausalLM.from_pretrained(tmp_path / "out"))
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=2e-4)
    assert done.to_adapter.mean_kl < 1e-6 < done.moved.mean_kl
    assert tokenizer.chat_template == AutoTokenizer.from_pretrained(tiny_base).chat_template
    stops = GenerationConfig.from_pretrained(tmp_path / "out").eos_token_id
    assert set(stops) == set(open_chat(tiny_base).stop_ids)
    note = json.loads((tmp_path / "out" / "goldsmith.json").read_text())
    assert note["parity"]["to_adapter"]["max_logit_difference"] == done.to_adapter.max_logit_difference


def test_a_base_that_moved_is_named_and_another_is_refused(tiny: Any, tiny_base: Path, tmp_path: Path) -> None:
    adapter = train(tiny_base, tmp_path)
    other = tiny.base(tmp_path / "other", seed=8)
    with pytest.raises(BadInput, match="another base"):
        export_merged(adapter, tmp_path / "out", base=other)
    same = tiny.base(tmp_path / "same")
    export_merged(adapter, tmp_path / "out", base=same)
    with pytest.raises(BadInput, match="not empty"):
        export_merged(adapter, tmp_path / "out", base=same)
    with pytest.raises(BadInput, match="no adapter"):
        export_merged(tiny_base, tmp_path / "x")


def test_an_adapter_that_changes_nothing_is_refused(tiny_base: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    adapter = train(tiny_base, tmp_path)
    path = str(adapter / "adapter_model.safetensors")
    save_file({k: v * (0 if "lora_B" in k else 1) for k, v in load_file(path).items()}, path)
    with pytest.raises(BadInput, match="changes nothing"):
        export_merged(adapter, tmp_path / "out")


def test_rounding_that_swallows_the_adapter_is_refused(tiny_base: Path, tmp_path: Path) -> None:
    adapter = train(tiny_base, tmp_path, rate=1e-6)
    with pytest.raises(GateRefused, match="rounding swallows"):
        export_merged(adapter, tmp_path / "out", dtype="bfloat16")
    assert not (tmp_path / "out").exists()
    assert export_merged(train(tiny_base, tmp_path / "b"), tmp_path / "out", dtype="bfloat16").dtype == "bfloat16"


def test_a_merge_that_went_wrong_is_not_written(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = merged_module._write

    def spoilt(model: Any, *rest: Any) -> None:
        with torch.no_grad():
            model.model.layers[0].mlp.up_proj.weight[0] += 0.5
        original(model, *rest)

    monkeypatch.setattr(merged_module, "_write", spoilt)
    with pytest.raises(GateRefused, match="does not compute what the adapter does"):
        export_merged(train(tiny_base, tmp_path), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_divergence_equals_its_formula() -> None:
    a = torch.tensor([[0.0, 1.0, 2.0], [0.0, 0.0, 0.0]])
    b = torch.tensor([[5.0, 6.0, 7.0], [0.0, 1.0, 0.0]])
    p = torch.full((3,), 1 / 3, dtype=torch.float64)
    q = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64).softmax(0)
    found = compare([a], [b])
    assert found.max_kl == pytest.approx(float((p * (p / q).log()).sum()))
    assert found.mean_kl == pytest.approx(found.max_kl / 2)
    assert found.max_logit_difference == pytest.approx(2 / 3)
