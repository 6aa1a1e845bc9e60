"""Spammers, copiers, colluders and the hurried in simulated panels; honest panels left alone; truth models; BT."""

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.metrics import roc_auc_score

from goldsmith.engines.annotators import copying, truth
from goldsmith.engines.annotators.adjudicate import right_labels, to_adjudicate
from goldsmith.engines.annotators.bradley_terry import bradley_terry
from goldsmith.engines.annotators.collusion import find_collusion, slices_of
from goldsmith.engines.annotators.copying import find_copying
from goldsmith.engines.annotators.panel import panel_of
from goldsmith.engines.annotators.patterns import runs
from goldsmith.engines.annotators.reliability import gold_bounds, self_consistency
from goldsmith.engines.annotators.skill import fit_skills, knowledge
from goldsmith.engines.annotators.speed import speed
from goldsmith.engines.text.projection import project
from goldsmith.types.check import Vote
from goldsmith.types.errors import Inconclusive

WORDS = [f"{a}{b}" for a in ("river", "market", "engine", "garden", "copper") for b in ("side", "house", "man", "lane")]


def panel(rng, annotators=40, items=2000, each=5, gold=0.05, labels=2, skills=None, change=None):
    """`change(annotator, item, truth, label, text)` gives another label, or None."""
    accuracy = rng.uniform(0.7, 0.95, annotators) if skills is None else skills
    votes, right = [], rng.integers(0, labels, items)
    for item in range(items):
        text = " ".join(rng.choice(WORDS, 3, replace=False))
        known = str(right[item]) if rng.random() < gold else None
        for who in rng.choice(annotators, each, replace=False):
            good = rng.random() < accuracy[who]
            label = int(right[item]) if good else int((right[item] + rng.integers(1, labels)) % labels)
            told = change(who, item, int(right[item]), label, text) if change else None
            label = label if told is None else told
            votes.append(Vote(f"{item:05}", f"{who:03}", str(label), known, text=text))
    return panel_of(votes), accuracy, right


def test_the_order_of_votes_does_not_matter():
    rng = np.random.default_rng(0)
    made = panel(rng, items=100)[0]
    again = panel_of([made.votes[i] for i in rng.permutation(len(made))])
    assert again.votes == made.votes
    assert np.array_equal(again.labels, made.labels)


@pytest.mark.parametrize("kind", ["random", "constant"])
def test_guessers_have_no_knowledge_even_where_one_label_is_common(kind):
    rng = np.random.default_rng(1)
    spam = set(range(8))
    constant = {who: who % 2 for who in spam}

    def change(who, item, right, label, text):
        if who not in spam:
            return None
        return int(rng.integers(0, 2)) if kind == "random" else constant[who]

    made, _, _ = panel(rng, items=4000, change=change)
    found = knowledge(made, fit_skills(made), 0.25)
    is_spam = [int(name) in spam for name in made.annotator_names]
    assert roc_auc_score(is_spam, -found.mean) >= 0.99
    honest = np.array(is_spam) == 0
    assert (found.below[honest] > 0.95).sum() == 0


@pytest.mark.parametrize("seed", range(3))
def test_a_ring_of_copiers_is_named_and_nobody_else(seed):
    rng = np.random.default_rng(seed)
    ring = set(range(6))
    sheet = rng.random(2000) < 0.7

    def change(who, item, right, label, text):
        if who in ring and rng.random() < 0.9:
            return right if sheet[item] else 1 - right
        return None

    made, _, right = panel(rng, change=change)
    found = find_copying(made)
    named = {int(made.annotator_names[one]) for r in found.rings if r.certain for one in r.members}
    assert named == ring
    assert roc_auc_score([int(n) in ring for n in made.annotator_names], found.scores) == 1.0
    assert np.mean(found.skills.log_truth.argmax(axis=1) == right) > 0.88


def test_honest_panels_have_no_rings_no_colluders_and_few_hurried():
    for seed in range(8):
        rng = np.random.default_rng(100 + seed)
        made, _, _ = panel(rng, items=800, annotators=20)
        assert not [r for r in find_copying(made).rings if r.certain]
        assert not find_collusion(made, slices_of(made)).suspicions


def test_items_that_lure_everybody_make_nobody_a_copier():
    rng = np.random.default_rng(9)
    lured = rng.random(2000) < 0.1

    def change(who, item, right, label, text):
        return 1 - right if lured[item] and rng.random() < 0.7 else None

    made, _, _ = panel(rng, gold=1.0, change=change)
    assert not [r for r in find_copying(made).rings if r.certain]


def test_colluders_on_an_unnamed_slice_are_found():
    rng = np.random.default_rng(3)
    ring = set(range(5))

    def change(who, item, right, label, text):
        return 1 - right if who in ring and "gardenlane" in text.split() and rng.random() < 0.9 else None

    made, _, _ = panel(rng, items=3000, change=change)
    found = find_collusion(made, slices_of(made))
    assert roc_auc_score([int(n) in ring for n in made.annotator_names], found.scores) >= 0.95
    named = {int(made.annotator_names[s.annotator]) for s in found.suspicions}
    assert len(named & ring) >= 4
    assert not named - ring
    assert all("gardenlane" in s.slice_name for s in found.suspicions)
    assert all(s.p < 0.01 for s in found.suspicions)


