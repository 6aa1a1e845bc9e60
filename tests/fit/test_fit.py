"""`goldsmith fit`: its counts against published figures, its bytes against those of a real update."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig

from goldsmith.engines.fit.estimate import as_dict, memory_of
from goldsmith.engines.fit.hardware import GPUS
from goldsmith.engines.fit.known import KNOWN
from goldsmith.engines.fit.ledger import Ledger
from goldsmith.engines.fit.simulate import count, heaviest, meta_model, simulate, stated_rows
from goldsmith.engines.training.adapters import put_adapter
from goldsmith.engines.training.policy import Policy
from goldsmith.stages.fit import build, config_of, reads_of, stated_work
from goldsmith.types.errors import BadInput, Unavailable

SMALL = LlamaConfig(vocab_size=512, hidden_size=64, intermediate_size=160, num_hidden_layers=3, num_attention_heads=4,
                    num_key_value_heads=2, tie_word_embeddings=True)  # fmt: skip
LORA = {"adapter": {"kind": "lora", "rank": 4}}
GOLDSMITH = [sys.executable, "-m", "goldsmith.cli.main"]


@pytest.mark.parametrize("model", KNOWN, ids=lambda model: model.name)
def test_each_known_model_has_the_parameters_its_page_states(model: Any):
    document = dict(model.config)
    counts = count(meta_model(AutoConfig.for_model(document.pop("model_type"), **document), build("sft", {})))
    assert counts.parameters == model.parameters
    assert counts.active == model.parameters


def test_of_a_mixture_of_experts_only_those_used_count_as_active():
    config = AutoConfig.for_model(
        "qwen3_moe", hidden_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=16,
        moe_intermediate_size=32, num_experts=8, num_experts_per_tok=2, vocab_size=128, tie_word_embeddings=True,
    )  # fmt: skip
    counts = count(meta_model(config, build("sft", {})))
    experts = 2 * 8 * 3 * 64 * 32
    assert counts.parameters - counts.active == experts * 6 // 8


@pytest.mark.parametrize("settings", [{}, LORA], ids=["full", "lora"])
@pytest.mark.parametrize("method", ["sft", "dpo"])
def test_the_simulated_bytes_are_those_of_a_real_update(method: str, settings: dict[str, Any]):
    """The same forwards on real tensors, counted by the same ledger."""
    spec = build(method, settings)
    rows = stated_rows(24, 40, 2 if method == "dpo" else 0, 6)
    batches = heaviest(rows, [[[0, 1, 2, 3], [4, 5]]])
    run = simulate(SMALL, spec, batches, device="cpu", reads=reads_of(method))
    model = AutoModelForCausalLM.from_config(SMALL, dtype=torch.float32)
    model = put_adapter(model, spec.adapter, "base", [], "words") if settings else model.requires_grad_(True)
    policy = Policy(model.train(), SimpleNamespace(pad_id=0), spec, "base")  # type: ignore[arg-type]
    policy.take("flat")
    moments: list[torch.Tensor] = []
    with Ledger() as ledger:
        for tensor in (*model.parameters(), *model.buffers()):
            ledger.enter(tensor)
        assert ledger.live == run.weights
        for update in range(2):
            for batch in batches:
                if method == "dpo":
                    loss = policy.sequence_logprobs(batch).sum()
                else:
                    loss = policy.cross_entropy(batch, len(batch.labels_N))
                loss.backward()  # type: ignore[no-untyped-call]
                del loss
            for parameter in model.parameters() if update == 0 else ():
                if parameter.requires_grad:
                    moments += [torch.zeros_like(parameter), torch.zeros_like(parameter)]
                    parameter.grad = None
    assert sum(m.numel() * 4 for m in moments) == run.optimiser
    assert abs(run.peak / ledger.peak - 1) < 0.02


def bytes_of(settings: dict[str, Any], device: str = "cpu") -> dict[str, int]:
    spec = build("sft", settings)
    batches = heaviest(stated_rows(64, 64, 0, 4), [[[0, 1, 2, 3]]])
    return dict(as_dict(memory_of(simulate(SMALL, spec, batches, device=device, reads="tokens"), device=device)))


def test_parts_add_up_and_settings_move_the_part_they_are_for():
    plain = bytes_of({})
    assert sum(size for part, size in plain.items() if part != "total") == plain["total"]
    assert plain["optimiser"] == 2 * plain["gradients"] == 2 * plain["weights"] - 2 * (plain["weights"] - 4 * count(
        meta_model(SMALL, build("sft", {}))).trained)  # fmt: skip
    assert bytes_of({"activation_checkpointing": True})["activations"] < plain["activations"] / 2
    adapter = bytes_of(LORA)
    assert adapter["optimiser"] < plain["optimiser"] / 4
    half = bytes_of({**LORA, "precision": "bfloat16"})
    assert half["weights"] < 0.65 * adapter["weights"]
    assert bytes_of(LORA, "cuda")["overhead"] > adapter["overhead"]


def test_only_a_config_is_needed_and_nothing_is_downloaded(tmp_path: Path):
    (tmp_path / "config.json").write_text(SMALL.to_json_string(), encoding="utf-8")
    assert config_of(str(tmp_path))[0].hidden_size == 64
    assert config_of("qwen3-8b")[0].num_hidden_layers == 36
    with pytest.raises(Unavailable, match="nothing is downloaded"):
        config_of("nobody/nothing-1B")
    (tmp_path / "config.json").write_text("[1]", encoding="utf-8")
    with pytest.raises(BadInput, match=r"config\.json"):
        config_of(str(tmp_path))
    with pytest.raises(BadInput, match="longer than max_length"):
        stated_work("sft", build("sft", {}), prompt=1000, answer=1000, rows=1)


def test_every_gpu_has_its_source():
    assert all(one.source and one.memory > 8 * 2**30 and one.tflops for one in GPUS)


def test_the_command_says_whether_a_recipe_fits(tmp_path: Path):
    rows = [{"messages": [{"role": "user", "content": f"Where is parcel {n}?"},
                          {"role": "assistant", "content": f"It left on day {n}."}]} for n in range(40)]  # fmt: skip
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "name: r\nsources: [{name: s, file: rows.jsonl}]\ntrain: [{method: sft}]\n"
        "examine: [{eval: fit_gap, name: fit}]\npromote: {rules: [{eval: fit, metric: gap, at_most: 1.0}]}\n",
        encoding="utf-8",
    )
    done = subprocess.run(
        [*GOLDSMITH, "fit", str(recipe), "--on", "cpu", "--json"],
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert (document["rows"], document["lengths"]) == (40, "measured")
    (machine,) = document["machines"]
    assert machine["fits"]
    assert machine["seconds"][0] < machine["seconds"][1]
