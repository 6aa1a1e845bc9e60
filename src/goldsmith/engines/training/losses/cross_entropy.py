"""Losses as pure functions on tensors. Axes: N labelled tokens, H hidden, V vocabulary.

The language-model head is applied only where there is a label, in chunks, so the full logit tensor never exists. For
cross-entropy the gradient with respect to hidden states and head is worked out chunk by chunk in the forward pass
(as in Hsu et al. 2024, Liger Kernel, arXiv:2410.10989), so that nothing is computed twice.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable

CHUNK_BYTES = {"cpu": 64 * 2**20, "cuda": 2**30}
"""Logits worked on at a time, counted as float32, by device; a GPU needs more of them to be busy."""
FAR = 60.0
"""Nats from which a share in float32 is near the smallest number that keeps all its digits (e**-87)."""
CACHE_BYTES = 2 * 2**20
"""On a CPU float32 logits are made from those of a chunk in blocks of this size, which stay in its cache from one pass
over them to the next (measured: softmax, loss and gradient of 950 rows of 8,192 in 8 ms instead of 32)."""
STRIP_BYTES = 16 * 2**20
"""Of a head's float32 gradient that is worked out at a time on a CPU."""
KEEP_BYTES = {"cpu": 128 * 2**20, "cuda": 2**30}
"""Logits of up to this size are kept for the backward pass instead of being computed again."""


@dataclass(frozen=True, slots=True)
class Head:
    """How hidden states become logits: `softcap(scale * (hidden @ weight.T + bias)) / temperature`. `weight_VH`."""

    weight_VH: torch.Tensor
    bias_V: torch.Tensor | None = None
    scale: float = 1.0
    softcap: float | None = None
    temperature: float = 1.0

    def raw(self, hidden_NH: torch.Tensor) -> torch.Tensor:
        """Logits [N, V] before scale and soft cap, in the precision of the matrix product."""
        return F.linear(hidden_NH, self.weight_VH, self.bias_V)

    def logits(self, raw_NV: torch.Tensor) -> torch.Tensor:
        """float32 logits [N, V] of raw ones, which may be overwritten where they are float32 already."""
        out = raw_NV.float()
        if self.scale != 1.0:
            out = out.mul_(self.scale)
        if self.softcap is not None:
            out = out.div_(self.softcap).tanh_().mul_(self.softcap)
        return out.div_(self.temperature) if self.temperature != 1.0 else out

    def to(self, dtype: torch.dtype) -> "Head":
        """The same in another precision."""
        if self.weight_VH.dtype == dtype:
            return self
        bias_V = None if self.bias_V is None else self.bias_V.to(dtype)
        return replace(self, weight_VH=self.weight_VH.to(dtype), bias_V=bias_V)

    def chain(self, grad_NV: torch.Tensor, logits_NV: torch.Tensor) -> torch.Tensor:
        """The gradient before scale, soft cap and temperature, given the one after; `grad_NV` is overwritten."""
        if self.temperature != 1.0:
            grad_NV = grad_NV.div_(self.temperature)
        if self.softcap is not None:
            grad_NV = grad_NV.mul_(1 - (logits_NV * (self.temperature / self.softcap)) ** 2)
        return grad_NV.mul_(self.scale) if self.scale != 1.0 else grad_NV


