"""The work that trainers are compared on: a model, rows of tokens, and a watch over time, loss and memory.

Runs in each tool's own environment, so it needs no more than torch and transformers.
"""

import argparse
import json
import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

BATCH = 8
"""Rows of an update, pairs for DPO."""
PROMPTS, GROUP, ANSWER_TOKENS = 4, 8, 64
"""GRPO: prompts of an update, answers to each, and their tokens."""
PACKED_TOKENS = 1024
SIZES = {"small": (256, 6, 8192), "medium": (512, 8, 16384), "large": (768, 10, 32768)}
"""Width, layers, vocabulary: 9, 43 and 102 million weights."""
LEARNING_RATE = {"sft": 5e-4, "dpo": 5e-5, "grpo": 1e-4}
BETA = 0.1
TOKENS_SEEN = 512
"""Rows are of so many different tokens, so that there is something to learn within a few hundred updates."""
Row = dict[str, list[int]]


@dataclass(frozen=True)
class Options:
    """What one measured process does."""

    kind: str = "sft"
    setting: str = ""
    size: str = "small"
    rows: int = 256
    validation: int = 0
    precision: str = "bfloat16_mixed"

    @staticmethod
    def of_process() -> "Options":
        parser = argparse.ArgumentParser()
        parser.add_argument("options", type=json.loads)
        return Options(**parser.parse_args().options)


def make_model(size: str) -> Any:
    """A Llama with random weights in float32, equal in every process."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    hidden, layers, vocabulary = SIZES[size]
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


def make_rows(kind: str, count: int, seed: int = 7) -> list[Row]:
    """Rows with the lengths of chat data: log-normal, prompts around 80 to 120 tokens, answers around 100.

    Most tokens follow from the one before them (one of four, by a fixed table), as words do. A rejected answer is one
    whose tokens do not.
    """
    import numpy as np

    rng = np.random.default_rng(seed)
    after = np.random.default_rng(1).integers(2, TOKENS_SEEN, size=(TOKENS_SEEN, 4))

    def run(median: float, spread: float, most: int, follows: float = 0.8) -> list[int]:
        length = int(min(most, max(4, rng.lognormal(np.log(median), spread))))
        chosen, other = rng.integers(0, 4, size=length), rng.integers(2, TOKENS_SEEN, size=length)
        led = rng.random(length) < follows
        found = [int(other[0])]
        for i in range(1, length):
            found.append(int(after[found[-1], chosen[i]] if led[i] else other[i]))
        return found

    if kind == "sft":
        return [{"prompt": run(80, 0.8, 400), "answer": [*run(100, 0.8, 400), 0]} for _ in range(count)]
    if kind == "grpo":
        return [{"prompt": run(120, 0.7, 400)} for _ in range(count)]
    return [
        {
            "prompt": run(120, 0.7, 400),
            "chosen": [*run(90, 0.6, 300), 0],
            "rejected": [*run(90, 0.6, 300, follows=0.5), 0],
        }
        for _ in range(count)
    ]


def labels_of(rows: list[Row]) -> int:
    """Tokens that are trained."""
    return sum(len(row.get(name, ())) for row in rows for name in ("answer", "chosen", "rejected"))


def make_tokenizer(vocabulary: int) -> Any:
    """Words `w2`, `w3`, … are tokens 2, 3, …; text of them parted by blanks gives those ids again."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {"<end>": 0, "<pad>": 1, **{f"w{i}": i for i in range(2, vocabulary)}}
    core = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<end>", pad_token="<pad>")


def as_text(ids: list[int]) -> str:
    """What `make_tokenizer` makes these ids of."""
    return " ".join("<end>" if i == 0 else f"w{i}" for i in ids)


def resident_mib(what: str = "VmRSS") -> float:
    """Memory of this process, now or (`VmHWM`) at its peak."""
    return int(Path("/proc/self/status").read_text().split(f"{what}:")[1].split()[0]) / 1024


def _sums(model: Any, prompt: list[int], answer: list[int]) -> Any:
    """Log-probability of an answer, by a plain forward."""
    import torch

    ids = torch.tensor([prompt + answer])
    hidden = model.get_decoder()(input_ids=ids, use_cache=False).last_hidden_state[0, len(prompt) - 1 : -1]
    logits = model.get_output_embeddings()(hidden.to(model.get_output_embeddings().weight.dtype)).float()
    return logits.log_softmax(-1).gather(1, torch.tensor(answer)[:, None]).sum()


