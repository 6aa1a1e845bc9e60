"""Products of a mixture's stacked weights on tensors without contents, where torch can only follow bfloat16."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F


class _Grouped(torch.autograd.Function):
    """Bytes of `F.grouped_mm`: rows [S, K] times the matrix [K, N] of the expert that each belongs to, of [E, K, N]."""

    @staticmethod
    def forward(ctx: Any, rows_SK: torch.Tensor, stacked_EKN: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(rows_SK, stacked_EKN)
        return rows_SK.new_empty(rows_SK.shape[0], stacked_EKN.shape[-1])

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        needs = ctx.needs_input_grad
        found = [torch.empty_like(t) if need else None for t, need in zip(ctx.saved_tensors, needs, strict=True)]
        del grads
        return tuple(found)


@contextmanager
def followable() -> Iterator[None]:
    """Within it float32 experts can be followed."""
    before = getattr(F, "grouped_mm", None)
    if before is None:
        yield
        return

    def grouped_mm(a: torch.Tensor, b: torch.Tensor, **named: Any) -> torch.Tensor:
        if a.dtype is torch.bfloat16 or b.ndim != 3 or named.get("bias") is not None:
            found: torch.Tensor = before(a, b, **named)
        else:
            found = _Grouped.apply(a, b)  # type: ignore[no-untyped-call]
        return found

    setattr(F, "grouped_mm", grouped_mm)  # noqa: B010 - its stated parameters are passed on
    try:
        yield
    finally:
        setattr(F, "grouped_mm", before)  # noqa: B010
