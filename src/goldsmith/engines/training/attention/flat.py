"""Attention over a flat sequence of segments: no padding, no contamination, and a shared prompt computed once.

Each segment attends to itself causally and to its ancestors whole (a tree; with no parents: plain packing). It is
registered with transformers as an attention implementation, so it serves every architecture that takes its attention
from there; `training.guards.self_test` proves on the actual model that a packed row equals the row alone.

Three ways of computing the same. A call of scaled-dot-product attention for each segment: any device and precision.
One variable-length flash kernel for all segments (CUDA, half precision), for which each segment's keys are laid out
behind those of its ancestors: its causal mask, and its sliding window, are aligned to the end, which is what a branch
of a tree needs. FlexAttention (CUDA), for layers that ask for what that kernel does not do (see `flex`).
"""

import inspect
from functools import lru_cache
from typing import Any, Final, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from goldsmith.engines.training.attention.cpu import in_float32
from goldsmith.engines.training.attention.flex import Tree, flex
from goldsmith.engines.training.data.batches import Layout

try:
    from torch.nn.attention.varlen import varlen_attn
except ImportError:  # torch before 2.10
    varlen_attn = None  # type: ignore[assignment]

NAME: Final = "goldsmith_flat"
_VARLEN_TAKES: Final = frozenset(inspect.signature(varlen_attn).parameters) if varlen_attn is not None else frozenset()
HAS_VARLEN: Final = varlen_attn is not None
HAS_WINDOWS: Final = "window_size" in _VARLEN_TAKES


class CannotSteer(ValueError):
    """This model's attention needs something the flat one does not do; the caller takes a slower, general way."""


class Varlen(NamedTuple):
    """A layout as the variable-length kernel wants it; plain tensors and numbers, so that compiled layers see no
    new shape in every batch.

    `cu_q_S1`, `cu_k_S1`: where each segment's queries and keys begin, int32. `gather_K`: for each key its place in the
    flat sequence; None where every segment's keys are its own (no tree).
    """

    cu_q_S1: torch.Tensor
    cu_k_S1: torch.Tensor
    gather_K: torch.Tensor | None
    max_q: int
    max_k: int

    def as_arguments(self) -> dict[str, Any]:
        """What a model hands on to its attention."""
        return {f"varlen_{name}": value for name, value in self._asdict().items()}


def varlen(layout: Layout, device: torch.device) -> Varlen:
    """The layout for the variable-length kernel."""
    starts = np.concatenate([[0], np.cumsum(layout.lengths)])
    if all(parent < 0 for parent in layout.parents):
        cu = torch.from_numpy(starts.astype(np.int32)).to(device, non_blocking=True)
        longest = max(layout.lengths)
        return Varlen(cu, cu, None, longest, longest)
    places, ends = [], [0]
    for segment in range(len(layout.lengths)):
        for part in (*layout.ancestors(segment), segment):
            places.append(np.arange(starts[part], starts[part + 1]))
        ends.append(ends[-1] + sum(layout.lengths[i] for i in (*layout.ancestors(segment), segment)))
    return Varlen(
        torch.from_numpy(starts.astype(np.int32)).to(device, non_blocking=True),
        torch.from_numpy(np.array(ends, np.int32)).to(device, non_blocking=True),
        torch.from_numpy(np.concatenate(places)).to(device, non_blocking=True),
        max(layout.lengths),
        int(np.diff(ends).max()),
    )


def _varlen_attention(
    query_BHTD: torch.Tensor,
    key_BHTD: torch.Tensor,
    value_BHTD: torch.Tensor,
    scaling: float | None,
    window: int | None,
    at: Varlen,
) -> torch.Tensor:
    """[B, T, H, D] by one flash kernel over all segments; B is 1."""
    # Rotary embeddings leave float32 queries under autocast; the kernel wants all three in half precision.
    half = torch.bfloat16 if value_BHTD.is_cuda and value_BHTD.dtype is torch.float32 else value_BHTD.dtype
    query, key, value = (t[0].transpose(0, 1).to(half) for t in (query_BHTD, key_BHTD, value_BHTD))
    if at.gather_K is not None:
        key, value = key.index_select(0, at.gather_K), value.index_select(0, at.gather_K)
    groups = query.shape[1] // key.shape[1]
    back = -1 if window is None else window - 1
    named: dict[str, Any] = {"scale": scaling, **({"window_size": (back, 0)} if HAS_WINDOWS else {"is_causal": True})}
    if groups > 1 and "enable_gqa" in _VARLEN_TAKES:
        named["enable_gqa"] = True
    elif groups > 1:
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    places = (at.cu_q_S1, at.cu_k_S1, at.max_q, at.max_k)
    out: Any = varlen_attn(query.contiguous(), key.contiguous(), value.contiguous(), *places, **named)
    mixed_1THD: torch.Tensor = out[None]
    return mixed_1THD


@lru_cache(maxsize=128)  # those of one forward: its layers share them; rows of new lengths never end
def _branch_mask(before: int, own: int, window: int, device: torch.device) -> torch.Tensor:
    """bool [own, before + own]: the last `window` tokens up to and with each one; what comes before a branch is seen
    whole, the branch itself causally."""
    return torch.ones(own, before + own, dtype=torch.bool, device=device).tril(before).triu(before - window + 1)


def forget_masks() -> None:
    """Drop the masks that are kept from call to call."""
    _branch_mask.cache_clear()


