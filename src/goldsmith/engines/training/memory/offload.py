"""Activations that wait for the backward pass in main memory instead of on the GPU.

With activation checkpointing what is kept of a forward is the input of each layer; each goes to pinned memory as soon
as it is made, on a stream of its own, and the backward pass fetches the next one while it works on the present one.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import torch

LEAST_BYTES: Final = 1 << 20
"""Smaller tensors stay where they are: moving them costs more than they take."""


class _Parcel:
    """A tensor in main memory, and its way there and back."""

    def __init__(self, host: torch.Tensor, device: torch.device, before: "_Parcel | None") -> None:
        self.host, self.device, self.before = host, device, before
        self.back: torch.Tensor | None = None
        self.moved: Any = None  # event after the last copy


class Offload:
    """Tensors that autograd keeps within `waiting` are kept in main memory. Values and gradients are the same."""

    def __init__(self, device: torch.device) -> None:
        self.stream: Any = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]
        self.last: _Parcel | None = None

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Around a forward."""
        self.last = None
        with torch.autograd.graph.saved_tensors_hooks(self._send, self._fetch):
            yield
        self.last = None

    def _send(self, tensor: torch.Tensor) -> Any:
        small = tensor.numel() * tensor.element_size() < LEAST_BYTES
        if small or tensor.is_leaf or (self.stream is not None and not tensor.is_cuda):
            return tensor  # leaves are the weights
        host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=tensor.is_cuda)
        parcel = _Parcel(host, tensor.device, self.last)
        self.last = parcel
        if self.stream is None:
            host.copy_(tensor)
            return parcel
        self.stream.wait_stream(torch.cuda.current_stream(tensor.device))
        with torch.cuda.stream(self.stream):
            host.copy_(tensor.detach(), non_blocking=True)
            parcel.moved = self.stream.record_event()
        tensor.record_stream(self.stream)
        return parcel

    def _fetch(self, kept: Any) -> torch.Tensor:
        if not isinstance(kept, _Parcel):
            tensor: torch.Tensor = kept
            return tensor
        self._bring(kept)
        if kept.before is not None:
            self._bring(kept.before)
            kept.before = None  # a backward pass frees what it has passed
        back, kept.back = kept.back, None
        if back is None:
            raise RuntimeError("an offloaded activation was fetched twice")
        if self.stream is not None:
            here = torch.cuda.current_stream(kept.device)
            here.wait_event(kept.moved)
            back.record_stream(here)
        return back

    def _bring(self, parcel: _Parcel) -> None:
        if parcel.back is not None:
            return
        if self.stream is None:
            parcel.back = parcel.host.clone()
            return
        with torch.cuda.stream(self.stream):  # the copy away was on this stream too, so it is over by then
            parcel.back = parcel.host.to(parcel.device, non_blocking=True)
            parcel.moved = self.stream.record_event()
