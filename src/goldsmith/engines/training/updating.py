"""What every training loop does around its loss: gradients over the forwards of an update, and the step itself."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch

from goldsmith.engines.training.data.batches import Batch, Plan, Update
from goldsmith.engines.training.guards.finite import require_finite
from goldsmith.engines.training.method import Metrics
from goldsmith.engines.training.optimizer import Optimizer
from goldsmith.engines.training.scale import parallel

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
    them, in the mean of the update as in that of each part (`loss/PART`); what is watched does not. Several processes
    share the work, as in `gradients`.
    """
    weighted = any(batch.weights for batch in batches)
    total = sum(weight_of(batch, per_label) for batch in batches) if weighted else items

    def share(batch: Batch) -> tuple[torch.Tensor, Sums]:
        loss_P, sums = loss_of(batch)
        return _weighted(loss_P, batch, per_label).sum() / total, sums

    losses, sums = gradients(batches, share)
    values = {name: value / items for name, value in sums.items()}
    if any(batch.part for batch in batches):
        values |= loss_by_part(batches, losses, total, per_label=per_label)
    return sum(losses), values


def gradients(
    batches: Sequence[Batch], share_of: Callable[[Batch], tuple[torch.Tensor, Sums]]
) -> tuple[list[float], dict[str, float]]:
    """Gradients of an update, forward by forward; what each forward adds to its loss, and sums of what is watched.

    `share_of` gives a forward's share of the update's loss, a scalar. The device is asked for numbers once, after the
    last forward. Several processes deal the forwards out: each gets the numbers of all, and the gradients of its own
    (`step` adds them up).

    Raises:
        Elsewhere: a forward failed in another process.
    """
    ranks = parallel.here()
    mine, besides = ranks.deal(batches)
    losses, sums = ranks.forwards(lambda: _gradients(batches, mine, besides, share_of))
    every = ranks.merged(dict(zip(mine, losses, strict=True)))
    return [every[i] for i in range(len(batches))], ranks.summed(sums)


def _gradients(
    batches: Sequence[Batch],
    mine: Sequence[int],
    besides: Sequence[int],
    share_of: Callable[[Batch], tuple[torch.Tensor, Sums]],
) -> tuple[list[float], dict[str, float]]:
    losses: list[torch.Tensor] = []
    watched: list[Sums] = []
    for i in mine:
        share, sums = share_of(batches[i])
        share.backward()  # type: ignore[no-untyped-call]
        losses.append(share.detach())
        watched.append(sums)
    for i in besides:
        (share_of(batches[i])[0] * 0.0).backward()  # type: ignore[no-untyped-call]
    names = list(watched[0]) if watched else []
    table = torch.stack([torch.stack([sums[name].float() for name in names]) for sums in watched]) if names else None
    totals = table.sum(0).tolist() if table is not None else []
    return torch.stack(losses).tolist() if losses else [], dict(zip(names, totals, strict=True))


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
    """Means over `items` of the loss and of what is watched, without gradients; several processes share the work."""
    ranks = parallel.here()
    totals = ranks.summed(ranks.forwards(lambda: _totals(ranks.every_nth(batches), loss_of)))
    return {name: total / items for name, total in totals.items()}


def _totals(
    batches: Iterable[tuple[Batch, bool]], loss_of: Callable[[Batch], tuple[torch.Tensor, Sums]]
) -> dict[str, float]:
    totals: dict[str, float] = {"loss": 0.0}
    for batch, counts in batches:
        loss_P, sums = loss_of(batch)
        if not counts:
            continue
        for name, value in {"loss": loss_P.double().sum(), **sums}.items():
            totals[name] = totals.get(name, 0.0) + float(value)
    return totals


def step(
    optimizer: Optimizer,
    plan: Plan,
    update: Update,
    loss: float,
    values: Mapping[str, float] | None = None,
) -> Metrics:
    """Add up the gradients of all processes, clip, check, and take the optimiser's step; what the update came to.

    Raises:
        Diverged: loss or gradient is not finite; the weights are as before.
    """
    parallel.here().sum_gradients(optimizer.parameters)
    norm, rate = optimizer.clip(), optimizer.learning_rate
    require_finite(loss, norm, update, plan.rows)
    optimizer.step()
    return Metrics(update.step + 1, update.epoch, loss, norm, rate, update.tokens, update.labels, dict(values or {}))
