"""Tokens, MinHash and overlap against plain-Python oracles."""

import random
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goldsmith.engines.text import minhash, overlap, tokens

ALPHABET = st.sampled_from("aB9 ,.-_é中文ก😀\u0301\n")
TEXTS = st.lists(st.text(ALPHABET, max_size=40), max_size=8)


def plain_words(text: str) -> list[str]:
    """Runs of letters and digits; one word a character for Han and Thai and emoji."""
    return re.findall(r"[中文ก😀]|[a-z0-9é\u0301]+", text.lower())


def plain_shingles(text: str) -> set[tuple[str, ...]]:
    found = plain_words(text)
    return {tuple(found[i : i + 5]) for i in range(max(1, len(found) - 4))} if found else set()


@settings(max_examples=150, deadline=None, derandomize=True)
@given(TEXTS)
def test_words_are_those_of_the_oracle(texts: list[str]) -> None:
    got = tokens.words(texts)
    assert len(got) == len(texts)
    names: dict[int, str] = {}
    for i, text in enumerate(texts):
        own = got.hashes[got.starts[i] : got.starts[i + 1]].tolist()
        expected = plain_words(text)
        assert len(own) == len(expected)
        for value, word in zip(own, expected, strict=True):
            assert names.setdefault(value, word) == word


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.text(ALPHABET, max_size=60), st.text(ALPHABET, max_size=60))
def test_jaccard_is_exact(first: str, second: str) -> None:
    one, two = plain_shingles(first), plain_shingles(second)
    expected = len(one & two) / len(one | two) if one | two else 0.0
    assert minhash.jaccard(first, second) == pytest.approx(expected, abs=1e-12)


def test_lone_surrogates_do_not_break_the_tokeniser() -> None:
    assert tokens.words(["a\ud800b"]).counts().tolist() == [2]


def edited(rng: random.Random, text: str, share: float) -> str:
    words = text.split()
    for place in rng.sample(range(len(words)), max(1, int(share * len(words)))):
        words[place] = f"new{rng.randrange(10**6)}"
    return " ".join(words)


def test_near_duplicates_against_all_pairs() -> None:
    rng = random.Random(3)
    vocabulary = [f"w{i}" for i in range(400)]
    texts = [" ".join(rng.choices(vocabulary, k=rng.randrange(20, 120))) for _ in range(300)]
    texts += [edited(rng, text, rng.choice([0.01, 0.02, 0.04])) for text in texts[:200]]
    texts += [text.upper().replace(" ", ",  ") for text in texts[:50]]
    sets = [plain_shingles(text) for text in texts]
    expected = {
        (i, j): len(sets[i] & sets[j]) / len(sets[i] | sets[j])
        for j in range(len(texts))
        for i in range(j)
        if len(sets[i] & sets[j]) >= 0.7 * len(sets[i] | sets[j])
    }
    edges = minhash.near_duplicates(texts)
    found = dict(
        zip(zip(edges.earlier.tolist(), edges.later.tolist(), strict=True), edges.similarity.tolist(), strict=True)
    )
    assert found.keys() <= expected.keys()
    assert all(found[pair] == pytest.approx(expected[pair]) for pair in found)
    assert len(found) >= 0.97 * len(expected) > 100


def test_every_duplicate_has_an_edge_to_a_kept_text() -> None:
    text = " ".join(f"w{i}" for i in range(100))
    chain = [text]
    for step in range(6):  # each close to the one before, the ends far apart
        words = chain[-1].split()
        words[10 + 14 * step] = f"changed{step}"
        chain.append(" ".join(words))
    edges = minhash.near_duplicates(chain)
    kept, similarity = minhash.earliest_kept(edges, len(chain))
    assert kept[0] == -1
    for later, keeper in enumerate(kept.tolist()):
        if keeper >= 0:
            assert kept[keeper] == -1
            assert keeper < later
            assert minhash.jaccard(chain[keeper], chain[later]) == pytest.approx(similarity[later])
            assert similarity[later] >= 0.7
    assert (kept == -1).sum() > 1


