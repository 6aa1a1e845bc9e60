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
    batches: Sequence[Batch],
    items: int,
    loss_of: Callable[[Batch], tuple[torch.Tensor, Sums]],
    *,
    per_label: bool = False,
) -> tuple[float, dict[str, float]]:
    """Gradients of the mean loss over `items`, forward by forward; that mean, and the means of what is watched.

    `loss_of` gives the loss of each item of a forward: of each row, or `per_label`. Rows that have weights count by
    them, in the mean of the update as in that of each part (`loss/PART`); what is watched does not. The device is asked
    for numbers once, after the last forward.
    """
    weighted = any(batch.weights for batch in batches)
    total = sum(weight_of(batch, per_label) for batch in batches) if weighted else items
    losses: list[torch.Tensor] = []
    watched: list[Sums] = []
    for batch in batches:
        loss_P, sums = loss_of(batch)
        part = _weighted(loss_P, batch, per_label).sum() / total
        part.backward()  # type: ignore[no-untyped-call]
        losses.append(part.detach())
        watched.append(sums)
    names = list(watched[0])
    table = torch.stack([torch.stack([sums[name].float() for name in names]) for sums in watched]) if names else None
    means = table.sum(0).div(items).tolist() if table is not None else []
    values = dict(zip(names, means, strict=True))
    if any(batch.part for batch in batches):
        values |= loss_by_part(batches, torch.stack(losses).tolist(), total, per_label=per_label)
    return float(torch.stack(losses).sum()), values


def weight_of(batch: Batch, per_label: bool) -> float:
    """The rows of a forward, or its labels, each counted by its row's weight."""
    weights_N = batch.label_weights_N
    if weights_N is None:
        return int(batch.labels_N.numel()) if per_label else len(batch.rows)
    return float(weights_N.double().sum()) if per_label else sum(batch.weights)


def _weighted(loss_P: torch.Tensor, batch: Batch, per_label: bool) -> torch.Tensor:
    weights_N = batch.label_weights_N
    if weights_N is None:
        return loss_P
    return loss_P * (weights_N if per_label else torch.tensor(batch.weights)).to(loss_P)


def loss_by_part(
    batches: Sequence[Batch], losses: Sequence[float], total: float, *, per_label: bool
) -> dict[str, float]:
    """`loss/PART` for each part of an update, `loss/main` the rest: means over the part's own items.

    `losses[i]` is what forward i adds to the update's mean over `total` items.
    """
    sums: dict[str, float] = {}
    weights: dict[str, float] = {}
    for batch, loss in zip(batches, losses, strict=True):
        name = f"loss/{batch.part or 'main'}"
        sums[name] = sums.get(name, 0.0) + loss * total
        weights[name] = weights.get(name, 0.0) + weight_of(batch, per_label)
    return {name: value / weights[name] for name, value in sums.items()}


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
