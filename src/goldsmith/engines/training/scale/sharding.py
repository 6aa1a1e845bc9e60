"""Weights, gradients and optimiser in shards, one for each process (torch's `fully_shard`, FSDP2), with the mathematics
of one process: gradients are summed, not averaged, and the norm that clips them is that of the whole model.

Every decoder layer is a unit that is gathered before it computes and let go after; what is left (embeddings, head, last
norm) is the root. Between forwards a process holds nothing but its shards.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MethodType
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch.distributed.tensor import DTensor, distribute_tensor

from goldsmith.engines.training.model.loading import told
from goldsmith.engines.training.model.policy import Policy
from goldsmith.engines.training.model.unread import as_meta, replace_parameters
from goldsmith.engines.training.scale import parallel
from goldsmith.engines.training.settings import TrainingSettings
from goldsmith.types.errors import BadInput

T = TypeVar("T")

_METHOD = "goldsmith_compute"


def require_shardable(settings: TrainingSettings) -> None:
    """Nothing asks for what shards cannot do.

    Raises:
        BadInput: naming the setting.
    """
    wrong = [
        (settings.adapter.kind == "qlora", "adapter.kind", "qlora", "lora: a base in four bits is not cut into shards"),
        (settings.adapter.init == "pissa", "adapter.init", "pissa", "zero: a moved base is not cut into shards"),
        (
            settings.activation_offload,
            "activation_offload",
            "true",
            "false: what is kept for the backward pass stays where the shards are",
        ),
        (settings.compile == "on", "compile", "on", "auto or off: layers are not compiled under shards"),
    ]
    for holds, where, found, allowed in wrong:
        if holds:
            raise BadInput(
                "this setting does not go with shards",
                where=where,
                found=found,
                allowed=allowed,
                next_step="change it, or set parallel.shard to none",
            )


def shard(policy: Policy, device: torch.device) -> None:
    """Cut the policy's model into shards on `device`, unit by unit, so that it is never whole there. One whose weights
    are still in their files is cut before it has any, and `fill` is to be called.

    Raises:
        BadInput: an architecture that does not list its layers, or whose experts are modules of their own.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method

    layers = getattr(policy.decoder, "layers", None)
    apart = sorted({type(m).__name__ for n, m in policy.inner.named_modules() if n.endswith(".experts.0")})
    if not isinstance(layers, torch.nn.ModuleList) or apart:
        raise BadInput(
            "a model of this architecture cannot be cut into shards here",
            found=f"experts in modules of their own ({apart[0]})" if apart else type(policy.inner).__name__,
            allowed="an architecture that lists its decoder layers, with the weights of any experts stacked",
            next_step="set parallel.shard to none",
        )
    mesh = init_device_mesh(device.type, (dist.get_world_size(),))
    root = policy.model
    if policy.unread is not None:
        as_meta(policy.inner, policy.unread)
    for unit in (*layers, root):
        fully_shard(unit, mesh=mesh, reshard_after_forward=True)
    for module in root.modules():
        if isinstance(module, FSDPModule):
            module.set_force_sum_reduction_for_comms(True)
            module.set_gradient_divide_factor(1.0)
    setattr(root, _METHOD, MethodType(lambda _, work: work(), root))
    register_fsdp_forward_method(root, _METHOD)
    policy.device, policy.flex = device, device.type == "cuda"
    policy.gathered = lambda work: _computed(root, work)
    policy.whole = lambda: _whole(root)


