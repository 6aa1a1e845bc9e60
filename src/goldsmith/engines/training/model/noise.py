"""Noise on the embeddings while a model learns (NEFTune; Jain et al. 2023, arXiv:2310.05914)."""

import hashlib
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from goldsmith.engines.training.data.batches import Batch


def seed_of(draw: tuple[int, int], row: int, place: int) -> int:
    """The seed of one row's noise: of the run's seed and the step (`draw`), the row, and which of its sequences it is.

    Nothing else decides it: neither what a row is packed with nor how many processes share the work.
    """
    return int.from_bytes(hashlib.sha256(f"{draw[0]}/{draw[1]}/{row}/{place}".encode()).digest()[:7], "big")


def row_noise(alpha: float, length: int, width: int, seed: int, device: torch.device) -> torch.Tensor:
    """Noise of one row [L, H], float32: uniform within +- alpha / sqrt(L * H)."""
    size = alpha / math.sqrt(length * width)
    draws = torch.Generator(device).manual_seed(seed)
    return torch.empty(length, width, device=device).uniform_(-size, size, generator=draws)


def noise_of(batch: Batch, alpha: float, width: int, device: torch.device) -> torch.Tensor:
    """Noise of a batch of rows that share no prompt [T, H].

    L is each row's own length up to its last label, not that of what it is packed with or padded to. Of a row's last
    label only the tokens before it are computed, so its own line of the noise is drawn and falls away.
    """
    if batch.draw is None or any(parent >= 0 for parent in batch.layout.parents):
        raise ValueError("noise is for rows that are learnt from, each a sequence of its own")
    seen: dict[int, int] = {}
    parts: list[torch.Tensor] = []
    for length, row in zip(batch.layout.lengths, batch.owner_rows, strict=True):
        place = seen[row] = seen.get(row, -1) + 1
        parts.append(row_noise(alpha, length + 1, width, seed_of(batch.draw, row, place), device)[:length])
    return torch.cat(parts)


class EmbeddingNoise:
    """Adds to what a model's input embeddings give, within `on`, and nowhere else."""

    def __init__(self, model: Any, alpha: float) -> None:
        self.alpha = alpha
        self._noise: torch.Tensor | None = None
        model.get_input_embeddings().register_forward_hook(self._add)

    @contextmanager
    def on(self, batch: Batch, width: int, device: torch.device, real_BT: torch.Tensor | None = None) -> Iterator[None]:
        """Within it the batch's noise is added; `real_BT`: where the padded form of the batch has its tokens."""
        noise_TH = noise_of(batch, self.alpha, width, device)
        if real_BT is None:
            self._noise = noise_TH[None]
        else:
            self._noise = torch.zeros(*real_BT.shape, width, device=device)
            self._noise[real_BT] = noise_TH
        try:
            yield
        finally:
            self._noise = None

    def _add(self, _module: Any, _given: Any, output: torch.Tensor) -> torch.Tensor:
        return output if self._noise is None else output + self._noise.to(output.dtype)
