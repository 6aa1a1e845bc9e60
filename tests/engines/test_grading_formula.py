"""The formulas of multi rewards: values against Python's own arithmetic, bounds that hold, and nothing that runs."""

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goldsmith import plugins
from goldsmith.engines.grading.asking import ask
from goldsmith.engines.grading.examples import said
from goldsmith.engines.grading.formula import Undefined, parse
from goldsmith.types.errors import BadInput
from goldsmith.types.reward import Unrewarded

NUMBERS = st.floats(-8, 8, allow_nan=False).map(lambda x: round(x, 2) + 0.0)
LEAVES = st.one_of(NUMBERS.filter(lambda x: x >= 0).map(str), st.sampled_from(["a", "b", "c"]))


def _grow(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pair = st.tuples(inner, st.sampled_from("+-*/^"), inner).map(lambda t: f"({t[0]}) {t[1]} ({t[2]})")
    loose = st.tuples(inner, st.sampled_from("+-*/"), inner).map(lambda t: f"{t[0]} {t[1]} {t[2]}")
    one = st.tuples(st.sampled_from(["abs", "floor", "ceil", "exp", "sqrt", "log", "-"]), inner).map(
        lambda t: f"{t[0]}({t[1]})"
    )
    many = st.tuples(st.sampled_from(["min", "max"]), inner, inner).map(lambda t: f"{t[0]}({t[1]}, {t[2]})")
    return pair | loose | one | many


THREE_ENDS = st.lists(st.tuples(NUMBERS, NUMBERS), min_size=3, max_size=3)
THREE_SHARES = st.lists(st.floats(0, 1), min_size=3, max_size=3)
FORMULAS = st.recursive(LEAVES, _grow, max_leaves=8)
WORLD: dict[str, Any] = {
    "__builtins__": {}, "abs": abs, "min": min, "max": max, "floor": math.floor, "ceil": math.ceil, "exp": math.exp,
    "sqrt": math.sqrt, "log": math.log,
}  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(FORMULAS, NUMBERS, NUMBERS, NUMBERS)
def test_values_are_those_of_pythons_arithmetic(text: str, a: float, b: float, c: float) -> None:
    try:
        wanted = eval(text.replace("^", "**"), WORLD, {"a": a, "b": b, "c": c})
        wanted = None if isinstance(wanted, complex) or not math.isfinite(wanted) else wanted
    except (ValueError, ZeroDivisionError, OverflowError, TypeError):
        wanted = None
    try:
        found = parse(text).value({"a": a, "b": b, "c": c})
    except Undefined:
        return  # also where a part is infinite and the whole is not
    assert wanted is not None
    assert found == pytest.approx(wanted, rel=1e-9, abs=1e-12)


@settings(max_examples=400, deadline=None)
@given(FORMULAS, THREE_ENDS, THREE_SHARES)
def test_no_value_lies_outside_of_the_bounds(text: str, ends: list[tuple[float, float]], at: list[float]) -> None:
    bounds = {name: (min(pair), max(pair)) for name, pair in zip("abc", ends, strict=True)}
    point = {
        name: min(max(low + share * (high - low), low), high)
        for (name, (low, high)), share in zip(bounds.items(), at, strict=True)
    }
    formula = parse(text)
    low, high = formula.bounds(bounds)
    try:
        value = formula.value(point)
    except Undefined:
        return
    slack = 1e-9 * max(1.0, abs(value))
    assert low - slack <= value <= high + slack


@pytest.mark.parametrize(
    ("text", "value"),
    [("2 ^ 3 ^ 2", 512), ("-2 ^ 2", -4), ("2 ^ -1", 0.5), ("--3", 3), ("8 / 4 / 2", 1),
     ("1 - 2 - 3", -4)],
)  # fmt: skip
def test_precedence(text: str, value: float) -> None:
    assert parse(text).value({}) == value


@pytest.mark.parametrize(
    "text",
    ["", "a +", "a b", "(a", "a)", "pow(a, b)", "__import__('os')", "a.b", "a[0]", "min()", "abs(a, b)", "a ** b",
    "1e999x",     "(" * 200 + "a" + ")" * 200, "-" * 3000, "a;b", "lambda: 1", "ſ + 1"],
)  # fmt: skip
def test_what_is_no_formula_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse(text)


def multi(formula: str, **graders: Any) -> Any:
    return plugins.build("rewards", "multi", {"graders": graders, "calculate_output": formula})


def test_a_reward_that_cannot_tell_is_not_counted_as_zero() -> None:
    right = {"type": "string_check", "reference": "{{ item.x }}"}
    reward = multi("a + 1 / b", a={"type": "string_check", "reference": "yes", "name": "n"}, b=right)
    found = ask(reward, [said("yes"), said("yes", x="yes"), said("yes", x="no")])
    assert found.values == [None, 2.0, None]
    assert list(found.unrewarded) == ["b: there is no item.x", "/ of 1, 0 is not defined"]
    assert isinstance(found.outcomes[0], Unrewarded)
    assert found.outcomes[0].parts == {"a": 1.0}
    assert reward.needs_reference
    assert reward.bounds == (-math.inf, math.inf)
    assert multi("0.5 * a - 2 * b", a=right, b={"type": "repetition"}).bounds == (0.0, 2.5)


def test_its_settings_must_hang_together() -> None:
    right = {"type": "string_check"}
    for formula, graders, message in [
        ("a + b", {"a": right}, "reads b"),
        ("a", {"a": right, "b": right}, "does not read b"),
        ("a", {"a": {}}, "does not say its type"),
        ("a", {"a": {"type": "string_chek"}}, "did you mean 'string_check'"),
        ("a", {"a": {"type": "string_check", "opration": "eq"}}, "did you mean 'operation'"),
        ("a +", {"a": right}, "ends too early"),
    ]:
        with pytest.raises(BadInput, match=message):
            multi(formula, **graders)


def test_rewards_nest() -> None:
    inner = {
        "type": "multi",
        "graders": {"x": {"type": "string_check", "reference": "yes"}},
        "calculate_output": "2 * x",
    }
    assert ask(multi("inner + 1", inner=inner), [said("yes"), said("no")]).values == [3.0, 1.0]
