"""Who copies: pairs that agree, above all in rare errors, beyond what their skills and the items explain.

For each pair of votes on one item two explanations are compared: both annotators answered on their own (given what all
*other* votes and gold say about the item), or one took the other's answer with a probability of `STRENGTHS`. The null
allows for as much dependence as the panel as a whole shows, because hard items make honest people err alike. Summed
over a pair's items this is a likelihood ratio, so its exponential is an e-value: over all rings that could be formed of
g of A annotators, `log C(A, g) + log(A / alpha)` is passed with probability `alpha` at most while everybody is honest
(as far as the fitted skills are right; measured in benchmarks/annotators.py).
"""

from dataclasses import dataclass, field
from math import lgamma, log
from typing import Any

import numpy as np
from numpy.typing import NDArray

from goldsmith.engines.annotators.panel import Ints, Panel
from goldsmith.engines.annotators.skill import Floats, Skills, fit_skills
from goldsmith.engines.text.projection import ProjectedRows

STRENGTHS = (0.45, 0.8)
"""How much is copied: some who copy loosely are seen only with the first, small rings only with the second."""
_MOST_PAIRS = 4_000_000
_MOST_RINGS = 12
_ROUNDS = 3
_GOLD_ODDS = 3.0
"""Log odds that a gold label adds to its item."""
_DEPENDENCE = np.array([0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4])


@dataclass(frozen=True, slots=True)
class Pairs:
    """Two votes on one item each: `first` and `second` annotator (first < second), `item`, `evidence` of copying."""

    first: Ints
    second: Ints
    item: Ints
    evidence: Floats
    same: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Ring:
    """Annotators whose votes are not their own; `evidence`: log likelihood ratio, `needed`: what chance must not pass.

    `items`: those on which two members or more gave the same label.
    """

    members: tuple[int, ...]
    evidence: float
    needed: float
    items: Ints
    agreement: float

    @property
    def certain(self) -> bool:
        """Whether the evidence holds over all rings that could have been formed."""
        return self.evidence >= self.needed


@dataclass(frozen=True)
class Copying:
    """`rings`, the surest first; `scores` [annotators]: the log likelihood ratio that an annotator copies."""

    rings: tuple[Ring, ...]
    scores: Floats
    skills: Skills
    dependence: float
    compared: Ints = field(default_factory=lambda: np.zeros(0, np.int64))


def find_copying(panel: Panel, alpha: float = 0.01) -> Copying:
    """Rings of copiers. Skills are fitted again with each ring's votes on an item counted as one, until rings stay."""
    skills = fit_skills(panel)
    rings: list[Ring] = []
    scores = np.zeros(len(panel.annotator_names))
    dependence = 0.0
    pairs: list[Pairs] = []
    for _ in range(_ROUNDS):
        pairs, dependence = vote_pairs(panel, skills)
        before = [ring.members for ring in rings]
        found = [_search(one, len(panel.annotator_names), alpha / len(pairs)) for one in pairs]
        rings = _apart([ring for own, _ in found for ring in own])
        scores = np.max([own for _, own in found], axis=0)
        certain = [ring for ring in rings if ring.certain]
        if [ring.members for ring in rings] == before or not certain:
            break
        skills = fit_skills(panel, independent_weights(panel, certain))
    both = np.concatenate([pairs[0].first, pairs[0].second])
    compared = np.bincount(both, minlength=len(panel.annotator_names))
    return Copying(tuple(rings), scores, skills, dependence, compared.astype(np.int64))


def copying_for(rows: ProjectedRows, panel: Panel, alpha: float = 0.01) -> Copying:
    """`find_copying`, kept for the other checks of the same rows and votes."""
    kept: dict[str, Any] = rows.shared(("copying", alpha), dict)
    if kept.get("panel") is not panel:
        kept.update(panel=panel, found=find_copying(panel, alpha))
    found: Copying = kept["found"]
    return found


def _apart(rings: list[Ring]) -> list[Ring]:
    """The surest rings, leaving out those that share a member with a surer one."""
    kept: list[Ring] = []
    for ring in sorted(rings, key=lambda ring: ring.needed - ring.evidence):
        if not any(set(ring.members) & set(other.members) for other in kept):
            kept.append(ring)
    return kept


