"""Makes goldsmith-nano from nothing: tokenizer, training, export.  See README.md.

The work folder keeps a checkpoint per few chunks; starting again with the same folder goes on from it.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from corpus import LATE_WEIGHTS, WEIGHTS, Copying, Row, batches, conversations, rows
from export import export
from measure import by_skill, run_tasks
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase
from vocabulary import load_tokenizer, make_tokenizer

from goldsmith.nano.tasks import DEMO_SKILL, SKILLS, generate

CHUNK = 4000
"""Conversations per chunk, about 0.6 million tokens."""
PEAK_RATE = 2e-3
WARM_UP = 100
"""Steps of linear warm-up."""
DECAY = 0.3
"""Last part of training in which the rate falls to a fiftieth."""
CONTEXT_WEIGHT = 0.1
"""Loss weight of the tokens that others speak; they teach copying but need not be known by heart."""
HELDOUT_SEED = 77


@dataclass(frozen=True)
class Phase:
    """A part of training; a new optimiser begins with fresh moments."""

    first_chunk: int
    optimiser: Literal["adamw", "muon"]
    batch_tokens: int
    copying: Copying
    weights: Mapping[str, float] = field(default_factory=lambda: WEIGHTS)


PHASES = (
    Phase(0, "adamw", 8192, Copying()),
    Phase(7, "adamw", 8192, Copying(share=0.4, length=(8, 60))),
    Phase(10, "muon", 4096, Copying(share=0.15, alphabet=700, echo=True)),
    Phase(18, "muon", 4096, Copying(share=0.03, alphabet=700, echo=True)),
    Phase(21, "muon", 4096, Copying(share=0.03, alphabet=700, echo=True), LATE_WEIGHTS),
)
"""As the shipped weights were made.  AdamW learnt the forms but hardly to copy; Muon learnt that soon."""


def phase_of(chunk: int) -> Phase:
    """The phase that a chunk belongs to."""
    return [phase for phase in PHASES if phase.first_chunk <= chunk][-1]


def optimisers_of(kind: str, model: LlamaForCausalLM) -> tuple[torch.optim.Optimizer, ...]:
    """AdamW for all, or Muon for the matrices inside the network and AdamW for the rest."""
    named = list(model.named_parameters())
    if kind == "adamw":
        matrices = [p for _, p in named if p.ndim > 1]
        vectors = [p for _, p in named if p.ndim <= 1]
        groups = [{"params": matrices, "weight_decay": 0.05}, {"params": vectors, "weight_decay": 0.0}]
        return (torch.optim.AdamW(groups, lr=PEAK_RATE, betas=(0.9, 0.98), fused=True),)
    inside = [p for name, p in named if p.ndim == 2 and "embed" not in name]
    other = [p for name, p in named if p.ndim != 2 or "embed" in name]
    return (
        torch.optim.Muon(inside, lr=PEAK_RATE, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(other, lr=PEAK_RATE, betas=(0.9, 0.98), weight_decay=0.0, fused=True),
    )


def config(tokenizer: PreTrainedTokenizerBase) -> LlamaConfig:
    """The shape of the network, about 4.3 million weights."""
    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=256,
        intermediate_size=704,
        num_hidden_layers=5,
        num_attention_heads=8,
        num_key_value_heads=4,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        rms_norm_eps=1e-5,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        attention_dropout=0.0,
    )


def rate(step: int, done: float) -> float:
    """The learning rate at a step when the share ``done`` of the tokens is seen: warm-up, level, fall."""
    level = min(1.0, (step + 1) / WARM_UP)
    if done <= 1 - DECAY:
        return PEAK_RATE * level
    fall = (min(done, 1.0) - (1 - DECAY)) / DECAY
    return PEAK_RATE * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * fall)))


def collate(group: list[Row], pad: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Inputs, targets and loss weights; rows are padded at the right, where causal attention ignores them."""
    longest = max(len(row.ids) for row in group)
    ids = torch.full((len(group), longest), pad)
    weights = torch.zeros(len(group), longest)
    for place, row in enumerate(group):
        ids[place, : len(row.ids)] = torch.tensor(row.ids)
        weights[place, : len(row.ids)] = torch.tensor([1.0 if on else CONTEXT_WEIGHT for on in row.spoken])
    return ids[:, :-1], ids[:, 1:], weights[:, 1:]


