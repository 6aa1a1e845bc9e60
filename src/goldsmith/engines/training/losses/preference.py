"""Losses of preference training as pure functions of log-probabilities. Axes: P pairs, B answers.

Every function gives the loss of each pair or answer; the caller takes the mean. Names and constants are those of the
papers, and of TRL where it has the loss, so that figures can be compared.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F


@dataclass(frozen=True, slots=True)
class Pairs:
    """Summed log-probabilities of chosen and rejected answers [P] under policy and reference, and their lengths in
    trained tokens [P]."""

    chosen_P: torch.Tensor
    rejected_P: torch.Tensor
    reference_chosen_P: torch.Tensor
    reference_rejected_P: torch.Tensor
    chosen_tokens_P: torch.Tensor
    rejected_tokens_P: torch.Tensor

    @property
    def up_P(self) -> torch.Tensor:
        """Log-ratio of the chosen answer to the reference."""
        return self.chosen_P - self.reference_chosen_P

    @property
    def down_P(self) -> torch.Tensor:
        """Log-ratio of the rejected answer to the reference."""
        return self.rejected_P - self.reference_rejected_P

    @property
    def per_token_P(self) -> torch.Tensor:
        """Difference of the log-ratios, each divided by its answer's length."""
        return self.up_P / self.chosen_tokens_P.clamp(min=1) - self.down_P / self.rejected_tokens_P.clamp(min=1)


PairLoss = Literal[
    "sigmoid", "hinge", "ipo", "robust", "sigmoid_norm", "exo_pair", "nca_pair", "bco_pair", "sppo_hard", "apo_zero",
    "apo_down",
]  # fmt: skip
Function = Callable[[Pairs, float, float], torch.Tensor]
SMOOTHS: tuple[str, ...] = ("sigmoid", "robust", "exo_pair")
"""The losses for which a share of wrong labels means something."""


def _sigmoid(pairs: Pairs, beta: float, smoothing: float) -> torch.Tensor:
    """Rafailov et al. 2023, arXiv:2305.18290; with smoothing the conservative variant."""
    margin_P = beta * (pairs.up_P - pairs.down_P)
    return -(1 - smoothing) * F.logsigmoid(margin_P) - smoothing * F.logsigmoid(-margin_P)


def _robust(pairs: Pairs, beta: float, smoothing: float) -> torch.Tensor:
    """Ray Chowdhury et al. 2024, arXiv:2403.00409; unbiased where a share `smoothing` < 0.5 of labels is wrong."""
    margin_P = beta * (pairs.up_P - pairs.down_P)
    right_P, wrong_P = -F.logsigmoid(margin_P), -F.logsigmoid(-margin_P)
    return ((1 - smoothing) * right_P - smoothing * wrong_P) / (1 - 2 * smoothing)


def _hinge(pairs: Pairs, beta: float, _smoothing: float) -> torch.Tensor:
    """Zhao et al. 2023 (SLiC-HF), arXiv:2305.10425."""
    return torch.relu(1 - beta * (pairs.up_P - pairs.down_P))


def _ipo(pairs: Pairs, beta: float, _smoothing: float) -> torch.Tensor:
    """Azar et al. 2023, arXiv:2310.12036, equation 17, on log-ratios per token."""
    return (pairs.per_token_P - 1 / (2 * beta)) ** 2


def _sigmoid_norm(pairs: Pairs, beta: float, _smoothing: float) -> torch.Tensor:
    """The sigmoid loss on log-ratios per token (length-normalised DPO; Tulu 3, arXiv:2411.15124)."""
    return -F.logsigmoid(beta * pairs.per_token_P)


def _exo_pair(pairs: Pairs, beta: float, smoothing: float) -> torch.Tensor:
    """Ji et al. 2024, arXiv:2402.00856, equation 16 for two answers; needs smoothing > 0."""
    margin_P = beta * (pairs.up_P - pairs.down_P)
    to_chosen_P = torch.sigmoid(margin_P) * (F.logsigmoid(margin_P) - torch.log1p(margin_P.new_tensor(-smoothing)))
    to_rejected_P = torch.sigmoid(-margin_P) * (F.logsigmoid(-margin_P) - torch.log(margin_P.new_tensor(smoothing)))
    return to_chosen_P + to_rejected_P


def _nca_pair(pairs: Pairs, beta: float, _smoothing: float) -> torch.Tensor:
    """Chen et al. 2024, arXiv:2402.05369."""
    up_P, down_P = beta * pairs.up_P, beta * pairs.down_P
    return -F.logsigmoid(up_P) - 0.5 * F.logsigmoid(-up_P) - 0.5 * F.logsigmoid(-down_P)