def independent_weights(panel: Panel, rings: list[Ring]) -> Floats:
    """Vote weights [N] that make a ring's votes on one item count as one vote."""
    weights = np.ones(len(panel))
    for ring in rings:
        member = np.isin(panel.annotators, ring.members)
        many = np.bincount(panel.items[member], minlength=len(panel.item_names))
        weights[member] = 1.0 / np.maximum(1, many[panel.items[member]])
    return weights


def vote_pairs(panel: Panel, skills: Skills) -> tuple[list[Pairs], float]:
    """Every pair of votes on one item (a bounded number of each item's votes), by strength; the panel's dependence."""
    kept = _bounded_votes(panel)
    first, second = _index_pairs(panel.items[kept])
    a, b = kept[first], kept[second]
    different = panel.annotators[a] != panel.annotators[b]
    a, b = a[different], b[different]
    swap = panel.annotators[a] > panel.annotators[b]
    a, b = np.where(swap, b, a), np.where(swap, a, b)
    apart, alone, same = _explanations(panel, skills, a, b)
    dependence = _panel_dependence(apart, alone, same)
    null = (1 - dependence) * apart + dependence * same * alone
    who, whom, item = panel.annotators[a], panel.annotators[b], panel.items[a]
    pair, of = np.unique(who * len(panel.annotator_names) + whom, return_inverse=True)
    found = []
    for strength in STRENGTHS:
        copied = (1 - strength) * apart + strength * same * alone
        evidence = np.log(np.maximum(copied, 1e-12) / np.maximum(null, 1e-12))
        mean, variance = _expected(panel, skills, a, b, strength, dependence)
        found.append(Pairs(who, whom, item, _as_the_panel(evidence, mean, variance, of, len(pair)), same))
    return found, dependence


def _as_the_panel(evidence: Floats, mean: Floats, variance: Floats, of: Ints, pairs: int) -> Floats:
    """The evidence with the panel's typical pair as the honest one.

    `mean` and `variance`: of each vote pair's evidence while everybody is honest and the model holds. Where the typical
    pair of annotators lies above that (items that lure everybody), the excess is taken off; where pairs scatter more
    than they should, the evidence is tempered.
    """
    count = np.bincount(of, minlength=pairs)
    excess = np.bincount(of, weights=evidence - mean, minlength=pairs)
    spread = np.sqrt(np.maximum(np.bincount(of, weights=variance, minlength=pairs), 1e-9))
    told = count >= min(5, int(np.quantile(count, 0.9)) if pairs else 5)
    if int(told.sum()) < 3:
        return evidence
    shift = max(0.0, float(np.median(excess[told] / count[told])))
    z = (excess - shift * count)[told] / spread[told]
    scatter = max(1.0, 1.4826 * float(np.median(np.abs(z - np.median(z)))))
    return np.asarray((evidence - shift) / scatter**2, np.float64)


def _expected(
    panel: Panel, skills: Skills, a: Ints, b: Ints, strength: float, dependence: float
) -> tuple[Floats, Floats]:
    """Mean and variance of the evidence of each vote pair under the null, over all labels both could have given."""
    truth = _others_truth(panel, skills, a, b)
    first, second = panel.annotators[a], panel.annotators[b]
    apart_at_odds = np.log((1 - strength) / (1 - dependence))
    mean, square, agree = np.zeros(len(a)), np.zeros(len(a)), np.zeros(len(a))
    for label in range(len(panel.label_names)):
        base_a = (1 - skills.knowing[first]) * skills.guess[first, label]
        base_b = (1 - skills.knowing[second]) * skills.guess[second, label]
        know_a, know_b = skills.knowing[first] * truth[:, label], skills.knowing[second] * truth[:, label]
        both = base_a * base_b + base_b * know_a + base_a * know_b + know_a * skills.knowing[second]
        one = (base_a + know_a + base_b + know_b) / 2
        null = (1 - dependence) * both + dependence * one
        told = np.log(np.maximum((1 - strength) * both + strength * one, 1e-12) / np.maximum(null, 1e-12))
        mean, square, agree = mean + null * told, square + null * told**2, agree + null
    rest = np.maximum(0.0, 1.0 - agree)
    mean, square = mean + rest * apart_at_odds, square + rest * apart_at_odds**2
    return mean, np.maximum(square - mean**2, 0.0)


