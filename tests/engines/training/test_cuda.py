"""On a GPU: the one kernel for all segments computes what the plain forward does, also compiled, and training runs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist

from goldsmith.engines.chat import Chat
from goldsmith.engines.training.attention import flat
from goldsmith.engines.training.data.batches import Layout, flat_batch
from goldsmith.engines.training.data.rows import Node, Row
from goldsmith.engines.training.guards.self_test import choose_way
from goldsmith.engines.training.memory import allocator
from goldsmith.engines.training.memory.offload import Offload
from goldsmith.engines.training.model.policy import Policy
from goldsmith.engines.training.scale import parallel, sharding
from goldsmith.methods.sft import Sft

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")

COMMON = {
    "vocab_size": 512,
    "hidden_size": 256,
    "intermediate_size": 384,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "bos_token_id": None,
    "eos_token_id": 0,
    "pad_token_id": 1,
}


def rows() -> list[Row]:
    rng = np.random.default_rng(3)

    def node(n: int, trained: bool, parent: int = -1) -> Node:
        return Node(rng.integers(2, 512, size=n).astype(np.int32), np.full(n, trained), parent)

    plain = [Row((node(n, True),), f"p{n}", f"p{n}") for n in (40, 130, 300)]
    pairs = [Row((node(n, False), node(60, True, 0), node(90, True, 0)), f"q{n}", f"q{n}") for n in (33, 150)]
    return [*plain, *pairs]


SINKS = {"num_local_experts": 4, "num_experts_per_tok": 2, "initializer_range": 0.05}
WINDOWS: dict[str, dict[str, Any]] = {
    "mistral": {"sliding_window": 50},
    "gemma3_text": {"sliding_window": 50, "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]},
    "gemma2": {"sliding_window": 50, "attn_logit_softcapping": 5.0},
    "gpt_oss": {"sliding_window": 50, **SINKS},
}
"""Layers that look back over fewer tokens than a row has; the last two also ask for soft caps and for sinks."""


def policy_of(tiny: Any, kind: str, changes: dict[str, Any] | None = None, precision: str = "bfloat16_mixed") -> Policy:
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **COMMON | (changes or {}))
    model = AutoModelForCausalLM.from_config(config).float().cuda()
    if kind == "gpt_oss":
        with torch.no_grad():
            for layer in model.model.layers:
                layer.self_attn.sinks.normal_()
    return Policy(model.train(), Chat(tiny.tokenizer()), Sft(precision=precision), "unused")


def values(policy: Policy) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    found = policy.logprobs(flat_batch(rows(), range(5)))
    named = dict(policy.trainable())
    grads = torch.autograd.grad(found.mean(), list(named.values()))
    return found.detach(), dict(zip(named, grads, strict=True))


def distance(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a.float() - b.float()).norm() / b.float().norm().clamp(min=1e-8))


@pytest.mark.parametrize("kind", ["llama", "qwen3", "mistral", "olmo2"])
def test_one_kernel_equals_the_segments(tiny: Any, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    if not flat.HAS_VARLEN:
        pytest.skip("no CUDA device")
    policy = policy_of(tiny, kind)
    facts = choose_way(policy, rows(), 1024)
    assert facts["batching"] == "flat"
    assert "varlen_cu_q_S1" in policy._layout(flat_batch(rows(), range(5)))
    kernel = values(policy)
    policy.compile()
    compiled = values(policy)
    monkeypatch.setattr(flat, "HAS_VARLEN", False)
    plain = policy_of(tiny, kind)
    plain.take("flat")
    segments = values(plain)
    for found in (kernel, compiled):
        assert distance(found[0], segments[0]) < 5e-3
        for name, grad in segments[1].items():
            assert distance(found[1][name], grad) < 5e-2, name


@pytest.mark.parametrize("precision", ["float32", "bfloat16_mixed"])
@pytest.mark.parametrize("kind", sorted(WINDOWS))
def test_windows_caps_and_sinks_equal_the_segments(tiny: Any, kind: str, precision: str) -> None:
    if precision != "float32" and kind == "gpt_oss":
        pytest.skip("no CUDA device")  # its experts are chosen anew at every rounding
    policy = policy_of(tiny, kind, WINDOWS[kind], precision)
    facts = choose_way(policy, rows(), 1024)
    assert facts["batching"] == "flat"
    assert facts.get("flex_attention") is None
    told = policy._layout(flat_batch(rows(), range(5)))
    assert ("tree" in told) == (precision == "float32" or kind in ("gemma2", "gpt_oss"))
    fused = values(policy)
    plain = policy_of(tiny, kind, WINDOWS[kind], precision)
    plain.take("flat")
    plain._layout = lambda batch: {"layout": batch.layout}  # type: ignore[method-assign]
    segments = values(plain)
    loose = 1 if precision == "float32" else 5
    assert distance(fused[0], segments[0]) < 1e-3 * loose
    for name, grad in segments[1].items():
        assert distance(fused[1][name], grad) < 1e-2 * loose, name


def test_rounding_is_no_leak_and_a_leak_no_rounding(tiny: Any) -> None:
    rough = {"initializer_range": 0.06, "num_hidden_layers": 8}
    policy = policy_of(tiny, "llama", rough)
    assert choose_way(policy, rows(), 1024)["batching"] == "flat"
    leaking = policy_of(tiny, "llama", rough)
    leaking._layout = lambda batch: flat.varlen(  # type: ignore[method-assign]
        Layout((batch.tokens,), (-1,)), leaking.device
    ).as_arguments()
    assert choose_way(leaking, rows(), 1024)["batching"] != "flat"


def test_offloaded_activations_give_the_same_gradients_in_less_memory(tiny: Any) -> None:
    rng = np.random.default_rng(5)
    long = [Row((Node(rng.integers(2, 512, size=4000).astype(np.int32), np.ones(4000, bool)),), "r", "r")]

    def run(offload: bool) -> tuple[list[torch.Tensor], int]:
        policy = policy_of(tiny, "llama", {"num_hidden_layers": 12})
        policy.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        policy.take("flat")
        policy.offload = Offload(policy.device) if offload else None
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        hidden = policy.hidden(flat_batch(long, [0]).to(policy.device))
        held = torch.cuda.memory_allocated() - before
        layers = [p for name, p in policy.trainable() if "lm_head" not in name]
        grads = torch.autograd.grad(hidden.float().square().mean(), layers)
        return list(grads), held

    kept, again, away = run(False), run(False), run(True)
    for a, b, c in zip(kept[0], again[0], away[0], strict=True):
        assert distance(c, a) <= 3 * distance(b, a) + 1e-3  # the flash kernel's gradients differ a little by themselves
    inputs_of_layers = 12 * 4000 * 256 * 4
    assert kept[1] - away[1] > 0.7 * inputs_of_layers


def test_memory_is_held_in_segments_that_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in allocator.CUDA_ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    assert allocator.grow_segments()
    torch.cuda.empty_cache()
    before = torch.cuda.memory_reserved()
    for mebibytes in (100, 200, 300):  # each too large for what the one before it leaves
        torch.empty(mebibytes << 20, dtype=torch.uint8, device="cuda")
    assert torch.cuda.memory_reserved() - before < 350 << 20


@pytest.fixture
def over_nccl(tmp_path: Path) -> Iterator[None]:
    """One process that has met itself: weights are cut, gathered and their gradients scattered by NCCL."""
    dist.init_process_group("cpu:gloo,cuda:nccl", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1)
    yield
    parallel.leave()


@pytest.mark.parametrize("kind", ["llama", "gemma2"])  # the variable-length kernel, and FlexAttention
@pytest.mark.usefixtures("over_nccl")
def test_shards_over_nccl_compute_what_whole_weights_do(tiny: Any, kind: str) -> None:
    found = []
    for cut in (False, True):
        policy = policy_of(tiny, kind, WINDOWS.get(kind))
        choose_way(policy, rows(), 1024)
        if cut:
            sharding.shard(policy, policy.device)
            assert sharding.is_sharded([p for _, p in policy.trainable()])
        logprobs = policy.logprobs(flat_batch(rows(), range(5)))
        logprobs.mean().backward()
        grads = {name: sharding.local(p.grad) for name, p in policy.trainable() if p.grad is not None}
        found.append((logprobs.detach(), grads))
    (whole, whole_grads), (shards, shard_grads) = found
    assert distance(shards, whole) < 5e-3
    assert shard_grads.keys() == whole_grads.keys()
    for name, grad in whole_grads.items():
        assert distance(shard_grads[name], grad) < 2e-2, name


def test_fused_losses_equal_the_plain_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    from goldsmith.engines.training.losses import cross_entropy

    torch.manual_seed(0)
    hidden = torch.randn(300, 64, device="cuda", requires_grad=True)
    weight = torch.randn(1000, 64, device="cuda", requires_grad=True)
    labels = torch.randint(0, 1000, (300,), device="cuda")
    weights = torch.rand(300, device="cuda")

    def run() -> list[torch.Tensor]:
        head = cross_entropy.Head(weight)
        loss = cross_entropy.linear_cross_entropy(hidden, labels, head, weights)
        logp = cross_entropy.linear_logprobs(hidden, labels, head)
        grads = torch.autograd.grad(loss + (logp * weights).sum() * 0.5, [hidden, weight])
        return [loss.detach(), logp.detach(), *grads]

    fused = run()
    monkeypatch.setattr(cross_entropy, "_fuses", lambda *_: False)
    for a, b in zip(fused, run(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)
