"""Packing and flat batches: nothing lost, nothing twice, every label predicted from the token before it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goldsmith.engines.training.data.batches import Plan, flat_batch, pack
from goldsmith.engines.training.data.rows import Node, Row, fit, split
from goldsmith.types.errors import BadInput

EXACT = settings(derandomize=True, max_examples=80, deadline=None)


def row(name: str, *lengths: int, prompt: int = 2) -> Row:
    """One node of `lengths[0]` tokens (its first `prompt` untrained), or a root and branches."""
    rng = np.random.default_rng(abs(hash((name, lengths))) % 2**32)
    ids = [rng.integers(0, 99, size=n).astype(np.int32) for n in lengths]
    if len(lengths) == 1:
        return Row((Node(ids[0], np.arange(lengths[0]) >= prompt),), name, name)
    nodes = [Node(ids[0], np.zeros(lengths[0], dtype=np.bool_))]
    nodes += [Node(i, np.ones(len(i), dtype=np.bool_), 0) for i in ids[1:]]
    return Row(tuple(nodes), name, name)


@EXACT
@given(lengths=st.lists(st.integers(1, 60), max_size=40), capacity=st.integers(10, 80))
def test_pack_keeps_everything_once_within_capacity(lengths: list[int], capacity: int) -> None:
    bins = pack(lengths, capacity)
    assert sorted(i for b in bins for i in b) == list(range(len(lengths)))
    assert all(sum(lengths[i] for i in b) <= capacity or len(b) == 1 for b in bins)
    assert len(bins) <= max(1, 2 * -(-sum(lengths) // capacity) + sum(n > capacity for n in lengths))
    assert pack(lengths, capacity) == bins


def test_pack_is_best_fit_decreasing() -> None:
    assert pack([6, 5, 4, 3, 2], 10) == [[0, 2], [1, 3, 4]]


SHAPES = st.lists(
    st.one_of(st.tuples(st.integers(3, 9)), st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(1, 6))),
    min_size=1,
    max_size=5,
)


def expected_labels(rows: list[Row]) -> list[tuple[int, int, int]]:
    """(row, token before, label) of every label, in order, from the definition."""
    found = []
    for number, r in enumerate(rows):
        for node in r.nodes:
            before = r.nodes[node.parent].ids[-1] if node.parent >= 0 else None
            for i, (token, trained) in enumerate(zip(node.ids, node.trained, strict=True)):
                previous = node.ids[i - 1] if i else before
                if trained and previous is not None:
                    found.append((number, int(previous), int(token)))
    return found


@EXACT
@given(shapes=SHAPES, share=st.booleans())
def test_labels_follow_the_token_before_them(shapes: list[tuple[int, ...]], share: bool) -> None:
    rows = [row(f"r{i}", *shape) for i, shape in enumerate(shapes)]
    batch = flat_batch(rows, range(len(rows)), share=share)
    found = [
        (batch.owner_rows[owner], int(batch.input_ids_T[at]), int(label))
        for owner, at, label in zip(
            batch.owners_N.tolist(), batch.predictors_N.tolist(), batch.labels_N.tolist(), strict=True
        )
    ]
    assert found == expected_labels(rows)
    assert sum(batch.layout.lengths) == batch.tokens == len(batch.position_ids_T)


@EXACT
@given(shapes=SHAPES)
def test_positions_count_from_the_start_of_each_path(shapes: list[tuple[int, ...]]) -> None:
    rows = [row(f"r{i}", *shape) for i, shape in enumerate(shapes)]
    batch = flat_batch(rows, range(len(rows)))
    at = 0
    for segment, length in enumerate(batch.layout.lengths):
        before = sum(batch.layout.lengths[i] for i in batch.layout.ancestors(segment))
        assert batch.position_ids_T[at : at + length].tolist() == list(range(before, before + length))
        at += length


def test_a_shared_prompt_is_there_once() -> None:
    rows = [row("a", 50, 4, 5)]
    assert flat_batch(rows, [0]).tokens == 50 + 3 + 4
    assert flat_batch(rows, [0], share=False).tokens == 50 + 3 + 50 + 4


def test_plan_sees_every_row_once_an_epoch_and_finds_any_step_again() -> None:
    rows = tuple(row(f"r{i}", 5 + i % 7) for i in range(23))
    plan = Plan(rows, seed=4, rows_per_update=5, steps=10, forward_tokens=20, forward_rows=5)
    assert plan.steps_per_epoch == 5
    for epoch in range(2):
        seen = [i for step in range(5) for i in plan.rows_of(5 * epoch + step)]
        assert sorted(seen) == list(range(23))
    assert plan.rows_of(3) != plan.rows_of(8)
    later = next(plan.updates(start=7))
    assert later.rows == plan.update(7).rows
    assert sorted(i for b in later.batches for i in b.rows) == sorted(later.rows)
    assert all(b.tokens <= 20 for b in later.batches)
    assert Plan(rows, 5, 5, 10, 20, 5).rows_of(0) != plan.rows_of(0)


# ---- over-long rows and the split --------------------------------------------------------------------------------


def test_over_long_rows_are_refused_with_count_and_place() -> None:
    rows = [row("short", 5), row("line 7", 20), row("line 9", 30)]
    with pytest.raises(BadInput) as caught:
        fit(rows, 10, "refuse")
    text = str(caught.value)
    assert "2 of 3 rows" in text
    assert "line 7, line 9" in text
    assert "30 tokens" in text


def test_dropped_rows_are_named() -> None:
    fitted = fit([row("short", 5), row("long", 20)], 10, "drop")
    assert [r.name for r in fitted.rows] == ["short"]
    assert fitted.dropped == ("long",)
    with pytest.raises(BadInput, match="no row is left"):
        fit([row("long", 20)], 10, "drop")


@EXACT
@given(lengths=st.tuples(st.integers(1, 12), st.integers(1, 20), st.integers(1, 20)), limit=st.integers(3, 20))
def test_cutting_keeps_prompt_and_stop_token(lengths: tuple[int, int, int], limit: int) -> None:
    whole = row("r", *lengths)
    fitted = fit([whole, row("other", 3)], limit, "cut_keep_stop")
    assert len(fitted.cut) + len(fitted.dropped) == (whole.longest > limit)
    for kept in (r for r in fitted.rows if r.name == "r"):
        assert kept.longest <= limit
        assert kept.nodes[0].ids.tolist() == whole.nodes[0].ids.tolist()
        for before, after in zip(whole.nodes[1:], kept.nodes[1:], strict=True):
            assert after.ids[-1] == before.ids[-1]
            assert after.trained[-1]
            assert after.ids[:-1].tolist() == before.ids[: len(after.ids) - 1].tolist()


def test_cutting_never_leaves_a_lone_stop_token() -> None:
    fitted = fit([row("a", 9, 5, 5), row("b", 3)], 10, "cut_keep_stop")
    assert fitted.dropped == ("a",)


def test_split_keeps_rows_of_one_prompt_together_and_follows_content_alone() -> None:
    rows = [row(f"p{i % 10}", 6 + i % 10, prompt=3) for i in range(40)]
    parts = split(rows, 0.25)
    assert {r.name for r in parts.train}.isdisjoint({r.name for r in parts.validation})
    assert len(parts.train) + len(parts.validation) == 40
    assert 10 <= len(parts.validation) <= 14
    again = split(rows[::-1], 0.25)
    assert {r.name for r in again.validation} == {r.name for r in parts.validation}
    assert split(rows, 0.0).validation == ()


def test_split_refuses_what_cannot_be_split() -> None:
    with pytest.raises(BadInput, match="share one prompt"):
        split([row("same", 5)] * 4, 0.5)