def _others_truth(panel: Panel, skills: Skills, a: Ints, b: Ints) -> Floats:
    """The right label's probabilities [pairs, labels] without both votes; gold is strong evidence, not certain.

    Were it certain, an item whose gold label most people dispute would make honest people look like copiers.
    """
    own = np.arange(len(a))
    truth = skills.log_votes[panel.items[a]].copy()
    truth[own, panel.labels[a]] -= skills.gain[a]
    truth[own, panel.labels[b]] -= skills.gain[b]
    gold = panel.gold[panel.items[a]]
    known = np.flatnonzero(gold >= 0)
    truth[known, gold[known]] += _GOLD_ODDS
    truth = np.exp(truth - truth.max(axis=1, keepdims=True))
    return np.asarray(truth / truth.sum(axis=1, keepdims=True), np.float64)


def _bounded_votes(panel: Panel) -> Ints:
    """Votes (positions) with at most so many of each item that pairs stay bounded; the same ones every time."""
    most = max(5, int(2 * _MOST_PAIRS / max(1, len(panel))))
    start = np.searchsorted(panel.items, panel.items, side="left")
    size = np.bincount(panel.items, minlength=len(panel.item_names))[panel.items]
    place = np.arange(len(panel)) - start
    # Of an item with too many votes another window each, so that no annotator is left out throughout.
    turn = (place + panel.items * 7919) % np.maximum(size, 1)
    return np.flatnonzero(turn < most)


def _index_pairs(items: Ints) -> tuple[Ints, Ints]:
    """All pairs of positions with the same item; `items` is sorted."""
    first, second = [], []
    longest = int(np.bincount(items).max(initial=0)) if len(items) else 0
    for step in range(1, longest):
        at = np.flatnonzero(items[:-step] == items[step:])
        first.append(at)
        second.append(at + step)
    empty = [np.zeros(0, np.int64)]
    return np.concatenate(first or empty).astype(np.int64), np.concatenate(second or empty).astype(np.int64)


