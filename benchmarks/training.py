"""SFT, DPO and GRPO beside TRL: the same model, rows, batches, precision and optimiser, in interleaved processes.

Run: `python benchmarks/training.py [--rows 64] [--repeats 3] [--quick]`. Writes `benchmarks/results/training.json`.
Each measurement is a process of its own, so that peak memory is its own; the two tools take turns, so that a busy
machine hits both. Times cover whole updates, for DPO the reference log-probabilities too, for GRPO the sampling. The
losses of both tools are compared step by step: a faster tool that computes something else would show. What GRPO samples
is each tool's own; random weights hardly ever stop, so that answers are as long as allowed on both sides.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import results

GROUP, ANSWER_TOKENS, PROMPTS = 8, 64, 4
"""GRPO: answers to a prompt, their tokens, prompts of an update."""
ALLOCATOR = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "2147483647"}
BATCH = 8
PEER_VERSION = "trl 1.16.0"


def make_model(size: str) -> Any:
    """A Llama with random weights: small has 9 million of them, medium 43 million, large 102 million."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    hidden, layers, vocabulary = {"small": (256, 6, 8192), "medium": (512, 8, 16384), "large": (768, 10, 32768)}[size]
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=hidden,
            intermediate_size=hidden * 8 // 3,
            num_hidden_layers=layers,
            num_attention_heads=hidden // 64,
            num_key_value_heads=hidden // 64,
            max_position_embeddings=2048,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=0,
            pad_token_id=1,
        )
    )


def make_rows(kind: str, count: int, vocabulary: int) -> list[dict[str, list[int]]]:
    """Token rows with the lengths of chat data: log-normal, prompts around 80 tokens, answers around 100."""
    import numpy as np

    rng = np.random.default_rng(7)

    def run(median: float, spread: float, most: int) -> list[int]:
        length = int(min(most, max(4, rng.lognormal(np.log(median), spread))))
        return [int(i) for i in rng.integers(2, vocabulary, size=length)]

    if kind == "sft":
        return [{"prompt": run(80, 0.8, 400), "answer": [*run(100, 0.8, 400), 0]} for _ in range(count)]
    if kind == "grpo":
        return [{"prompt": run(120, 0.7, 400)} for _ in range(count)]
    return [
        {"prompt": run(120, 0.7, 400), "chosen": [*run(90, 0.6, 300), 0], "rejected": [*run(90, 0.6, 300), 0]}
        for _ in range(count)
    ]


