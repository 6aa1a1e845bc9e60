"""Log-probabilities of whole answers: of the two sides of comparisons, with their reference."""

from collections.abc import Mapping, Sequence

import torch

from goldsmith.engines.training.data.batches import Batch, Plan
from goldsmith.engines.training.data.rows import Row
from goldsmith.engines.training.losses.preference import Pairs
from goldsmith.engines.training.model.policy import Policy
from goldsmith.engines.training.scale import parallel

References = Mapping[str, tuple[float, float]]
"""By row key: the reference's summed log-probabilities of chosen and rejected."""


def reference_pairs(policy: Policy, rows: Sequence[Row], plan: Plan) -> References:
    """The model's own log-probabilities of both sides of all rows, an adapter switched off."""
    found: dict[str, tuple[float, float]] = {}
    ranks = parallel.here()
    with policy.evaluating(), policy.reference():
        for batch, _ in ranks.every_nth(plan.over(rows)):
            pairs_P2 = policy.sequence_logprobs(batch).view(-1, 2).tolist()
            for index, (chosen, rejected) in zip(batch.rows, pairs_P2, strict=True):
                found[rows[index].key] = (chosen, rejected)
    return ranks.merged(found)


def answer_tokens(batch: Batch, device: torch.device) -> torch.Tensor:
    """Trained tokens of each answer of the batch, float32 [owners]."""
    return torch.bincount(batch.owners_N.to(device), minlength=len(batch.owner_rows)).float()


def pairs_of(policy: Policy, rows: Sequence[Row], batch: Batch, references: References | None) -> Pairs:
    """Both sides of the batch's comparisons; without references, zeros in their place."""
    chosen_P, rejected_P = policy.sequence_logprobs(batch).view(-1, 2).unbind(1)
    tokens_P2 = answer_tokens(batch, chosen_P.device).view(-1, 2)
    if references is None:
        known_P2 = torch.zeros_like(tokens_P2)
    else:
        known = [references[rows[i].key] for i in batch.rows]
        known_P2 = torch.tensor(known, dtype=chosen_P.dtype).to(chosen_P.device)
    return Pairs(chosen_P, rejected_P, known_P2[:, 0], known_P2[:, 1], tokens_P2[:, 0], tokens_P2[:, 1])
