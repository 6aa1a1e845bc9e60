"""What is tuned: each kind of adapter learns, is saved as plain peft reads it, and computes what its formula says."""

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from goldsmith_test_records import answered, said
from safetensors.torch import load_file

from goldsmith import plugins
from goldsmith.engines.chat import open_chat
from goldsmith.engines.sampling.loading import load
from goldsmith.engines.training.data.batches import flat_batch
from goldsmith.engines.training.data.rows import Row, from_conversation
from goldsmith.engines.training.driver import TrainingJob, run_training
from goldsmith.engines.training.guards.self_test import choose_way
from goldsmith.engines.training.model.loading import load_model
from goldsmith.engines.training.model.policy import Policy, open_policy
from goldsmith.engines.training.model.saving import merge, save
from goldsmith.methods.sft import Sft
from goldsmith.types.errors import BadInput, Unavailable
from goldsmith.types.record import Conversation, Record

IDS = torch.arange(4, 40)[None]


def conversations(n: int = 8, mark: str = "") -> list[Record]:
    return [answered(f"What is {mark}{i}?", f"It is {mark}{i}.") for i in range(n)]


def rows(policy: Policy) -> list[Row]:
    found = []
    for i, record in enumerate(conversations()):
        assert isinstance(record.content, Conversation)
        found.append(from_conversation(policy.chat.encode_conversation(record.content), f"r{i}", f"r{i}"))
    return found


def tuned(base: Path, steps: int = 6, tokens: tuple[str, ...] = (), **adapter: Any) -> Policy:
    """A policy after a few plain steps."""
    settings = Sft(adapter={"kind": "lora", "rank": 4, **adapter}, new_tokens=tokens)
    policy = open_policy(str(base), open_chat(base, tokens), settings, seed=1)
    data = rows(policy)
    choose_way(policy, data, 256)
    optimizer = torch.optim.AdamW([p for _, p in policy.trainable()], lr=2e-2)
    batch = flat_batch(data, range(len(data)))
    for _ in range(steps):
        policy.cross_entropy(batch, len(batch.labels_N)).backward()
        optimizer.step()
        optimizer.zero_grad()
    policy.model.eval()
    return policy


def logits_of(model: Any, ids: torch.Tensor = IDS) -> torch.Tensor:
    with torch.no_grad():
        out: torch.Tensor = model(ids).logits
    return out


VARIANTS: dict[str, dict[str, Any]] = {
    "lora": {},
    "rslora": {"rank_stabilised": True},
    "dora": {"dora": True},
    "pissa": {"init": "pissa", "alpha": 4.0},
    "pissa and rslora": {"init": "pissa", "rank_stabilised": True, "alpha": 4.0},
    "attention only, the last layer": {"targets": ("q_proj", "v_proj"), "last_layers": 1},
    "without the gate": {"exclude": ("gate_proj",)},
}


@pytest.mark.parametrize("name", list(VARIANTS))
def test_a_saved_adapter_computes_what_was_trained(tiny_base: Path, tmp_path: Path, name: str) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    policy = tuned(tiny_base, **VARIANTS[name])
    policy.take("padded")
    wanted, base = logits_of(policy.model), logits_of(load_model(tiny_base))
    assert (wanted - base).abs().max() > 1e-2
    with policy.reference():
        torch.testing.assert_close(logits_of(policy.model), base, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(logits_of(policy.model), wanted, rtol=0, atol=0)
    out = tmp_path / "out"
    out.mkdir()
    save(policy, out)
    plain = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_base), str(out)).eval()
    torch.testing.assert_close(logits_of(plain), wanted, rtol=1e-4, atol=2e-4)
    torch.testing.assert_close(logits_of(load_model(merge(out, tmp_path / "m"))), wanted, rtol=1e-4, atol=5e-4)
    config = json.loads((out / "adapter_config.json").read_text(encoding="utf-8"))
    assert config["target_modules"] == sorted(config["target_modules"])  # a set has another order in each process
    names = list(load_file(str(out / "adapter_model.safetensors")))
    if name == "attention only, the last layer":
        assert all("layers.1." in n and ("q_proj" in n or "v_proj" in n) for n in names)
    if name == "without the gate":
        assert not any("gate_proj" in n for n in names)
        assert any("up_proj" in n for n in names)