def _explanations(panel: Panel, skills: Skills, a: Ints, b: Ints) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Probability of both votes given apart; of one of them alone; and whether they are the same. Each [pairs]."""
    own = np.arange(len(a))
    truth = _others_truth(panel, skills, a, b)
    know_a, know_b = skills.knowing[panel.annotators[a]], skills.knowing[panel.annotators[b]]
    base_a = (1 - know_a) * skills.guess[panel.annotators[a], panel.labels[a]]
    base_b = (1 - know_b) * skills.guess[panel.annotators[b], panel.labels[b]]
    same = panel.labels[a] == panel.labels[b]
    right_a, right_b = truth[own, panel.labels[a]], truth[own, panel.labels[b]]
    apart = base_a * base_b + base_b * know_a * right_a + base_a * know_b * right_b + same * know_a * know_b * right_a
    alone = (base_a + know_a * right_a + base_b + know_b * right_b) / 2
    return apart, alone, same


def _panel_dependence(apart: Floats, alone: Floats, same: NDArray[np.bool_]) -> float:
    """How often the panel's votes agree for other reasons than skill: the likeliest of a few values."""
    if len(apart) == 0:
        return 0.0
    step = max(1, len(apart) // 200_000)
    apart, alone, same = apart[::step], alone[::step], same[::step]
    likely = [float(np.log(np.maximum((1 - d) * apart + d * same * alone, 1e-12)).sum()) for d in _DEPENDENCE]
    return float(_DEPENDENCE[int(np.argmax(likely))])


def _search(pairs: Pairs, size: int, alpha: float) -> tuple[list[Ring], Floats]:
    """Rings one after another, each grown from the strongest direction left; then every annotator's score."""
    from scipy.sparse import csr_matrix

    if len(pairs.first) == 0:
        return [], np.zeros(size)
    both = np.concatenate([pairs.first, pairs.second]), np.concatenate([pairs.second, pairs.first])
    matrix = csr_matrix((np.concatenate([pairs.evidence] * 2), both), shape=(size, size))
    matrix.sum_duplicates()
    left = matrix.copy()
    rings: list[Ring] = []
    for _ in range(_MOST_RINGS):
        members = _grow(left, size)
        if len(members) < 2:
            break
        ring = _ring(pairs, members, size, alpha)
        rings.append(ring)
        if not ring.certain:
            break
        keep = np.ones(size)
        keep[list(members)] = 0.0
        left = left.multiply(keep[:, None]).multiply(keep[None, :]).tocsr()
    rings.sort(key=lambda ring: ring.needed - ring.evidence)
    return rings, _scores(matrix, rings, size)


def _grow(matrix, size: int) -> tuple[int, ...]:  # type: ignore[no-untyped-def]
    """The best ring that grows from the strongest pair, the best-linked annotator or the leading eigenvector."""
    cost = log(max(2, size))
    if matrix.nnz == 0 or float(matrix.data.max()) <= 0:
        return ()
    best: tuple[float, frozenset[int]] = (0.0, frozenset())
    for seed in _seeds(matrix, size):
        members = set(seed)
        for _ in range(12):
            chosen = np.zeros(size)
            chosen[list(members)] = 1.0
            support = matrix @ chosen
            grown = set(np.flatnonzero(support > cost).tolist())
            if len(members) <= 3:  # a young ring takes in one at a time, or chance would fill it
                fresh = sorted(grown - members, key=lambda one: -support[one])[:1]
                grown = (grown & members) | set(fresh)
            if grown == members or len(grown) < 2:
                break
            members = grown
        if len(members) >= 2:
            chosen = np.zeros(size)
            chosen[list(members)] = 1.0
            value = float(chosen @ (matrix @ chosen)) / 2 - cost * len(members)
            if value > best[0] or not best[1]:
                best = (value, frozenset(members))
    return tuple(sorted(best[1]))


def _seeds(matrix, size: int) -> list[list[int]]:  # type: ignore[no-untyped-def]
    top = int(np.argmax(matrix.data))
    row = int(np.searchsorted(matrix.indptr, top, side="right")) - 1
    seeds = [[row, int(matrix.indices[top])]]
    positive = matrix.maximum(0)
    linked = int(np.argmax(np.asarray(positive.sum(axis=1)).ravel()))
    near = matrix.getrow(linked)
    seeds.append([linked, *near.indices[np.argsort(-near.data, kind="stable")][:3].tolist()])
    # The leading eigenvector, by power iteration on the shifted matrix: the largest, not the most negative, wins.
    shift = float(np.abs(matrix).sum(axis=1).max())
    vector = np.asarray(positive.sum(axis=1)).ravel() + 1e-9
    for _ in range(60):
        vector = matrix @ vector + shift * 0.5 * vector
        vector /= float(np.linalg.norm(vector)) or 1.0
    if abs(float(vector.min())) > float(vector.max()):
        vector = -vector
    seeds.append(np.flatnonzero(vector > 0.5 * float(vector.max())).tolist())
    order = np.argsort(-vector, kind="stable")
    seeds += [order[:count].tolist() for count in (3, 6, 12, 25, 50) if count < size]
    return [seed for seed in seeds if len(seed) >= 2]


def _ring(pairs: Pairs, members: tuple[int, ...], size: int, alpha: float) -> Ring:
    inside = np.isin(pairs.first, members) & np.isin(pairs.second, members)
    items, evidence = pairs.item[inside], pairs.evidence[inside]
    many = np.bincount(items)
    # r members on one item give r (r - 1) / 2 pairs but r - 1 chances to copy.
    taking_part = (1 + np.sqrt(1 + 8 * many[items])) / 2
    total = float((evidence * 2.0 / taking_part).sum())
    g = len(members)
    needed = lgamma(size + 1) - lgamma(g + 1) - lgamma(size - g + 1) + log(size / alpha)
    same = pairs.same[inside]
    return Ring(members, total, needed, np.unique(items[same]), float(same.mean()) if len(same) else 0.0)


def _scores(matrix, rings: list[Ring], size: int) -> Floats:  # type: ignore[no-untyped-def]
    """For each annotator the most evidence that it copies: from its best partner, or from a ring as a whole."""
    top = matrix.max(axis=1).toarray().ravel()
    scores = np.maximum(top, 0.0)
    for ring in rings:
        chosen = np.zeros(size)
        chosen[list(ring.members)] = 1.0
        scores = np.maximum(scores, matrix @ chosen)
    return np.asarray(scores - log(max(2, size)), np.float64)
