"""SFT, DPO and GRPO beside TRL and LLaMA-Factory: the same model, rows, batches, precision and optimiser, in turns.

Run: `python benchmarks/training.py [--kinds sft,dpo,grpo] [--rows 96] [--repeats 3] [--size small] [--quick]`. Writes
`benchmarks/results/training.json` and, where matplotlib is installed, the loss curves `training_losses.png` beside it.
Each measurement is a process of its own, so that peak memory is its own; the tools take turns, so that a busy machine
hits all of them. Times cover whole updates, for DPO the reference log-probabilities too, for GRPO the sampling. Every
peer runs in several settings, each as its users run it and with our allocator setting; its fastest counts. Losses are
compared step by step: a faster tool that computes something else would show. GRPO samples are each tool's own; random
weights hardly ever stop, so that answers are as long as allowed on both sides.

LLaMA-Factory wants versions of transformers and TRL that nothing else here takes, and a torchvision and a torchaudio
that match its torch. Make it an environment (`pip install torch==2.11.0 torchvision==0.26.0 torchaudio==2.11.0
llamafactory==0.9.5`) and name its Python in GOLDSMITH_BENCH_FACTORY; without that its rows are left out.
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import results

TOOLS = Path(__file__).parent / "trainers"
ALLOCATOR = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "2147483647"}
SETTINGS: dict[str, dict[str, tuple[str, ...]]] = {
    "sft": {"trl": ("padded", "packing"), "llama-factory": ("padded", "packing")},
    "dpo": {"trl": ("padded", "precomputed"), "llama-factory": ("padded",)},
    "grpo": {"trl": ("padded",)},
}
VERSIONS = {"trl": "trl 1.16.0", "llama-factory": "llamafactory 0.9.5 (trl 0.24, torch 2.11)"}
Measured = dict[str, Any]
Turn = tuple[str, str, bool]
"""Tool, setting, and whether it is given our allocator setting."""


def python_of(tool: str) -> str | None:
    """The interpreter a tool runs in."""
    return os.environ.get("GOLDSMITH_BENCH_FACTORY") if tool == "llama-factory" else sys.executable


def turns(kind: str, quick: bool) -> Iterator[Turn]:
    """All that is measured for one kind of training."""
    yield "ours", "", False
    for tool, settings in SETTINGS[kind].items():
        if python_of(tool) is None:
            print(f"{kind}: {tool} is left out: GOLDSMITH_BENCH_FACTORY names no Python that has it", flush=True)
            continue
        for setting in settings:
            yield tool, setting, False
            if not quick:
                yield tool, setting, True


def measure(turn: Turn, kind: str, options: argparse.Namespace) -> Measured | None:
    """One process; None where the tool cannot do it, which is said."""
    tool, setting, allocator = turn
    script = TOOLS / {"ours": "ours.py", "trl": "trl_side.py", "llama-factory": "factory.py"}[tool]
    asked = {"kind": kind, "setting": setting, "size": options.size, "rows": options.rows}
    asked |= {"validation": 0 if kind == "grpo" else options.validation, "precision": options.precision}
    path = {"PYTHONPATH": str(Path(__file__).resolve().parents[1] / "src")} if tool == "ours" else {}
    env = {**os.environ, **path, **(ALLOCATOR if allocator else {})}
    command = [python_of(tool) or "", str(script), json.dumps(asked)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        if tool == "ours":
            raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
        print(f"{kind} {turn}: failed: {done.stderr.strip().splitlines()[-1:]}", flush=True)
        return None
    found: Measured = json.loads(done.stdout.strip().splitlines()[-1])
    print(
        f"{kind} {turn}: {found['seconds']:.1f} s, {found['cpu_seconds']:.1f} CPU s, {found['peak_mib']:.0f} MiB",
        flush=True,
    )
    return found


def seconds_to(curve: list[list[float]], target: float) -> float | None:
    """When a validation curve first reaches a loss, between two points by a straight line."""
    for (t0, l0), (t1, l1) in itertools.pairwise(curve):
        if l1 <= target < l0:
            return t0 + (t1 - t0) * (l0 - target) / (l0 - l1)
    return curve[0][0] if curve and curve[0][1] <= target else None


def best_of(peers: dict[Turn, list[Measured]]) -> Turn:
    """The fastest of a peer's settings by the median."""
    return min(peers, key=lambda turn: statistics.median(m["seconds"] for m in peers[turn]))


