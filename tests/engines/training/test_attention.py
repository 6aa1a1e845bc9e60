"""Packed equals alone, values and gradients, on real architectures built from their configs."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from goldsmith.engines.chat import Chat
from goldsmith.engines.training.attention import flat
from goldsmith.engines.training.attention.flex import Tree
from goldsmith.engines.training.data.batches import Layout, flat_batch
from goldsmith.engines.training.data.rows import Node, Row
from goldsmith.engines.training.guards import self_test
from goldsmith.engines.training.guards.self_test import choose_way
from goldsmith.engines.training.model.policy import Policy
from goldsmith.engines.training.settings import TrainingSettings
from goldsmith.types.errors import BadInput

COMMON = {
    "vocab_size": 128,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "initializer_range": 0.3,
    "max_position_embeddings": 128,
    "bos_token_id": None,
    "eos_token_id": 0,
    "pad_token_id": 1,
}

ARCHITECTURES: dict[str, tuple[str, dict[str, Any], str]] = {
    "llama": ("llama", {}, "flat"),
    "qwen3": ("qwen3", {}, "flat"),
    "mistral, window longer than rows": ("mistral", {"sliding_window": 64}, "flat"),
    "mistral, short window": ("mistral", {"sliding_window": 4}, "flat"),
    "granite, scaled logits": ("granite", {"logits_scaling": 4.0, "embedding_multiplier": 2.0}, "flat"),
    "gemma2, soft caps": ("gemma2", {"final_logit_softcapping": 2.0, "sliding_window": 4}, "flat"),
    "olmo2": ("olmo2", {}, "flat"),
    "cohere, scaled logits": ("cohere", {"logit_scale": 0.25}, "flat"),
    "qwen3 mixture of experts": (
        "qwen3_moe",
        {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16},
        "flat",
    ),
    "mamba2, a recurrence": ("mamba2", {}, "padded"),
    "llama4, chunks of 8": (
        "llama4_text",
        {"attention_chunk_size": 8, "layer_types": ["chunked_attention"] * 2, "intermediate_size_mlp": 48}
        | {"num_local_experts": 2, "interleave_moe_layer_step": 1},
        "packed",
    ),
}


def rows() -> list[Row]:
    rng = np.random.default_rng(2)

    def ids(n: int) -> np.ndarray:
        return rng.integers(2, 128, size=n).astype(np.int32)

    def node(n: int, trained: bool, parent: int = -1) -> Node:
        return Node(ids(n), np.full(n, trained), parent)

    plain = [Row((Node(ids(n), np.arange(n) > 2),), f"p{n}", f"p{n}") for n in (7, 12)]
    pair = Row((node(9, False), node(6, True, 0), node(4, True, 0)), "pair", "pair")
    deep = Row((node(5, False), node(4, True, 0), node(3, True, 1), node(5, True, 1), node(2, True, 0)), "deep", "deep")
    return [*plain, pair, deep]


def policy_of(tiny: Any, kind: str, changes: dict[str, Any]) -> Policy:
    from transformers import AutoConfig, AutoModelForCausalLM

    settings = {**COMMON, **changes}
    if kind == "mamba2":
        settings = {"vocab_size": 128, "hidden_size": 32, "num_hidden_layers": 2, "state_size": 8, "num_heads": 8}
        settings |= {"head_dim": 8, "n_groups": 1, "chunk_size": 8, "eos_token_id": 0, "pad_token_id": 1}
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **settings))
    return Policy(model.float().train(), Chat(tiny.tokenizer()), TrainingSettings(), "unused")


@pytest.mark.parametrize("name", list(ARCHITECTURES))
def test_each_architecture_takes_its_fastest_exact_way(tiny: Any, name: str) -> None:
    kind, changes, way = ARCHITECTURES[name]
    policy = policy_of(tiny, kind, changes)
    facts = choose_way(policy, rows()[:3], 32)
    assert facts["batching"] == way, facts
    data = rows()[:3]
    with policy.evaluating():
        packed = policy.logprobs(flat_batch(data, range(3), share=policy.shares))
        policy.take("padded")  # the model's own attention
        alone = torch.cat([self_test._alone(policy, row) for row in data])
    torch.testing.assert_close(packed, alone, rtol=1e-4, atol=2e-4)


def test_what_only_shows_at_a_distance_is_found_without_the_config(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunked attention looks like plain attention on short rows; the longest row gives it away."""
    kind, changes, _ = ARCHITECTURES["llama4, chunks of 8"]
    policy = policy_of(tiny, kind, changes)
    monkeypatch.setattr(self_test, "_beyond", lambda *_: None)
    facts = choose_way(policy, [*rows()[:1], rows()[2]], 32)
    assert facts["batching"] == "packed"
    assert float(facts["packed_equals_alone_flat"]) > 1e-2


