"""Typed comparison of calls: what is the same, what is not, and the best pairing."""

import itertools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goldsmith.engines.call_matching import (
    WantedCall,
    argument_score,
    match,
    names_in_order,
    same_value,
    wanted_from_json,
    wanted_to_json,
)
from goldsmith.types.record import ToolCallPart

quick = settings(derandomize=True, max_examples=100, deadline=None)


@pytest.mark.parametrize(
    ("wanted", "made", "same"),
    [
        (1, 1.0, True),
        (1, "1", False),
        (1, True, False),
        (0, False, False),
        (True, True, True),
        (None, None, True),
        (None, "", False),
        (0.1 + 0.2, 0.3, True),
        (2**53 + 1, 2**53, False),
        ("New York", " new  york. ", True),
        ("a.b@x.example", "ab@x.example", False),
        ("Zürich", "Zu\u0308rich", True),
        ("yes", "no", False),
        ([1, 2], [2, 1], False),
        ([1, [2]], [1.0, [2]], True),
        ({"a": 1, "b": "X"}, {"b": "x", "a": 1}, True),
        ({"a": 1}, {"a": 1, "b": None}, False),
        ({}, [], False),
    ],
)
def test_same_value(wanted: Any, made: Any, same: bool) -> None:
    assert same_value(wanted, made) is same
    assert same_value(made, wanted) is same


@pytest.mark.parametrize(
    ("wanted", "made", "score"),
    [
        ({"a": 1, "b": 2}, {"a": 1, "b": 2}, 1.0),
        ({"a": 1, "b": 2}, {"a": 1, "b": 3}, 0.5),
        ({"a": 1, "b": 2}, {"a": 1}, 0.5),
        ({"a": 1}, {"a": 1, "c": 5}, 0.5),
        ({}, {}, 1.0),
        ({"a": 1}, None, 0.0),
    ],
)
def test_argument_score(wanted: dict[str, Any], made: dict[str, Any] | None, score: float) -> None:
    assert argument_score(wanted, made) == score


def part(name: str, arguments: dict[str, Any]) -> ToolCallPart:
    return ToolCallPart(name=name, arguments=json.dumps(arguments))


def test_parallel_calls_match_in_any_order() -> None:
    wanted = [WantedCall("w", {"town": t}) for t in ("A", "B", "C")] + [WantedCall("t", {})]
    made = [part("t", {}), *(part("w", {"town": t}) for t in ("c", "a", "b"))]
    found = match(wanted, made)
    assert found.exact
    assert found.argument_accuracy == 1.0
    assert not match(wanted, [*made, part("w", {"town": "A"})]).exact
    assert match(wanted, made[1:]).argument_accuracy == 0.75


names = st.sampled_from("fg")
arguments = st.dictionaries(st.sampled_from("abc"), st.integers(0, 2), max_size=3)
calls = st.lists(st.tuples(names, arguments), max_size=4)


@quick
@given(calls, calls)
def test_the_pairing_is_the_best_of_all(wanted: list[Any], made: list[Any]) -> None:
    found = match([WantedCall(n, a) for n, a in wanted], [part(n, a) for n, a in made])
    best = 0.0
    padded = [*range(len(made)), *[None] * len(wanted)]
    for choice in set(itertools.permutations(padded, len(wanted))):
        total = sum(
            argument_score(wanted[i][1], made[j][1])
            for i, j in enumerate(choice)
            if j is not None and wanted[i][0] == made[j][0]
        )
        best = max(best, total)
    assert sum(found.scores) == pytest.approx(best)
    assert len({m for _, m in found.pairs}) == len(found.pairs)


@pytest.mark.parametrize(
    ("steps", "made", "right"),
    [
        ([["a"], ["b"]], ["a", "b"], True),
        ([["a"], ["b"]], ["b", "a"], False),
        ([["a", "b"], ["c"]], ["b", "a", "c"], True),
        ([["a", "a"]], ["a"], False),
        ([["a"]], ["a", "a"], False),
        ([], [], True),
        ([], ["a"], False),
    ],
)
def test_names_in_order(steps: list[list[str]], made: list[str], right: bool) -> None:
    assert names_in_order(steps, made) is right


def test_wanted_calls_survive_json() -> None:
    wanted = (WantedCall("f", {"x": [1, {"y": "ü"}]}),)
    assert wanted_from_json(json.loads(json.dumps(wanted_to_json(wanted)))) == wanted
