"""What a GPU's own kernels allocate, for simulating them where there is none: the variable-length attention kernel and
the fused passes over logits (see `engines/training/attention` and `losses`)."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import MethodType
from typing import Any

import torch

from goldsmith.engines.training.attention import flat
from goldsmith.engines.training.data.batches import Batch
from goldsmith.engines.training.losses import cross_entropy
from goldsmith.engines.training.model.policy import Policy


class _Varlen(torch.autograd.Function):
    """Bytes of FlashAttention 2 over segments; T queries, K keys, H heads, G key heads, D dimensions of a head.

    Kept: its inputs, its output and a float32 sum for each query and head. Its backward pass sums queries' gradients in
    float32, and keys' and values' for every head before those that share one are added (PyTorch's
    `aten/src/ATen/native/transformers/cuda/flash_attn/flash_api.cpp`, `mha_varlen_bwd`).
    """

    @staticmethod
    def forward(ctx: Any, query_THD: Any, key_KGD: Any, value_KGD: Any) -> Any:
        out_THD = torch.empty_like(query_THD)
        sums_HT = torch.empty(query_THD.shape[1], query_THD.shape[0], dtype=torch.float32)
        ctx.save_for_backward(query_THD, key_KGD, value_KGD, out_THD, sums_HT)
        return out_THD

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Any, ...]:
        query, key, value, _, sums = ctx.saved_tensors
        d_query, d_key, d_value = (torch.empty_like(t) for t in (query, key, value))
        held = [torch.empty(query.shape, dtype=torch.float32), torch.empty_like(sums)]
        if key.shape[1] != query.shape[1]:
            every = (key.shape[0], *query.shape[1:])
            held += [torch.empty(every, dtype=key.dtype), torch.empty(every, dtype=key.dtype)]
        del grads, held
        return d_query, d_key, d_value


def _varlen_attn(query_THD: Any, key_KGD: Any, value_KGD: Any, *_places: Any, **_named: Any) -> Any:
    return _Varlen.apply(query_THD, key_KGD, value_KGD)  # type: ignore[no-untyped-call]


def _normalise(raw_NV: Any, _label_N1: Any) -> tuple[Any, Any]:
    return torch.empty(len(raw_NV), 1), torch.empty(len(raw_NV), 1)


def _pull(raw_NV: Any, *_rest: Any) -> Any:
    return torch.empty_like(raw_NV)


def _fuses(head: cross_entropy.Head, _hidden: Any) -> bool:
    return head.scale == 1.0 and head.softcap is None and head.temperature == 1.0


def _layout(_policy: Policy, batch: Batch) -> dict[str, Any]:
    return flat.varlen(batch.layout, torch.device("cpu")).as_arguments()


@contextmanager
def kernels(policy: Policy) -> Iterator[None]:
    """Within it the policy, on fake tensors of a CPU, allocates what it would on a GPU."""
    fused: dict[str, Any] = {"_fuses": _fuses, "_fused": lambda: (_normalise, _pull)}
    with ExitStack() as after:
        for table in (cross_entropy.CHUNK_BYTES, cross_entropy.KEEP_BYTES):
            after.callback(table.update, cpu=table["cpu"])
            table["cpu"] = table["cuda"]
        for name, function in fused.items():
            _put(cross_entropy, name, function, after)
        if flat.HAS_VARLEN and policy.precision != "float32":
            _put(flat, "varlen_attn", _varlen_attn, after)
            _put(policy, "_layout", MethodType(_layout, policy), after)
        yield


def _put(where: Any, name: str, value: Any, after: ExitStack) -> None:
    after.callback(setattr, where, name, getattr(where, name))
    setattr(where, name, value)
