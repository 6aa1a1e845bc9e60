"""SFT and DPO beside TRL on one GPU: a Qwen3-0.6B-shaped model with random weights, bf16, rows of chat length.

Run: `python benchmarks/training_gpu.py [--repeats 3] [--updates 12] [--peers NAMES]`. It writes
`benchmarks/results/training_gpu.json`.
Everything happens in one process and the tools take turns; each is warmed up first, so that compiling and loading stay
out of the times. TRL runs in several settings and the fastest counts: padded, and without padding over torch's own
variable-length flash kernel (the flash-attn package has to be built on the machine; the kernel is the same algorithm),
each with and without Liger's fused kernels where they are installed. Flex attention is not among them: compiling it for
every new length did not end within 100 seconds. A time covers a whole run over the same rows: updates, and for DPO the
reference log-probabilities too.
"""

import argparse
import gc
import inspect
import itertools
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import results
import torch

os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
sys.path.insert(0, str(Path(__file__).parent / "trainers"))
PEAK_FLOPS = {"NVIDIA H100": 989e12, "NVIDIA H200": 989e12, "NVIDIA A100": 312e12}
SHAPES = {
    "0.6b": {"hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 28, "num_attention_heads": 16},
    "1.7b": {"hidden_size": 2048, "intermediate_size": 6144, "num_hidden_layers": 28, "num_attention_heads": 16},
    "tiny": {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4},
}
ROWS_PER_UPDATE = {"sft": 64, "dpo": 32}
WORDS = 4
"""Of the tokenizer: rows are token ids already, and only TRL's dummy row is text."""


def make_model(options: argparse.Namespace, attention: str = "sdpa") -> Any:
    """Random weights in float32, as both tools take them for mixed precision."""
    from transformers import AutoModelForCausalLM, Qwen3Config

    torch.manual_seed(0)
    tiny = options.size == "tiny"
    config = Qwen3Config(
        vocab_size=512 if tiny else 151936,
        num_key_value_heads=2 if tiny else 8,
        head_dim=16 if tiny else 128,
        tie_word_embeddings=True,
        max_position_embeddings=4096,
        bos_token_id=None,
        eos_token_id=0,
        pad_token_id=1,
        **SHAPES[options.size],
    )
    with torch.device(options.device):
        return AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation=attention)


def make_rows(kind: str, count: int, vocabulary: int) -> list[dict[str, list[int]]]:
    """Log-normal lengths: SFT prompts around 150 and answers around 200 tokens; pairs share prompts around 250."""
    import numpy as np

    rng = np.random.default_rng(7)

    def run(median: float, spread: float, most: int) -> list[int]:
        length = int(min(most, max(4, rng.lognormal(np.log(median), spread))))
        return [int(i) for i in rng.integers(2, vocabulary, size=length)]

    if kind == "sft":
        return [{"prompt": run(150, 0.8, 900), "answer": [*run(200, 0.8, 1100), 0]} for _ in range(count)]
    return [
        {"prompt": run(250, 0.8, 900), "chosen": [*run(180, 0.7, 900), 0], "rejected": [*run(180, 0.7, 900), 0]}
        for _ in range(count)
    ]


class Clock:
    """Seconds of device work and peak bytes of device memory since `start`."""

    def __init__(self, device: str) -> None:
        self.cuda = device == "cuda"

    def start(self) -> None:
        if self.cuda:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
        self.began = time.perf_counter()

    def stop(self) -> dict[str, float]:
        if self.cuda:
            torch.cuda.synchronize()
        peak = torch.cuda.max_memory_allocated() if self.cuda else 0
        return {"seconds": time.perf_counter() - self.began, "peak_gib": peak / 2**30}


def run_ours(kind: str, rows: list[dict[str, list[int]]], options: argparse.Namespace) -> dict[str, Any]:
    """One epoch with this project's loop."""
    import ours
    import work

    from goldsmith.engines.chat import Chat
    from goldsmith.engines.training.guards.self_test import choose_way
    from goldsmith.engines.training.model.policy import Policy
    from goldsmith.engines.training.optimizer import build_optimizer
    from goldsmith.methods.dpo import Dpo
    from goldsmith.methods.sft import Sft

    settings = {"learning_rate": 1e-5, "schedule": "constant", "warmup_share": 0.0, "precision": "bfloat16_mixed"}
    method: Any = Sft(**settings) if kind == "sft" else Dpo(**settings)
    policy = Policy(make_model(options).train(), Chat(work.make_tokenizer(WORDS)), method, "unused")
    made = ours.rows_of(kind, rows)
    facts = choose_way(policy, made, 4096)
    if options.compile:
        policy.compile()
    plan = ours.plan_of(made, ROWS_PER_UPDATE[kind], options.forward_tokens, policy)
    optimizer = build_optimizer(policy, method, plan.steps)
    clock = Clock(options.device)
    clock.start()
    prepared = method.prepare(policy, made, plan)
    seen = list(method.steps(policy, plan, optimizer, prepared, 0))
    found: dict[str, Any] = clock.stop()
    forward = sum(m.tokens for m in seen)
    return {**found, "losses": [m.loss for m in seen], "tokens": forward, "way": facts["batching"]}


