"""Next-token choice: greedy, or temperature and nucleus sampling with a random stream per request."""

import random
from collections.abc import Sequence

import torch

from goldsmith.engines.sampling.request import Sampling


class Chooser:
    """One request's choices. Its random stream depends on its own seed, never on who shares its batch."""

    def __init__(self, sampling: Sampling) -> None:
        self.sampling = sampling
        self._random = random.Random(sampling.seed)

    @property
    def greedy(self) -> bool:
        return self.sampling.temperature == 0.0

    def sample(self, logits_V: torch.Tensor) -> int:
        """Draw one token id from `logits_V` [V]."""
        # float64: a float32 running sum over a large vocabulary loses the tail
        probabilities_V = torch.softmax(logits_V.double() / self.sampling.temperature, dim=-1)
        sorted_V, order_V = probabilities_V.sort(descending=True, stable=True)
        cumulative_V = sorted_V.cumsum(-1)
        if self.sampling.top_p < 1.0:
            # the token that crosses top_p still belongs to the nucleus
            inside = int((cumulative_V < self.sampling.top_p).sum()) + 1
            cumulative_V = cumulative_V[:inside]
        drawn = self._random.random() * float(cumulative_V[-1])
        rank = int(torch.searchsorted(cumulative_V, torch.tensor(drawn, dtype=torch.float64), right=True))
        return int(order_V[min(rank, len(cumulative_V) - 1)])


def choose(logits_BV: torch.Tensor, choosers: Sequence[Chooser]) -> list[int]:
    """The next token id of each row of `logits_BV` [B, V]. Raises FloatingPointError on NaN logits."""
    best_B = logits_BV.argmax(dim=-1)
    if bool(torch.isnan(logits_BV.gather(-1, best_B[:, None])).any()):  # argmax takes NaN for the largest
        raise FloatingPointError("the model's logits hold NaN: its weights or its numeric type are unusable")
    greedy = best_B.tolist()
    return [
        token if chooser.greedy else chooser.sample(logits_BV[row].cpu())
        for row, (token, chooser) in enumerate(zip(greedy, choosers, strict=True))
    ]
