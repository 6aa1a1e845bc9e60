"""The running batch: rows join and leave between steps, and share one forward pass per token.

Rows are left-padded: the newest token of every row is in the last column, so a step appends one column.
Continuous batching after Orca (Yu et al., OSDI 2022), with a dense cache in place of pages.
"""

import inspect
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

_HEADROOM = 64  # columns allocated beyond what is needed, so that most steps copy no cache


class GrowingLayer(DynamicLayer):  # type: ignore[no-untyped-call]
    """Keys and values [B, heads, T, width] in a buffer with room to grow: a new column copies one column.

    Sliding-window models run on it too: their mask hides what has left the window.
    """

    keys: torch.Tensor
    values: torch.Tensor

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._keys: torch.Tensor | None = None
        self._values: torch.Tensor | None = None
        self.length = 0

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append columns; returns views of all keys and values so far."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        end = self.length + key_states.shape[-2]
        self._keys = _room(self._keys, key_states, self.length, end)
        self._values = _room(self._values, value_states, self.length, end)
        self._keys[:, :, self.length : end] = key_states
        self._values[:, :, self.length : end] = value_states
        self.length = end
        self.keys, self.values = self._keys[:, :, :end], self._values[:, :, :end]
        return self.keys, self.values

    def replace(self, keys: torch.Tensor, values: torch.Tensor, length: int) -> None:
        """Put new buffers in place, of which the first `length` columns are filled."""
        self._keys, self._values, self.length = keys, values, length
        self.keys, self.values = keys[:, :, :length], values[:, :, :length]


