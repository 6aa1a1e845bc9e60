"""The optimiser and its schedule, as plain torch objects."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from goldsmith.engines.training.model.policy import Policy
from goldsmith.engines.training.scale import sharding
from goldsmith.engines.training.settings import TrainingSettings


@dataclass(frozen=True, slots=True)
class Optimizer:
    """AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101) with its schedule and gradient clipping."""

    adamw: torch.optim.Optimizer
    scheduler: torch.optim.lr_scheduler.LRScheduler
    parameters: tuple[torch.nn.Parameter, ...]
    max_grad_norm: float

    @property
    def learning_rate(self) -> float:
        """Of the step to come."""
        return float(self.adamw.param_groups[0]["lr"])

    def clip(self) -> float:
        """Scale the gradients down to `max_grad_norm`; their norm before that."""
        limit = self.max_grad_norm or math.inf
        if sharding.is_sharded(self.parameters):
            return sharding.clip(self.parameters, limit)
        return float(torch.nn.utils.clip_grad_norm_(self.parameters, limit, foreach=True))

    def step(self) -> None:
        """Update the weights, move the schedule on, forget the gradients."""
        self.adamw.step()
        self.scheduler.step()
        self.adamw.zero_grad(set_to_none=True)


def build_optimizer(policy: Policy, settings: TrainingSettings, steps: int) -> Optimizer:
    """For all trained tensors; matrices decay, vectors (norms, biases) do not."""
    trained = [p for _, p in policy.trainable()]
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": float(settings.weight_decay)},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    adamw = torch.optim.AdamW(
        [g for g in groups if g["params"]],
        lr=float(settings.learning_rate),
        betas=(float(settings.adam_beta1), float(settings.adam_beta2)),
        fused=True,
    )
    scheduler = torch.optim.lr_scheduler.LambdaLR(adamw, schedule(settings, steps))
    return Optimizer(adamw, scheduler, tuple(trained), float(settings.max_grad_norm))


def schedule(settings: TrainingSettings, steps: int) -> Callable[[int], float]:
    """The step size of 0-based step s as a share of its peak."""
    warmup = math.ceil(float(settings.warmup_share) * steps)

    def share(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        done = min(1.0, (step - warmup) / max(1, steps - warmup))
        if settings.schedule == "linear":
            return 1.0 - done
        return 0.5 * (1.0 + math.cos(math.pi * done)) if settings.schedule == "cosine" else 1.0

    return share
