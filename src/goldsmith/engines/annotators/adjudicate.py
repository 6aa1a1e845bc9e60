"""Which items a person should look at again: their right label is open, or turns against the majority."""

from typing import Literal

import numpy as np

from goldsmith.engines.annotators import truth
from goldsmith.engines.annotators.panel import Ints, Panel
from goldsmith.engines.annotators.skill import fit_skills
from goldsmith.engines.annotators.truth import Truth

TruthModel = Literal["skill", "majority", "one_coin", "dawid_skene", "glad", "mace"]
_OPEN = 0.8


def right_labels(panel: Panel, model: TruthModel) -> Truth:
    """The right labels by one of the models. Errors: Inconclusive where it cannot be fitted (all but `majority`)."""
    codes = panel.items, panel.annotators, panel.labels, panel.shape
    if model == "skill":
        fitted = fit_skills(panel)
        return Truth(np.exp(fitted.log_truth), fitted.knowing)
    if model == "dawid_skene":
        return truth.dawid_skene(*codes, panel.gold)
    if model == "glad":
        return truth.glad(*codes)[0]
    known = {"majority": truth.majority_vote, "one_coin": truth.one_coin, "mace": truth.mace}
    return known[model](*codes)


def to_adjudicate(panel: Panel, found: Truth) -> Ints:
    """Items without gold that two annotators or more judged, whose likeliest label has a probability under 0.8, or is
    not what most votes say."""
    voted = panel.counts.sum(axis=1) >= 2
    best = found.probabilities.max(axis=1, initial=0.0)
    against = panel.counts[np.arange(len(best)), found.labels] < panel.counts.max(axis=1)
    return np.flatnonzero(voted & (panel.gold < 0) & ((best < _OPEN) | against))
