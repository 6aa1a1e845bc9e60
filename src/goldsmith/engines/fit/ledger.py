"""Counts the bytes of tensors that are alive while operations run, by their storages; needs no memory itself."""

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

Part = tuple[int, str, int | None]
"""Of a run: the number of a forward, what is done in it, and in which layer."""


class Ledger(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Within it every new storage is entered, and struck out when its last tensor is gone. `live`: bytes; `peaks`: the
    most since each `mark`, by its key, the same key's together."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = 0
        self.peaks: dict[Part, int] = {}
        self._part: Part = (0, "before", None)
        self._known: set[int] = set()

    @property
    def peak(self) -> int:
        """The most of all."""
        return max(self.peaks.values(), default=0)

    def mark(self, part: Part) -> None:
        """From now on peaks are this part's."""
        self._part = part
        self._raise()

    def _raise(self) -> None:
        if self.live > self.peaks.get(self._part, 0):
            self.peaks[self._part] = self.live

    def enter(self, tensor: torch.Tensor) -> None:
        """Count a tensor that was there before."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._known:
            return
        size = storage.nbytes()
        self._known.add(key)
        self.live += size
        self._raise()
        weakref.finalize(storage, self._strike, key, size)

    def _strike(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.live -= size

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        for leaf in (out,) if isinstance(out, torch.Tensor) else tree_leaves(out):
            if isinstance(leaf, torch.Tensor):
                self.enter(leaf)
        return out
