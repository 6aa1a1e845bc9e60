"""How far two models are from each other, on a few texts."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from goldsmith.engines.chat import Chat
from goldsmith.types.errors import BadInput
from goldsmith.types.record import Message, Role, TextPart

QUESTIONS = (
    "What is two plus two?",
    "Write a short mail to Ann: the meeting is on Friday at ten.",
    "Nenne drei Städte in Österreich.",
    "def add(a, b):\n    # returns the sum\n",
)
ANSWER = "Four. 4 = 2 + 2, and so on: one, two, three."
RANDOM_TOKENS = 48


@dataclass(frozen=True, slots=True)
class Parity:
    """Of two models' next-token distributions at `places` positions: the largest difference of a logit (each position's
    mean taken off, which no probability sees), and the mean and largest Kullback-Leibler divergence in nats."""

    max_logit_difference: float
    mean_kl: float
    max_kl: float
    places: int

    def as_dict(self) -> dict[str, float | int]:
        return asdict(self)


def probes(chat: Chat, vocabulary: int) -> list[torch.Tensor]:
    """Token ids [T] of a few conversations as the chat template writes them, and of random tokens."""
    found = []
    for question in QUESTIONS:
        messages = tuple(
            Message(role=role, parts=(TextPart(text=text),))
            for role, text in ((Role.USER, question), (Role.ASSISTANT, ANSWER))
        )
        try:
            ids = chat.encode_continuation(messages[:1], messages[1:]).input_ids
        except BadInput:
            ids = chat.tokenizer(question + " " + ANSWER, add_special_tokens=False)["input_ids"]
        found.append(torch.tensor([int(i) for i in ids]))
    generator = torch.Generator().manual_seed(0)
    found += [torch.randint(0, vocabulary, (RANDOM_TOKENS,), generator=generator) for _ in range(2)]
    return found


@torch.no_grad()
def logits_of(model: Any, ids: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """float32 logits [T, V] of each text."""
    device = next(model.parameters()).device
    return [model(input_ids=one[None].to(device), use_cache=False).logits[0].float().cpu() for one in ids]


def compare(mine: Sequence[torch.Tensor], theirs: Sequence[torch.Tensor]) -> Parity:
    """`theirs` as seen from `mine`. A vocabulary that grew is compared on the tokens both have."""
    differences, divergences = [], []
    for a, b in zip(mine, theirs, strict=True):
        width = min(a.shape[-1], b.shape[-1])
        a, b = a[:, :width].double(), b[:, :width].double()
        differences.append(((a - a.mean(-1, keepdim=True)) - (b - b.mean(-1, keepdim=True))).abs().max())
        p, q = a.log_softmax(-1), b.log_softmax(-1)
        divergences.append((p.exp() * (p - q)).sum(-1).clamp(min=0))
    kl = torch.cat(divergences)
    return Parity(float(torch.stack(differences).max()), float(kl.mean()), float(kl.max()), len(kl))
