"""Numbers that are not finite stop a run before they reach the weights."""

from collections.abc import Iterable, Sequence

import numpy as np
import torch

from goldsmith.engines.training.data.batches import Update
from goldsmith.engines.training.data.rows import Row
from goldsmith.types.errors import BadInput


class Diverged(BadInput):
    """Loss or gradient is not a finite number; the weights are those before this update."""


def require_finite(loss: float, grad_norm: float, update: Update, rows: Sequence[Row]) -> None:
    """Stop before a step that would spoil the weights.

    Raises:
        Diverged: naming step and rows.
    """
    if np.isfinite(loss) and np.isfinite(grad_norm):
        return
    names = [f"{rows[i].name} ({rows[i].key[:19]})" for i in update.rows]
    raise Diverged(
        f"training diverged at step {update.step + 1}: loss {loss}, gradient norm {grad_norm}",
        where=", ".join(names[:8]) + (f", … ({len(names)} rows)" if len(names) > 8 else ""),
        allowed="finite numbers",
        next_step="look at these rows, lower learning_rate, or set max_grad_norm; the last good checkpoint is kept",
    )


def require_finite_weights(weights: Iterable[tuple[str, torch.Tensor]], what: str, where: str, next_step: str) -> None:
    """Stop where a weight is no finite number: what comes of it can be neither trained nor used.

    Raises:
        Diverged: naming the tensors.
    """
    own = ((name, getattr(value, "_local_tensor", value)) for name, value in weights)  # of shards, this process's
    bad = [name for name, value in own if value.is_floating_point() and not bool(torch.isfinite(value).all())]
    if bad:
        raise Diverged(
            f"{what} holds numbers that are not finite",
            where=where,
            found=", ".join(bad[:5]) + (f", … ({len(bad)} tensors)" if len(bad) > 5 else ""),
            allowed="finite numbers",
            next_step=next_step,
        )