@pytest.mark.parametrize("name", ["lora", "rslora", "dora"])
def test_merged_weights_are_the_formula(tiny_base: Path, tmp_path: Path, name: str) -> None:
    policy = tuned(tiny_base, rank=4, alpha=6.0, **VARIANTS[name])
    save(policy, tmp_path)
    saved = load_file(str(tmp_path / "adapter_model.safetensors"))
    layer = "model.layers.1.mlp.up_proj"
    a, b = (saved[f"base_model.model.{layer}.lora_{x}.weight"].double() for x in "AB")
    weight = dict(load_model(tiny_base).named_parameters())[f"{layer}.weight"].double()
    scale = 6.0 / 4**0.5 if name == "rslora" else 6.0 / 4
    wanted = weight + scale * b @ a
    if name == "dora":
        length = saved[f"base_model.model.{layer}.lora_magnitude_vector"].double()
        wanted = wanted * (length / wanted.norm(dim=1))[:, None]
    found = dict(load_model(tmp_path).named_parameters())[f"{layer}.weight"].double()
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_pissa_starts_at_the_main_part_and_changes_nothing(tiny_base: Path) -> None:
    policy = tuned(tiny_base, steps=0, init="pissa", alpha=4.0)
    policy.take("padded")
    base = load_model(tiny_base)
    torch.testing.assert_close(logits_of(policy.model), logits_of(base), rtol=1e-4, atol=1e-4)
    weight = base.model.layers[0].self_attn.q_proj.weight.detach()
    layer = policy.inner.model.layers[0].self_attn.q_proj
    u, s, vh = torch.linalg.svd(weight)
    main = u[:, :4] @ torch.diag(s[:4]) @ vh[:4]
    factors = layer.lora_B["default"].weight @ layer.lora_A["default"].weight
    torch.testing.assert_close(factors.detach(), main, rtol=1e-3, atol=1e-4)


def test_a_whole_run_with_pissa_repeats_to_the_byte(tiny_base: Path, tmp_path: Path) -> None:
    found = []
    for name in "ab":
        method = plugins.build(
            "methods",
            "sft",
            {"learning_rate": 1e-2, "max_steps": 3, "adapter": {"kind": "lora", "rank": 4, "init": "pissa"}},
        )
        job = TrainingJob(
            method,
            str(tiny_base),
            conversations(),
            tmp_path / name,
            tmp_path / f"{name}s",
            progress=False,
            device="cpu",
        )
        outcome = run_training(job)
        assert not torch.equal(logits_of(load_model(outcome.model_dir)), logits_of(load_model(tiny_base)))
        found.append((outcome.model_dir / "adapter_model.safetensors").read_bytes())
    assert found[0] == found[1]


def test_experts_are_tuned_where_they_are_named(families: ModuleType, tmp_path: Path) -> None:
    base = families.save("qwen3_moe", tmp_path / "base")
    policy = tuned(base, parameters=("experts.gate_up_proj", "experts.down_proj"))
    policy.take("padded")
    wanted = logits_of(policy.model)
    names = [name for name, _ in policy.trainable()]
    assert any("experts" in name for name in names)
    save(policy, tmp_path)
    torch.testing.assert_close(logits_of(load_model(tmp_path)), wanted, rtol=1e-3, atol=1e-3)
    with pytest.raises(BadInput, match=r"did you mean 'mlp\.experts\.gate_up_proj'"):
        tuned(base, steps=0, parameters=("mlp.experts.gate_up_prj",))


# ---- refusals ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "said_"),
    [
        ({"adapter": {"kind": "none", "init": "pissa"}}, "init has no meaning where the whole model is tuned"),
        ({"adapter": {"kind": "none", "rank": 8, "dora": True}}, "dora, rank"),
        ({"adapter": {"kind": "lora", "init": "pissa", "dora": True}}, "does not go with dora"),
        ({"adapter": {"kind": "qlora", "init": "pissa"}, "precision": "bfloat16"}, "does not go with kind qlora"),
        ({"adapter": {"kind": "lora", "init": "pissa"}, "precision": "bfloat16"}, "bfloat16_mixed"),
        ({"adapter": {"kind": "qlora"}}, "set precision to bfloat16"),
        ({"adapter": {"kind": "lora", "only": ["*.mlp.*"]}}, "an adapter has targets"),
        ({"adapter": {"kind": "lora", "parameters": ["a"], "dropout": 0.1}}, "neither dora nor dropout"),
        ({"adapter": {"kind": "none", "last_layers": 1}, "new_tokens": ["<x>"]}, "use an adapter"),
        ({"adapter": {"kind": "lora", "rank_stabilized": True}}, "did you mean 'rank_stabilised'"),
    ],
)
def test_what_has_no_meaning_is_refused(settings: dict[str, Any], said_: str) -> None:
    with pytest.raises(BadInput, match=said_):
        plugins.build("methods", "sft", settings)


def test_names_the_model_does_not_have(tiny_base: Path) -> None:
    with pytest.raises(BadInput, match="did you mean 'q_proj'"):
        tuned(tiny_base, steps=0, targets=("q_prj",))
    with pytest.raises(BadInput, match="did you mean 'gate_proj'"):
        tuned(tiny_base, steps=0, exclude=("gate_pro",))
    with pytest.raises(BadInput, match="fewer layers"):
        tuned(tiny_base, steps=0, last_layers=3)
    with pytest.raises(BadInput, match="no weight of the model has such a name"):
        open_policy(str(tiny_base), open_chat(tiny_base), Sft(adapter={"only": ("*.mpl.*",)}), seed=0)