def _chunks(n: int, weight_VH: torch.Tensor) -> list[tuple[int, int]]:
    size = max(1, CHUNK_BYTES.get(weight_VH.device.type, 64 * 2**20) // (4 * weight_VH.shape[0]))
    return [(low, min(low + size, n)) for low in range(0, n, size)]


def _blocks(raw_NV: torch.Tensor) -> list[slice]:
    n, width = raw_NV.shape
    size = max(1, CACHE_BYTES // (4 * width)) if raw_NV.device.type == "cpu" else n
    return [slice(low, low + size) for low in range(0, n, size)]


def _normalise(raw_NV: torch.Tensor, label_N1: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """logsumexp and the label's logit, float32 [N, 1] each."""
    logits = raw_NV.float()
    return logits.logsumexp(-1, keepdim=True), logits.gather(1, label_N1)


def _pull(raw_NV: torch.Tensor, norm_N1: torch.Tensor, label_N1: torch.Tensor, weight_N1: torch.Tensor) -> torch.Tensor:
    """Gradient of the weighted cross-entropy with respect to the logits, in their precision."""
    there = torch.arange(raw_NV.shape[1], device=raw_NV.device)[None] == label_N1
    return (((raw_NV.float() - norm_N1).exp() - there.float()) * weight_N1).to(raw_NV.dtype)


@lru_cache(maxsize=1)
def _fused() -> tuple[Any, Any]:
    """Both as single kernels: on a GPU these passes over the logits are bound by memory."""
    return torch.compile(_normalise, dynamic=True), torch.compile(_pull, dynamic=True)


def _fuses(head: Head, hidden_NH: torch.Tensor) -> bool:
    plain = head.scale == 1.0 and head.softcap is None and head.temperature == 1.0
    return hidden_NH.device.type == "cuda" and plain


def _read(head: Head, raw_NV: torch.Tensor, label_N1: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """logsumexp of the logits and the label's logit, float32 [N, 1] each; the raw ones stay as they are."""
    if _fuses(head, raw_NV):
        norm, picked = _fused()[0](raw_NV, label_N1)
        return norm, picked
    found = []
    for block in _blocks(raw_NV):
        logits = head.logits(raw_NV[block].to(torch.float32, copy=True))
        picked, most = logits.gather(1, label_N1[block]), logits.amax(-1, keepdim=True)
        found.append((logits.sub_(most).exp_().sum(-1, keepdim=True).log_().add_(most), picked))
    return torch.cat([norm for norm, _ in found]), torch.cat([picked for _, picked in found])


def _pulled(
    head: Head, raw_NV: torch.Tensor, norm_N1: torch.Tensor, label_N1: torch.Tensor, weight_N1: torch.Tensor
) -> torch.Tensor:
    """Gradient of the weighted cross-entropy with respect to the raw logits, in their precision."""
    if _fuses(head, raw_NV):
        grad: torch.Tensor = _fused()[1](raw_NV, norm_N1, label_N1, weight_N1)
        return grad
    out = torch.empty_like(raw_NV)
    for block in _blocks(raw_NV):
        logits = head.logits(raw_NV[block].to(torch.float32, copy=True))
        shares = (logits - norm_N1[block]).exp_()
        out[block] = head.chain(_less_label(shares, label_N1[block]).mul_(weight_N1[block]), logits)
    return out


def _losses_and_pull(
    head: Head, raw_NV: torch.Tensor, label_N1: torch.Tensor, weight_N1: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cross-entropy [N, 1] and its weighted gradient with respect to the raw logits, which is written over them."""
    if _fuses(head, raw_NV):
        norm, picked = _read(head, raw_NV, label_N1)
        return norm - picked, _pulled(head, raw_NV, norm, label_N1, weight_N1)
    losses = torch.empty(len(raw_NV), 1, dtype=torch.float32, device=raw_NV.device)
    for block in _blocks(raw_NV):
        label = label_N1[block]
        logits = head.logits(raw_NV[block])
        shares = logits.softmax(-1)
        losses[block] = shares.gather(1, label).log_().neg_()
        if _is_far(losses[block]):
            losses[block] = logits.logsumexp(-1, keepdim=True) - logits.gather(1, label)
        raw_NV[block] = head.chain(_less_label(shares, label).mul_(weight_N1[block]), logits)
    return losses, raw_NV


def _is_far(losses_N1: torch.Tensor) -> bool:
    """Whether a share is so small that it has lost digits, or is none at all."""
    return bool((losses_N1 > FAR).any())


def _less_label(shares_NV: torch.Tensor, label_N1: torch.Tensor) -> torch.Tensor:
    """Softmax minus one at the label, in place."""
    return shares_NV.scatter_add_(1, label_N1, shares_NV.new_full(label_N1.shape, -1.0))


class _Gradients:
    """Sums up the gradients of hidden states, weight and bias over chunks."""

    def __init__(self, hidden_NH: torch.Tensor, head: Head, needs: tuple[bool, bool, bool]) -> None:
        self.head, self.hidden = head.to(hidden_NH.dtype), hidden_NH
        self.d_hidden = torch.empty_like(hidden_NH) if needs[0] else None
        # The first chunk writes over it; without a label there is none.
        empty = torch.empty_like if len(hidden_NH) else torch.zeros_like
        self.d_weight = empty(head.weight_VH) if needs[1] else None
        self.d_bias = torch.zeros_like(head.bias_V) if needs[2] and head.bias_V is not None else None

    def add(self, low: int, high: int, d_logits: torch.Tensor) -> None:
        """A chunk; the first begins at 0."""
        d_logits = d_logits.to(self.hidden.dtype)
        if self.d_hidden is not None:
            self.d_hidden[low:high] = d_logits @ self.head.weight_VH
        if self.d_weight is not None:
            for strip in _strips(self.d_weight):
                _add_product(self.d_weight[strip], d_logits[:, strip].T, self.hidden[low:high], first=low == 0)
        if self.d_bias is not None:
            self.d_bias += d_logits.sum(0)

    def all(self) -> tuple[torch.Tensor | None, ...]:
        """Gradients of hidden states, weight and bias, of those that are needed."""
        return self.d_hidden, self.d_weight, self.d_bias


def _strips(weight_VH: torch.Tensor) -> list[slice]:
    """A head's rows in parts, so that a part's product in another precision is small beside its gradient."""
    rows = max(1, STRIP_BYTES // (4 * weight_VH.shape[1])) if weight_VH.device.type == "cpu" else weight_VH.shape[0]
    return [slice(low, low + rows) for low in range(0, weight_VH.shape[0], rows)]


def _add_product(sum_VH: torch.Tensor, left_VN: torch.Tensor, right_NH: torch.Tensor, *, first: bool) -> None:
    """`sum_VH += left_VN @ right_NH`, or `=` where it is the first."""
    if sum_VH.dtype == left_VN.dtype:
        sum_VH.addmm_(left_VN, right_NH, beta=0.0 if first else 1.0)
    elif first:
        sum_VH.copy_(left_VN @ right_NH)
    else:
        sum_VH += left_VN @ right_NH


class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden_NH: torch.Tensor,
        weight_VH: torch.Tensor,
        bias_V: torch.Tensor | None,  # noqa: ARG004 - an input, so that autograd asks for its gradient
        labels_N: torch.Tensor,
        weights_N: torch.Tensor,
        head: Head,
    ) -> torch.Tensor:
        needs = (ctx.needs_input_grad[0], ctx.needs_input_grad[1], ctx.needs_input_grad[2])
        sums = _Gradients(hidden_NH, head, needs)
        losses = torch.empty(len(labels_N), dtype=torch.float32, device=hidden_NH.device)
        for low, high in _chunks(len(labels_N), weight_VH):
            label, raw = labels_N[low:high, None], sums.head.raw(hidden_NH[low:high])
            if any(needs):
                loss, pull = _losses_and_pull(sums.head, raw, label, weights_N[low:high, None])
                losses[low:high] = loss.squeeze(1)
                sums.add(low, high, pull)
            else:
                norm, picked = _read(sums.head, raw, label)
                losses[low:high] = (norm - picked).squeeze(1)
        ctx.gradients = sums.all()
        return (losses * weights_N).sum()

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator, unused-ignore]
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Scaled in place and given away, so that a second gradient of the head's size is never held."""
        if ctx.gradients is None:
            raise RuntimeError("linear_cross_entropy goes backward once: its gradients are given away")
        given, ctx.gradients = ctx.gradients, None
        return (*(None if t is None else t.mul_(grads[0]) for t in given), None, None, None)


class _Logprobs(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden_NH: torch.Tensor,
        weight_VH: torch.Tensor,
        bias_V: torch.Tensor | None,  # noqa: ARG004 - an input, so that autograd asks for its gradient
        labels_N: torch.Tensor,
        head: Head,
    ) -> torch.Tensor:
        out = torch.empty(len(labels_N), dtype=torch.float32, device=hidden_NH.device)
        norms = torch.empty_like(out)
        most = KEEP_BYTES.get(weight_VH.device.type, 0)
        keep = any(ctx.needs_input_grad[:3]) and hidden_NH.element_size() * len(labels_N) * weight_VH.shape[0] <= most
        kept = []
        cast = head.to(hidden_NH.dtype)
        for low, high in _chunks(len(labels_N), weight_VH):
            raw = cast.raw(hidden_NH[low:high])
            norm, picked = _read(cast, raw, labels_N[low:high, None])
            norms[low:high], out[low:high] = norm.squeeze(1), (picked - norm).squeeze(1)
            if keep:
                kept.append(raw)
        ctx.head = head
        ctx.save_for_backward(hidden_NH, labels_N, norms, *kept)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        hidden_NH, labels_N, norms, *kept = ctx.saved_tensors
        needs = (ctx.needs_input_grad[0], ctx.needs_input_grad[1], ctx.needs_input_grad[2])
        sums = _Gradients(hidden_NH, ctx.head, needs)
        for place, (low, high) in enumerate(_chunks(len(labels_N), ctx.head.weight_VH)):
            raw = kept[place] if kept else sums.head.raw(hidden_NH[low:high])
            at = (norms[low:high, None], labels_N[low:high, None], -grads[0][low:high, None])
            sums.add(low, high, _pulled(sums.head, raw, *at))
        return (*sums.all(), None, None)


def linear_cross_entropy(
    hidden_NH: torch.Tensor, labels_N: torch.Tensor, head: Head, weights_N: torch.Tensor
) -> torch.Tensor:
    """Sum over N of `weights_N * -log p(label)`, a scalar in float32. Divide by the label count of the whole update
    through `weights_N`, and any way of cutting it into forwards gives the same gradient."""
    loss: torch.Tensor = _CrossEntropy.apply(  # type: ignore[no-untyped-call]
        hidden_NH, head.weight_VH, head.bias_V, labels_N, weights_N, head
    )
    return loss


def linear_logprobs(hidden_NH: torch.Tensor, labels_N: torch.Tensor, head: Head) -> torch.Tensor:
    """log p(label) for each of N labels, float32 [N]."""
    out: torch.Tensor = _Logprobs.apply(  # type: ignore[no-untyped-call]
        hidden_NH, head.weight_VH, head.bias_V, labels_N, head
    )
    return out


def expert_balance(logits_TE: torch.Tensor, chosen: int) -> torch.Tensor:
    """How unevenly a router spreads tokens T over E experts, of which it takes `chosen`: `chosen` where they share
    evenly, E where all go to the same (Fedus et al. 2021, arXiv:2101.03961, eq. 4). A scalar in float32."""
    chances_TE = logits_TE.float().softmax(-1)
    taken_TE = torch.zeros_like(chances_TE).scatter_(1, chances_TE.topk(chosen).indices, 1.0)
    return logits_TE.shape[1] * (taken_TE.mean(0) * chances_TE.mean(0)).sum()


def sum_by_owner(values_N: torch.Tensor, owners_N: torch.Tensor, owners: int) -> torch.Tensor:
    """Sums of `values_N` for each owner, float32 [owners]."""
    return torch.zeros(owners, dtype=values_N.dtype, device=values_N.device).index_add(0, owners_N, values_N)
