"""The statistics behind the synthetic-data tests: against independent implementations, and p-values that hold."""

import math
import random
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from goldsmith.engines.synthetic import copies, diversity, style, two_sample
from goldsmith.engines.synthetic.language_model import Trial, bits_per_word
from goldsmith.engines.text import minhash
from goldsmith.engines.text.tokens import words


def test_exact_p_counts_every_deal() -> None:
    rng = np.random.default_rng(0)
    for _ in range(3):
        values = rng.normal(size=20)
        sums = [sum(values[list(c)]) for c in combinations(range(20), 10)]
        expected = np.mean(np.array(sums) >= values[:10].sum() - 1e-9)
        assert two_sample.exact_p(values[10:], values[:10]) == pytest.approx(expected, abs=1e-12)


def test_exact_p_is_uniform_whatever_the_distribution() -> None:
    rng = np.random.default_rng(1)
    p_values = [two_sample.exact_p(x[:10], x[10:]) for x in rng.pareto(1.1, size=(600, 20))]
    for level in (0.05, 0.2, 0.5):
        assert abs(np.mean(np.array(p_values) <= level) - level) < 4 * math.sqrt(level * (1 - level) / 600)
    assert two_sample.exact_p(np.arange(10), np.arange(10) + 100) == pytest.approx(two_sample.SMALLEST_P)
    assert two_sample.exact_p(np.ones(10), np.ones(10)) == 1.0


@given(st.lists(st.integers(0, 5), min_size=3, max_size=40), st.lists(st.integers(0, 5), min_size=3, max_size=40))
@settings(max_examples=60, deadline=None)
def test_rank_auc_is_scikit_learns(negatives: list[int], positives: list[int]) -> None:
    auc, p_value = two_sample.rank_auc(np.array(negatives, float), np.array(positives, float))
    labels = [0] * len(negatives) + [1] * len(positives)
    assert auc == pytest.approx(roc_auc_score(labels, [*negatives, *positives]))
    assert 0 <= p_value <= 1


def test_the_stability_index_has_the_p_value_it_says() -> None:
    rng = np.random.default_rng(2)
    shares = np.array([0.3, 0.2, 0.2, 0.1, 0.1, 0.05, 0.05])
    p_values = [
        two_sample.stability_index(rng.multinomial(400, shares), rng.multinomial(300, shares))[1] for _ in range(1500)
    ]
    assert abs(np.mean(np.array(p_values) < 0.05) - 0.05) < 0.02
    index, p_value = two_sample.stability_index(np.array([100, 100]), np.array([180, 20]))
    assert index > 0.25
    assert p_value < 1e-6


def test_shift_agrees_with_scipy() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=500), rng.normal(0.5, 1, size=400)
    found = two_sample.shift(a, b)
    assert found.wasserstein == pytest.approx(stats.wasserstein_distance(a, b) / a.std())
    assert found.ks_p == pytest.approx(stats.ks_2samp(a, b, method="asymp").pvalue)
    p, q = np.array([0.2, 0.8]), np.array([0.5, 0.5])
    from scipy.spatial.distance import jensenshannon

    assert two_sample.jensen_shannon(np.array([20, 80]), np.array([50, 50])) == pytest.approx(
        jensenshannon(p, q, base=2)
    )


def test_mean_discrepancy_is_the_double_sum() -> None:
    rng = np.random.default_rng(4)
    a, b = rng.normal(size=(7, 3)), rng.normal(size=(5, 3))

    def k(x: np.ndarray, y: np.ndarray) -> float:
        return float(np.mean([[math.exp(-((i - j) @ (i - j)) / (2 * 1.3**2)) for j in y] for i in x]))

    assert two_sample.mean_discrepancies(a, [b], 1.3) == [pytest.approx(k(a, a) + k(b, b) - 2 * k(a, b))]


def naive_self_bleu(texts: list[list[str]]) -> float:
    scores = []
    for i, text in enumerate(texts):
        logs = []
        for n in range(1, 5):

            def grams(t: list[str], n: int = n) -> list[tuple[str, ...]]:
                return [tuple(t[k : k + n]) for k in range(len(t) - n + 1)] if len(t) >= n else [tuple(t)] if t else []

            own = grams(text)
            others = [grams(t) for j, t in enumerate(texts) if j != i]
            hits = sum(min(own.count(g), max(o.count(g) for o in others)) for g in set(own))
            logs.append(math.log((hits + 1) / (len(own) + 1)))
        scores.append(math.exp(sum(logs) / 4))
    return sum(scores) / len(scores)


def test_self_bleu_is_that_of_counting_by_hand() -> None:
    rng = random.Random(5)
    texts = [[rng.choice(["ab", "cd", "ef", "gh"]) for _ in range(rng.randrange(1, 14))] for _ in range(9)]
    assert diversity.self_bleu(words([" ".join(t) for t in texts])) == pytest.approx(naive_self_bleu(texts))
    assert diversity.self_bleu(words(["the very same words every time"] * 5)) == pytest.approx(1.0)


def test_vendi_counts_different_things() -> None:
    assert diversity.vendi(np.eye(6)) == pytest.approx(6.0)
    assert diversity.vendi(np.ones((6, 4)) / 2) == pytest.approx(1.0)
    assert diversity.vendi(np.zeros((0, 4))) == 0.0


def test_bits_per_word_rewards_the_right_text() -> None:
    same = words(["the cat sat on the mat and slept"] * 20)
    other = words(["zinc oxide forms hexagonal crystals at low pressure"] * 20)
    test = words(["the cat slept on the mat"])
    assert bits_per_word(same, Trial.of(test)) + 5 < bits_per_word(other, Trial.of(test))
    assert bits_per_word(same, Trial.of(words([""]))) == 0.0


def test_near_copies_are_found_and_verified() -> None:
    rng = random.Random(6)
    kinds = [f"word{i}" for i in range(400)]
    human = [" ".join(rng.choice(kinds) for _ in range(30)) for _ in range(300)]
    changed = [" ".join(["other", *text.split()[1:]]) for text in human[:100]]
    fresh = [" ".join(rng.choice(kinds) for _ in range(30)) for _ in range(100)]
    found, source = copies.originals(human, copies.sketches(human), changed + fresh)
    assert len(found) >= 95
    assert (found < 100).all()
    assert (found == source).all()
    assert all(minhash.jaccard(changed[i], human[i]) >= 0.7 for i in found.tolist())
    assert not len(copies.originals(human, copies.sketches(human), ["", "yes", "no no"])[0])


def test_style_reads_any_text() -> None:
    looks = style.style(["", "Hello, World! 12", "Как дела?", "\x00\ufffe", "a" * 10_000, "line\nline\nline"])
    assert looks.shape == (6, len(style.NAMES))
    assert np.isfinite(looks).all()
    assert looks[1, 5] == pytest.approx(2 / 16)
    assert looks[1, 6] == pytest.approx(2 / 16)
    assert looks[2, 7] > 0.7