def _plain_tokenizer() -> Any:
    """A stand-in: rows are token ids already."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.WordLevel({"<end>": 0, "<pad>": 1, "a": 2}, unk_token="a"))
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<end>", pad_token="<pad>")


class Measured:
    """Seconds of the timed part, losses, and peak memory above what the imports took."""

    def __init__(self) -> None:
        self.before = _resident()
        self.clocks = (0.0, 0.0)

    def start(self) -> None:
        self.clocks = (time.perf_counter(), time.process_time())

    def report(self, losses: list[float]) -> None:
        seconds, cpu = time.perf_counter() - self.clocks[0], time.process_time() - self.clocks[1]
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - self.before
        print(json.dumps({"seconds": seconds, "cpu_seconds": cpu, "losses": losses, "peak_mib": peak}))


def _resident() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


def run_ours(kind: str, size: str, count: int, precision: str) -> None:
    """One epoch with this project's loop."""
    import numpy as np

    from goldsmith.engines.chat import Chat
    from goldsmith.engines.training.allocator import keep_pages
    from goldsmith.engines.training.guards import choose_way
    from goldsmith.engines.training.optimizer import build_optimizer
    from goldsmith.engines.training.policy import Policy
    from goldsmith.engines.training.rows import Node, Row
    from goldsmith.methods.dpo import Dpo
    from goldsmith.methods.sft import Sft

    measured = Measured()
    keep_pages()
    model = make_model(size)
    settings = {"learning_rate": 1e-4, "batch_size": BATCH, "schedule": "constant", "warmup_share": 0.0}
    settings |= {"precision": precision, "epochs": 1.0}
    method: Any = Sft(**settings) if kind == "sft" else Dpo(**settings)
    policy = Policy(model.train(), Chat(_plain_tokenizer()), method, "unused")

    def node(ids: list[int], trained: bool, parent: int = -1) -> Node:
        return Node(np.array(ids, dtype=np.int32), np.full(len(ids), trained), parent)

    rows = []
    for i, row in enumerate(make_rows(kind, count, model.config.vocab_size)):
        if kind == "sft":
            ids, mask = row["prompt"] + row["answer"], [False] * len(row["prompt"]) + [True] * len(row["answer"])
            nodes: tuple[Node, ...] = (Node(np.array(ids, dtype=np.int32), np.array(mask)),)
        else:
            nodes = (node(row["prompt"], False), node(row["chosen"], True, 0), node(row["rejected"], True, 0))
        rows.append(Row(nodes, str(i), str(i)))
    choose_way(policy, rows, 2048)
    plan = in_order(tuple(rows), 0, BATCH, count // BATCH, method.forward_tokens, BATCH, share=policy.shares)
    optimizer = build_optimizer(policy, method, plan.steps)
    measured.start()
    prepared = method.prepare(policy, rows, plan)
    losses = [metrics.loss for metrics in method.steps(policy, plan, optimizer, prepared, 0)]
    measured.report(losses)


class Cheap:
    """A reward that both tools have, that costs nothing and differs within each group."""

    id, version, bounds, needs_reference = "cheap", 1, (0.0, 1.0), False

    def __call__(self, samples: Any) -> list[Any]:
        from goldsmith.types.reward import Rewarded

        return [Rewarded(value) for value in self.values(len(samples))]

    @staticmethod
    def values(count: int) -> list[float]:
        return [i * 37 % 100 / 100 for i in range(count)]


def run_ours_grpo(size: str, count: int, precision: str) -> None:
    """One epoch of GRPO with this project's loop."""
    import numpy as np

    from goldsmith.engines.chat import Chat
    from goldsmith.engines.training.allocator import keep_pages
    from goldsmith.engines.training.guards import choose_way
    from goldsmith.engines.training.optimizer import build_optimizer
    from goldsmith.engines.training.policy import Policy
    from goldsmith.engines.training.rows import Node, Row
    from goldsmith.methods.grpo import Grpo
    from goldsmith.types.record import Conversation, Message, Record, Role, TextPart

    measured = Measured()
    keep_pages()
    model = make_model(size)
    settings: dict[str, Any] = {"learning_rate": 1e-4, "batch_size": PROMPTS, "schedule": "constant", "epochs": 1.0}
    settings |= {"warmup_share": 0.0, "precision": precision, "group_size": GROUP, "max_new_tokens": ANSWER_TOKENS}
    method = Grpo(rewards=({"reward": "cheap"},), logprob_gap_at_most=None, **settings).given({"cheap": Cheap()})
    policy = Policy(model.train(), Chat(_plain_tokenizer()), method, "unused")
    asked = Record(content=Conversation(messages=(Message(role=Role.USER, parts=(TextPart(text="a"),)),)))
    prompts = [np.array(row["prompt"], dtype=np.int32) for row in make_rows("grpo", count, model.config.vocab_size)]
    rows = [Row((Node(ids, np.zeros(len(ids), dtype=bool)),), str(i), str(i)) for i, ids in enumerate(prompts)]
    choose_way(policy, rows, 2048)
    plan = in_order(
        tuple(rows), 0, PROMPTS, count // PROMPTS, method.forward_tokens or 2048, BATCH, share=policy.shares
    )
    optimizer = build_optimizer(policy, method, plan.steps)
    measured.start()
    prepared = method.prepare(policy, rows, plan, dict.fromkeys(map(str, range(count)), asked))
    losses = [metrics.loss for metrics in method.steps(policy, plan, optimizer, prepared, 0)]
    measured.report(losses)


def run_peer_grpo(size: str, count: int, precision: str) -> None:
    """One epoch of GRPO with TRL."""
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    import trl
    from datasets import Dataset

    measured = Measured()
    model = make_model(size)
    rows = make_rows("grpo", count, model.config.vocab_size)
    with tempfile.TemporaryDirectory() as folder:
        config = trl.GRPOConfig(
            output_dir=folder,
            use_cpu=True,
            bf16=precision == "bfloat16_mixed",
            per_device_train_batch_size=PROMPTS * GROUP,
            num_generations=GROUP,
            max_completion_length=ANSWER_TOKENS,
            num_train_epochs=1,
            learning_rate=1e-4,
            lr_scheduler_type="constant",
            logging_steps=1,
            report_to=[],
            save_strategy="no",
            activation_checkpointing=False,
            disable_tqdm=True,
            dataloader_pin_memory=False,
            shuffle_dataset=False,
        )
        trainer = trl.GRPOTrainer(
            model=model,
            reward_funcs=lambda completions, **_: Cheap.values(len(completions)),
            args=config,
            train_dataset=Dataset.from_list([{"prompt": str(i)} for i in range(count)]),
            processing_class=_plain_tokenizer(),
        )
        trainer._tokenize_prompts = lambda prompts: ([rows[int(p)]["prompt"] for p in prompts], None, {})
        measured.start()
        trainer.train()
    measured.report([line["loss"] for line in trainer.state.log_history if "loss" in line])


def in_order(*values: Any, **named: Any) -> Any:
    """A plan that takes the rows as they come, so that both tools see the same batches."""
    from goldsmith.engines.training.batches import Plan

    class InOrder(Plan):
        def rows_of(self, step: int) -> list[int]:
            return list(range(step * self.rows_per_update, (step + 1) * self.rows_per_update))

    return InOrder(*values, **named)


def run_peer(kind: str, size: str, count: int, precision: str, packing: bool) -> None:
    """One epoch with TRL."""
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    import trl
    from datasets import Dataset

    measured = Measured()
    model = make_model(size)
    rows = make_rows(kind, count, model.config.vocab_size)
    shared: dict[str, Any] = {
        "use_cpu": True,
        "bf16": precision == "bfloat16_mixed",
        "per_device_train_batch_size": BATCH,
        "num_train_epochs": 1,
        "learning_rate": 1e-4,
        "lr_scheduler_type": "constant",
        "warmup_steps": 0,
        "weight_decay": 0.0,
        "logging_steps": 1,
        "report_to": [],
        "save_strategy": "no",
        "activation_checkpointing": False,
        "train_sampling_strategy": "sequential",
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
    }
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = _plain_tokenizer()
        trainer: Any
        if kind == "sft":
            data = Dataset.from_list(
                [
                    {
                        "input_ids": r["prompt"] + r["answer"],
                        "labels": [-100] * len(r["prompt"]) + r["answer"],
                    }
                    for r in rows
                ]
            )
            config = trl.SFTConfig(
                output_dir=folder,
                max_length=1024 if packing else None,
                packing=packing,
                shuffle_dataset=False,
                dataset_kwargs=None if packing else {"skip_prepare_dataset": True},
                remove_unused_columns=packing,
                **shared,
            )
            trainer = trl.SFTTrainer(model=model, args=config, train_dataset=data, processing_class=tokenizer)
        else:
            config = trl.DPOConfig(output_dir=folder, max_length=None, **shared)
            dummy = Dataset.from_list([{"prompt": "a", "chosen": " a", "rejected": " a"}])
            trainer = trl.DPOTrainer(
                model=model, ref_model=make_model(size), args=config, train_dataset=dummy, processing_class=tokenizer
            )
            trainer.train_dataset = Dataset.from_list([{f"{key}_ids": value for key, value in r.items()} for r in rows])
        measured.start()
        trainer.train()
    measured.report([line["loss"] for line in trainer.state.log_history if "loss" in line])


def measure(tool: str, kind: str, options: argparse.Namespace, env: dict[str, str]) -> dict[str, Any]:
    """One process."""
    command = [sys.executable, __file__, "--child", tool, "--kind", kind, "--rows", str(options.rows)]
    command += ["--size", options.size, "--precision", options.precision]
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": str(root / "src"), "HF_HUB_OFFLINE": "1", **env},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def compare(kind: str, options: argparse.Namespace, peer: str, env: dict[str, str]) -> list[dict[str, Any]]:
    """Interleaved repeats of both tools; rows for speed and memory."""
    ours, theirs = [], []
    for _ in range(options.repeats):
        ours.append(measure("ours", kind, options, {}))
        theirs.append(measure(peer, kind, options, env))
    label = kind + {"trl": "", "trl-packing": "_peer_packs"}[peer] + ("_peer_has_allocator" if env else "")
    facts: dict[str, Any] = {"model": options.size, "precision": options.precision, "rows": options.rows}
    if peer == "trl" and kind != "grpo":
        pairs = zip(ours[0]["losses"], theirs[0]["losses"], strict=True)
        facts["largest_relative_loss_difference"] = max(abs(a - b) / max(1e-6, abs(b)) for a, b in pairs)

    def compared(what: str, unit: str, of: str, count: int = 0) -> dict[str, Any]:
        sides = [[count / m[of] if count else m[of] for m in side] for side in (ours, theirs)]
        return {**results.row(f"{label}{what}", sides[0], sides[1], unit, peer_version=PEER_VERSION), **facts}

    rows = {"sft": "rows", "dpo": "pairs", "grpo": "prompts"}[kind]
    return [
        compared("", f"{rows}/s", "seconds", options.rows),
        compared("_by_cpu_time", f"{rows} per CPU second", "cpu_seconds", options.rows),
        compared("_peak_memory_above_imports", "MiB", "peak_mib"),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--size", choices=["small", "medium", "large"], default="small")
    parser.add_argument("--precision", choices=["float32", "bfloat16_mixed"], default="float32")
    parser.add_argument("--quick", action="store_true", help="only the two plain comparisons")
    parser.add_argument("--kind", choices=["sft", "dpo", "grpo"], default="sft")
    parser.add_argument("--child", choices=["ours", "trl", "trl-packing"])
    options = parser.parse_args()
    if options.child and options.kind == "grpo":
        (run_ours_grpo if options.child == "ours" else run_peer_grpo)(options.size, options.rows, options.precision)
    elif options.child == "ours":
        run_ours(options.kind, options.size, options.rows, options.precision)
    elif options.child:
        packing = options.child == "trl-packing"
        run_peer(options.kind, options.size, options.rows, options.precision, packing)
    else:
        todo: list[tuple[str, str, dict[str, str]]] = [("sft", "trl", {}), ("dpo", "trl", {}), ("grpo", "trl", {})]
        if not options.quick:
            todo += [
                ("sft", "trl-packing", {}),
                ("sft", "trl", ALLOCATOR),
                ("dpo", "trl", ALLOCATOR),
                ("grpo", "trl", ALLOCATOR),
            ]
        rows = [row for kind, peer, env in todo for row in compare(kind, options, peer, env)]
        results.save("training", rows)


if __name__ == "__main__":
    main()
