"""Half-precision attention on a CPU against a plain formula in float64."""

import math

import pytest
import torch

from goldsmith.engines.training.attention.cpu import in_float32


@pytest.mark.parametrize("before", [0, 9])
@pytest.mark.parametrize("scale", [None, 0.3])
def test_it_is_what_float64_gives_for_the_same_halves(before: int, scale: float | None) -> None:
    generator = torch.Generator().manual_seed(1)
    own = 17
    shapes = ((1, 3, own, 8), (1, 3, before + own, 8), (1, 3, before + own, 8))
    half = [torch.randn(s, generator=generator).bfloat16().requires_grad_() for s in shapes]
    wanted = [t.detach().double().requires_grad_() for t in half]
    seen = torch.ones(own, before + own, dtype=torch.bool).tril(before)
    weight = torch.randn(1, 3, own, 8, generator=generator)

    found = in_float32(*half, seen if before else None, scale)
    scores = wanted[0] @ wanted[1].transpose(2, 3) * (scale or 1 / math.sqrt(8))
    plain = scores.masked_fill(~seen, -torch.inf).softmax(-1) @ wanted[2]
    assert found.dtype is torch.bfloat16
    torch.testing.assert_close(found.double(), plain, rtol=4e-3, atol=1e-5)  # rounded once, at the end
    (found.float() * weight).sum().backward()
    (plain * weight.bfloat16().double()).sum().backward()
    for a, b in zip(half, wanted, strict=True):
        assert a.grad is not None
        assert b.grad is not None
        assert float((a.grad.double() - b.grad).norm() / b.grad.norm()) < 6e-3