class _Asked(NamedTuple):
    """What a layer's attention does beside plain causal attention.

    `window`: tokens a query looks back over, itself counted. `softcap`: scores pass `softcap * tanh(score / softcap)`.
    `sinks_H`: one more score for each head, which takes its share of the attention and gives nothing.
    """

    window: int | None = None
    softcap: float | None = None
    sinks_H: torch.Tensor | None = None

    @property
    def explicit(self) -> bool:
        """Whether scores have to be written out: torch's own kernels know neither caps nor sinks."""
        return self.softcap is not None or self.sinks_H is not None


def _asked(other: dict[str, Any]) -> _Asked:
    """What a model's layer asks for, from what it hands to its attention.

    Raises:
        CannotSteer: something that is not done here.
    """
    unknown = [name for name in ("position_bias", "head_mask") if other.get(name) is not None]
    if unknown or other.get("is_causal") is False:
        raise CannotSteer(f"the model's attention asks for {', '.join(unknown) or 'no causality'}")
    return _Asked(other.get("sliding_window"), other.get("softcap"), other.get("s_aux"))


def flat_attention(
    module: Any,
    query_BHTD: torch.Tensor,
    key_BHTD: torch.Tensor,
    value_BHTD: torch.Tensor,
    attention_mask: torch.Tensor | None = None,  # noqa: ARG001 - the layout takes its place
    *,
    dropout: float = 0.0,
    scaling: float | None = None,
    layout: Layout | None = None,
    tree: Tree | None = None,
    **other: Any,
) -> tuple[torch.Tensor, None]:
    """The attention function transformers calls; B is 1. Returns [B, T, H, D].

    The layout comes as `layout`, or as the fields of `Varlen`, for the variable-length kernel. A layer that asks for
    what the kernel does not do takes FlexAttention where the layout is there as `tree` too, else its segments one by
    one.

    Raises:
        CannotSteer: the model asks for something that is not done here: a position bias; of the kernel, also a soft
            cap, sinks, or dropout.
    """
    asked = _asked(other)
    if "varlen_cu_q_S1" in other:
        at = Varlen(**{name: other[f"varlen_{name}"] for name in Varlen._fields})
        window = None if asked.window is None or at.max_k <= asked.window else asked.window
        if not asked.explicit and not dropout and (window is None or HAS_WINDOWS):
            return _varlen_attention(query_BHTD, key_BHTD, value_BHTD, scaling, window, at), None
        if layout is None:
            raise CannotSteer("the variable-length kernel does no dropout, soft cap or sinks")
    if tree is not None and not dropout:
        return flex(query_BHTD, key_BHTD, value_BHTD, tree, scaling=scaling, **asked._asdict()), None
    if layout is None:
        raise CannotSteer("the model does not hand the layout on to its attention")
    groups = query_BHTD.shape[1] // key_BHTD.shape[1]
    if groups > 1:
        key_BHTD = key_BHTD.repeat_interleave(groups, dim=1)
        value_BHTD = value_BHTD.repeat_interleave(groups, dim=1)
    sizes = list(layout.lengths)
    queries, keys, values = (torch.split(t, sizes, 2) for t in (query_BHTD, key_BHTD, value_BHTD))
    outputs = []
    for segment in range(len(sizes)):
        seen = (*layout.ancestors(segment), segment)
        key = torch.cat([keys[i] for i in seen], 2) if len(seen) > 1 else keys[segment]
        value = torch.cat([values[i] for i in seen], 2) if len(seen) > 1 else values[segment]
        outputs.append(_segment(queries[segment], key, value, scaling, dropout, asked, module.training))
    return torch.cat(outputs, 2).transpose(1, 2).contiguous(), None


def _segment(
    query_BHQD: torch.Tensor,
    key_BHKD: torch.Tensor,
    value_BHKD: torch.Tensor,
    scaling: float | None,
    dropout: float,
    asked: _Asked,
    training: bool,
) -> torch.Tensor:
    """One segment's queries over its keys and those of its ancestors, which end where the queries end; [B, H, Q, D]."""
    own, total = query_BHQD.shape[2], key_BHKD.shape[2]
    window = total if asked.window is None else min(asked.window, total)
    plain = own == total == window
    mask_QK = None if plain else _branch_mask(total - own, own, window, key_BHKD.device)
    if value_BHKD.device.type == "cpu" and value_BHKD.dtype is torch.bfloat16 and not asked.explicit and not dropout:
        half = value_BHKD.dtype  # rotary embeddings leave float32 queries and keys under autocast
        return in_float32(query_BHQD.to(half), key_BHKD.to(half), value_BHKD, mask_QK, scaling)
    if not asked.explicit:
        return F.scaled_dot_product_attention(
            query_BHQD, key_BHKD, value_BHKD, attn_mask=mask_QK, dropout_p=dropout, is_causal=plain, scale=scaling
        )
    scale = query_BHQD.shape[-1] ** -0.5 if scaling is None else scaling
    scores = (query_BHQD @ key_BHKD.transpose(2, 3)).float() * scale
    if asked.softcap is not None:
        scores = (scores / asked.softcap).tanh() * asked.softcap
    seen_QK = _branch_mask(total - own, own, window, key_BHKD.device) if mask_QK is None else mask_QK
    scores = scores.masked_fill(~seen_QK, float("-inf"))
    if asked.sinks_H is not None:
        sinks = asked.sinks_H.float().reshape(1, -1, 1, 1).expand(scores.shape[0], -1, own, 1)
        shares = torch.cat([scores, sinks], -1).softmax(-1)[..., :-1]
    else:
        shares = scores.softmax(-1)
    return F.dropout(shares.to(value_BHKD.dtype), dropout, training) @ value_BHKD


def register() -> None:
    """Make the implementation known to transformers; harmless to repeat."""
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, flat_attention)
