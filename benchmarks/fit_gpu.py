"""The part of `benchmarks/fit.py` that runs on a GPU: models of random weights, made from their configs on the device.

Nothing is read from disk or network. Each case trains two epochs of two updates with this project's loop, so that
every forward also comes when the optimiser has its moments, and its most bytes allocated and reserved
(`max_memory_allocated`, `max_memory_reserved`) stand beside what `goldsmith fit` says.
"""

import gc
import time
from dataclasses import dataclass
from typing import Any

SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "qwen3-0.6b": ("qwen3", {"hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 28,
                             "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128,
                             "vocab_size": 151936, "tie_word_embeddings": True}),
    "llama-1.2b": ("llama", {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16,
                             "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 64,
                             "vocab_size": 128256, "tie_word_embeddings": True}),
    "qwen3-1.7b": ("qwen3", {"hidden_size": 2048, "intermediate_size": 6144, "num_hidden_layers": 28,
                             "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128,
                             "vocab_size": 151936, "tie_word_embeddings": True}),
    "tiny": ("qwen3", {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
                       "num_key_value_heads": 2, "head_dim": 16, "vocab_size": 512, "tie_word_embeddings": True}),
}  # fmt: skip
WAYS: dict[str, dict[str, Any]] = {
    "full": {"precision": "bfloat16_mixed"},
    "lora": {"precision": "bfloat16", "adapter": {"kind": "lora", "rank": 16}},
}


@dataclass(frozen=True, slots=True)
class Case:
    """One run: `rows` of an update, `longest` the tokens that a row may have."""

    shape: str
    method: str
    way: str
    rows: int
    longest: int
    more: tuple[tuple[str, Any], ...] = ()

    @property
    def settings(self) -> dict[str, Any]:
        fixed = {"max_steps": 4, "max_length": 4096, "learning_rate": 1e-5, "schedule": "constant", "compile": "off"}
        return {**fixed, "batch_size": self.rows, **WAYS[self.way], **dict(self.more)}


CASES = (
    Case("qwen3-0.6b", "sft", "full", 24, 900),
    Case("qwen3-0.6b", "sft", "lora", 24, 900),
    Case("qwen3-0.6b", "dpo", "full", 16, 900),
    Case("qwen3-0.6b", "reward_model", "lora", 16, 900),
    Case("llama-1.2b", "sft", "lora", 24, 900),
    Case("llama-1.2b", "dpo", "lora", 12, 900),
    Case("qwen3-1.7b", "sft", "full", 16, 700),
    Case("qwen3-1.7b", "reward_model", "full", 8, 700),
    Case("qwen3-1.7b", "dpo", "lora", 8, 700),
    Case("qwen3-1.7b", "sft", "full", 24, 900, (("activation_checkpointing", True),)),
)
TINY = (
    Case("tiny", "sft", "full", 4, 40),
    Case("tiny", "dpo", "lora", 4, 40),
    Case("tiny", "reward_model", "full", 4, 40),
)


