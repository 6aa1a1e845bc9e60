"""Attention over a flat sequence of segments by FlexAttention: one fused kernel that also knows soft caps and sinks.

For layers on a GPU whose attention the variable-length kernel does not do. Which token sees which is told by a walk
through the tree of segments: each gets the number at which the walk enters it and the one at which it leaves, so that
a segment lies under another where its numbers lie within the other's (Dietz 1982, "Maintaining order in a linked
list"). Source of the kernel: Dong et al. 2024, "Flex Attention", arXiv:2412.05496.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, Final

import numpy as np
import torch

from goldsmith.engines.training.data.batches import Layout

BLOCK: Final = 128
"""Tokens of a side of the blocks in which the kernel skips what nobody sees."""


class Tree:
    """A layout on a device: of each token, where the walk enters and leaves its segment, and its place on its path."""

    def __init__(self, layout: Layout, device: torch.device) -> None:
        self.layout = layout
        enters, leaves = _walk(layout.parents)
        befores = [sum(layout.lengths[i] for i in layout.ancestors(s)) for s in range(len(layout.lengths))]
        lengths = np.array(layout.lengths)
        own = np.concatenate([np.arange(n) for n in layout.lengths])

        def of_tokens(of_segments: Any) -> torch.Tensor:
            return torch.from_numpy(np.repeat(np.asarray(of_segments, np.int32), lengths)).to(device)

        self.enters_T, self.leaves_T = of_tokens(enters), of_tokens(leaves)
        self.places_T = of_tokens(befores) + torch.from_numpy(own.astype(np.int32)).to(device)
        self._masks: dict[int | None, Any] = {}

    def mask(self, window: int | None) -> Any:
        """The BlockMask for layers that look back over `window` tokens, the present one counted; None: over all."""
        if window not in self._masks:
            self._masks[window] = self._mask(window)
        return self._masks[window]

    def _mask(self, window: int | None) -> Any:
        from torch.nn.attention.flex_attention import BlockMask

        blocks_QK = _blocks(self.layout, window)
        counts_Q = torch.from_numpy(blocks_QK.sum(1).astype(np.int32))
        order_QK = torch.from_numpy(np.argsort(~blocks_QK, axis=1, kind="stable").astype(np.int32))
        device, tokens = self.places_T.device, len(self.places_T)
        return BlockMask.from_kv_blocks(
            counts_Q[None, None].to(device),
            order_QK[None, None].to(device),
            BLOCK_SIZE=BLOCK,
            mask_mod=_sees(self.enters_T, self.leaves_T, self.places_T, window),
            seq_lengths=(tokens, tokens),
        )


def _walk(parents: tuple[int, ...]) -> tuple[list[int], list[int]]:
    """For each segment the number at which a walk through the tree enters it, and the first one after it is left."""
    children: dict[int, list[int]] = {}
    for segment, parent in enumerate(parents):
        children.setdefault(parent, []).append(segment)
    enters, leaves = [0] * len(parents), [0] * len(parents)
    number = 0
    path = [(s, False) for s in reversed(children.get(-1, []))]
    while path:
        segment, seen = path.pop()
        if seen:
            leaves[segment] = number
            continue
        enters[segment] = number
        number += 1
        path.append((segment, True))
        path.extend((s, False) for s in reversed(children.get(segment, [])))
    return enters, leaves


def _sees(enters_T: torch.Tensor, leaves_T: torch.Tensor, places_T: torch.Tensor, window: int | None) -> Any:
    def sees(_batch: Any, _head: Any, query: Any, key: Any) -> Any:
        under = (enters_T[key] <= enters_T[query]) & (enters_T[query] < leaves_T[key])
        back = places_T[query] - places_T[key]
        within = (back >= 0) if window is None else (back >= 0) & (back < window)
        return under & within

    return sees


def _blocks(layout: Layout, window: int | None) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """bool [Q, K]: blocks in which some query may see some key. May say yes once too often, never no."""
    starts = np.concatenate([[0], np.cumsum(layout.lengths)])
    count = -(-int(starts[-1]) // BLOCK)
    blocks_QK = np.zeros((count, count), dtype=np.bool_)
    reach = count if window is None else -(-window // BLOCK)
    for segment in range(len(layout.lengths)):
        first, last = starts[segment] // BLOCK, (starts[segment + 1] - 1) // BLOCK
        span = np.arange(last - first + 1)
        back = span[:, None] - span[None, :]
        blocks_QK[first : last + 1, first : last + 1] |= (back >= 0) & (back <= reach)
        for above in layout.ancestors(segment):
            blocks_QK[first : last + 1, starts[above] // BLOCK : (starts[above + 1] - 1) // BLOCK + 1] = True
    return blocks_QK


@cache
def _kernel(device_type: str) -> Callable[..., Any]:
    """FlexAttention, compiled where that pays: on the CPU it is for looking at, not for speed."""
    from torch.nn.attention.flex_attention import flex_attention

    plain: Callable[..., Any] = flex_attention
    if device_type != "cuda":
        return plain
    # One kernel for each kind of layer, with gradients and without; past the limit it would run unfused, in silence.
    torch._dynamo.config.recompile_limit = max(64, torch._dynamo.config.recompile_limit)
    return torch.compile(plain)


@cache
def _capped(softcap: float) -> Any:
    def capped(score: Any, _batch: Any, _head: Any, _query: Any, _key: Any) -> Any:
        return softcap * torch.tanh(score / softcap)

    return capped


def flex(
    query_BHTD: torch.Tensor,
    key_BHTD: torch.Tensor,
    value_BHTD: torch.Tensor,
    tree: Tree,
    *,
    scaling: float | None,
    window: int | None,
    softcap: float | None,
    sinks_H: torch.Tensor | None,
) -> torch.Tensor:
    """[B, T, H, D]; B is 1. A sink takes part in a query's softmax and gives nothing: the rest is scaled down by what
    it takes, which follows from the log of the sum that the kernel returns."""
    query, key = query_BHTD.to(value_BHTD.dtype), key_BHTD.to(value_BHTD.dtype)
    found = _kernel(value_BHTD.device.type)(
        query,
        key,
        value_BHTD,
        score_mod=None if softcap is None else _capped(softcap),
        block_mask=tree.mask(window),
        scale=scaling,
        enable_gqa=query.shape[1] != key.shape[1],
        return_lse=sinks_H is not None,
    )
    if sinks_H is None:
        mixed_BHTD: torch.Tensor = found
    else:
        mixed_BHTD, sums_BHT = found
        left_BHT = torch.sigmoid(sums_BHT.float() - sinks_H.float()[None, :, None])
        mixed_BHTD = mixed_BHTD * left_BHT[..., None].to(mixed_BHTD.dtype)
    return mixed_BHTD.transpose(1, 2).contiguous()