PEERS: dict[str, dict[str, dict[str, Any]]] = {
    "sft": {
        "padded": {"batch": 8},
        "padded_liger": {"batch": 8, "liger": True},
        "packed_varlen": {"batch": 4, "attention": "peer_varlen", "packing": True},
        "packed_varlen_liger": {"batch": 4, "attention": "peer_varlen", "packing": True, "liger": True},
    },
    "dpo": {  # TRL 1.16 says that `padding_free` is switched off for DPO, and pads
        "padded_precomputed": {"batch": 4, "precompute": True},
        "padded_liger": {"batch": 4, "liger": True},
    },
}


class PeerVarlen:
    """Attention for the peer over rows laid end to end, as flash-attn gives it: cut where positions begin anew. Where
    they begin is found once for a batch, not in each layer."""

    def __init__(self) -> None:
        self.seen: tuple[Any, Any, int] = (None, None, 0)

    def _cuts(self, positions_1T: torch.Tensor) -> tuple[torch.Tensor, int]:
        if self.seen[0] is not positions_1T:
            starts = (positions_1T.flatten() == 0).nonzero().flatten()
            ends = torch.tensor([positions_1T.numel()], device=starts.device)
            cu = torch.cat([starts, ends]).int()
            self.seen = (positions_1T, cu, int(cu.diff().max()))
        return self.seen[1], self.seen[2]

    def __call__(self, _module: Any, q: Any, k: Any, v: Any, _mask: Any, **named: Any) -> tuple[torch.Tensor, None]:
        cu, longest = self._cuts(named["position_ids"])
        query, key, value = (t[0].transpose(0, 1).to(torch.bfloat16) for t in (q, k, v))
        if not q.is_cuda:
            return _by_hand(query, key, value, cu, named["scaling"]), None
        from torch.nn.attention.varlen import varlen_attn

        takes = inspect.signature(varlen_attn).parameters
        more: dict[str, Any] = {"window_size": (-1, 0)} if "window_size" in takes else {"is_causal": True}
        if "enable_gqa" in takes:
            more["enable_gqa"] = True
        else:
            groups = query.shape[1] // key.shape[1]
            key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
        out: Any = varlen_attn(
            query.contiguous(), key.contiguous(), value.contiguous(), cu, cu, longest, longest,
            scale=named["scaling"], **more,
        )  # fmt: skip
        return out[None], None


def _by_hand(query: Any, key: Any, value: Any, cu: torch.Tensor, scaling: float) -> torch.Tensor:
    """For trying this file on a CPU."""
    groups, parts = query.shape[1] // key.shape[1], []
    for a, b in itertools.pairwise(cu.tolist()):
        q, k, v = (t[a:b].transpose(0, 1) for t in (query, key, value))
        k, v = k.repeat_interleave(groups, 0), v.repeat_interleave(groups, 0)
        parts.append(
            torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scaling).transpose(0, 1)
        )
    return torch.cat(parts)[None]


