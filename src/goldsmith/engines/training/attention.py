"""Attention over a flat sequence of segments: no padding, no contamination, and a shared prompt computed once.

Each segment attends to itself causally and to its ancestors whole (a tree; with no parents: plain packing). It is
registered with transformers as an attention implementation, so it serves every architecture that takes its attention
from there; `goldsmith.engines.training.guards` proves on the actual model that a packed row equals the row alone.
"""

from functools import lru_cache
from typing import Any, Final

import torch
import torch.nn.functional as F

from goldsmith.engines.training.batches import Layout

NAME: Final = "goldsmith_flat"


class CannotSteer(ValueError):
    """This model's attention needs something the flat one does not do; the caller takes a slower, general way."""


@lru_cache(maxsize=4096)
def _branch_mask(before: int, own: int, device: torch.device) -> torch.Tensor:
    """bool [own, before + own]: everything before the branch, and the branch itself causally."""
    return torch.ones(own, before + own, dtype=torch.bool, device=device).tril(before)


def flat_attention(
    module: Any,  # noqa: ARG001 - transformers' signature
    query_BHTD: torch.Tensor,
    key_BHTD: torch.Tensor,
    value_BHTD: torch.Tensor,
    attention_mask: torch.Tensor | None = None,  # noqa: ARG001 - the layout takes its place
    *,
    dropout: float = 0.0,
    scaling: float | None = None,
    layout: Layout | None = None,
    **other: Any,
) -> tuple[torch.Tensor, None]:
    """The attention function transformers calls; B is 1. Returns [B, T, H, D].

    Raises:
        CannotSteer: the model asks for a soft cap, attention sinks, a position bias or a window shorter than a row.
    """
    if layout is None:
        raise CannotSteer("the model does not hand the layout on to its attention")
    window = other.get("sliding_window")
    asks = [name for name in ("softcap", "s_aux", "position_bias") if other.get(name) is not None]
    if window is not None and sum(layout.lengths) > window and _longest(layout) > window:
        asks.append("sliding_window")
    if asks or other.get("is_causal") is False:
        raise CannotSteer(f"the model's attention asks for {', '.join(asks) or 'no causality'}")
    groups = query_BHTD.shape[1] // key_BHTD.shape[1]
    if groups > 1:
        key_BHTD = key_BHTD.repeat_interleave(groups, dim=1)
        value_BHTD = value_BHTD.repeat_interleave(groups, dim=1)
    sizes = list(layout.lengths)
    queries, keys, values = (torch.split(t, sizes, 2) for t in (query_BHTD, key_BHTD, value_BHTD))
    outputs = []
    for segment, size in enumerate(sizes):
        before = layout.ancestors(segment)
        if not before:
            key, value, mask = keys[segment], values[segment], None
        else:
            key = torch.cat([keys[i] for i in (*before, segment)], 2)
            value = torch.cat([values[i] for i in (*before, segment)], 2)
            mask = _branch_mask(key.shape[2] - size, size, key.device)
        outputs.append(
            F.scaled_dot_product_attention(
                queries[segment],
                key,
                value,
                attn_mask=mask,
                dropout_p=dropout,
                is_causal=mask is None,
                scale=scaling,
            )
        )
    return torch.cat(outputs, 2).transpose(1, 2).contiguous(), None


@lru_cache(maxsize=256)
def _longest(layout: Layout) -> int:
    return max(
        size + sum(layout.lengths[i] for i in layout.ancestors(segment)) for segment, size in enumerate(layout.lengths)
    )


def register() -> None:
    """Make the implementation known to transformers; harmless to repeat."""
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, flat_attention)