def test_the_hurried_are_found_on_the_log_scale():
    rng = np.random.default_rng(4)
    votes = []
    for item in range(300):
        length = int(rng.integers(80, 3000))
        for who in range(6):
            pace = 0.7 if who == 0 else 1.0  # an honest quick reader
            seconds = float(pace * np.exp(rng.normal(np.log(4 + length / 25), 0.5)))
            if who == 5 and rng.random() < 0.5:
                seconds = float(rng.uniform(0.5, 1.5))
            votes.append(Vote(f"{item}", f"{who}", "a", seconds=seconds, length=length))
    found = speed(panel_of(votes))
    assert found is not None
    assert found.p[5] < 1e-6
    assert found.quick[5] > 100
    assert (found.p[:5] > 0.001).all()
    assert speed(panel_of([Vote("1", "a", "x")] * 50)) is None
    assert speed(panel_of([Vote(str(i), "a", "x", seconds=2.0) for i in range(50)])) is None


def test_runs_are_judged_by_an_annotators_own_shares():
    rng = np.random.default_rng(5)
    votes = []
    for item in range(200):
        time = f"2026-01-01T{item // 60:02}:{item % 60:02}:00Z"
        votes.append(Vote(f"{item}", "fair", str(rng.integers(0, 2)), time=time))
        votes.append(Vote(f"{item}", "skewed", "1" if rng.random() < 0.95 else "0", time=time))
        votes.append(Vote(f"{item}", "lazy", "1" if 60 < item < 110 else str(rng.integers(0, 2)), time=time))
    made = panel_of(votes)
    found = dict(zip(made.annotator_names, runs(made).p.tolist(), strict=True))
    assert found["lazy"] < 1e-4
    assert found["fair"] > 0.01
    assert found["skewed"] > 0.01


def test_gold_bounds_and_hidden_repeats():
    bounds = gold_bounds(np.array([19, 0, 0]), np.array([20, 0, 20]))
    assert bounds.low[0] == pytest.approx(0.793, abs=2e-3)  # Beta(20, 2)
    assert (bounds.low[1], bounds.high[1]) == (pytest.approx(0.05), pytest.approx(0.95))
    votes = [Vote(f"{i}", "a", "x") for i in range(20)]
    votes += [Vote(f"again {i}", "a", "x" if i < 15 else "y", repeat=f"{i}") for i in range(20)]
    found = self_consistency(panel_of(votes))
    assert (found.hits[0], found.asked[0]) == (15, 20)
    with pytest.raises(ValueError):
        gold_bounds(np.array([3]), np.array([2]))


MODELS = {
    "dawid_skene": truth.dawid_skene,
    "one_coin": truth.one_coin,
    "glad": lambda *a: truth.glad(*a)[0],
    "mace": truth.mace,
    "majority_vote": truth.majority_vote,
}


@pytest.mark.parametrize("name", MODELS)
def test_models_of_truth_follow_true_skill(name):
    rng = np.random.default_rng(6)
    skills = np.linspace(0.52, 0.97, 20)
    made, _, right = panel(rng, annotators=20, items=600, labels=3, skills=skills)
    found = MODELS[name](made.items, made.annotators, made.labels, made.shape)
    assert np.mean(found.labels == right) > 0.87
    assert np.corrcoef(found.skills, skills)[0, 1] > 0.85
    assert np.allclose(found.probabilities.sum(axis=1), 1.0, atol=1e-6)


def test_dawid_skene_keeps_confusions_in_the_order_of_the_codes():
    rng = np.random.default_rng(7)
    right = rng.integers(0, 3, 900)
    votes = []
    for item in range(900):
        for who in range(6):
            label = int(right[item])
            if who == 2 and label == 2:  # one always calls "2" a "0"
                label = 0
            elif rng.random() > 0.9:
                label = int(rng.integers(0, 3))
            votes.append(Vote(f"{item}", f"{who}", str(label)))
    rng.shuffle(votes)
    made = panel_of(votes)
    found = truth.dawid_skene(made.items, made.annotators, made.labels, made.shape)
    assert found.confusion is not None
    assert found.confusion[2, 2, 0] > 0.9
    assert found.confusion[1, 2, 2] > 0.85
    assert np.allclose(found.confusion.sum(axis=2), 1.0)


@pytest.mark.parametrize("model", ["skill", "majority", "one_coin", "dawid_skene", "glad", "mace"])
def test_items_for_adjudication_are_those_the_votes_leave_open(model):
    made, _, right = panel(np.random.default_rng(11), annotators=15, items=400, each=4)
    found = right_labels(made, model)
    chosen = np.isin(np.arange(400), to_adjudicate(made, found))
    wrong = found.labels != right
    assert wrong[chosen].mean() > max(0.1, 4 * wrong[~chosen].mean())
    assert not chosen[made.gold >= 0].any()