def test_gradients_of_shared_prompts_equal_those_of_copies(tiny: Any) -> None:
    gradients = []
    for share in (True, False):
        policy = policy_of(tiny, "llama", {})
        policy.take("flat" if share else "padded")
        data = rows()[:3]
        batch = flat_batch(data, range(3), share=share)
        weights = torch.linspace(-1, 1, len(batch.labels_N))
        (policy.logprobs(batch) * weights).sum().backward()
        gradients.append({name: p.grad for name, p in policy.model.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], rtol=1e-4, atol=1e-5)


def test_branches_and_neighbours_do_not_see_each_other(tiny: Any) -> None:
    policy = policy_of(tiny, "llama", {})
    policy.take("flat")
    data = rows()
    pair = data[2]
    changed = Row((*pair.nodes[:2], Node(pair.nodes[2].ids[::-1].copy(), pair.nodes[2].trained, 0)), "x", "x")
    with policy.evaluating():
        before = policy.sequence_logprobs(flat_batch([data[0], pair, data[1]], range(3)))
        after = policy.sequence_logprobs(flat_batch([data[0], changed, data[1]], range(3)))
        alone = policy.sequence_logprobs(flat_batch([pair], [0]))
    assert before[2] != after[2]
    kept = [0, 1, 3]
    torch.testing.assert_close(before[kept], after[kept], rtol=0, atol=1e-6)
    torch.testing.assert_close(before[1:3], alone, rtol=1e-5, atol=1e-5)


def test_deep_trees_equal_their_paths(tiny: Any) -> None:
    policy = policy_of(tiny, "llama", {})
    policy.take("flat")
    deep = rows()[3]
    with policy.evaluating():
        found = policy.sequence_logprobs(flat_batch([deep], [0]))
        for place, node in enumerate(deep.nodes[1:]):
            path = [node]
            while path[0].parent >= 0:
                path.insert(0, deep.nodes[path[0].parent])
            ids = np.concatenate([n.ids for n in path])
            mask = np.arange(len(ids)) >= len(ids) - len(node.ids)
            one = policy.sequence_logprobs(flat_batch([Row((Node(ids, mask),), "p", "p")], [0]))
            torch.testing.assert_close(found[place], one[0], rtol=1e-5, atol=1e-5)


def test_a_model_whose_batches_differ_is_refused(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = policy_of(tiny, "llama", {})
    monkeypatch.setattr(self_test, "_difference", lambda *_: torch.tensor([0.3]))
    with pytest.raises(BadInput, match="other log-probabilities in a batch than alone"):
        choose_way(policy, rows()[:2], 32)


def varlen_by_hand(q: Any, k: Any, v: Any, cu_q: Any, cu_k: Any, max_q: int, max_k: int, **named: Any) -> torch.Tensor:
    """What the flash kernel for segments of different lengths promises: causal, a window, both aligned to the end."""
    back, ahead = named.get("window_size", (-1, 0))
    assert ahead == 0
    assert max_q == int(cu_q.diff().max())
    assert max_k == int(cu_k.diff().max())
    out = torch.empty_like(q)
    for a, b, c, d in zip(cu_q[:-1].tolist(), cu_q[1:].tolist(), cu_k[:-1].tolist(), cu_k[1:].tolist(), strict=True):
        groups = q.shape[1] // k.shape[1]
        query, key, value = (t.transpose(0, 1) for t in (q[a:b], k[c:d], v[c:d]))
        key, value = key.repeat_interleave(groups, 0), value.repeat_interleave(groups, 0)
        seen = torch.ones(b - a, d - c, dtype=torch.bool).tril((d - c) - (b - a))
        if back >= 0:
            seen = seen.triu((d - c) - (b - a) - back)
        mixed = torch.nn.functional.scaled_dot_product_attention(query, key, value, seen, scale=named["scale"])
        out[a:b] = mixed.transpose(0, 1)
    return out


KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "full": ("llama", {}),
    "windows": ("mistral", {"sliding_window": 4}),
    "caps": ("gemma2", {"sliding_window": 6, "attn_logit_softcapping": 2.0}),
    "sinks": ("gpt_oss", {"sliding_window": 5, "num_local_experts": 4, "num_experts_per_tok": 2}),
}


def as_tree(layout: Layout) -> dict[str, Any]:
    return {"layout": layout, "tree": Tree(layout, torch.device("cpu"))}


def as_varlen(layout: Layout) -> dict[str, Any]:
    return flat.varlen(layout, torch.device("cpu")).as_arguments()


