"""Agreement against published worked examples, brute force and scikit-learn; reference numbers of real sets."""

import gzip
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from goldsmith.engines.annotators import agreement
from goldsmith.engines.annotators.panel import panel_of
from goldsmith.types.check import Vote
from goldsmith.types.errors import Inconclusive

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data"

# Krippendorff (2011), "Computing Krippendorff's Alpha-Reliability", section C: four observers, twelve units.
KRIPPENDORFF = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
    [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
]
# Fleiss (1971), the table as Wikipedia shows it: ten subjects, fourteen raters, five categories.
FLEISS = [
    [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
    [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
]  # fmt: skip


def counts_of(table):
    labels = sorted({v for row in table for v in row if v is not None})
    counts = np.zeros((len(table[0]), len(labels)), np.int64)
    for row in table:
        for item, value in enumerate(row):
            if value is not None:
                counts[item, labels.index(value)] += 1
    return counts, np.array(labels, float)


def test_krippendorffs_own_example():
    counts, values = counts_of(KRIPPENDORFF)
    assert agreement.krippendorff_alpha(counts) == pytest.approx(0.743, abs=5e-4)
    assert agreement.krippendorff_alpha(counts, "ordinal") == pytest.approx(0.815, abs=5e-4)
    assert agreement.krippendorff_alpha(counts, "interval", values) == pytest.approx(0.849, abs=5e-4)


def test_fleiss_own_example():
    assert agreement.fleiss_kappa(np.array(FLEISS)) == pytest.approx(0.210, abs=5e-4)


def test_the_prevalence_paradox():
    table = np.array([[2, 0]] * 95 + [[1, 1]] * 3 + [[0, 2]] * 1 + [[1, 1]] * 1)
    assert agreement.raw_agreement(table) == pytest.approx(0.96)
    assert agreement.krippendorff_alpha(table) < 0.4
    assert agreement.gwet_ac(table) > 0.95


@st.composite
def tables(draw):
    labels, raters, items = draw(st.integers(2, 4)), draw(st.integers(2, 5)), draw(st.integers(3, 12))
    cell = st.one_of(st.none(), st.integers(0, labels - 1))
    return labels, [[draw(cell) for _ in range(items)] for _ in range(raters)]


def brute_alpha(table, labels, scale):
    """Observed and expected disagreement by walking over every pair of values, after Krippendorff's definition."""
    units = [[row[u] for row in table if row[u] is not None] for u in range(len(table[0]))]
    units = [unit for unit in units if len(unit) > 1]
    pool = [value for unit in units for value in unit]
    total = [pool.count(c) for c in range(labels)]

    def distance(a, b):
        if scale == "nominal":
            return float(a != b)
        if scale == "interval":
            return float((a - b) ** 2)
        low, high = min(a, b), max(a, b)
        return (sum(total[low : high + 1]) - (total[a] + total[b]) / 2) ** 2

    observed = sum(sum(distance(a, b) for a, b in itertools.permutations(u, 2)) / (len(u) - 1) for u in units)
    expected = sum(distance(a, b) for a, b in itertools.permutations(pool, 2)) / (len(pool) - 1)
    return None if not expected else 1 - observed / expected


@settings(max_examples=150, deadline=None)
@given(tables(), st.sampled_from(["nominal", "ordinal", "interval"]))
def test_alpha_is_what_brute_force_gives(drawn, scale):
    labels, table = drawn
    counts = np.zeros((len(table[0]), labels), np.int64)
    for row in table:
        for item, value in enumerate(row):
            if value is not None:
                counts[item, value] += 1
    if not (counts.sum(axis=1) >= 2).any():
        with pytest.raises(Inconclusive):
            agreement.krippendorff_alpha(counts, scale)
        return
    expected = brute_alpha(table, labels, scale)
    if expected is None:
        with pytest.raises(Inconclusive):
            agreement.krippendorff_alpha(counts, scale)
    else:
        assert agreement.krippendorff_alpha(counts, scale) == pytest.approx(expected, abs=1e-9)


def brute_ac(counts, weights):
    """Gwet's AC by its formula, item after item."""
    q = counts.shape[1]
    agreed = []
    for row in counts:
        r = row.sum()
        if r >= 2:
            star = weights @ row
            agreed.append(sum(row[k] * (star[k] - 1) / (r * (r - 1)) for k in range(q)))
    share = np.mean([row / row.sum() for row in counts if row.sum()], axis=0)
    chance = weights.sum() / (q * (q - 1)) * sum(p * (1 - p) for p in share)
    return (np.mean(agreed) - chance) / (1 - chance)


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["identity", "linear", "quadratic"]))
def test_gwets_ac_is_what_its_formula_gives(seed, kind):
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(3, [0.5, 0.3, 0.2], size=15)
    weights = agreement.agreement_weights(3, kind)
    assert agreement.gwet_ac(counts, weights) == pytest.approx(brute_ac(counts, weights), abs=1e-12)


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([("identity", None), ("linear", "linear"), ("quadratic", "quadratic")]))
def test_cohens_kappa_is_scikit_learns(seed, kinds):
    rng = np.random.default_rng(seed)
    first, second = rng.integers(0, 4, 60), rng.integers(0, 4, 60)
    second = np.where(rng.random(60) < 0.6, first, second)
    ours = agreement.cohen_kappa(first, second, 4, agreement.agreement_weights(4, kinds[0]))
    assert ours == pytest.approx(cohen_kappa_score(first, second, labels=range(4), weights=kinds[1]), abs=1e-12)