def make_rows(case: Case) -> tuple[Any, ...]:
    """Two updates' rows, between a quarter of `longest` and all of it, half of each the answer; as the method reads
    them."""
    import numpy as np

    from goldsmith.engines.training.data.judged import judged
    from goldsmith.engines.training.data.rows import Node, Row

    rng = np.random.default_rng(11)
    vocabulary = SHAPES[case.shape][1]["vocab_size"]

    def node(size: int, trained: bool, parent: int = -1) -> Node:
        return Node(rng.integers(2, vocabulary, size).astype(np.int32), np.full(size, trained), parent)

    rows = []
    for number in range(2 * case.rows):
        half = int(rng.integers(case.longest // 4, case.longest + 1)) // 2
        if case.method == "sft":
            whole = node(2 * half, False)
            whole.trained[half:] = True
            nodes: tuple[Node, ...] = (whole,)
        else:
            nodes = (node(half, False), node(half, True, 0), node(half, True, 0))
        rows.append(Row(nodes, str(number), str(number)))
    return tuple(judged(row) for row in rows) if case.method == "reward_model" else tuple(rows)


def config_of(shape: str) -> Any:
    """The shape as a config."""
    from transformers import AutoConfig

    kind, document = SHAPES[shape]
    fixed = {"bos_token_id": None, "eos_token_id": 0, "pad_token_id": 1, "max_position_embeddings": 4096}
    return AutoConfig.for_model(kind, **document, **fixed)


def predicted(case: Case, rows: tuple[Any, ...]) -> tuple[int, dict[str, int]]:
    """Bytes of tensors that `goldsmith fit` counts, and its parts with the allowance for a GPU."""
    from goldsmith.engines.fit.estimate import as_dict, memory_of
    from goldsmith.engines.fit.work import Work, simulated
    from goldsmith.stages.fit import build

    run = simulated(config_of(case.shape), Work(case.method, build(case.method, case.settings), rows, False), "cuda")
    return run.peak, dict(as_dict(memory_of(run, device="cuda")))


def _policy(case: Case, spec: Any, device: str) -> Any:
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

    from goldsmith.engines.training.model.adapters import choose_weights, put_adapter
    from goldsmith.engines.training.model.policy import Policy

    class Ids:  # rows are token ids already
        pad_id = 1

    torch.manual_seed(0)
    config = config_of(case.shape)
    kind: Any = AutoModelForCausalLM
    if spec.ends_in == "number":
        config.num_labels, kind = 1, AutoModelForSequenceClassification
    dtype = torch.bfloat16 if spec.precision == "bfloat16" else torch.float32
    with torch.device(device):
        model = kind.from_config(config, dtype=dtype)
    if spec.activation_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    if spec.adapter.kind == "none":
        choose_weights(model, spec.adapter)
    else:
        model = put_adapter(model, spec.adapter, "base", [], spec.ends_in)
    return Policy(model.train(), Ids(), spec, "base")  # type: ignore[arg-type]


def trained(case: Case, rows: tuple[Any, ...], device: str) -> dict[str, Any]:
    """Two epochs of two updates; the most bytes that were held, the driver's own left out, and how batches were put."""
    import torch

    from goldsmith.engines.training.data.prepare import plan_of
    from goldsmith.engines.training.guards.self_test import choose_way
    from goldsmith.engines.training.memory.allocator import grow_segments
    from goldsmith.engines.training.optimizer import build_optimizer
    from goldsmith.stages.fit import build

    cuda = device == "cuda"
    if cuda:
        grow_segments()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    spec: Any = build(case.method, case.settings)
    policy = _policy(case, spec, device)
    facts = choose_way(policy, list(rows), spec.max_length)
    plan = plan_of(spec, rows, 0, device=device, share=policy.shares)
    optimizer = build_optimizer(policy, spec, plan.steps)
    prepared = spec.prepare(policy, rows, plan)
    if cuda:
        torch.cuda.synchronize()
    before = time.perf_counter()
    losses = [metrics.loss for metrics in spec.steps(policy, plan, optimizer, prepared, 0)]
    if cuda:
        torch.cuda.synchronize()
    free, whole = torch.cuda.mem_get_info() if cuda else (0, 0)
    return {
        "allocated": torch.cuda.max_memory_allocated() if cuda else 0,
        "reserved": torch.cuda.max_memory_reserved() if cuda else 0,
        "beyond_reserved": whole - free - torch.cuda.memory_reserved() if cuda else 0,
        "seconds": time.perf_counter() - before,
        "losses": losses,
        "way": facts["batching"],
    }


def measure(case: Case, device: str) -> dict[str, Any]:
    """One case, predicted and measured."""
    rows = make_rows(case)
    tensors, parts = predicted(case, rows)
    found = trained(case, rows, device)
    gc.collect()
    errors = {}
    if found["allocated"]:
        errors["tensors_error"] = round(tensors / found["allocated"] - 1, 4)
        whole = found["reserved"] + found["beyond_reserved"]
        errors["total_error"] = round(parts["total"] / whole - 1, 4)
    named = {"shape": case.shape, "method": case.method, "tuning": case.way, "rows": case.rows, "longest": case.longest}
    return {**named, "settings": dict(case.more), "tensors": tensors, "parts": parts, **found, **errors}


def run(device: str, cases: tuple[Case, ...], seconds: float) -> dict[str, Any]:
    """The cases in turn, as long as `seconds` last; one that fails is told and left out."""
    import torch
    import transformers

    began, results = time.perf_counter(), []
    for case in cases:
        if time.perf_counter() - began > seconds:
            print(f"no time left for {case.shape} {case.method} {case.way}", flush=True)
            continue
        try:
            row = measure(case, device)
        except Exception as error:
            print(f"{case.shape} {case.method} {case.way} failed: {error!r}"[:300], flush=True)
            gc.collect()
            continue
        results.append(row)
        print(
            f"{case.shape} {case.method} {case.way} {dict(case.more)}: allocated {row['allocated'] / 2**20:.0f} MiB, "
            f"counted {row['tensors'] / 2**20:.0f} ({row.get('tensors_error', 0):+.1%}); reserved "
            f"{row['reserved'] / 2**20:.0f} and {row['beyond_reserved'] / 2**20:.0f} beyond, predicted "
            f"{row['parts']['total'] / 2**20:.0f} ({row.get('total_error', 0):+.1%}); {row['way']}, "
            f"{row['seconds']:.1f} s",
            flush=True,
        )
    card = torch.cuda.get_device_name() if device == "cuda" else device
    return {"card": card, "torch": torch.__version__, "transformers": transformers.__version__, "cases": results}