def compare_with_segments(
    policy: Policy, monkeypatch: pytest.MonkeyPatch, batch: Any, told: Any, *, gradients: bool = True
) -> None:
    policy.model.eval()
    policy.take("flat")
    policy.model.requires_grad_(gradients)
    wanted = [p for _, p in policy.trainable()]

    def run() -> tuple[torch.Tensor, list[torch.Tensor]]:
        with torch.set_grad_enabled(gradients):
            found = policy.logprobs(batch)
            return found.detach(), list(torch.autograd.grad(found.sum(), wanted)) if gradients else []

    segments = run()
    monkeypatch.setattr(flat, "varlen_attn", varlen_by_hand)
    monkeypatch.setattr(Policy, "_layout", lambda self, b: told(b.layout))
    kernel = run()
    torch.testing.assert_close(kernel[0], segments[0], rtol=1e-5, atol=1e-5)
    for a, b in zip(kernel[1], segments[1], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("kind", ["full", "windows"])
def test_the_layout_for_one_kernel_gives_what_the_segments_give(
    tiny: Any, monkeypatch: pytest.MonkeyPatch, share: bool, kind: str
) -> None:
    name, changes = KINDS[kind]
    batch = flat_batch(rows(), range(4), share=share)
    compare_with_segments(policy_of(tiny, name, changes), monkeypatch, batch, as_varlen)


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_flex_attention_gives_the_values_that_the_segments_give(
    tiny: Any, monkeypatch: pytest.MonkeyPatch, share: bool, kind: str
) -> None:
    name, changes = KINDS[kind]
    batch = flat_batch(rows(), range(4), share=share)
    compare_with_segments(policy_of(tiny, name, changes), monkeypatch, batch, as_tree, gradients=False)


@given(st.data())
def test_the_blocks_and_the_tree_say_who_sees_whom(data: st.DataObject) -> None:
    lengths = data.draw(st.lists(st.integers(1, 200), min_size=1, max_size=6))
    parents = tuple(data.draw(st.integers(-1, i - 1)) for i in range(len(lengths)))
    layout = Layout(tuple(lengths), parents)
    window = data.draw(st.one_of(st.none(), st.integers(1, 300)))
    tokens = sum(lengths)
    wanted = np.zeros((tokens, tokens), dtype=bool)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    for segment in range(len(lengths)):
        path = np.concatenate([np.arange(starts[s], starts[s + 1]) for s in (*layout.ancestors(segment), segment)])
        for query in range(starts[segment], starts[segment + 1]):
            before = path[: np.flatnonzero(path == query)[0] + 1]
            wanted[query, before if window is None else before[-window:]] = True
    mask = Tree(layout, torch.device("cpu")).mask(window)
    at = torch.arange(tokens)
    found = mask.mask_mod(0, 0, at[:, None], at[None, :]).numpy()
    assert (found == wanted).all()
    blocks = mask.to_dense()[0, 0].bool().numpy()
    for i, j in zip(*np.nonzero(wanted), strict=True):
        assert blocks[i // 128, j // 128]


def test_the_kernel_refuses_what_it_cannot_do(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    name, changes = KINDS["caps"]
    policy = policy_of(tiny, name, changes)
    policy.take("flat")
    monkeypatch.setattr(flat, "varlen_attn", varlen_by_hand)
    monkeypatch.setattr(Policy, "_layout", lambda self, b: as_varlen(b.layout))
    with pytest.raises(flat.CannotSteer, match="soft cap"):
        policy.logprobs(flat_batch(rows(), range(4)))


def test_without_windows_in_the_kernel_such_layers_are_taken_apart(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    name, changes = KINDS["windows"]
    policy = policy_of(tiny, name, changes)
    monkeypatch.setattr(self_test, "HAS_WINDOWS", False)
    choose_way(policy, rows()[:2], 32)
    assert policy.segments_too


def test_layers_the_kernel_cannot_do_take_their_segments(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def counted(*args: Any, **named: Any) -> torch.Tensor:
        calls.append(1)
        return varlen_by_hand(*args, **named)

    layers = ["sliding_attention", "full_attention"]
    policy = policy_of(tiny, "gemma3_text", {"sliding_window": 4, "layer_types": layers})
    policy.model.eval()
    policy.take("flat")
    batch = flat_batch(rows(), range(4))
    segments = policy.logprobs(batch).detach()
    monkeypatch.setattr(flat, "varlen_attn", counted)
    monkeypatch.setattr(flat, "HAS_WINDOWS", False)
    monkeypatch.setattr(flat, "_VARLEN_TAKES", frozenset({"is_causal"}))
    policy.segments_too = True
    assert policy.compile().startswith("nothing")
    both = {"layout": batch.layout} | flat.varlen(batch.layout, torch.device("cpu")).as_arguments()
    monkeypatch.setattr(Policy, "_layout", lambda self, b: both)
    torch.testing.assert_close(policy.logprobs(batch).detach(), segments, rtol=1e-5, atol=1e-5)
    assert len(calls) == 1  # the layer without a window