def test_the_interval_of_alpha_covers():
    rng = np.random.default_rng(5)
    truth = rng.integers(0, 2, 200_000)
    votes = np.where(rng.random((200_000, 3)) < 0.8, truth[:, None], 1 - truth[:, None])
    whole = np.stack([(votes == 0).sum(axis=1), (votes == 1).sum(axis=1)], axis=1)
    right = agreement.krippendorff_alpha(whole)
    inside = 0
    for draw in range(100):
        part = whole[rng.integers(0, len(whole), 120)]
        found = agreement.alpha_interval(part, resamples=300, seed=draw)
        inside += found.low <= right <= found.high
    assert 88 <= inside <= 99


def test_what_agreement_cannot_tell():
    one_label = np.array([[3], [3]])
    for bad in (one_label, np.array([[1, 0], [0, 1]]), np.zeros((0, 2), np.int64)):
        with pytest.raises(Inconclusive):
            agreement.krippendorff_alpha(bad)
        with pytest.raises(Inconclusive):
            agreement.gwet_ac(bad)
    with pytest.raises(Inconclusive):
        agreement.fleiss_kappa(np.array([[2, 0], [3, 0]]))
    with pytest.raises(Inconclusive):
        agreement.cohen_kappa(np.array([1, 1]), np.array([1, 1]), 2)
    with pytest.raises(Inconclusive):
        agreement.alpha_interval(np.array([[2, 0], [0, 2]]))


def rows(path: Path):
    if not path.exists():
        pytest.skip("shared data absent")
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt") as stream:
        return [json.loads(line) for line in stream]


def test_pandalm_human3_has_its_published_agreement():
    found = rows(SHARED / "pandalm-human3" / "annotations_long.jsonl")
    panel = panel_of([Vote(str(r["item"]), r["annotator"], str(r["label"])) for r in found])
    assert panel.shape == (509, 3, 3)
    assert agreement.fleiss_kappa(panel.counts) == pytest.approx(0.871, abs=5e-4)
    assert agreement.raw_agreement(panel.counts) == pytest.approx(0.925, abs=5e-4)


def test_xstest_has_its_published_agreement():
    found = rows(SHARED / "xstest" / "completions_human_labels.jsonl.gz")
    votes = [Vote(str(i), who, r[who]) for i, r in enumerate(found) for who in ("annotation_1", "annotation_2")]
    assert agreement.raw_agreement(panel_of(votes).counts) == pytest.approx(0.971, abs=5e-4)


def test_bbq_workers_have_their_published_accuracy():
    found = rows(SHARED / "bbq" / "mturk_annotations.jsonl.gz")
    votes = [
        Vote(
            "|".join((r["round"], r["item"], r["context"], r["question"])),
            r["worker"], str(r["answer"]), gold=str(r["gold"]),
        )
        for r in found
    ]  # fmt: skip
    panel = panel_of(votes)
    hits, asked = panel.gold_hits
    assert hits.sum() / asked.sum() == pytest.approx(0.926, abs=5e-4)
    from goldsmith.engines.annotators.truth import majority_vote

    best = majority_vote(panel.items, panel.annotators, panel.labels, panel.shape).labels
    assert np.mean(best == panel.gold) == pytest.approx(0.965, abs=2e-3)
