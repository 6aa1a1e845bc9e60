"""How near is `goldsmith fit` to the peak that training reaches? Measured in processes of their own, on this CPU.

    python benchmarks/fit.py [--quick] [--out benchmarks/results/fit.json]
    python benchmarks/fit.py --device cuda [--out benchmarks/results/fit_gpu.json]    # about a minute on an H100

Each case trains a model of random weights for three updates in a fresh process, which reports the most memory it held
(VmHWM) above what it held after the imports, and the CPU time of its second update. Shapes that the constants of
`engines/fit/estimate.py` were fitted on are marked `fitted`; the rest were not looked at before.
"""

import argparse
import datetime
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SHAPES: dict[str, dict[str, int]] = {
    "nano": {"hidden_size": 256, "intermediate_size": 704, "num_hidden_layers": 5, "num_attention_heads": 8,
             "num_key_value_heads": 4, "vocab_size": 2048},
    "20M": {"hidden_size": 384, "intermediate_size": 1024, "num_hidden_layers": 8, "num_attention_heads": 6,
            "num_key_value_heads": 2, "vocab_size": 16384},
    "100M": {"hidden_size": 768, "intermediate_size": 2048, "num_hidden_layers": 10, "num_attention_heads": 12,
             "num_key_value_heads": 4, "vocab_size": 32768},
}  # fmt: skip
BF16, MIXED = {"precision": "bfloat16"}, {"precision": "bfloat16_mixed"}
GRPO = {"rewards": [{"reward": "length"}], "group_size": 4, "max_new_tokens": 64, "batch_size": 8, "beta": 0.04,
        "logprob_gap_at_most": None}  # fmt: skip
CASES: tuple[tuple[str, str, str, int, dict[str, Any]], ...] = (
    ("20M", "sft", "full", 200, {}),
    ("20M", "sft", "lora", 200, {}),
    ("20M", "dpo", "lora", 120, {}),
    ("20M", "reward_model", "full", 120, {}),
    ("20M", "sft", "lora", 200, BF16),
    ("20M", "grpo", "lora", 120, GRPO),
    ("100M", "sft", "lora", 300, {}),
    ("100M", "sft", "full", 120, MIXED),
    ("nano", "sft", "full", 200, {}),
    ("20M", "grpo", "full", 120, GRPO),
    ("20M", "sft", "full", 200, MIXED),
    ("20M", "dpo", "full", 120, {}),
    ("20M", "reward_model", "lora", 120, BF16),
    ("20M", "sft", "full", 700, {"activation_checkpointing": True}),
    ("100M", "dpo", "lora", 200, BF16),
    ("100M", "reward_model", "lora", 120, {}),
    ("100M", "sft", "full", 300, {}),
)
FITTED = 2
"""The first so many cases are those the constants were fitted on."""


def method_settings(tuning: str, more: dict[str, Any]) -> dict[str, Any]:
    """A method's settings for one case."""
    adapter = {"adapter": {"kind": "lora", "rank": 16}} if tuning == "lora" else {}
    fixed = {"max_steps": 3, "batch_size": 16, "max_length": 2048, "learning_rate": 1e-4}
    return {**fixed, **adapter, **more}


def records(method: str, length: int) -> list[Any]:
    """24 records of about `length` tokens of goldsmith-nano's tokenizer, half of them the answer."""
    from goldsmith.types.record import Comparison, Conversation, Message, Origin, Record, Role, TextPart

    def said(role: Role, words: int, start: int) -> Message:
        return Message(role=role, parts=(TextPart(text=" ".join(str(n % 10) for n in range(start, start + words))),))

    found = []
    for n in range(24):
        half = length // 4  # a digit and its blank are two tokens
        asked, answer = said(Role.USER, half, n), said(Role.ASSISTANT, half, n + 3)
        content: Any = Conversation(messages=(asked, answer))
        if method in ("dpo", "reward_model"):
            other = said(Role.ASSISTANT, half, n + 4)
            content = Comparison(prompt=(asked,), chosen=(answer,), rejected=(other,))
        found.append(Record(content=content, origin=Origin(source="s", batch="b")))
    return found


def held() -> tuple[int, int]:
    """Bytes this process holds now, and the most it ever held."""
    text = Path("/proc/self/status").read_text()
    lines = {line.split(":")[0]: line.split()[1] for line in text.splitlines() if line.startswith(("VmRSS", "VmHWM"))}
    return int(lines["VmRSS"]) * 1024, int(lines["VmHWM"]) * 1024


