"""Who knows and who guesses: each vote is either the right label, or drawn from the annotator's own habit.

The model is MACE's (Hovy et al. 2013): with probability `knowing` an annotator gives the right label, else a label by
`guess`, a distribution of their own. So a constant label, whatever its share, is explained as a guess. Items with a
known right label are held to it, and the first skills come from those items alone, so that a coordinated minority does
not choose the starting point. All of it is numpy, linear in votes.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from goldsmith.engines.annotators.panel import Panel, sums

Floats = NDArray[np.float64]
_ITERATIONS = 30
_GRID = np.linspace(0.0, 0.99, 34)
_SMOOTHING = 0.5
_SURE = 40.0
"""Log odds by which a known right label is held."""


@dataclass(frozen=True)
class Skills:
    """`knowing` [annotators], `guess` [annotators, labels], `log_truth` [items, labels]: normalised log posterior.

    `log_votes` [items, labels]: what the votes say, gold left out. `gain` [N]: how much each vote adds to the log odds
    of its own label.
    """

    knowing: Floats
    guess: Floats
    log_truth: Floats
    log_votes: Floats
    gain: Floats

    def without_own(self, panel: Panel) -> Floats:
        """The right label's probabilities [N, labels] as all votes but this one give them."""
        left = self.log_truth[panel.items].copy()
        free = ~panel.on_gold
        own = np.arange(len(panel)), panel.labels
        left[own] -= np.where(free, self.gain, 0.0)
        return _normalised(left)


def fit_skills(panel: Panel, weights: Floats | None = None) -> Skills:
    """The model fitted by expectation-maximisation. `weights` [N]: how much of an independent vote each one is."""
    size_i, size_a, size_l = panel.shape
    weight = np.ones(len(panel)) if weights is None else weights
    truth = _first_truth(panel, weight)
    votes = np.bincount(panel.annotators, weights=weight, minlength=size_a)
    knowing = np.full(size_a, 0.5)
    guess = np.full((size_a, size_l), 1.0 / size_l)
    log_truth = np.log(np.maximum(truth, 1e-12))
    gain = np.zeros(len(panel))
    log_votes = log_truth
    for _ in range(_ITERATIONS):
        right = _normalised(log_truth)[panel.items, panel.labels]
        base = (1.0 - knowing[panel.annotators]) * guess[panel.annotators, panel.labels]
        knew = right * knowing[panel.annotators] / (knowing[panel.annotators] + base)
        known = sums(panel.annotators, weight * knew, size_a)
        knowing = np.clip((known + 1.5) / (votes + 2.5), 0.01, 0.99)
        flat = panel.annotators * size_l + panel.labels
        guess = np.bincount(flat, weights=weight * (1 - knew), minlength=size_a * size_l).reshape(size_a, size_l)
        guess = (guess + _SMOOTHING) / (guess + _SMOOTHING).sum(axis=1, keepdims=True)
        prior = (_normalised(log_truth).sum(axis=0) + 1.0) / (size_i + size_l)
        base = (1.0 - knowing[panel.annotators]) * guess[panel.annotators, panel.labels]
        gain = weight * np.log1p(knowing[panel.annotators] / base)
        flat = panel.items * size_l + panel.labels
        told = np.bincount(flat, weights=gain, minlength=size_i * size_l).reshape(size_i, size_l)
        before = log_truth
        log_votes = np.log(prior)[None, :] + told
        log_truth = np.log(_held(panel, log_votes.copy()))
        if float(np.abs(np.exp(log_truth) - np.exp(before)).max(initial=0.0)) < 1e-4:
            break
    return Skills(knowing, guess, log_truth, log_votes, gain)


def _first_truth(panel: Panel, weight: Floats) -> Floats:
    """Votes weighted by accuracy on gold items (all alike where there is none), gold items held to their label."""
    size_i, _, size_l = panel.shape
    hits, asked = panel.gold_hits
    mean = (hits.sum() + 1.0) / (asked.sum() + 2.0) if asked.sum() else 0.7
    accuracy = (hits + 4 * mean) / (asked + 4.0)
    odds = np.log(np.clip(accuracy, 0.05, 0.95) * max(1, size_l - 1) / (1 - np.clip(accuracy, 0.05, 0.95)))
    flat = panel.items * size_l + panel.labels
    told = sums(flat, weight * odds[panel.annotators], size_i * size_l)
    return _held(panel, told.reshape(size_i, size_l))


def _held(panel: Panel, log_truth: Floats) -> Floats:
    """Probabilities [items, labels], certain where the right label is known."""
    known = np.flatnonzero(panel.gold >= 0)
    log_truth[known] = 0.0
    log_truth[known, panel.gold[known]] = _SURE
    return np.maximum(_normalised(log_truth), 1e-18)


def _normalised(log_values: Floats) -> Floats:
    values = np.exp(log_values - log_values.max(axis=1, keepdims=True))
    return np.asarray(values / values.sum(axis=1, keepdims=True), np.float64)


@dataclass(frozen=True, slots=True)
class Knowledge:
    """Per annotator: the posterior mean of `knowing`, the chance that it is below the line, votes that could tell."""

    mean: Floats
    below: Floats
    votes: Floats


def knowledge(panel: Panel, skills: Skills, line: float) -> Knowledge:
    """How much each annotator knows, each vote judged by the other votes for its item and by gold.

    A flat prior on a grid from 0 to 0.99. A vote on an item that nobody else judged and whose label is not known tells
    nothing and counts as nothing.
    """
    size = len(panel.annotator_names)
    right = skills.without_own(panel)[np.arange(len(panel)), panel.labels]
    votes_of_item = np.bincount(panel.items, minlength=len(panel.item_names))
    telling = panel.on_gold | (votes_of_item[panel.items] > 1)
    who = panel.annotators[telling]
    habit = np.bincount(
        panel.annotators * len(panel.label_names) + panel.labels, minlength=size * len(panel.label_names)
    ).reshape(size, -1)
    shares = (habit + _SMOOTHING) / (habit + _SMOOTHING).sum(axis=1, keepdims=True)
    own = shares[panel.annotators, panel.labels][telling]
    log_like = np.stack([sums(who, np.log(s * right[telling] + (1 - s) * own), size) for s in _GRID], axis=1)
    posterior = _normalised(log_like)
    telling_votes = np.bincount(who, minlength=size).astype(np.float64)
    return Knowledge(posterior @ _GRID, posterior[:, line > _GRID].sum(axis=1), telling_votes)
