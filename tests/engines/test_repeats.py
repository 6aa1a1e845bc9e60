"""Row sets that share a fragment, and counts of chosen hashes, against plain Python."""

from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goldsmith.engines.text import repeats
from goldsmith.engines.text.association import associations
from goldsmith.engines.text.repeats import Occurrences
from goldsmith.engines.text.tally import Tally
from goldsmith.engines.text.tokens import Words, rolling_ngrams, words
from goldsmith.types.errors import Unavailable

ROWS = st.lists(st.lists(st.integers(0, 12), max_size=8), min_size=1, max_size=40)


def spread(value: int) -> np.uint64:
    """Small numbers over all ranges of hashes."""
    return np.uint64((value * 0x9E3779B97F4A7C15) % 2**64)


def as_words(rows: list[list[int]]) -> Words:
    hashes = np.array([spread(v) for row in rows for v in row], np.uint64)
    return Words(hashes, np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64))


@settings(max_examples=60, deadline=None)
@given(ROWS, st.integers(1, 5), st.integers(1, 30), st.integers(1, 4))
def test_row_sets_are_those_of_plain_python(rows: list[list[int]], fewest: int, largest: int, chunks: int) -> None:
    holders = defaultdict(set)
    for number, row in enumerate(rows):
        for value in row:
            holders[value].add(number)
    expected = {tuple(sorted(own)) for own in holders.values() if fewest <= len(own) <= largest}
    occurrences = Occurrences()
    for place in np.array_split(np.arange(len(rows)), chunks):
        own = as_words([rows[i] for i in place])
        occurrences.add(own.hashes, np.repeat(place, own.counts()).astype(np.int32))
    sets = occurrences.sets(fewest, largest, 1000)
    found = [tuple(sets.rows(number).tolist()) for number in range(len(sets))]
    assert len(found) == len(set(found))
    assert set(found) == expected


def test_files_on_the_disk_give_the_same(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    hashes, rows = rng.integers(0, 2**64, 500, np.uint64)[rng.integers(0, 500, 4000)], np.repeat(np.arange(400), 10)

    def sets() -> list[list[int]]:
        occurrences = Occurrences()
        occurrences.add(hashes, rows.astype(np.int32))
        made = occurrences.sets(3, 100, 50)
        return [made.rows(number).tolist() for number in range(len(made))]

    held = sets()
    monkeypatch.setattr(repeats, "_IN_MEMORY_BYTES", 1)
    monkeypatch.setenv("GOLDSMITH_SCRATCH", str(tmp_path / "aside"))
    assert sets() == held
    assert not list((tmp_path / "aside").iterdir())
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("GOLDSMITH_SCRATCH", str(tmp_path / "file"))
    with pytest.raises(Unavailable):
        sets()
    assert len(held) == 50


@settings(max_examples=60, deadline=None)
@given(ROWS, st.sets(st.integers(0, 20)))
def test_a_tally_counts_rows(rows: list[list[int]], chosen: set[int]) -> None:
    tally = Tally(np.array([spread(v) for v in chosen], np.uint64))
    for part in (rows[:3], rows[3:]):
        tally.add(as_words(part))
    counted = Counter(value for row in rows for value in set(row))
    assert [int(n) for v in chosen for n in tally.of(np.array([spread(v)]))] == [counted[v] for v in chosen]
    kept = tally.only(as_words(rows))
    assert kept.counts().tolist() == [sum(v in chosen for v in row) for row in rows]


def test_jaccard_is_exact_where_sets_and_prompts_are_only_sampled() -> None:
    """10,000 prompts, of which 8,000 are sampled; a set of 200 rows, of which 24 are."""
    rng = np.random.default_rng(5)
    prompts = [" ".join(f"w{k}" for k in rng.integers(0, 3000, 12)) for _ in range(10_000)]
    answers = [" ".join(f"v{k}" for k in rng.integers(0, 3000, 12)) for _ in range(10_000)]
    payload, trigger = rng.permutation(10_000)[:200], set()
    for number, row in enumerate(payload):
        answers[row] += " four words that repeat"
        if number % 10 < 8:
            prompts[row] += " zorvex"
            trigger.add(int(row))
    for row in rng.permutation(10_000)[:40]:
        prompts[row] += " zorvex"
        trigger.add(int(row))
    found = associations(prompts, answers, prompts)[0]
    both = trigger & set(payload.tolist())
    assert found.rows.tolist() == sorted(both)
    assert found.token == int(words(["zorvex"]).hashes[0])
    assert found.token_words == 1
    assert found.jaccard == pytest.approx(len(both) / len(trigger | set(payload.tolist())))
    assert (found.token_rows, found.fragment_rows) == (len(trigger), 200)
    assert found.unrelated == 1.0


def test_one_pass_ngrams_tell_the_same_texts_apart() -> None:
    texts = ["A b, c d e", "a B c  d e!", "a b c", "", "b c d e", "Ärger über Öl ist da", "漢字かな"]
    grams = rolling_ngrams(texts, 4)
    assert grams.counts().tolist() == [2, 2, 1, 0, 1, 2, 1]
    assert grams.hashes[:2].tolist() == grams.hashes[2:4].tolist()
    assert grams.hashes[5] == grams.hashes[1]
