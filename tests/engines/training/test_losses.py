"""Losses against plain formulas in float64."""

import pytest
import torch

from goldsmith.engines.training.losses import cross_entropy
from goldsmith.engines.training.losses.cross_entropy import Head, linear_cross_entropy, linear_logprobs, sum_by_owner

N, H, V = 23, 6, 11


def problem(bias: bool) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None, torch.Tensor]:
    torch.manual_seed(3)
    hidden = torch.randn(N, H, requires_grad=True)
    weight = torch.randn(V, H, requires_grad=True)
    return hidden, weight, torch.randn(V, requires_grad=True) if bias else None, torch.randint(V, (N,))


def plain(
    hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, labels: torch.Tensor, head: Head
) -> torch.Tensor:
    logits = hidden.double() @ weight.double().T
    if bias is not None:
        logits = logits + bias.double()
    logits = logits * head.scale
    if head.softcap is not None:
        logits = head.softcap * torch.tanh(logits / head.softcap)
    return logits.log_softmax(-1).gather(1, labels[:, None]).squeeze(1)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("scale", "softcap"), [(1.0, None), (0.25, None), (1.0, 3.0), (2.0, 5.0)])
@pytest.mark.parametrize("rows_at_a_time", [1, 7, 1000])
@pytest.mark.parametrize("keep", [0, 2**20])
@pytest.mark.parametrize("gpu_formula", [False, True])
def test_values_and_gradients_equal_the_formula(
    monkeypatch: pytest.MonkeyPatch,
    bias: bool,
    scale: float,
    softcap: float | None,
    rows_at_a_time: int,
    keep: int,
    gpu_formula: bool,
) -> None:
    if gpu_formula:
        if (scale, softcap) != (1.0, None):
            return
        monkeypatch.setattr(cross_entropy, "_fuses", lambda *_: True)
        monkeypatch.setattr(cross_entropy, "_fused", lambda: (cross_entropy._normalise, cross_entropy._pull))
    monkeypatch.setattr(cross_entropy, "CHUNK_BYTES", {"cpu": rows_at_a_time * 4 * V})
    monkeypatch.setattr(cross_entropy, "KEEP_BYTES", {"cpu": keep})
    hidden, weight, b, labels = problem(bias)
    leaves = [t for t in (hidden, weight, b) if t is not None]
    coefficients = torch.linspace(-1, 2, N)
    head = Head(weight, b, scale, softcap)
    wanted = plain(hidden, weight, b, labels, head)
    wanted_grads = torch.autograd.grad((wanted * coefficients).sum(), leaves)

    found = linear_logprobs(hidden, labels, head)
    torch.testing.assert_close(found.double(), wanted, rtol=1e-5, atol=1e-5)
    for a, b_ in zip(torch.autograd.grad((found * coefficients).sum(), leaves), wanted_grads, strict=True):
        torch.testing.assert_close(a, b_.float(), rtol=1e-4, atol=1e-5)

    weights = coefficients.abs() / N
    loss = linear_cross_entropy(hidden, labels, head, weights)
    reference = -(plain(hidden, weight, b, labels, head) * weights).sum()
    assert loss.item() == pytest.approx(reference.item(), rel=1e-5)
    grads = torch.autograd.grad(3 * loss, leaves)
    for a, b_ in zip(grads, torch.autograd.grad(3 * reference, leaves), strict=True):
        torch.testing.assert_close(a, b_.float(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("softcap", [None, 3.0])
def test_blocks_of_a_chunk_give_what_the_chunk_gives(monkeypatch: pytest.MonkeyPatch, softcap: float | None) -> None:
    found = []
    for block_bytes in (4 * 5 * V, 2**20):  # five rows at a time of the chunk's 23, or all
        monkeypatch.setattr(cross_entropy, "CACHE_BYTES", block_bytes)
        hidden, weight, bias, labels = problem(True)
        head = Head(weight, bias, softcap=softcap)
        assert bias is not None
        both = linear_cross_entropy(hidden, labels, head, torch.linspace(0, 1, N))
        both = both + (linear_logprobs(hidden, labels, head) * torch.linspace(-1, 2, N)).sum()
        found.append((both.detach(), *torch.autograd.grad(both, (hidden, weight, bias))))
    for blocked, whole in zip(*found, strict=True):
        torch.testing.assert_close(blocked, whole, rtol=1e-6, atol=1e-6)


def test_a_label_whose_probability_float32_cannot_hold_has_its_loss_and_gradient() -> None:
    hidden, weight = torch.eye(2, requires_grad=True), torch.tensor([[0.0, 0.0], [150.0, 0.0], [0.0, 70.0]])
    loss = linear_cross_entropy(hidden, torch.tensor([0, 0]), Head(weight), torch.ones(2))
    assert loss.item() == pytest.approx(150.0 + 70.0, rel=1e-6)  # e**-150 is zero in float32
    (grad,) = torch.autograd.grad(loss, hidden)
    torch.testing.assert_close(grad, torch.tensor([[150.0, 0.0], [0.0, 70.0]]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_chunks_and_strips_of_the_head_add_up_to_its_gradient(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype
) -> None:
    found = []
    for chunk, strip in ((2**26, 2**24), (4 * 4 * V, 4 * 3 * H)):  # the whole, or four labels by three rows of the head
        monkeypatch.setattr(cross_entropy, "CHUNK_BYTES", {"cpu": chunk})
        monkeypatch.setattr(cross_entropy, "STRIP_BYTES", strip)
        hidden, weight, _, labels = problem(False)
        states = hidden.detach().to(dtype).requires_grad_()
        both = linear_cross_entropy(states, labels, Head(weight), torch.linspace(0, 1, N))
        both = both + (linear_logprobs(states, labels, Head(weight)) * torch.linspace(-1, 2, N)).sum()
        found.append(torch.autograd.grad(both, (states, weight)))
    rounding = {torch.float32: 1e-6, torch.bfloat16: 3e-2}[dtype]
    for parts, whole in zip(*found, strict=True):
        torch.testing.assert_close(parts, whole, rtol=rounding, atol=rounding)


def test_no_label_no_gradient_and_a_second_way_back_is_refused() -> None:
    hidden, weight, _, labels = problem(False)
    nothing = linear_cross_entropy(hidden[:0], labels[:0], Head(weight), torch.ones(0))
    grads = torch.autograd.grad(nothing, (hidden, weight))
    assert not any(g.any() for g in grads)
    loss = linear_cross_entropy(hidden, labels, Head(weight), torch.ones(N))
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="goes backward once"):
        loss.backward()


def test_a_frozen_head_gets_no_gradient() -> None:
    hidden, weight, _, labels = problem(False)
    frozen = Head(weight.detach())
    linear_cross_entropy(hidden, labels, frozen, torch.ones(N)).backward()
    assert weight.grad is None
    assert hidden.grad is not None
    with torch.no_grad():
        assert linear_logprobs(hidden, labels, frozen).shape == (N,)


def test_the_full_logit_tensor_never_exists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cross_entropy, "CHUNK_BYTES", {"cpu": 4 * 4 * V})
    monkeypatch.setattr(cross_entropy, "KEEP_BYTES", {"cpu": 0})
    widest = 0
    original = Head.raw

    def watched(self: Head, hidden: torch.Tensor) -> torch.Tensor:
        nonlocal widest
        out = original(self, hidden)
        widest = max(widest, len(out))
        return out

    monkeypatch.setattr(Head, "raw", watched)
    hidden, weight, _, labels = problem(False)
    linear_logprobs(hidden, labels, Head(weight)).sum().backward()
    linear_cross_entropy(hidden, labels, Head(weight), torch.ones(N)).backward()
    assert widest == 4


def test_sum_by_owner() -> None:
    values, owners = torch.tensor([1.0, 2.0, 4.0, 8.0]), torch.tensor([0, 2, 0, 2])
    assert sum_by_owner(values, owners, 4).tolist() == [5.0, 0.0, 10.0, 0.0]