def run_peer(kind: str, rows: list[dict[str, list[int]]], options: argparse.Namespace, setting: dict[str, Any]) -> Any:
    """One epoch with TRL."""
    import trl_side
    import work
    from transformers.utils import logging

    logging.set_verbosity_error()
    batch, packing, attention = setting["batch"], setting.get("packing", False), setting.get("attention", "sdpa")
    told = {
        **trl_side.arguments(work.Options(kind=kind), batch),
        "use_cpu": options.device == "cpu",
        # Packed rows hold 4,096 tokens, as many as nine or ten of these rows.
        "gradient_accumulation_steps": max(1, ROWS_PER_UPDATE[kind] // batch // (9 if packing else 1)),
        "learning_rate": 1e-5,
        "use_liger_kernel": setting.get("liger", False),
        "dataloader_pin_memory": True,
    }
    given = {"model": make_model(options, attention), "processing_class": work.make_tokenizer(WORDS)}
    with tempfile.TemporaryDirectory() as folder:
        told["output_dir"] = folder
        if kind == "sft":
            trainer = trl_side.sft_trainer(rows, 4096 if packing else None, told, given)
        else:
            trainer = trl_side.dpo_trainer(rows, told, {**given, "ref_model": make_model(options, attention)})
        clock = Clock(options.device)
        clock.start()
        if setting.get("precompute"):
            trl_side.precompute(trainer)
        trainer.train()
        found = clock.stop()
    return {**found, "losses": [line["loss"] for line in trainer.state.log_history if "loss" in line]}


@contextmanager
def own_model_code() -> Iterator[None]:
    """Liger puts its layers into transformers' own module; afterwards that is as it was, for the next tool."""
    from torch import nn
    from transformers.models.qwen3 import modeling_qwen3

    names, loss = dict(vars(modeling_qwen3)), nn.functional.cross_entropy
    forward = modeling_qwen3.Qwen3ForCausalLM.forward
    try:
        yield
    finally:
        vars(modeling_qwen3).update(names)
        nn.functional.cross_entropy = loss
        modeling_qwen3.Qwen3ForCausalLM.forward = forward  # type: ignore[method-assign]


def _fresh(run: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    found = run()
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return found


class Comparison:
    """One kind of training: repeats of our loop and of the peer's settings over the same rows."""

    def __init__(self, kind: str, options: argparse.Namespace) -> None:
        self.kind, self.options = kind, options
        self.rows = make_rows(
            kind, ROWS_PER_UPDATE[kind] * options.updates[kind], 512 if options.size == "tiny" else 151936
        )
        self.labels = sum(len(r.get("answer", r.get("chosen", []))) + len(r.get("rejected", [])) for r in self.rows)
        self.ours: list[dict[str, Any]] = []
        self.peers: dict[str, list[dict[str, Any]]] = {
            name: [] for name in PEERS[kind] if not options.peers or name in options.peers.split(",")
        }

    def turn(self, number: int) -> None:
        """Every tool once; turn 0 warms up and does not count."""
        measured = _fresh(lambda: run_ours(self.kind, self.rows, self.options))
        self.ours += [measured] if number else []
        self._say("ours", number, measured)
        for name in list(self.peers):
            setting = PEERS[self.kind][name]
            try:
                with own_model_code():
                    measured = _fresh(partial(run_peer, self.kind, self.rows, self.options, setting))
            except Exception as error:
                print(self.kind, name, "failed:", repr(error)[:300], flush=True)
                del self.peers[name]
                continue
            self.peers[name] += [measured] if number else []
            self._say(name, number, measured)

    def _say(self, who: str, number: int, measured: dict[str, Any]) -> None:
        seconds, peak, losses = measured["seconds"], measured["peak_gib"], measured["losses"][:3]
        print(f"{self.kind} {who} turn {number}: {seconds:.2f} s, {peak:.1f} GiB, {losses}", flush=True)

    def results(self) -> list[dict[str, Any]]:
        """Rows for speed and memory beside the fastest setting of the peer."""
        import trl

        best = min(self.peers, key=lambda name: statistics.median(m["seconds"] for m in self.peers[name]))
        facts = facts_of(self.kind, self.options, best, self.ours, self.labels)

        def compared(what: str, unit: str, side: Callable[[dict[str, Any]], float]) -> dict[str, Any]:
            mine, theirs = [side(m) for m in self.ours], [side(m) for m in self.peers[best]]
            version = f"trl {trl.__version__}"
            return {**results.row(f"{self.kind}{what}", mine, theirs, unit, peer_version=version), **facts}

        found = [compared("", "label tokens/s", lambda m: self.labels / m["seconds"])]
        if self.options.device == "cuda":
            found.append(compared("_peak_memory", "GiB", lambda m: m["peak_gib"]))
        found[0]["peer_settings"] = {
            name: round(self.labels / statistics.median(m["seconds"] for m in runs), 1)
            for name, runs in self.peers.items()
        }
        return found


def facts_of(
    kind: str, options: argparse.Namespace, best: str, ours: list[dict[str, Any]], labels: int
) -> dict[str, Any]:
    """What belongs to the figures."""
    import transformers

    card = torch.cuda.get_device_name() if options.device == "cuda" else "cpu"
    model = make_model(options)
    parameters = sum(p.numel() for p in model.parameters())
    seconds = statistics.median(m["seconds"] for m in ours)
    flops = 6.0 * parameters * ours[0]["tokens"] / seconds
    peak = next((v for k, v in PEAK_FLOPS.items() if card.startswith(k)), None)
    return {
        "card": card,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "parameters": parameters,
        "peer_setting": best,
        "label_tokens": labels,
        "updates": options.updates[kind],
        "compiled": options.compile,
        # Parameters of the tied head count as if every token met them; the labels' share does.
        "model_flops_utilisation": round(flops / peak, 3) if peak else None,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--updates", default="12", help="one number, or one for each kind, parted by commas")
    parser.add_argument("--peers", default="", help="only these settings of the peer, parted by commas")
    parser.add_argument("--size", choices=list(SHAPES), default="0.6b")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--kinds", default="sft,dpo")
    parser.add_argument("--forward-tokens", type=int, default=16384)
    parser.add_argument("--no-compile", dest="compile", action="store_false")
    options = parser.parse_args()
    kinds, updates = options.kinds.split(","), [int(n) for n in options.updates.split(",")]
    options.updates = dict(zip(kinds, updates if len(updates) > 1 else updates * len(kinds), strict=True))
    torch.set_float32_matmul_precision("high")
    from transformers import AttentionInterface

    AttentionInterface.register("peer_varlen", PeerVarlen())
    comparisons = [Comparison(kind, options) for kind in kinds]
    for number in range(options.repeats + 1):
        for one in comparisons:
            one.turn(number)
        if number:  # a run that is cut short leaves what it has
            results.save("training_gpu", [row for one in comparisons for row in one.results()])


if __name__ == "__main__":
    main()