def _bco_pair(pairs: Pairs, beta: float, _smoothing: float) -> torch.Tensor:
    """Jung et al. 2024, arXiv:2404.04656, without its running shift."""
    return -F.logsigmoid(beta * pairs.up_P) - F.logsigmoid(-beta * pairs.down_P)


def _sppo_hard(pairs: Pairs, beta: float, _smoothing: float) -> torch.Tensor:
    """Wu et al. 2024, arXiv:2405.00675, equation 4.7 with certain preferences."""
    return (pairs.up_P - 0.5 / beta) ** 2 + (pairs.down_P + 0.5 / beta) ** 2


def _apo_zero(pairs: Pairs, beta: float, _smoothing: float) -> torch.Tensor:
    """D'Oosterlinck et al. 2024, arXiv:2408.06266, equation 7: chosen answers are better than the model's own."""
    return 1 - torch.sigmoid(beta * pairs.up_P) + torch.sigmoid(beta * pairs.down_P)


def _apo_down(pairs: Pairs, beta: float, _smoothing: float) -> torch.Tensor:
    """As `apo_zero`, equation 8: even chosen answers are worse than the model's own."""
    return torch.sigmoid(beta * pairs.up_P) + 1 - torch.sigmoid(beta * (pairs.up_P - pairs.down_P))


_FUNCTIONS: Mapping[str, Function] = {
    "sigmoid": _sigmoid,
    "hinge": _hinge,
    "ipo": _ipo,
    "robust": _robust,
    "sigmoid_norm": _sigmoid_norm,
    "exo_pair": _exo_pair,
    "nca_pair": _nca_pair,
    "bco_pair": _bco_pair,
    "sppo_hard": _sppo_hard,
    "apo_zero": _apo_zero,
    "apo_down": _apo_down,
}
assert tuple(_FUNCTIONS) == get_args(PairLoss)


def pair_loss(pairs: Pairs, kind: PairLoss, *, beta: float, label_smoothing: float = 0.0) -> torch.Tensor:
    """Loss of each pair [P]."""
    return _FUNCTIONS[kind](pairs, beta, label_smoothing)


def simpo_loss(
    chosen_P: torch.Tensor,
    rejected_P: torch.Tensor,
    chosen_tokens_P: torch.Tensor,
    rejected_tokens_P: torch.Tensor,
    *,
    beta: float,
    gamma: float,
) -> torch.Tensor:
    """Meng et al. 2024, arXiv:2405.14734: log-probability per token as the reward, a margin `gamma`, no reference."""
    mean_P = chosen_P / chosen_tokens_P.clamp(min=1) - rejected_P / rejected_tokens_P.clamp(min=1)
    return -F.logsigmoid(beta * mean_P - gamma)


def odds_ratio_loss(
    chosen_P: torch.Tensor, rejected_P: torch.Tensor, chosen_tokens_P: torch.Tensor, rejected_tokens_P: torch.Tensor
) -> torch.Tensor:
    """Hong et al. 2024 (ORPO), arXiv:2403.07691, equation 6: -log sigmoid of the log odds ratio, on log-probabilities
    per token. The caller adds the chosen answer's cross-entropy."""
    chosen_P = chosen_P / chosen_tokens_P.clamp(min=1)
    rejected_P = rejected_P / rejected_tokens_P.clamp(min=1)
    odds_P = (chosen_P - rejected_P) - (_log1mexp(chosen_P) - _log1mexp(rejected_P))
    return -F.logsigmoid(odds_P)


def _log1mexp(x: torch.Tensor) -> torch.Tensor:
    """log(1 - exp(x)) for x < 0, without losing digits near 0 (Maechler 2012)."""
    x = x.clamp(max=-1e-7)
    return torch.where(x > -0.6931472, torch.log(-torch.expm1(x)), torch.log1p(-torch.exp(x)))


def kto_loss(
    logratio_B: torch.Tensor,
    good_B: torch.Tensor,
    kl: torch.Tensor | float,
    *,
    beta: float,
    desirable_weight: float = 1.0,
    undesirable_weight: float = 1.0,
) -> torch.Tensor:
    """Ethayarajh et al. 2024, arXiv:2402.01306, equation 8, for each answer [B]. `kl` >= 0 is the reference point and
    gets no gradient."""
    signed_B = torch.where(good_B, logratio_B - kl, kl - logratio_B)
    weight_B = torch.where(good_B, desirable_weight, undesirable_weight)
    return weight_B * (1 - torch.sigmoid(beta * signed_B))
