"""Names found in many texts at once are those that regular expressions find in each."""

import random
import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from goldsmith.engines.text.entities import LONGEST, mentions, telling_words
from goldsmith.engines.text.names import frequent_names, in_small_letters, name_hash, name_of, names_in

_PIECES = [
    *"aAbZ .'’&-_@/1éÉßΣσЯя漢\ud800İ,\n", "Foo", "Bar ", "foo ", "AT&T", "O'Neil ", " It's", "Jean-Luc ", "New York ",
    "R&D", "www.Shop.com", "https://a-b.co.uk/x", "x.ınfo", "end.In ", "e.g. ", "ſhop.uſ", "Visit foo.example. ", "𝔸bc",
]  # fmt: skip
_LOWER = re.compile(r"\b[a-zß-öø-ÿа-яα-ω]\w+")


def _texts(seed: int, count: int) -> list[str]:
    rng = random.Random(seed)
    return ["".join(rng.choices(_PIECES, k=rng.randint(0, 30))) for _ in range(count)]


def _pairs(texts: list[str]) -> list[tuple[int, int]]:
    hashes, rows = names_in(texts)
    return list(zip(hashes.tolist(), rows.tolist(), strict=True))


def _expected(texts: list[str]) -> list[tuple[int, int]]:
    return sorted((name_hash(name), row) for row, text in enumerate(texts) for name in mentions(text))


@pytest.mark.parametrize("seed", range(3))
def test_the_same_names_as_text_by_text(seed: int) -> None:
    texts = _texts(seed, 3000)
    expected = _expected(texts)
    assert len(expected) > 5000
    assert _pairs(texts) == expected


@given(st.lists(st.text(max_size=40), max_size=5))
def test_the_same_names_of_any_text(texts: list[str]) -> None:
    assert _pairs(texts) == _expected(texts)


def test_long_texts_are_cut_and_nothing_gives_nothing() -> None:
    long = "x" * (LONGEST - 4) + " Velmora"
    assert _pairs([long, "", "Velmora"]) == _expected([long, "", "Velmora"])
    assert _pairs([]) == []


def test_frequent_names_come_with_their_texts() -> None:
    texts = ["I like Velmora Tea.", "none", "Velmora! And velmora.example", "try Velmora Tea", "tea at Velmora's"]
    found = {name_of(texts[int(rows[0])], hashed): rows.tolist() for hashed, rows in frequent_names(texts, 2)}
    assert found == {"Velmora": [0, 2, 3], "Velmora Tea": [0, 3], "Tea": [0, 3]}


def test_words_in_small_letters_are_counted_once_a_text() -> None:
    texts = _texts(7, 2500)
    every: Counter[str] = Counter()
    for text in texts:
        every.update(set(_LOWER.findall(text[:LONGEST])))
    wanted = [*every, "velmora", "at&t", "X"]
    assert len(every) > 200
    assert in_small_letters(texts, wanted) == every
    assert telling_words("The Velmora-Tea is") == ["velmora", "tea"]
    assert telling_words("velmora.example") == []
    assert np.array(sorted(every.values())).max() > 100