def child(arguments: list[str]) -> None:
    """Train one case and print what was held."""
    case = json.loads(arguments[0])
    import torch

    torch.set_num_threads(case["threads"])
    import accelerate  # noqa: F401 - imports are not what is measured
    from transformers.models.llama import modeling_llama  # noqa: F401

    from goldsmith import plugins
    from goldsmith.engines.training.driver import TrainingJob, run_training

    spec = plugins.build("methods", case["method"], case["settings"])
    rows = records(case["method"], case["length"])
    (Path("/proc/self/clear_refs")).write_text("5")  # the high-water mark starts anew
    start, _ = held()
    with tempfile.TemporaryDirectory() as folder:
        before = time.process_time()
        job = TrainingJob(
            spec, case["base"], rows, Path(folder) / "model", Path(folder) / "scratch", progress=False, device="cpu"
        )
        outcome = run_training(job)
        seconds = time.process_time() - before
    print(json.dumps({"above": held()[1] - start, "imports": start, "seconds": seconds, "tokens": outcome.tokens,
                      "labels": outcome.label_tokens}))  # fmt: skip


def make_base(folder: Path, shape: dict[str, int]) -> Path:
    """A Llama of random weights with goldsmith-nano's tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig

    from goldsmith.nano import model_path

    tokenizer = AutoTokenizer.from_pretrained(model_path())
    torch.manual_seed(0)
    config = LlamaConfig(**shape, tie_word_embeddings=True, max_position_embeddings=4096,
                         eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id)  # fmt: skip
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def predicted(base: Path, method: str, settings: dict[str, Any], rows: list[Any]) -> dict[str, int]:
    """What `goldsmith fit` says."""
    from goldsmith import plugins
    from goldsmith.stages.fit import fit_rows

    spec: Any = plugins.build("methods", method, settings)
    return dict(fit_rows(base, method, spec, rows, device="cpu"))


def measure(base: Path, case: tuple[str, str, str, int, dict[str, Any]], threads: int, memory: str) -> dict[str, Any]:
    """One case, measured and predicted."""
    shape, method, tuning, length, more = case
    settings = method_settings(tuning, more)
    document = {"base": str(base), "method": method, "settings": settings, "length": length, "threads": threads}
    environment = {**os.environ, "GOLDSMITH_MEMORY": memory}
    done = subprocess.run(
        [sys.executable, __file__, "--child", json.dumps(document)],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    said = predicted(base, method, settings, records(method, length))
    error = said["total"] / found["above"] - 1
    row = {"shape": shape, "method": method, "tuning": tuning, "length": length, "settings": more}
    return {**row, "measured": found["above"], "predicted": said["total"], "error": round(error, 4), "parts": said,
            "imports": found["imports"], "cpu_seconds": found["seconds"], "tokens": found["tokens"]}  # fmt: skip


def on_gpu(seconds: float, out: Path | None) -> None:
    """The cases of `fit_gpu`."""
    import fit_gpu
    import torch

    if not torch.cuda.is_available():
        raise SystemExit("there is no CUDA device here: leave --device out to measure on the CPU")
    found = fit_gpu.run("cuda", fit_gpu.CASES, seconds)
    if out:
        out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def measured_how(options: argparse.Namespace) -> dict[str, Any]:
    """When and with what."""
    import torch
    import transformers

    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    return {"date": today, "memory": options.memory, "threads": options.threads, **versions}


def main() -> None:
    """Run the cases and write the table."""
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the cases the constants were fitted on")
    parser.add_argument("--memory", choices=["tight", "fast"], default="tight", help="see docs/guides/fit.md")
    parser.add_argument("--cases", type=int, default=None, help="only the first so many")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=None)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--seconds", type=float, default=75.0, help="on a GPU: no case begins after so many")
    options = parser.parse_args()
    if options.device == "cuda":
        on_gpu(options.seconds, options.out)
        return
    results = []
    with tempfile.TemporaryDirectory() as folder:
        bases = {name: make_base(Path(folder) / name, shape) for name, shape in SHAPES.items()}
        for number, case in enumerate(CASES[: FITTED if options.quick else options.cases]):
            row = {**measure(bases[case[0]], case, options.threads, options.memory), "fitted": number < FITTED}
            results.append(row)
            print(
                f"{row['shape']:>5} {row['method']} {row['tuning']:<5} {row['length']:>4} {row['settings']}: measured "
                f"{row['measured'] / 2**20:7.0f} MiB, predicted {row['predicted'] / 2**20:7.0f} ({row['error']:+.1%})",
                flush=True,
            )
            if options.out:  # a run that is cut short leaves what it has
                options.out.write_text(json.dumps({**measured_how(options), "cases": results}, indent=1) + "\n")
    worst = max(abs(row["error"]) for row in results)
    print(f"worst error {worst:.1%} over {len(results)} cases")


if __name__ == "__main__":
    main()
