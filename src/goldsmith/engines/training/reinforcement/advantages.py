"""How much better an answer is than was to be expected. Pure functions; axes: P prompts, G answers to each.

A reward that could not be told is NaN; its answer teaches nothing, and no other answer is measured against it.
"""

import warnings
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Scale = Literal["group", "batch", "none"]

STEADY = 1e-4
"""Added to a standard deviation before it divides, as in DeepSeekMath's and TRL's code."""


def group_relative(rewards_PG: Floats, scale: Scale) -> Floats:
    """Reward less the mean of its group, [P, G]; 0 where it could not be told.

    `scale`: divided by the group's standard deviation (GRPO; Shao et al. 2024, arXiv:2402.03300), by the whole
    batch's, or not at all (Dr. GRPO; Liu et al. 2025, arXiv:2503.20783: division favours prompts that are too easy
    or too hard).
    """
    centred_PG = rewards_PG - _mean(rewards_PG)
    if scale == "group":
        centred_PG = centred_PG / (_deviation(rewards_PG, axis=1) + STEADY)
    elif scale == "batch":
        centred_PG = centred_PG / (_deviation(rewards_PG.reshape(1, -1), axis=1) + STEADY)
    return np.nan_to_num(centred_PG, nan=0.0)


def leave_one_out(rewards_PG: Floats, *, normalise: bool = False) -> Floats:
    """Reward less the mean of the group's other answers, [P, G] (RLOO; Ahmadian et al. 2024, arXiv:2402.14740); 0
    where it could not be told, or where no other answer's could. `normalise`: to mean 0 and deviation 1 over all."""
    known_PG = ~np.isnan(rewards_PG)
    others_P1 = known_PG.sum(1, keepdims=True) - 1
    total_P1 = np.nansum(rewards_PG, 1, keepdims=True)
    baseline_PG = (total_P1 - rewards_PG) / np.maximum(others_P1, 1)
    out = np.where(known_PG & (others_P1 > 0), rewards_PG - baseline_PG, np.nan)
    if normalise and np.isfinite(out).any():
        out = (out - np.nanmean(out)) / (_deviation(out.reshape(1, -1), axis=1)[0, 0] + STEADY)
    return np.nan_to_num(out, nan=0.0)


def informative(rewards_PG: Floats) -> NDArray[np.bool_]:
    """Whether a group's known rewards differ, [P]: a group of equals teaches a group-relative method nothing."""
    known = (
        np.where(np.isnan(rewards_PG), np.inf, rewards_PG).min(1),
        np.where(np.isnan(rewards_PG), -np.inf, rewards_PG).max(1),
    )
    return np.asarray(known[1] > known[0])


def discounted(rewards_T: Floats, values_T: Floats, *, discount: float, smoothing: float) -> tuple[Floats, Floats]:
    """Generalised advantages and value targets of one answer's tokens, [T] each (Schulman et al. 2016,
    arXiv:1506.02438). `values_T[t]` is the value before token t; after the last token it is 0."""
    advantages_T = np.zeros_like(rewards_T)
    running, following = 0.0, 0.0
    for t in range(len(rewards_T) - 1, -1, -1):
        surprise = rewards_T[t] + discount * following - values_T[t]
        running = surprise + discount * smoothing * running
        advantages_T[t], following = running, values_T[t]
    return advantages_T, advantages_T + values_T


def _mean(rewards_PG: Floats) -> Floats:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a group of which nothing is known stays NaN
        return np.asarray(np.nanmean(rewards_PG, axis=1, keepdims=True))


def _deviation(values: Floats, axis: int) -> Floats:
    """Standard deviation with Bessel's correction over known values; 0 where fewer than two are known."""
    known = (~np.isnan(values)).sum(axis, keepdims=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        spread = np.nanstd(values, axis=axis, ddof=1, keepdims=True)
    return np.where(known > 1, np.nan_to_num(spread, nan=0.0), 0.0)