def test_a_flood_of_one_text_is_linear() -> None:
    flood = ["the same short text about nothing in particular, again and again"] * 20_000
    edges = minhash.near_duplicates(flood)
    kept, _ = minhash.earliest_kept(edges, len(flood))
    assert kept[0] == -1
    assert (kept[1:] == 0).all()
    assert len(edges.later) < 15 * len(flood)


EVALS = [
    "Janet's ducks lay 16 eggs per day. She eats three for breakfast every morning and bakes muffins for her friends.",
    "A robe takes 2 bolts of blue fiber and half that much white fiber. How many bolts in total does it take?",
    "Was ist die Hauptstadt von Australien, und wie viele Einwohner hat sie heute ungefähr?",
]


@pytest.mark.parametrize(
    "disguise",
    [
        str.upper,
        lambda t: t.replace(" ", "   \n"),
        lambda t: re.sub(r"[.,?']", "", t),
        lambda t: t.replace(" ", ""),
        lambda t: "; ".join(t.split()),
        lambda t: "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in t),
    ],
)
def test_overlap_sees_through_form(disguise: object) -> None:
    known = overlap.index(EVALS)
    for number, text in enumerate(EVALS):
        hidden = f"Please help me. {disguise(text)} Thank you very much!"  # type: ignore[operator]
        hits = overlap.overlaps(["nothing of the kind is in here", hidden], known)
        assert [(hit.text, hit.known) for hit in hits] == [(1, number)]
        assert hits[0].containment > 0.9


def test_overlap_counts_the_share_of_the_known_text() -> None:
    half = EVALS[0][: len(EVALS[0]) // 2]
    (hit,) = overlap.overlaps(
        [half + " and quite another ending that nobody has ever seen before"], overlap.index(EVALS)
    )
    assert 0.2 < hit.containment < 0.7


def test_boilerplate_of_the_evals_is_no_overlap() -> None:
    shared = "Answer the following question with a single letter and nothing else at all please: "
    evals = [
        shared + f"which of the {i} houses on {chr(97 + i % 26)} street number {i * 7} is oldest of all?"
        for i in range(400)
    ]
    known = overlap.index(evals)
    assert not overlap.overlaps([shared + "is it raining?"], known)
    assert overlap.overlaps([evals[7]], known)


def test_short_texts_are_named_not_matched() -> None:
    known = overlap.index(["Hi.", EVALS[0]])
    assert known.too_short == (0,)
    assert not overlap.overlaps(["Hi. Hi. Hi."], known)


def test_sketches_do_not_depend_on_the_other_texts() -> None:
    rng = random.Random(1)
    texts = [" ".join(f"w{rng.randrange(50)}" for _ in range(12)) for _ in range(9000)]
    made = minhash.sketches(texts)
    alone = minhash.sketches([texts[8500]])
    assert np.array_equal(made.keys[8500], alone.keys[0])
    assert np.array_equal(made.low[8500], alone.low[0])
    assert made.words[8500] == 12


def test_runs_of_words_roll_on_as_if_counted_apart() -> None:
    rng = random.Random(3)
    alphabet = "aZ9 .,-é漢字かなท🙂\u0000\n_Ω"
    texts = ["".join(rng.choices(alphabet, k=rng.randint(0, 60))) for _ in range(3000)]
    separate = tokens.unique_per_text(tokens.ngrams(tokens.words(texts), 5))
    rolled = minhash.shingles(texts)
    assert rolled.counts().tolist() == separate.counts().tolist()
    apart = [tuple(separate.hashes[a:b].tolist()) for a, b in zip(separate.starts, separate.starts[1:], strict=False)]
    together = [tuple(rolled.hashes[a:b].tolist()) for a, b in zip(rolled.starts, rolled.starts[1:], strict=False)]
    assert len(set(apart)) == len(set(together)) == len(set(zip(apart, together, strict=True)))
    assert minhash.sketches(texts).words.tolist() == tokens.words(texts).counts().tolist()