def test_four_bits_say_what_they_need(tiny_base: Path) -> None:
    settings = Sft(adapter={"kind": "qlora"}, precision="bfloat16")
    with pytest.raises(Unavailable, match=r"goldsmith\[qlora\]|a CUDA device"):
        open_policy(str(tiny_base), open_chat(tiny_base), settings, seed=0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_an_adapter_learns_over_four_bits(tiny: Any, tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")
    base = tiny.base(tmp_path / "base", hidden_size=64, intermediate_size=128)
    method = Sft(learning_rate=1e-2, max_steps=20, adapter={"kind": "qlora"}, precision="bfloat16")
    outcome = run_training(
        TrainingJob(method, str(base), conversations(), tmp_path / "o", tmp_path / "s", progress=False, device="cuda")
    )
    assert outcome.final_loss < 4.0
    assert (logits_of(load_model(outcome.model_dir)) - logits_of(load_model(base))).abs().max() > 1e-2


# ---- parts of the whole model ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("adapter", "moves"), [({"last_layers": 1}, "model.layers.1."), ({"only": ("*.layers.0.mlp.*",)}, "layers.0.mlp.")]
)
def test_only_the_chosen_weights_move(tiny_base: Path, tmp_path: Path, adapter: dict[str, Any], moves: str) -> None:
    method = Sft(learning_rate=1e-2, max_steps=2, adapter=adapter)
    outcome = run_training(
        TrainingJob(
            method, str(tiny_base), conversations(), tmp_path / "o", tmp_path / "s", progress=False, device="cpu"
        )
    )
    before = dict(load_model(tiny_base).named_parameters())
    after = dict(load_model(outcome.model_dir).named_parameters())
    changed = {name for name, p in after.items() if not torch.equal(p, before[name])}
    assert changed == {name for name in before if moves in name}
    assert 0 < int(outcome.facts["weights_trained"]) < int(outcome.facts["weights"])


# ---- new tokens --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tie", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("kind", ["none", "lora"])
def test_new_tokens_are_learned_and_saved(tiny: Any, tmp_path: Path, kind: str, tie: bool) -> None:
    base = tiny.base(tmp_path / "base", vocabulary=400, tie_word_embeddings=tie)
    method = Sft(
        learning_rate=2e-2,
        max_steps=40,
        adapter={"kind": kind} if kind == "none" else {"kind": kind, "rank": 8},
        new_tokens=("<unit>", "<idle>"),
    )
    outcome = run_training(
        TrainingJob(
            method,
            str(base),
            conversations(mark="<unit>"),
            tmp_path / "o",
            tmp_path / "s",
            progress=False,
            device="cpu",
        )
    )
    assert outcome.facts["new_tokens_never_seen"] == "<idle>"
    assert outcome.final_loss < 1.5
    chat = open_chat(outcome.model_dir)
    assert chat.tokenizer_digest == outcome.tokenizer_digest != open_chat(base).tokenizer_digest
    new = chat.tokenizer.convert_tokens_to_ids("<unit>")
    assert chat.tokenizer("<unit>", add_special_tokens=False)["input_ids"] == [new]
    model, old = load_model(outcome.model_dir), load_model(base)
    ins, outs = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    assert ins.shape[0] == outs.shape[0] == len(chat.tokenizer) > old.get_input_embeddings().weight.shape[0]
    assert (ins is outs) == tie
    mean = old.get_input_embeddings().weight.mean(0)
    assert (ins[new] - mean).abs().max() > 1e-2
    if kind == "lora":
        torch.testing.assert_close(ins[: old.config.vocab_size], old.get_input_embeddings().weight)
        ids = torch.tensor([[*range(4, 20), new]])
        served = load(outcome.model_dir).model
        torch.testing.assert_close(logits_of(served, ids), logits_of(model, ids), rtol=1e-4, atol=1e-4)
    prompt = chat.encode_prompt([said("user", "What is <unit>3?")]).tolist()
    assert new in prompt
    written: list[int] = []
    while len(written) < 4:
        written.append(int(logits_of(model, torch.tensor([prompt + written]))[0, -1].argmax()))
    assert new in written


def test_a_token_that_is_one_already_is_refused(tiny_base: Path) -> None:
    for token in ("<|im_end|>", " "):
        with pytest.raises(BadInput, match="cannot become a new token"):
            open_chat(tiny_base, (token,))
    with pytest.raises(BadInput, match="cannot become a new token"):
        open_chat(tiny_base, ("<a>", "<a>"))
