"""Intervals against published values, SciPy, and their own promise: coverage."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from goldsmith.engines.statistics import (
    bca_interval,
    clustered_standard_error,
    effective_n,
    influence_interval,
    mcnemar_exact,
    mean_interval,
    minimum_n,
    minimum_pairs,
    paired_difference,
    wilson,
)
from goldsmith.engines.step_scores import auc_influences
from goldsmith.types.errors import Inconclusive

quick = settings(derandomize=True, max_examples=60, deadline=None)
shares = st.lists(st.floats(0, 1), min_size=1, max_size=40)
coins = st.lists(st.sampled_from([0.0, 1.0]), min_size=1, max_size=60)


@quick
@given(
    st.lists(st.tuples(st.floats(-5, 5), st.integers(0, 8)), min_size=1, max_size=40).filter(
        lambda items: 0 <= sum(value for value, _ in items) / len(items) <= 1
    )
)
def test_intervals_from_influence_values_stay_within_a_share(items: list[tuple[float, int]]) -> None:
    """Influence values themselves lie anywhere. Turned over (1 - x), so is the interval."""
    values, clusters = [value for value, _ in items], [str(cluster) for _, cluster in items]
    one = influence_interval(values, clusters=clusters)
    other = influence_interval([1 - value for value in values], clusters=clusters)
    assert 0 <= one.low <= one.mean <= one.high <= 1
    assert one.mean == pytest.approx(np.mean(values), abs=1e-12)
    assert (other.low, other.high) == pytest.approx((1 - one.high, 1 - one.low), abs=1e-6)


@pytest.mark.parametrize("distance", [0.0, 1.0, 2.5])
def test_the_interval_of_an_area_under_the_curve_covers_it(distance: float) -> None:
    """Two normal distributions so many deviations apart, 30 scores of each; the area is known. Near 1 a plain t
    interval would leave 0..1."""
    area = stats.norm.cdf(distance / math.sqrt(2))
    rng = np.random.default_rng(7)
    labels = [True] * 30 + [False] * 30
    covered, outside = 0, 0
    for _ in range(600):
        scores = np.concatenate([rng.normal(distance, 1, 30), rng.normal(0, 1, 30)])
        values = auc_influences(scores.tolist(), labels)
        assert values is not None
        found = influence_interval(values.tolist())
        covered += found.low <= area <= found.high
        outside += values.mean() + 2 * values.std(ddof=1) / math.sqrt(60) > 1
    assert 0.925 <= covered / 600 <= 0.985
    assert (outside > 20) == (distance > 2)


def test_what_does_not_vary_still_has_an_interval() -> None:
    """All right on a few answers is no proof of always right."""
    assert influence_interval([1.0] * 8).low == pytest.approx(wilson(8, 8)[0])
    assert influence_interval([1.0] * 8, clusters=["a", "b"] * 4).low == pytest.approx(wilson(2, 2)[0])
    assert influence_interval([0.0]).high == pytest.approx(wilson(0, 1)[1])
    with pytest.raises(Inconclusive):
        influence_interval([])


# Newcombe 1998 (Statistics in Medicine 17:857-872), table I, method 3
@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_gives_the_published_intervals(successes: int, n: int, low: float, high: float) -> None:
    assert wilson(successes, n) == pytest.approx((low, high), abs=5e-5)


@quick
@given(st.integers(1, 500), st.floats(0, 1), st.sampled_from([0.8, 0.95, 0.99]))
def test_wilson_equals_scipy(n: int, share: float, confidence: float) -> None:
    k = round(share * n)
    theirs = stats.binomtest(k, n).proportion_ci(confidence, method="wilson")
    assert wilson(k, n, confidence) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


@pytest.mark.parametrize("bad", [(1, 0), (3, 2), (-1, 5)])
def test_wilson_refuses_impossible_counts(bad: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="successes"):
        wilson(*bad)


@quick
@given(shares)
def test_the_interval_of_shares_holds_the_mean_and_stays_within(values: list[float]) -> None:
    found = mean_interval(values, bounded=True)
    assert 0 <= found.low <= found.mean <= found.high <= 1
    assert found.high > found.low  # a handful of equal scores is no certainty


def test_a_share_that_is_one_everywhere_is_not_certain() -> None:
    assert mean_interval([1.0] * 10, bounded=True).low == pytest.approx(0.7225, abs=5e-5)


@pytest.mark.parametrize("values", [[], [math.nan], [1.5]])
def test_what_has_no_mean_is_refused(values: list[float]) -> None:
    with pytest.raises((Inconclusive, ValueError)):
        mean_interval(values, bounded=True)


def test_bca_equals_scipy_within_resampling_noise() -> None:
    x = np.random.default_rng(5).exponential(2.0, size=60)
    ours = bca_interval(x, resamples=20_000, seed=1)
    theirs = stats.bootstrap((x,), np.mean, n_resamples=20_000, method="BCa", rng=np.random.default_rng(2))
    interval = theirs.confidence_interval
    assert ours == pytest.approx((interval.low, interval.high), abs=0.03 * float(np.std(x)))
    assert bca_interval(x, seed=1) == bca_interval(x, seed=1)
    low, high = ours
    assert high - x.mean() > x.mean() - low  # skewed data, skewed interval: a plain t would be symmetric


def test_small_samples_get_t() -> None:
    x = [1.2, 3.4, 2.2, 5.0, 0.1, 2.9]
    found = mean_interval(x, bounded=False)
    theirs = stats.ttest_1samp(x, 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high))
    assert found.method == "t"


def test_the_clustered_error_of_single_items_is_the_plain_one() -> None:
    x = list(np.random.default_rng(0).normal(size=50))
    plain = float(np.std(x, ddof=1)) / math.sqrt(50)
    assert clustered_standard_error(x, [str(i) for i in range(50)]) == pytest.approx(plain)


def test_copies_of_an_item_add_nothing() -> None:
    x = list(np.random.default_rng(0).normal(size=40))
    copied, clusters = [v for v in x for _ in range(5)], [str(i) for i in range(40) for _ in range(5)]
    plain = float(np.std(x, ddof=1)) / math.sqrt(40)
    assert clustered_standard_error(copied, clusters) == pytest.approx(plain)
    coin = [float(v > 0) for v in x]
    five = [v for v in coin for _ in range(5)]
    assert effective_n(five, clusters) == pytest.approx(40, rel=0.05)
    alone, together = mean_interval(coin, bounded=True), mean_interval(five, bounded=True, clusters=clusters)
    assert (together.low, together.high) == pytest.approx((alone.low, alone.high), abs=0.01)
    assert "clustered" in together.method


@quick
@given(coins, st.integers(1, 8))
def test_clusters_never_make_it_surer(values: list[float], size: int) -> None:
    clusters = [str(i // size) for i in range(len(values))]
    with_clusters = mean_interval(values, bounded=True, clusters=clusters)
    without = mean_interval(values, bounded=True)
    assert with_clusters.high - with_clusters.low >= without.high - without.low - 1e-9


# Airway hyper-responsiveness before and after transplantation, 21 children (Bentur et al. 2009), as analysed by
# Fagerland, Lydersen and Laake 2014 (Statistics in Medicine 33:2850-2875):
# both 1, first only 1, second only 7, neither 12.
_BEFORE = [1.0] * 1 + [1.0] * 1 + [0.0] * 7 + [0.0] * 12
_AFTER = [1.0] * 1 + [0.0] * 1 + [1.0] * 7 + [0.0] * 12


def test_the_paired_difference_is_the_published_one() -> None:
    found = paired_difference(_BEFORE, _AFTER, bounded=True)
    assert (found.mean, found.low, found.high) == pytest.approx((-0.286, -0.507, -0.026), abs=5e-4)


def test_mcnemar_is_the_published_one() -> None:
    assert mcnemar_exact(1, 7) == pytest.approx(0.0703, abs=5e-5)


@quick
@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_equals_scipys_binomial_test(first: int, second: int) -> None:
    if first + second:
        theirs = stats.binomtest(first, first + second, 0.5).pvalue
        assert mcnemar_exact(first, second) == pytest.approx(theirs, abs=1e-12)
    assert mcnemar_exact(first, second) == mcnemar_exact(second, first)


@quick
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=40))
def test_swapping_the_models_turns_the_difference_around(pairs: list[tuple[float, float]]) -> None:
    a, b = [p[0] for p in pairs], [p[1] for p in pairs]
    one, other = paired_difference(a, b, bounded=True), paired_difference(b, a, bounded=True)
    assert -1 <= one.low <= one.mean + 1e-12
    assert one.mean - 1e-12 <= one.high <= 1
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low), abs=1e-9)


def test_pairing_pays_when_models_agree() -> None:
    rng = np.random.default_rng(3)
    base = (rng.random(300) < 0.5).astype(float)
    tuned = np.where(rng.random(300) < 0.1, 1.0, base)
    paired = paired_difference(list(tuned), list(base), bounded=True)
    shuffled = paired_difference(list(tuned), list(rng.permutation(base)), bounded=True)
    assert paired.high - paired.low < 0.6 * (shuffled.high - shuffled.low)
    assert paired.low > 0


def test_unequal_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="equal lengths"):
        paired_difference([1.0], [1.0, 0.0], bounded=True)


def _covers(true: float, low: float, high: float) -> bool:
    return low <= true <= high


@pytest.mark.parametrize("n", [20, 60])
def test_intervals_cover_as_they_promise(n: int) -> None:
    rng = np.random.default_rng(11)
    rounds = 400
    rate = mean = paired = clustered = 0
    for _ in range(rounds):
        p = rng.random()
        coin = (rng.random(n) < p).astype(float)
        rate += _covers(p, *_ends(mean_interval(list(coin), bounded=True)))
        values = rng.gamma(2.0, 1.0, size=n)
        mean += _covers(2.0, *_ends(mean_interval(list(values), bounded=False)))
        u = rng.random(n)
        a, b = (u < 0.6).astype(float), ((0.7 * u + 0.3 * rng.random(n)) < 0.5).astype(float)
        paired += _covers(0.1, *_ends(paired_difference(list(a), list(b), bounded=True)))
        groups = rng.beta(2, 2, size=n // 4)
        grouped = (rng.random((n // 4, 4)) < groups[:, None]).astype(float).ravel()
        names = [str(i // 4) for i in range(len(grouped))]
        clustered += _covers(0.5, *_ends(mean_interval(list(grouped), bounded=True, clusters=names)))
    assert rate / rounds > 0.92
    assert mean / rounds > 0.89  # BCa of a skewed mean is known to be a little short for small n
    assert paired / rounds > 0.92
    assert clustered / rounds > 0.89


def _ends(estimate: object) -> tuple[float, float]:
    return estimate.low, estimate.high  # type: ignore[attr-defined]


@pytest.mark.parametrize(("half", "share"), [(0.05, 0.5), (0.1, 0.5), (0.03, 0.9), (0.2, 0.0)])
def test_minimum_n_is_the_first_that_is_enough(half: float, share: float) -> None:
    n = minimum_n(half, share=share)
    assert (lambda ends: (ends[1] - ends[0]) / 2)(wilson(share * n, n)) <= half
    assert (lambda ends: (ends[1] - ends[0]) / 2)(wilson(share * (n - 1), n - 1)) > half


def test_minimum_n_for_five_points_is_the_textbook_figure() -> None:
    assert minimum_n(0.05) == 381  # Wald says 385


def test_minimum_pairs_reach_their_power() -> None:
    n = minimum_pairs(0.1, discordant=0.2)
    assert n == 155  # Connor 1987, formula for the unconditional test
    rng = np.random.default_rng(0)
    found = 0
    for _ in range(1500):
        outcome = rng.multinomial(n, [0.15, 0.05, 0.8])
        statistic = (outcome[0] - outcome[1]) ** 2 / max(1, outcome[0] + outcome[1])
        found += statistic > stats.chi2.ppf(0.95, 1)
    assert found / 1500 == pytest.approx(0.8, abs=0.04)
