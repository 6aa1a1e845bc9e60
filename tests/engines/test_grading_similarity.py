"""Text similarity against nltk, and against formulas written down a second time."""

import random
from itertools import combinations

import pytest

from goldsmith.engines.grading import similarity
from goldsmith.engines.grading.numbers import same_number, stated_number

RNG = random.Random(3)
WORDS = ("the", "a", "cat", "sat", "on", "mat", "The", ",", ".", "dog")


def texts(count: int, longest: int) -> list[tuple[str, str]]:
    def one() -> str:
        return " ".join(RNG.choice(WORDS) for _ in range(RNG.randrange(longest)))

    return [(one(), one()) for _ in range(count)]


def brute_subsequence(a: str, b: str) -> int:
    def has(sub: tuple[str, ...]) -> bool:
        rest = iter(b)
        return all(unit in rest for unit in sub)

    return max(n for n in range(len(a) + 1) if any(has(sub) for sub in combinations(a, n)))


def test_common_subsequence_is_the_longest() -> None:
    for _ in range(60):
        a, b = ("".join(RNG.choice("abc") for _ in range(RNG.randrange(9))) for _ in range(2))
        assert similarity.common_subsequence(a, b) == brute_subsequence(a, b)
    assert similarity.fuzzy_match("this is a test", "this is a test!") == pytest.approx(0.9655172413793104)  # rapidfuzz


@pytest.mark.filterwarnings("ignore")
def test_bleu_gleu_and_meteor_equal_nltk() -> None:
    pytest.importorskip("nltk")
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu
    from nltk.translate.gleu_score import sentence_gleu
    from nltk.translate.meteor_score import _count_chunks, exact_match  # type: ignore[attr-defined]

    for text, reference in texts(200, 14):
        mine, known = similarity._TOKENS.findall(text), similarity._TOKENS.findall(reference)
        if not mine or not known:
            assert similarity.bleu(text, reference) == similarity.gleu(text, reference) == 0.0
            continue
        smooth = SmoothingFunction().method1
        weights = (1 / min(4, len(mine)),) * min(4, len(mine))
        wanted = sentence_bleu([known], mine, weights=weights, smoothing_function=smooth)
        assert similarity.bleu(text, reference) == pytest.approx(wanted, rel=1e-9)
        assert similarity.gleu(text, reference) == pytest.approx(sentence_gleu([known], mine), rel=1e-9)
        matches, _, _ = exact_match(text.lower().split(), reference.lower().split())
        found = similarity.meteor(text, reference)
        if not matches:
            assert found == 0.0
            continue
        p, r = len(matches) / len(mine), len(matches) / len(known)
        mean = p * r / (0.9 * p + 0.1 * r)
        assert found == pytest.approx(mean * (1 - 0.5 * (_count_chunks(sorted(matches)) / len(matches)) ** 3), rel=1e-9)


def test_rouge_by_hand() -> None:
    text, reference = "the cat was under the bed", "the cat was found under the bed"
    assert similarity.rouge_n(text, reference, 1) == pytest.approx(2 * 6 / 13)
    assert similarity.rouge_n(text, reference, 2) == pytest.approx(2 * 4 / 11)
    assert similarity.rouge_n(text, reference, 5) == 0.0
    assert similarity.rouge_l(text, reference) == pytest.approx(2 * 6 / 13)
    assert similarity.rouge_l("кот спал", "кот не спал") == pytest.approx(4 / 5)


@pytest.mark.parametrize("metric", similarity.METRICS)
def test_same_texts_are_alike_and_others_are_not(metric: str) -> None:
    text = "one two three four five six seven eight"
    assert similarity.METRICS[metric](text, text) == pytest.approx(1.0, abs=2e-3)  # meteor keeps a trace of its chunk
    assert similarity.METRICS[metric](text, "xx yy zz qq") < 0.3
    assert similarity.METRICS[metric]("", text) == 0.0
    for a, b in texts(60, 12):
        assert 0.0 <= similarity.METRICS[metric](a, b) <= 1.0


@pytest.mark.parametrize(
    ("text", "number"),
    [("#### 1,234", 1234), ("so 3 and then 4.5", 4.5), ("-$2.50", -2.5), ("\u22127", -7), ("none", None),
     ("#### none, 5", 5), ("1e400", None), ("x" * 10 + "9", 9), ("5 ####", None)],
)  # fmt: skip
def test_stated_numbers(text: str, number: float | None) -> None:
    assert stated_number(text) == number
    assert same_number(1e6, 1e6 + 0.5)
    assert not same_number(100, 101)