class Trainer:
    """The state of the run: network, optimiser, and how far it is."""

    def __init__(self, work: Path, tokens: int) -> None:
        self.work, self.tokens = work, tokens
        self.tokenizer = load_tokenizer(work / "tokenizer")
        torch.manual_seed(20)
        self.model = LlamaForCausalLM(config(self.tokenizer))
        self.chunk, self.step, self.seen, self.seconds = 0, 0, 0, 0.0
        saved = work / "state.pt"
        state = torch.load(saved, weights_only=True) if saved.exists() else None
        if state:
            self.model.load_state_dict(state["model"])
            self.chunk, self.step, self.seen, self.seconds = state["at"]
        self.kind = phase_of(max(self.chunk - 1, 0)).optimiser
        self.optimisers = optimisers_of(self.kind, self.model)
        for optimiser, kept in zip(self.optimisers, state["optimisers"] if state else (), strict=False):
            optimiser.load_state_dict(kept)

    def save(self) -> None:
        """Write the checkpoint; a stop in mid-write leaves the earlier one."""
        state = {
            "model": self.model.state_dict(),
            "optimisers": [one.state_dict() for one in self.optimisers],
            "at": (self.chunk, self.step, self.seen, self.seconds),
        }
        torch.save(state, self.work / "state.tmp")
        (self.work / "state.tmp").replace(self.work / "state.pt")

    def log(self, **values: object) -> None:
        """Print a line of metrics and keep it."""
        line = json.dumps({"chunk": self.chunk, "step": self.step, "tokens": self.seen, **values})
        print(line, flush=True)
        with (self.work / "metrics.jsonl").open("a", encoding="utf-8") as out:
            out.write(line + "\n")

    def train_step(self, group: list[Row]) -> float:
        """One step; returns the mean loss on the assistant's tokens in nats."""
        pad = self.tokenizer.pad_token_id
        inputs, targets, weights = collate(group, pad)
        for optimiser in self.optimisers:
            for parameters in optimiser.param_groups:
                parameters["lr"] = rate(self.step, self.seen / self.tokens)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = self.model(input_ids=inputs, use_cache=False).logits
        losses = cross_entropy(logits.float().flatten(0, 1), targets.flatten(), reduction="none")
        flat = weights.flatten()
        loss = (losses * flat).sum() / flat.sum()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimiser in self.optimisers:
            optimiser.step()
            optimiser.zero_grad()
        self.step += 1
        self.seen += sum(len(row.ids) for row in group)
        spoken = flat == 1.0
        return float(losses.detach()[spoken].mean())

    def train_chunk(self) -> None:
        """All steps of the next chunk."""
        start = time.monotonic()
        self.model.train()
        before = self.seen
        losses = []
        phase = phase_of(self.chunk)
        if phase.optimiser != self.kind:
            self.kind, self.optimisers = phase.optimiser, optimisers_of(phase.optimiser, self.model)
        made = rows(self.chunk, CHUNK, self.tokenizer, phase.copying, phase.weights)
        for group in batches(made, phase.batch_tokens, self.chunk):
            losses.append(self.train_step(group))
            if self.step % 20 == 0:
                self.log(
                    loss=round(sum(losses[-20:]) / len(losses[-20:]), 4),
                    tps=round((self.seen - before) / (time.monotonic() - start)),
                )
        self.chunk += 1
        self.seconds += time.monotonic() - start
        self.save()

    def evaluate(self, per_skill: int) -> None:
        """Held-out success by skill, the demo's task among them."""
        tasks = [task for skill in SKILLS for task in generate(skill, per_skill, HELDOUT_SEED, "heldout")]
        scores = by_skill(run_tasks(self.model, self.tokenizer, tasks))
        base = [score.rate for skill, score in scores.items() if skill != DEMO_SKILL]
        self.log(
            base=round(sum(base) / len(base), 3),
            demo=round(scores[DEMO_SKILL].rate, 3),
            skills={skill: round(score.rate, 2) for skill, score in scores.items()},
            seconds=round(self.seconds),
        )


def main() -> None:
    """Make or go on making the model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("build/goldsmith-nano"), help="checkpoints and metrics")
    parser.add_argument("--tokens", type=int, default=17_200_000, help="tokens to train on")
    parser.add_argument("--out", type=Path, default=None, help="where to export the finished model")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--eval-chunks", type=int, default=3, help="chunks between evaluations")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.work.mkdir(parents=True, exist_ok=True)
    if not (options.work / "tokenizer").exists():
        template = Path(__file__).with_name("chat_template.jinja").read_text(encoding="utf-8")
        make_tokenizer(
            [one for chunk in range(4) for one in conversations(10_000 + chunk, 3000)], template
        ).save_pretrained(options.work / "tokenizer")
    trainer = Trainer(options.work, options.tokens)
    while trainer.seen < options.tokens:
        trainer.train_chunk()
        if trainer.chunk % options.eval_chunks == 0:
            trainer.evaluate(8)
    trainer.evaluate(50)
    if options.out:
        export(trainer.model, trainer.tokenizer, options.out)


if __name__ == "__main__":
    main()
