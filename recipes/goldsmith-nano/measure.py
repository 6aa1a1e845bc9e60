"""Runs many tasks at once with a model and counts what came right."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from goldsmith.nano.episode import Episode, Verdict
from goldsmith.nano.task import NanoTask

MAX_NEW_TOKENS = 160
"""Longest turn that is waited for; the longest gold turn has about 110 tokens."""


@dataclass(frozen=True)
class Score:
    """Right and all of one skill."""

    right: int
    total: int

    @property
    def rate(self) -> float:
        return self.right / max(1, self.total)


@torch.no_grad()
def turns(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompts: list[str]) -> list[str]:
    """Greedy continuations of rendered prompts, special tokens kept."""
    tokenizer.padding_side = "left"
    batch = tokenizer(prompts, return_tensors="pt", padding=True, add_special_tokens=False)
    out = model.generate(
        input_ids=batch["input_ids"],
        attention_mask=batch["attention_mask"],
        do_sample=False,
        max_new_tokens=MAX_NEW_TOKENS,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    new = out[:, batch["input_ids"].shape[1] :]
    texts = [str(tokenizer.decode(row, skip_special_tokens=False)) for row in new]
    return [text.replace("<|pad|>", "") for text in texts]


def run_tasks(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, tasks: Iterable[NanoTask], width: int = 96
) -> list[tuple[NanoTask, Verdict]]:
    """Play the tasks greedily, up to ``width`` at a time."""
    model.eval()
    episodes = [Episode(task) for task in tasks]
    while waiting := [episode for episode in episodes if not episode.done]:
        prompts = [
            str(
                tokenizer.apply_chat_template(
                    one.messages, tools=one.task.schemas() or None, tokenize=False, add_generation_prompt=True
                )
            )
            for one in waiting
        ]
        order = sorted(range(len(waiting)), key=lambda place: len(prompts[place]))
        for start in range(0, len(order), width):
            places = order[start : start + width]
            for place, text in zip(places, turns(model, tokenizer, [prompts[p] for p in places]), strict=True):
                waiting[place].feed(text)
    return [(episode.task, episode.verdict()) for episode in episodes]


def by_skill(results: Iterable[tuple[NanoTask, Verdict]]) -> dict[str, Score]:
    """Scores by skill, in the order met."""
    counts: dict[str, list[bool]] = defaultdict(list)
    for task, verdict in results:
        counts[task.skill].append(verdict.ok)
    return {skill: Score(sum(oks), len(oks)) for skill, oks in counts.items()}
