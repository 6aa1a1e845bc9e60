"""Groups of answers from the model as it is now: prompts read once, tokens drawn for a whole batch at a time."""

import threading
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from goldsmith.engines.sampling.batch import Forward, RunningBatch
from goldsmith.engines.training.model.policy import Policy

ROWS_AT_ONCE = {"cpu": 64, "cuda": 256}
"""Answers written side by side, by device; bounds the cache of keys and values."""


@dataclass(frozen=True, slots=True)
class Decoding:
    """How answers are drawn: at `temperature`, from the smallest set of tokens that holds `top_p`."""

    max_new_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0


@dataclass(frozen=True, slots=True)
class Sampled:
    """What follows a prompt, `ids[T]`. `own[T]`: the model wrote it; what it did not are a tool's answers with what the
    chat template writes around them. `logprobs`: of each token of its own, under the tempered distribution at that
    moment, nats. A stop token that was written is among them; `finished`: nothing was cut off."""

    ids: NDArray[np.int32]
    logprobs: NDArray[np.float32]
    finished: bool
    own: NDArray[np.bool_]

    @property
    def tokens(self) -> int:
        """Tokens that the model wrote."""
        return len(self.logprobs)


Seed = tuple[int, ...]
"""What the draws of a prompt's answers follow from, and from nothing else: not from who shares its batch."""


class Writer(Protocol):
    """Writes answers with the weights of a policy."""

    def take(self, policy: Policy) -> None:
        """From now on write with these weights; called whenever they may have changed."""
        ...

    def write(
        self, prompts: Sequence[NDArray[np.int32]], group_size: int, decoding: Decoding, seeds: Sequence[Seed]
    ) -> list[list[Sampled]]:
        """`group_size` answers to each prompt, every answer a single turn."""
        ...


class BuiltIn:
    """Writes with the policy's own model."""

    def __init__(self) -> None:
        self._policy: Policy | None = None

    def take(self, policy: Policy) -> None:
        """Nothing to hand over: the weights are there."""
        self._policy = policy

    def write(
        self, prompts: Sequence[NDArray[np.int32]], group_size: int, decoding: Decoding, seeds: Sequence[Seed]
    ) -> list[list[Sampled]]:
        """As `generate`."""
        if self._policy is None:
            raise ValueError("nothing was taken to write with")
        return generate(self._policy, prompts, group_size, decoding, seeds)


def generate(
    policy: Policy,
    prompts: Sequence[NDArray[np.int32]],
    group_size: int,
    decoding: Decoding,
    seeds: Sequence[Seed],
) -> list[list[Sampled]]:
    """`group_size` answers to each prompt, from the policy's present weights without dropout.

    Equal weights, prompt and seed give equal answers on one machine, up to the rounding of a batch of another size.
    Raises FloatingPointError at NaN logits.
    """
    most = ROWS_AT_ONCE.get(policy.device.type, ROWS_AT_ONCE["cpu"])
    out: list[list[Sampled]] = []
    with policy.generating():
        forward = Forward(policy.model, threading.RLock(), lambda: nullcontext())
        at_once = max(1, most // group_size) if forward.mergeable else 1
        for low in range(0, len(prompts), at_once):
            chunk = [prompt.tolist() for prompt in prompts[low : low + at_once]]
            draws_BT = _draws(seeds[low : low + at_once], group_size, decoding.max_new_tokens, policy.device)
            if forward.mergeable:
                out += _write(forward, policy, chunk, group_size, decoding, draws_BT)
            else:  # a recurrent state cannot be copied to share a prompt
                out.append([_write(forward, policy, chunk, 1, decoding, row_T[None])[0][0] for row_T in draws_BT])
    return out


def _draws(seeds: Sequence[Seed], group_size: int, places: int, device: torch.device) -> torch.Tensor:
    """A number from 0 to 1 for every token that may be drawn, float64 [answers, places]."""
    rows = [np.random.Generator(np.random.PCG64(list(seed))).random((group_size, places)) for seed in seeds]
    return torch.from_numpy(np.concatenate(rows)).to(device)


def _write(
    forward: Forward,
    policy: Policy,
    prompts: list[list[int]],
    group_size: int,
    decoding: Decoding,
    draws_BT: torch.Tensor,
) -> list[list[Sampled]]:
    stops = torch.tensor(sorted(policy.chat.stop_ids), device=policy.device)
    batch = RunningBatch(forward, policy.chat.pad_id)
    logits_BV = batch.join(prompts).repeat_interleave(group_size, dim=0)
    batch.repeat(group_size)
    rows = len(prompts) * group_size
    ids_BT = torch.zeros((rows, decoding.max_new_tokens), dtype=torch.int64, device=policy.device)
    logprobs_BT = torch.zeros((rows, decoding.max_new_tokens), device=policy.device)
    lengths_B = torch.zeros(rows, dtype=torch.int64, device=policy.device)
    finished_B = torch.zeros(rows, dtype=torch.bool, device=policy.device)
    live = torch.arange(rows, device=policy.device)
    for place in range(decoding.max_new_tokens):
        tokens_B, drawn_B = _draw(logits_BV, decoding, draws_BT[live, place])
        ids_BT[live, place], logprobs_BT[live, place] = tokens_B, drawn_B
        going_B = ~finished_B[live]
        lengths_B[live[going_B]] += 1
        finished_B[live] |= torch.isin(tokens_B, stops)
        open_B = ~finished_B[live]
        left = int(open_B.sum())
        if left == 0 or place + 1 == decoding.max_new_tokens:
            break
        if left * 4 <= 3 * len(live):  # rows that are done stay until they are a quarter: leaving copies the cache
            kept = open_B.nonzero().squeeze(1)
            batch.keep(kept.tolist())
            live, tokens_B = live[kept], tokens_B[kept]
        logits_BV = batch.step(tokens_B.tolist())
    ids, logprobs = ids_BT.to(torch.int32).cpu().numpy(), logprobs_BT.float().cpu().numpy()
    lengths, finished = lengths_B.tolist(), finished_B.tolist()
    one = [
        Sampled(ids[r, :n].copy(), logprobs[r, :n].copy(), finished[r], np.ones(n, dtype=np.bool_))
        for r, n in enumerate(lengths)
    ]
    return [one[low : low + group_size] for low in range(0, rows, group_size)]


def _draw(logits_BV: torch.Tensor, decoding: Decoding, draws_B: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A token for each row [B] by inverting the running sum of probabilities, and its log-probability [B]."""
    logprobs_BV = (logits_BV / decoding.temperature).log_softmax(-1)
    if bool(torch.isnan(logprobs_BV[:, 0]).any()):  # one NaN in a row makes all of it NaN
        raise FloatingPointError("the model's logits hold NaN: its weights are unusable")
    likely_BV = logprobs_BV.exp()
    if decoding.top_p < 1.0:
        sorted_BV, order_BV = likely_BV.sort(descending=True, dim=-1)
        outside_BV = sorted_BV.cumsum(-1) - sorted_BV >= decoding.top_p
        likely_BV = likely_BV.masked_fill(torch.zeros_like(outside_BV).scatter(1, order_BV, outside_BV), 0.0)
    # float64: a float32 running sum over a large vocabulary loses the tail
    sums_BV = likely_BV.cumsum(-1, dtype=torch.float64)
    tokens_B1 = torch.searchsorted(sums_BV, draws_B[:, None] * sums_BV[:, -1:], right=True).clamp(
        max=sums_BV.shape[1] - 1
    )
    return tokens_B1.squeeze(1), logprobs_BV.gather(1, tokens_B1).squeeze(1)
