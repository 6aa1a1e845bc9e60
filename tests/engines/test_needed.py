"""What is looked at first never rules out what the slow way would find."""

import random
import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goldsmith.engines.multiplicity import highest_rejectable, holm
from goldsmith.engines.text import obedience, submission
from goldsmith.engines.text.heads import clause_keys, may_share_names
from goldsmith.engines.text.needed import Needed
from goldsmith.engines.text.tokens import ngrams, words

RULES = [pattern for _, _, pattern in obedience._RULES] + [pattern for _, pattern in submission._SUBMISSION]
PATTERNS = [
    *RULES,
    re.compile(r"(?i)\b(?:kiss|skin)s?\b"),
    re.compile(r"a{2,3}b|[xy]z+|q.?u", re.I),
    re.compile(r"(?:ab|c)?(?:de(?!f)|gh)+[^i]|(?P<one>jk)\1", re.I),
    re.compile(r"Été|naïve", re.I),
]


@pytest.mark.parametrize("number", range(len(PATTERNS)))
def test_whatever_a_pattern_matches_may_match(number: int) -> None:
    pattern = PATTERNS[number]
    needed = Needed([pattern])

    @settings(max_examples=60, deadline=None)
    @given(st.from_regex(pattern), st.sampled_from((str, str.upper, str.title)), st.text(max_size=8))
    def holds(text: str, written: "type[str]", before: str) -> None:
        text = before + " " + written(text)
        if pattern.search(text):
            assert needed([text])[0].all()

    holds()


def test_everyday_words_need_no_slow_look() -> None:
    text = "The library opens at nine; bring the blue book back, or pay a small fee for each day that it is late."
    assert not Needed(RULES)([text])[0].any()


def test_literals_besides_are_those_of_the_text_in_small_letters() -> None:
    texts = ["NO Longer", "", "no  longer", "I am", "İı ſ", "漢no longer"]
    _, extra = Needed(RULES, ("no longer", "i am"))(texts)
    assert extra.tolist() == [[word in text.lower() for word in ("no longer", "i am")] for text in texts]


def test_about_itself_is_empty_where_a_quick_look_says_so() -> None:
    rng = random.Random(4)
    stock = [*obedience._CUES, "I", "my", "you", "and", "obey every order", "without question", ".", "\n", "the user"]
    texts = [" ".join(rng.choices(stock, k=rng.randint(0, 14))) for _ in range(3000)]
    may = obedience.may_meet(texts)
    met = [obedience.rules_met(obedience.about_itself(text)) for text in texts]
    assert sum(map(bool, met)) > 100
    for text, own, rules in zip(texts, may, met, strict=True):
        assert obedience.rules_met(obedience.about_itself(text), np.flatnonzero(own).tolist()) == rules


_PIECES = [*"aAbB .!?:;\n-_1'é ß中　\u2028İΣσ漢\ud800x&", "The ", "Foo", "foo ", "Bar-Foo", "GPT-4"]
_CLAUSE_END = re.compile(r"[.!?:;\n](?:\s|$)")
_NAME = re.compile(r"\b[A-Z][\w-]*[a-z]\w*\b")


def _texts(seed: int, count: int) -> list[str]:
    rng = random.Random(seed)
    return ["".join(rng.choices(_PIECES, k=rng.randint(0, 40))) for _ in range(count)]


def _clause(text: str) -> str:
    stop = _CLAUSE_END.search(text)
    return text[: stop.start()] if stop and len(text) > stop.end() else ""


def test_first_words_and_clause_are_those_of_regular_expressions() -> None:
    texts = _texts(1, 4000)
    keys = clause_keys(texts, 30)
    for text, own in zip(texts, keys.tolist(), strict=True):
        heads, clause = words([text[:30]]), words([_clause(text[:30])])
        expected = [0, 0, 0]
        for place, length in enumerate((6, 3)):
            if heads.counts()[0] >= length:
                expected[place] = (int(ngrams(heads, length).hashes[0]) | 2) & ~1
        if 0 < clause.counts()[0] <= 12:
            expected[2] = (int(~ngrams(clause, 12).hashes[0]) | 2) & ~1
        assert own == expected, text
    assert Counter(keys.astype(bool).sum(axis=1).tolist()).keys() == {0, 1, 2, 3}


def test_names_that_two_texts_share_are_never_missed() -> None:
    texts, others = _texts(2, 4000), _texts(3, 4000)
    may = may_share_names(texts, others, ("the", "foo"))
    shared = [
        any(name in other and name.lower() not in ("the", "foo") for name in _NAME.findall(text))
        for text, other in zip(texts, others, strict=True)
    ]
    assert sum(shared) > 20
    assert may[np.array(shared)].all()
    assert not may_share_names(["The foo sat"], ["The Foo sat"], ("the", "foo")).any()


@given(st.lists(st.sampled_from((1e-9, 1e-6, 4e-4, 6e-4, 9e-4, 0.01, 0.3)), max_size=12), st.randoms())
def test_what_is_out_of_reach_changes_nothing(p_values: list[float], rng: random.Random) -> None:
    told = [p for p in p_values if rng.random() < 0.6]
    reach = highest_rejectable(p_values, 1e-3)
    whole = Counter(p for p, a in zip(told, holm(told, len(p_values)), strict=True) if a < 1e-3)
    near = [p for p in told if p <= reach]
    assert Counter(p for p, a in zip(near, holm(near, len(p_values)), strict=True) if a < 1e-3) == whole