def _room(buffer: torch.Tensor | None, like: torch.Tensor, length: int, end: int) -> torch.Tensor:
    if buffer is not None and buffer.shape[2] >= end:
        return buffer
    grown = like.new_empty((like.shape[0], like.shape[1], end + max(_HEADROOM, end // 4), like.shape[3]))
    if buffer is not None:
        grown[:, :, :length] = buffer[:, :, :length]
    return grown


class Forward:
    """The model's forward pass, one at a time, with this answerer's adapter switched on."""

    def __init__(
        self,
        model: Any,
        lock: threading.RLock,
        ready: Callable[[], AbstractContextManager[None, bool | None]],
    ) -> None:
        self.model = model
        self._lock = lock
        self._ready = ready
        self.device = model.device
        accepted = inspect.signature(_inner(model).forward).parameters
        self._keep = {"logits_to_keep": 1} if "logits_to_keep" in accepted else {}
        kinds = {type(layer) for layer in DynamicCache(config=model.config).layers}
        self.mergeable = kinds <= {DynamicLayer, DynamicSlidingWindowLayer}
        """Whether rows can share a batch. A recurrent state cannot be padded: such models run one by one."""

    def new_cache(self) -> Cache:
        if not self.mergeable:
            return DynamicCache(config=self.model.config)
        layers = DynamicCache(config=self.model.config).layers
        return Cache(layers=[GrowingLayer() for _ in layers])

    @torch.inference_mode()
    def last_logits(
        self, ids_BT: torch.Tensor, mask_BS: torch.Tensor, positions_BT: torch.Tensor, cache: Cache
    ) -> torch.Tensor:
        """float32 logits [B, V] after the last column; S counts the cached columns too."""
        # without padding no mask is needed, and models with a recurrent state want none
        mask = mask_BS.to(self.device) if not bool(mask_BS.all()) else None
        with self._lock, self._ready():
            output = self.model(
                input_ids=ids_BT.to(self.device),
                attention_mask=mask,
                position_ids=positions_BT.to(self.device),
                past_key_values=cache,
                use_cache=True,
                **self._keep,
            )
        return output.logits[:, -1].float()  # type: ignore[no-any-return]

    @torch.inference_mode()
    def tail_logits(self, ids_BT: torch.Tensor, mask_BT: torch.Tensor, keep: int) -> torch.Tensor:
        """float32 logits [B, keep, V] of the last `keep` columns of right-padded rows."""
        mask = mask_BT.to(self.device) if not bool(mask_BT.all()) else None
        kept = {"logits_to_keep": keep} if self._keep else {}
        with self._lock, self._ready():
            output = self.model(input_ids=ids_BT.to(self.device), attention_mask=mask, use_cache=False, **kept)
        return output.logits[:, -keep:].float()  # type: ignore[no-any-return]


def _inner(model: Any) -> Any:
    return model.get_base_model() if hasattr(model, "get_base_model") else model


class RunningBatch:
    """Rows being written. The order of rows is the order of joining; `lengths` counts their real tokens."""

    def __init__(self, forward: Forward, pad_id: int) -> None:
        self._forward = forward
        self._pad_id = pad_id
        self._cache: Cache | None = None
        self._mask_BT = torch.empty((0, 0), dtype=torch.bool)
        self.lengths: list[int] = []

    def __len__(self) -> int:
        return len(self.lengths)

    def join(self, prompts: Sequence[Sequence[int]]) -> torch.Tensor:
        """Read the prompts, add a row for each; float32 logits [len(prompts), V] for their first tokens."""
        lengths = [len(prompt) for prompt in prompts]
        width = max(lengths)
        ids_BT = torch.full((len(prompts), width), self._pad_id, dtype=torch.long)
        mask_BT = torch.zeros((len(prompts), width), dtype=torch.bool)
        for row, prompt in enumerate(prompts):
            ids_BT[row, width - len(prompt) :] = torch.as_tensor(list(prompt), dtype=torch.long)
            mask_BT[row, width - len(prompt) :] = True
        positions_BT = (mask_BT.long().cumsum(-1) - 1).clamp_min(0)
        cache = self._forward.new_cache()
        logits_BV = self._forward.last_logits(ids_BT, mask_BT, positions_BT, cache)
        if self._cache is None:
            self._cache, self._mask_BT, self.lengths = cache, mask_BT, lengths
        else:
            self._merge(self._cache, cache, mask_BT)
            self.lengths = self.lengths + lengths
        return logits_BV

    def step(self, tokens: Sequence[int]) -> torch.Tensor:
        """Append one token to every row; float32 logits [B, V] for the next ones."""
        if self._cache is None:
            raise RuntimeError("a step without rows")
        ids_BT = torch.as_tensor(list(tokens), dtype=torch.long)[:, None]
        positions_BT = torch.as_tensor(self.lengths, dtype=torch.long)[:, None]
        self._mask_BT = torch.cat([self._mask_BT, torch.ones((len(self), 1), dtype=torch.bool)], dim=1)
        logits_BV = self._forward.last_logits(ids_BT, self._mask_BT, positions_BT, self._cache)
        self.lengths = [length + 1 for length in self.lengths]
        return logits_BV

    def repeat(self, times: int) -> None:
        """Put `times` copies of every row in its place: a prompt is read once for all its answers."""
        if times == 1 or self._cache is None:
            return
        self.lengths = [length for length in self.lengths for _ in range(times)]
        self._mask_BT = self._mask_BT.repeat_interleave(times, dim=0)
        for layer in _layers(self._cache):
            keys, values = (_with_room(part.repeat_interleave(times, dim=0)) for part in (layer.keys, layer.values))
            layer.replace(keys, values, layer.length)

    def keep(self, rows: Sequence[int]) -> None:
        """Drop all rows but these, and the columns that are padding in all that stay."""
        if not rows or self._cache is None:
            self._cache, self.lengths = None, []
            self._mask_BT = torch.empty((0, 0), dtype=torch.bool)
            return
        if len(rows) == len(self):
            return
        self.lengths = [self.lengths[row] for row in rows]
        start = self._mask_BT.shape[1] - max(self.lengths)
        index = torch.as_tensor(list(rows), dtype=torch.long)
        self._mask_BT = self._mask_BT[index, start:]
        for layer in _layers(self._cache):
            chosen = index.to(layer.keys.device)
            keys, values = (_with_room(part[:, :, start:][chosen]) for part in (layer.keys, layer.values))
            layer.replace(keys, values, max(self.lengths))

    def _merge(self, mine: Cache, theirs: Cache, mask_BT: torch.Tensor) -> None:
        width = max(self._mask_BT.shape[1], mask_BT.shape[1])
        self._mask_BT = torch.cat([_left_pad_mask(self._mask_BT, width), _left_pad_mask(mask_BT, width)])
        for a, b in zip(_layers(mine), _layers(theirs), strict=True):
            keys = torch.cat([_left_pad(a.keys, width), _left_pad(b.keys, width)])
            values = torch.cat([_left_pad(a.values, width), _left_pad(b.values, width)])
            a.replace(_with_room(keys), _with_room(values), width)


def _layers(cache: Cache) -> list[GrowingLayer]:
    return [layer for layer in cache.layers if isinstance(layer, GrowingLayer)]


def _left_pad_mask(mask_BT: torch.Tensor, width: int) -> torch.Tensor:
    return torch.nn.functional.pad(mask_BT, (width - mask_BT.shape[1], 0), value=False)


def _left_pad(part_BHTD: torch.Tensor, width: int) -> torch.Tensor:
    # zeros, never garbage: a masked NaN would still spoil the weighted sum
    return torch.nn.functional.pad(part_BHTD, (0, 0, width - part_BHTD.shape[2], 0))


def _with_room(part_BHTD: torch.Tensor) -> torch.Tensor:
    """The same columns, with room behind them to grow."""
    return torch.nn.functional.pad(part_BHTD, (0, 0, 0, _HEADROOM))
