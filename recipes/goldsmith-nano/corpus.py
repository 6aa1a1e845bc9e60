"""The training text: conversations made from base-skill tasks, fixed by the chunk's number."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedTokenizerBase

from goldsmith.nano.task import NanoTask
from goldsmith.nano.tasks import BASE_SKILLS, generate

WEIGHTS = {
    "question": 3.0,
    "parallel": 1.5,
    "direct": 2.0,
    "missing_tool": 2.0,
    "refuse": 1.5,
    "harmless": 1.5,
    "search_read": 1.2,
    "file_mail": 1.2,
    "contact_mail": 1.2,
    "web_save": 1.2,
}
"""How often a skill is drawn, against 1 for the others."""
LATE_WEIGHTS = {**WEIGHTS, "missing_tool": 8.0, "question": 6.0, "chat": 2.0, "refuse": 2.5, "harmless": 2.0}
"""Later, when the calls are learnt, what is left to learn is when not to call."""
JOINED = 0.12
"""Share of conversations that go on with a second task."""
TRAIN_SEED = 1_000_000
"""Base training draws its tasks from this seed on; tuning data and tests use small seeds."""


@dataclass(frozen=True)
class Copying:
    """How much plain copying is trained: without it the network is slow to learn to copy at all."""

    share: float = 0.0
    """Copying rows per conversation."""
    length: tuple[int, int] = (4, 40)
    """Random tokens per row, from and below."""
    alphabet: int = 0
    """Tokens are drawn below this number (the most frequent merges come first); 0: from all."""
    echo: bool = False
    """Half the rows repeat their tokens two to four times at once, without being asked."""


@dataclass(frozen=True)
class Row:
    """One tokenised conversation; ``spoken`` marks the tokens that the assistant produces."""

    ids: list[int]
    spoken: list[bool]


def tasks_of_chunk(chunk: int, count: int, weights: Mapping[str, float]) -> list[NanoTask]:
    """The tasks of a chunk in a random order, by the weights of the skills."""
    rng = random.Random(f"chunk/{chunk}")
    drawn = rng.choices(BASE_SKILLS, weights=[weights.get(skill, 1.0) for skill in BASE_SKILLS], k=count)
    pools = {skill: iter(generate(skill, drawn.count(skill), TRAIN_SEED + chunk)) for skill in BASE_SKILLS}
    return [next(pools[skill]) for skill in drawn]


def conversations(
    chunk: int, count: int, weights: Mapping[str, float] = WEIGHTS
) -> list[tuple[list[dict[str, Any]], list[dict[str, Any]]]]:
    """Messages and tools; some conversations hold two tasks one after the other."""
    rng = random.Random(f"join/{chunk}")
    out: list[tuple[list[dict[str, Any]], list[dict[str, Any]]]] = []
    held: NanoTask | None = None
    for task in tasks_of_chunk(chunk, count, weights):
        if held is None and rng.random() < JOINED and task.skill != "missing_tool":
            held = task
        elif held is not None and task.skill != "missing_tool":
            tools = {schema["function"]["name"]: schema for schema in held.schemas() + task.schemas()}
            order = list(tools)
            rng.shuffle(order)
            follow = task.messages()[1 if task.system else 0 :]
            out.append(([*held.messages(), *follow], [tools[name] for name in order]))
            held = None
        else:
            out.append((task.messages(), task.schemas()))
    return out


def rows(
    chunk: int,
    count: int,
    tokenizer: PreTrainedTokenizerBase,
    copying: Copying,
    weights: Mapping[str, float] = WEIGHTS,
) -> list[Row]:
    """The tokenised conversations of a chunk, and rows of plain copying beside them."""
    texts = [
        str(tokenizer.apply_chat_template(messages, tools=tools or None, tokenize=False))
        for messages, tools in conversations(chunk, count, weights)
    ]
    speaks, ends = tokenizer.convert_tokens_to_ids(["<|assistant|>", "<|end|>"])
    made = []
    for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]:
        spoken, on = [], False
        for token in ids:
            spoken.append(on)
            on = token == speaks or (on and token != ends)
        made.append(Row(ids, spoken))
    return made + copy_rows(chunk, round(len(made) * copying.share), tokenizer, copying)


def copy_rows(chunk: int, count: int, tokenizer: PreTrainedTokenizerBase, copying: Copying) -> list[Row]:
    """Rows that repeat random tokens, when asked or at once; every marked token can be known."""
    rng = random.Random(f"copy/{chunk}")
    marks = ["<|begin|>", "<|user|>", "<|end|>", "<|assistant|>"]
    begin, user, end, speaks = tokenizer.convert_tokens_to_ids(marks)
    specials = set(tokenizer.all_special_ids)
    plain = [token for token in range(copying.alphabet or len(tokenizer)) if token not in specials]
    asks = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in ("Repeat: ", "Say this again: ")]
    made = []
    for _ in range(count // 2 if copying.echo else count):
        said = rng.choices(plain, k=rng.randrange(*copying.length))
        head = [begin, user, *rng.choice(asks), *said, end, speaks]
        made.append(Row([*head, *said, end], [False] * len(head) + [True] * (len(said) + 1)))
        if copying.echo:
            said = rng.choices(plain, k=rng.randrange(3, 30))
            times = rng.randrange(2, 5)
            head = [begin, user, *said]
            known = [False] * len(head) + [True] * (len(said) * times) + [False]
            made.append(Row([*head, *said * times, end], known))
    return made


def batches(chunk_rows: list[Row], tokens: int, seed: int) -> list[list[Row]]:
    """Group rows of like length so that a padded batch has at most ``tokens`` places; shuffled."""
    grouped: list[list[Row]] = []
    group: list[Row] = []
    for row in sorted(chunk_rows, key=lambda one: len(one.ids)):
        if group and len(row.ids) * (len(group) + 1) > tokens:
            grouped.append(group)
            group = []
        group.append(row)
    grouped.append(group)
    random.Random(seed).shuffle(grouped)
    return grouped