def compared(kind: str, runs: dict[Turn, list[Measured]], options: argparse.Namespace, labels: int) -> list[Any]:
    """Rows for speed, time to equal validation loss and memory, as users run the peers and with our allocator."""
    ours = runs[("ours", "", False)]
    found = []
    for allocator in (False, True):
        peers = {t: m for t, m in runs.items() if t[0] != "ours" and t[2] == allocator}
        if not peers:
            continue
        best = best_of(peers)
        theirs = peers[best]
        name = f"{kind}_peer_has_allocator" if allocator else kind
        facts = {"model": options.size, "precision": options.precision, "rows": options.rows, "peer_setting": best[1]}
        facts["peers"] = {
            f"{t[0]} {t[1]}": {
                "per_s": round(labels / statistics.median(m["seconds"] for m in ms), 2),
                "per_cpu_s": round(labels / statistics.median(m["cpu_seconds"] for m in ms), 2),
                "peak_mib": round(statistics.median(m["peak_mib"] for m in ms)),
            }
            for t, ms in peers.items()
        }
        unit = "prompts" if kind == "grpo" else "label tokens"

        def row(
            what: str, unit: str, mine: list[float], other: list[float], name: str = name, tool: str = best[0]
        ) -> Any:
            return results.row(f"{name}{what}", mine, other, unit, peer_version=VERSIONS[tool])

        found.append(
            row("", f"{unit}/s", [labels / m["seconds"] for m in ours], [labels / m["seconds"] for m in theirs]) | facts
        )
        found.append(
            row(
                "_by_cpu_time", f"{unit} per CPU second",
                [labels / m["cpu_seconds"] for m in ours], [labels / m["cpu_seconds"] for m in theirs],
            )
        )  # fmt: skip
        found.append(row("_peak_memory_above_imports", "MiB", *([m["peak_mib"] for m in s] for s in (ours, theirs))))
        found += [row("_seconds_to_equal_validation_loss", "s", *times)] if (times := equal_loss(ours, theirs)) else []
        found += losses_beside(name, ours, peers)
    return found


def equal_loss(ours: list[Measured], theirs: list[Measured]) -> list[list[float]] | None:
    """Seconds of both until the validation loss that the slower learner ends with."""
    if not ours[0]["curve"] or not theirs[0]["curve"]:
        return None
    target = max(min(loss for _, loss in m["curve"]) for m in (*ours, *theirs))
    times = [[seconds_to(m["curve"], target) for m in side] for side in (ours, theirs)]
    if any(t is None for side in times for t in side):
        return None
    return [[float(t or 0) for t in side] for side in times]


def losses_beside(name: str, ours: list[Measured], peers: dict[Turn, list[Measured]]) -> list[dict[str, Any]]:
    """How far the losses of the settings with the same updates are from ours, step by step."""
    found = []
    for turn, runs in peers.items():
        pairs = list(zip(ours[0]["losses"], runs[0]["losses"], strict=False))
        if turn[1] == "packing" or not pairs or name.startswith("grpo"):
            continue
        far = max(abs(a - b) / max(1e-6, abs(b)) for a, b in pairs)
        found.append({"what": f"{name}_largest_relative_loss_difference", "peer": f"{turn[0]} {turn[1]}", "value": far})
    return found


def draw(curves: dict[str, dict[str, Measured]], path: Path) -> None:
    """Training losses by step and validation losses by second, all tools on one sheet."""
    try:
        import matplotlib as mpl
    except ImportError:
        print("no picture of the losses: matplotlib is not installed")
        return
    mpl.use("agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(len(curves), 2, figsize=(11, 3.6 * len(curves)), squeeze=False)
    for (left, right), (kind, tools) in zip(axes, curves.items(), strict=True):
        for name, run in tools.items():
            left.plot(range(1, len(run["losses"]) + 1), run["losses"], label=name, lw=1.2, alpha=0.75)
            right.plot(*zip(*run["curve"], strict=True), marker="o", ms=3, label=name, lw=1.2)
        left.set(title=f"{kind}: training loss", xlabel="update")
        right.set(title=f"{kind}: validation loss", xlabel="seconds of training")
        left.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kinds", default="sft,dpo,grpo")
    parser.add_argument("--rows", type=int, default=96)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--validation", type=int, default=16, help="rows the validation loss is taken on; 0: none")
    parser.add_argument("--size", choices=["small", "medium", "large"], default="small")
    parser.add_argument("--precision", choices=["float32", "bfloat16_mixed"], default="bfloat16_mixed")
    parser.add_argument("--quick", action="store_true", help="leave out the peers with our allocator setting")
    parser.add_argument("--name", default="training", help="of the file of results")
    options = parser.parse_args()
    sys.path.insert(0, str(TOOLS))
    import work

    rows: list[Any] = []
    curves: dict[str, dict[str, Measured]] = {}
    for kind in options.kinds.split(","):
        runs: dict[Turn, list[Measured]] = {turn: [] for turn in turns(kind, options.quick)}
        for _ in range(options.repeats):
            for turn in list(runs):
                measured = measure(turn, kind, options)
                if measured is None:
                    del runs[turn]
                else:
                    runs[turn].append(measured)
        made = work.make_rows(kind, options.rows)
        rows += compared(kind, runs, options, len(made) if kind == "grpo" else work.labels_of(made))
        plain = {f"{t[0]} {t[1]}".strip(): m[0] for t, m in runs.items() if not t[2] and m[0]["curve"]}
        curves |= {kind: plain} if plain else {}
        results.save(options.name, rows)  # a run that is cut short leaves what it has
    if curves:
        draw(curves, results.RESULTS / f"{options.name}_losses.png")


if __name__ == "__main__":
    main()