def fill(policy: Policy) -> None:
    """Read this process's rows of every weight that is still in its file, one weight at a time.

    Raises:
        Unavailable: a file is not what it was when it was opened.
    """
    unread, rank = policy.unread, parallel.here().rank
    if unread is None:
        return

    def shard_of(name: str, old: Any) -> Any:
        if name not in unread:
            return old
        mine, each = old.detach().to_local(), -(-old.shape[0] // parallel.here().size)
        start = min(rank * each, old.shape[0])
        part = unread.rows(name, old, start, start + mine.shape[0]).to(policy.device)
        cut = DTensor.from_local(
            part, old.device_mesh, old.placements, run_check=False, shape=old.shape, stride=old.stride()
        )
        return torch.nn.Parameter(cut, requires_grad=old.requires_grad)

    with told(policy.base):
        replace_parameters(policy.inner, shard_of)
    policy.unread = None


def _computed(root: Any, work: Callable[[], T]) -> T:
    """The work, with the root's weights gathered around it."""
    try:
        done: T = getattr(root, _METHOD)(work)
    except Exception:
        if hasattr(root, "reset_iter_state"):  # torch 2.13: forget a forward that came to nothing
            root.reset_iter_state()
        raise
    return done


@contextmanager
def _whole(root: Any) -> Iterator[None]:
    """All units gathered, and kept so whatever is computed."""
    from torch.distributed.fsdp import FSDPModule

    units = [module for module in root.modules() if isinstance(module, FSDPModule)]
    root.set_reshard_after_forward(False)
    try:
        for unit in units:
            unit.unshard()
        yield
    finally:
        for unit in units:
            unit.reshard()
        root.set_reshard_after_forward(True)


def is_sharded(tensors: Sequence[torch.Tensor]) -> bool:
    """Whether they are shards."""
    return any(isinstance(tensor, DTensor) for tensor in tensors)


def local(tensor: torch.Tensor) -> torch.Tensor:
    """This process's part; of what is no shard, all of it. Shares memory with it."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def load(named: Mapping[str, torch.Tensor], tensors: Mapping[str, torch.Tensor]) -> None:
    """Put whole tensors, which every process has, into the shards of the same names.

    Raises:
        BadInput: other names.
    """
    if set(named) != set(tensors):
        raise BadInput("the checkpoint holds other weights than this model trains", found=f"{len(tensors)} tensors")
    with torch.no_grad():
        for name, target in named.items():
            target.copy_(_cut(target, tensors[name]))


def load_optimizer(adamw: torch.optim.Optimizer, saved: Mapping[str, Any]) -> None:
    """Put the state of an optimiser over whole tensors into one over their shards."""
    adamw.load_state_dict({"state": {}, "param_groups": saved["param_groups"]})
    parameters = [p for group in adamw.param_groups for p in group["params"]]
    for number, values in saved["state"].items():
        p = parameters[number]
        adamw.state[p] = {
            name: _cut(p, value) if value.shape == p.shape else value.to(p.device) for name, value in values.items()
        }


def _cut(target: torch.Tensor, whole: torch.Tensor) -> torch.Tensor:
    if not isinstance(target, DTensor):
        return whole
    return distribute_tensor(whole.to(target.device), target.device_mesh, target.placements, src_data_rank=None)


def whole_weights(policy: Policy) -> dict[str, torch.Tensor]:
    """The trained tensors put together in the first process, on the CPU; nothing in the others. All must call it; no
    more than one tensor is whole on a device at a time."""
    first = parallel.here().first
    found: dict[str, torch.Tensor] = {}
    for name, parameter in policy.trainable():
        tensor = parameter.detach()
        whole = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
        if first:
            found[name] = whole.cpu().contiguous()
    return found


def clip(parameters: Sequence[torch.Tensor], limit: float) -> float:
    """Scale the gradients of the whole model down to the norm `limit`; their norm before that, the same number in every
    process (sums in float64, in the order of ranks)."""
    grads = [local(p.grad) for p in parameters if p.grad is not None]
    grads = [grad for grad in grads if grad.numel()]
    squares = sum(float(norm.double() ** 2) for norm in torch._foreach_norm(grads)) if grads else 0.0
    norm = math.sqrt(parallel.here().summed({"squares": squares})["squares"])
    share = limit / (norm + 1e-6)
    if share < 1.0:
        torch._foreach_mul_(grads, share)
    return norm
