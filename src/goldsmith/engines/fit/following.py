"""A forward and backward pass of the real engine on tensors without contents: which bytes are alive, and when.

The passes run through `Policy` and its losses as in training, on fake tensors (torch's FakeTensorMode). Nothing is
computed or allocated. Layers that are alike need not all be followed: see `layers`.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any, Final, Literal

import torch

from goldsmith.engines.fit import experts, four_bits, gpu, logits
from goldsmith.engines.fit.ledger import Ledger, Part
from goldsmith.engines.training.attention import flat
from goldsmith.engines.training.data.batches import Batch
from goldsmith.engines.training.model.policy import Policy
from goldsmith.engines.training.settings import TrainingSettings
from goldsmith.types.errors import BadInput

Reads = Literal["tokens", "answers", "scores"]
"""What a loss reads: cross-entropy of tokens (SFT), log-probabilities of answers (DPO and its kin, RL), or numbers of a
model that ends in one (reward models)."""
EDGES: Final = (0, 1, -2, -1)
"""Layers in which the most bytes of all layers can be alive. From the second to the second but last one, what is alive
grows or shrinks from layer to layer by the same number of bytes, so that it is most at an end."""


@dataclass(frozen=True, slots=True)
class Followed:
    """Bytes of an update after the first one. `static`: weights and buffers as they are held for following, of which
    four bits take `quantised` less. `kept`: what the decoder keeps of each forward for its backward pass. `peaks`: the
    most that was alive in a part of a forward: by its number, before the layers (`first`), in one's `forward` or
    `backward` pass (those of `EDGES`), or after the layers (`last`)."""

    static: int
    gradients: int
    optimiser: int
    kept: tuple[int, ...]
    peaks: dict[Part, int]
    quantised: float
    copied: int
    layer: int
    rest: int
    layer_gradients: int
    rest_gradients: int


def follow(model: Any, settings: TrainingSettings, batches: Sequence[Batch], *, device: str, reads: Reads) -> Followed:
    """A `model` on the meta device through the forwards of an update, with its optimiser's moments there.

    Errors: BadInput where the architecture cannot be run so.
    """
    with _without_contents(model), experts.followable(), logits.followable(device):
        policy = Policy(model, SimpleNamespace(pad_id=0), settings, "base")  # type: ignore[arg-type]
        policy.take("flat")
        trained = [p for p in model.parameters() if p.requires_grad]
        with gpu.kernels(policy) if device == "cuda" else nullcontext(), Ledger() as ledger:
            for tensor in (*model.parameters(), *model.buffers()):
                ledger.enter(tensor)
            static = ledger.live
            moments = [torch.zeros_like(p) for p in trained for _ in range(2)]
            passes = _Passes(policy, ledger)
            try:
                _update(passes, batches, trained, lambda batch: _loss(policy, batch, reads))
            except (RuntimeError, TypeError, ValueError, NotImplementedError) as error:
                raise BadInput(
                    "this architecture's forward pass could not be followed",
                    found=f"{type(error).__name__}: {str(error)[:160]}",
                    next_step="measure it: train a few steps with max_steps, and look at the memory",
                ) from error
            optimiser = sum(moment.numel() * moment.element_size() for moment in moments)
    quantised, copied = four_bits.saved(model) if settings.adapter.kind == "qlora" else (0.0, 0)
    gradients = sum(p.numel() * 4 for p in trained)
    kept = tuple(passes.kept)
    return Followed(static, gradients, optimiser, kept, passes.peaks(), quantised, copied, *_units(policy))


class _Passes:
    """Forwards and backward passes one after the other, and the most that was alive in each part of them."""

    def __init__(self, policy: Policy, ledger: Ledger) -> None:
        self.ledger, self.kept = ledger, list[int]()
        self.layers = list(getattr(policy.decoder, "layers", None) or [])
        self._number, self._backward, self._before = 0, False, 0
        policy.decoder.register_forward_hook(self._decoded)
        for place, layer in enumerate(self.layers if len(self.layers) <= len(EDGES) else ()):
            layer.register_forward_pre_hook(self._enters(place))
            layer.register_forward_hook(self._leaves(place))

    def run(self, number: int, loss: Callable[[], torch.Tensor]) -> None:
        """The forward of this number and its backward pass."""
        self._number, self._backward, self._before = number, False, self.ledger.live
        self.ledger.mark((number, "first", None))
        loss().backward()  # type: ignore[no-untyped-call]

    def clear(self) -> None:
        """Forget what was found."""
        self.kept.clear()
        self.ledger.peaks.clear()

    def peaks(self) -> dict[Part, int]:
        """As in `Followed`: layers by their place from the nearer end."""
        found: dict[Part, int] = {}
        for (number, way, place), peak in self.ledger.peaks.items():
            ends = [None] if place is None else [edge for edge in EDGES if edge % len(self.layers) == place]
            found |= {(number, way, end): peak for end in ends}
        return found

    def _decoded(self, *_: Any) -> None:
        self.kept.append(self.ledger.live - self._before)
        self.ledger.mark((self._number, "last", None))

    def _enters(self, place: int) -> Callable[..., None]:
        def hook(*_: Any) -> None:
            if not self._backward:  # else its activations are computed again
                self.ledger.mark((self._number, "forward", place))

        return hook

    def _leaves(self, place: int) -> Callable[..., None]:
        def arrived(_gradient: torch.Tensor) -> None:
            self._backward = True
            self.ledger.mark((self._number, "backward", place))

        def hook(_module: Any, _given: Any, out: Any) -> None:
            states = out if isinstance(out, torch.Tensor) else out[0]
            if not self._backward and states.requires_grad:
                states.register_hook(arrived)

        return hook


def _update(
    passes: _Passes, batches: Sequence[Batch], trained: Sequence[torch.nn.Parameter], loss: Callable[[Batch], Any]
) -> None:
    """The forwards in turn. Where all are alike, the last one alone will do, gradients waiting: with none waiting less
    is alive."""
    if len(batches) > 1 and all(shape_of(batch) == shape_of(batches[0]) for batch in batches):
        touched: set[int] = set()
        watch: Any = torch.Tensor.register_post_accumulate_grad_hook
        handles = [watch(p, lambda p: touched.add(id(p))) for p in trained]
        for parameter in trained:
            parameter.grad = torch.zeros_like(parameter)
        passes.run(len(batches) - 1, partial(loss, batches[-1]))
        for handle in handles:
            handle.remove()
        if len(touched) == len(trained):
            return
        passes.clear()  # some weights get no gradient
        for parameter in trained:
            parameter.grad = None
    for number, batch in enumerate(batches):
        passes.run(number, partial(loss, batch))


def shape_of(batch: Batch) -> tuple[object, ...]:
    """What decides the bytes of a forward."""
    return batch.layout, len(batch.labels_N), len(batch.owner_rows), bool(batch.weights)


def _loss(policy: Policy, batch: Batch, reads: Reads) -> Any:
    if reads == "scores":
        return policy.numbers(batch).sum()
    if reads == "answers":
        return policy.sequence_logprobs(batch).sum()
    return policy.cross_entropy(batch, max(1, int(batch.labels_N.numel())))


@contextmanager
def _without_contents(model: Any) -> Iterator[None]:
    """Within it tensors have no contents; those of the model are put in the place of its meta ones, tied weights tied.
    Masks that attention keeps between calls are made within, and not kept beyond."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    made: dict[int, torch.nn.Parameter] = {}
    flat.forget_masks()
    with FakeTensorMode(allow_non_fake_inputs=True):
        for module in model.modules():
            for name, old in module._parameters.items():
                if old is not None:
                    if id(old) not in made:
                        fresh = torch.empty(old.shape, dtype=old.dtype)
                        made[id(old)] = torch.nn.Parameter(fresh, requires_grad=old.requires_grad)
                    module._parameters[name] = made[id(old)]
            for name, old in module._buffers.items():
                if old is not None:
                    module._buffers[name] = torch.empty(old.shape, dtype=old.dtype)
        try:
            yield
        finally:
            flat.forget_masks()


def _units(policy: Policy) -> tuple[int, int, int, int]:
    """Bytes of the largest decoder layer and of what is in none, then of their gradients."""
    layers = list(getattr(policy.decoder, "layers", None) or [])
    inside = {id(p) for layer in layers for p in layer.parameters()}
    rest = [p for p in policy.model.parameters() if id(p) not in inside]
    sizes = [(_bytes(layer.parameters()), _bytes(layer.parameters(), trained=True)) for layer in layers]
    layer, gradients = max(sizes, default=(0, 0))
    return layer, _bytes(rest), gradients, _bytes(rest, trained=True)


def _bytes(parameters: Iterable[torch.Tensor], *, trained: bool = False) -> int:
    return sum(p.numel() * p.element_size() for p in parameters if p.requires_grad or not trained)
