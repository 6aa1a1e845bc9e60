"""What every training loop does around its loss: gradients over the forwards of an update, and the step itself."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch

from goldsmith.engines.training.batches import Batch, Plan, Update
from goldsmith.engines.training.guards import require_finite
from goldsmith.engines.training.method import Metrics
from goldsmith.engines.training.optimizer import Optimizer

Sums = Mapping[str, torch.Tensor]
"""Of what is watched: sums over the items of a forward, scalars without gradient."""


def backward(
    batches: Sequence[Batch], items: int, loss_of: Callable[[Batch], tuple[torch.Tensor, Sums]]
) -> tuple[float, dict[str, float]]:
    """Gradients of the mean loss over `items`, forward by forward; that mean, and the means of what is watched.

    `loss_of` gives the loss of each item of a forward. The device is asked for numbers once, after the last forward.
    """
    losses: list[torch.Tensor] = []
    watched: list[Sums] = []
    for batch in batches:
        loss_P, sums = loss_of(batch)
        part = loss_P.sum() / items
        part.backward()  # type: ignore[no-untyped-call]
        losses.append(part.detach())
        watched.append(sums)
    names = list(watched[0])
    table = torch.stack([torch.stack([sums[name].float() for name in names]) for sums in watched]) if names else None
    means = table.sum(0).div(items).tolist() if table is not None else []
    return float(torch.stack(losses).sum()), dict(zip(names, means, strict=True))


def means(
    batches: Iterable[Batch], items: int, loss_of: Callable[[Batch], tuple[torch.Tensor, Sums]]
) -> dict[str, float]:
    """Means over `items` of the loss and of what is watched, without gradients."""
    totals: dict[str, float] = {"loss": 0.0}
    for batch in batches:
        loss_P, sums = loss_of(batch)
        for name, value in {"loss": loss_P.double().sum(), **sums}.items():
            totals[name] = totals.get(name, 0.0) + float(value)
    return {name: total / items for name, total in totals.items()}


def step(
    optimizer: Optimizer,
    plan: Plan,
    update: Update,
    loss: float,
    values: Mapping[str, float] | None = None,
) -> Metrics:
    """Clip, check, and take the optimiser's step; what the update came to.

    Raises:
        Diverged: loss or gradient is not finite; the weights are as before.
    """
    norm, rate = optimizer.clip(), optimizer.learning_rate
    require_finite(loss, norm, update, plan.rows)
    optimizer.step()
    return Metrics(update.step + 1, update.epoch, loss, norm, rate, update.tokens, update.labels, dict(values or {}))