@dataclass
class Watch:
    """Seconds of the timed part, losses, and peak memory above what the imports took.

    Every eighth of the run the clocks stand still while the validation loss is taken, alike for all tools.
    """

    options: Options
    updates: int
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    losses: list[float] = field(default_factory=list)
    curve: list[tuple[float, float]] = field(default_factory=list)
    done: int = 0

    def __post_init__(self) -> None:
        from transformers import LlamaForCausalLM  # noqa: F401 - for every tool it is among the imports

        self.before = resident_mib()
        self._rows = make_rows(self.options.kind, self.options.validation, seed=11) if self.options.validation else []
        self._reference: list[tuple[float, float]] = []
        self._running = False

    def start(self, model: Any) -> None:
        """Training begins now."""
        if self._rows and self.options.kind == "dpo":
            self._reference = [self._pair(model, row) for row in self._rows]
        self._resume()

    def update_done(self, model: Any) -> None:
        """After every update of the weights."""
        self.done += 1
        if self._rows and self.done % max(1, self.updates // 8) == 0:
            with self.paused():
                self.curve.append((self.seconds, self.validation_loss(model)))

    @contextmanager
    def paused(self) -> Iterator[None]:
        """What happens within is not counted."""
        self._pause()
        yield
        self._resume()

    def _resume(self) -> None:
        self._began, self._running = (time.perf_counter(), time.process_time()), True

    def _pause(self) -> None:
        self.seconds += time.perf_counter() - self._began[0]
        self.cpu_seconds += time.process_time() - self._began[1]
        self._running = False

    def _pair(self, model: Any, row: Row) -> tuple[float, float]:
        import torch

        with torch.no_grad():
            chosen, rejected = (float(_sums(model, row["prompt"], row[name])) for name in ("chosen", "rejected"))
        return chosen, rejected

    def validation_loss(self, model: Any) -> float:
        """Nats per label, or DPO's loss against the weights at the start."""
        import torch

        was = model.training
        model.eval()
        if self.options.kind == "dpo":
            now = [self._pair(model, row) for row in self._rows]
            margins = [(a - c) - (b - d) for (a, b), (c, d) in zip(now, self._reference, strict=True)]
            found = sum(math.log1p(math.exp(-BETA * m)) for m in margins) / len(margins)
        else:
            with torch.no_grad():
                total = sum(float(_sums(model, row["prompt"], row["answer"])) for row in self._rows)
            found = -total / labels_of(self._rows)
        model.train(was)
        return found

    def report(self) -> None:
        """The last line of the process."""
        if self._running:
            self._pause()
        peak = resident_mib("VmHWM") - self.before
        told = {"seconds": self.seconds, "cpu_seconds": self.cpu_seconds, "peak_mib": peak, "updates": self.done}
        print(json.dumps(told | {"losses": self.losses, "curve": self.curve}), flush=True)


def callback(watch: Watch) -> Any:
    """The watch for trainers of the transformers kind."""
    from transformers import TrainerCallback

    class Watching(TrainerCallback):  # type: ignore[misc, unused-ignore]
        def on_train_begin(self, *_: Any, model: Any = None, **__: Any) -> None:
            if not watch._running and not watch.seconds:
                watch.start(model)

        def on_step_end(self, *_: Any, model: Any = None, **__: Any) -> None:
            watch.update_done(model)

        def on_log(self, *_: Any, logs: dict[str, Any] | None = None, **__: Any) -> None:
            if logs and "loss" in logs:
                watch.losses.append(float(logs["loss"]))

        def on_train_end(self, *_: Any, **__: Any) -> None:
            if watch._running:
                watch._pause()

    return Watching()


def shared_arguments(options: Options, batch: int = BATCH) -> dict[str, Any]:
    """What trainers of the transformers kind are all told."""
    return {
        "use_cpu": True,
        "bf16": options.precision == "bfloat16_mixed",
        "per_device_train_batch_size": batch,
        "num_train_epochs": 1,
        "learning_rate": LEARNING_RATE[options.kind],
        "lr_scheduler_type": "constant",
        "warmup_steps": 0,
        "weight_decay": 0.0,
        "logging_steps": 1,
        "save_strategy": "no",
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
    }
