"""Activations that wait in main memory: the same gradients, and settings that make no sense are refused."""

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch.utils.checkpoint import checkpoint

from goldsmith.engines.training.memory import offload
from goldsmith.methods.sft import Sft


def test_gradients_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offload, "LEAST_BYTES", 1)
    torch.manual_seed(0)
    layers = torch.nn.ModuleList([torch.nn.Linear(8, 8) for _ in range(4)])
    rows = torch.randn(5, 8)
    sent: list[Any] = []
    away = offload.Offload(torch.device("cpu"))
    plain_send = away._send
    monkeypatch.setattr(away, "_send", lambda t: (sent.append(plain_send(t)), sent[-1])[1])

    def run() -> torch.Tensor:
        x = rows
        for layer in layers:
            x = checkpoint(lambda h, m=layer: m(h).tanh(), x, use_reentrant=False)
        return x

    wanted = torch.autograd.grad(run().square().sum(), list(layers.parameters()))
    with away.waiting():
        out = run()
    found = torch.autograd.grad(out.square().sum(), list(layers.parameters()))
    assert sum(isinstance(one, offload._Parcel) for one in sent) == 3  # the inputs of all layers but the first
    for a, b in zip(found, wanted, strict=True):
        assert torch.equal(a, b)


def test_it_needs_checkpointing() -> None:
    with pytest.raises(ValidationError, match="needs activation_checkpointing"):
        Sft(activation_offload=True)