def test_gold_holds_dawid_skene_to_its_label():
    rng = np.random.default_rng(8)
    made, _, _ = panel(rng, annotators=10, items=200, gold=0.3)
    found = truth.dawid_skene(made.items, made.annotators, made.labels, made.shape, made.gold)
    known = made.gold >= 0
    assert (found.labels[known] == made.gold[known]).all()


def test_models_of_truth_say_when_they_cannot_tell():
    cases = [
        [Vote("1", "a", "x"), Vote("2", "a", "y")],
        [Vote("1", "a", "x"), Vote("1", "b", "x")],
        [Vote("1", "a", "x"), Vote("2", "b", "y")],
    ]
    for votes in cases:
        made = panel_of(votes)
        for name in ("dawid_skene", "one_coin", "glad", "mace"):
            with pytest.raises(Inconclusive):
                MODELS[name](made.items, made.annotators, made.labels, made.shape)


def votes_between_players(rng, judges=40, votes=3000, place=0.35, pull=0.5):
    strength = np.array([0.0, 0.3, -0.4, 0.8, -0.2, 0.5])
    first = rng.integers(0, 6, votes)
    second = (first + rng.integers(1, 6, votes)) % 6
    length = rng.normal(0, 1, votes)
    judge = rng.integers(0, judges, votes)
    leaning = rng.normal(0, 0.6, judges)
    logit = strength[first] - strength[second] + place + pull * length + leaning[judge]
    won = (rng.random(votes) < 1 / (1 + np.exp(-logit))).astype(float)
    return first, second, won, judge, length, strength


def test_bradley_terry_finds_the_maximum_of_its_likelihood():
    first, second, won, judge, length, _ = votes_between_players(np.random.default_rng(1))
    found = bradley_terry(first, second, won, judge, [f"m{i}" for i in range(6)], {"length": length})

    def loss(theta):
        strengths = np.concatenate([[0.0], theta[1:6]])
        x = theta[0] + strengths[first] - strengths[second] + theta[6] * length
        return float(np.logaddexp(0, x).sum() - (won * x).sum())

    best = minimize(loss, np.zeros(7), method="BFGS", options={"gtol": 1e-6})
    assert np.allclose(found.values, best.x, atol=1e-4)
    assert found.names == ("first place", "m1", "m2", "m3", "m4", "m5", "length")


def test_bradley_terry_intervals_cover_though_judges_lean():
    inside = {"first place": 0, "length": 0, "m3": 0}
    naive = 0
    for seed in range(120):
        first, second, won, judge, length, _ = votes_between_players(np.random.default_rng(seed), votes=1200)
        players = [f"m{i}" for i in range(6)]
        found = bradley_terry(first, second, won, judge, players, {"length": length})
        # Leaning judges draw all logits towards 0 by 1 / sqrt(1 + 0.346 s^2) (Zeger, Liang and Albert 1988).
        shrink = 1 / np.sqrt(1 + 0.346 * 0.6**2)
        for name, value in (("first place", 0.35), ("length", 0.5), ("m3", 0.8)):
            _, low, high = found.of(name)
            inside[name] += low <= value * shrink <= high
        alone = bradley_terry(first, second, won, np.arange(len(won)), players, {"length": length})
        _, low, high = alone.of("first place")
        naive += low <= 0.35 * shrink <= high
    assert all(108 <= count <= 119 for count in inside.values()), inside  # 95 % of 120 = 114 +- 2.5 sd
    assert naive < 100  # as if votes were independent: the intervals are too narrow


def test_bradley_terry_says_when_it_cannot_tell():
    one = np.zeros(10, np.int64)
    with pytest.raises(Inconclusive, match="two judges"):
        bradley_terry(one, one + 1, np.tile([0.0, 1.0], 5), one, ["a", "b"])
    judges = np.arange(10) % 3
    with pytest.raises(Inconclusive, match="no finite"):
        bradley_terry(one, one + 1, np.ones(10), judges)
    with pytest.raises(Inconclusive, match="apart"):
        bradley_terry(one, one + 1, np.tile([0.0, 1.0], 5), judges, ["a", "b", "c"])


def test_copying_is_worked_out_once_for_the_same_votes_and_again_for_others(monkeypatch):
    asked = []
    monkeypatch.setattr(copying, "find_copying", lambda panel, alpha: asked.append(len(panel)) or object())
    rng = np.random.default_rng(3)
    view, one, other = project([]), panel(rng, items=20)[0], panel(rng, items=30)[0]
    assert copying.copying_for(view, one) is copying.copying_for(view, one)
    copying.copying_for(view, other)
    copying.copying_for(view, other, 0.05)
    assert len(asked) == 3
