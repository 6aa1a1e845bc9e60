"""Arithmetic on named results, in the grammar of OpenAI's multi graders; parsed here, never run as code.

::

    sum     = product {("+" | "-") product}
    product = signed {("*" | "/") signed}
    signed  = {"+" | "-"} power
    power   = atom ["^" signed]
    atom    = number | name | function "(" sum {"," sum} ")" | "(" sum ")"

Functions: min, max, abs, floor, ceil, exp, sqrt, log (natural). `bounds` says by interval arithmetic where the value
lies: never too narrow, sometimes too wide.
"""

import itertools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Interval = tuple[float, float]
_TOKEN = re.compile(r"\s*(?:(\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?)|([A-Za-z_]\w*)|([-+*/^(),]))", re.ASCII)
_LONGEST, _DEEPEST = 2000, 60
_ONE: Mapping[str, Callable[[float], float]] = {
    "abs": abs, "floor": lambda x: float(math.floor(x)), "ceil": lambda x: float(math.ceil(x)), "exp": math.exp,
    "sqrt": math.sqrt, "log": math.log,
}  # fmt: skip
_MANY: Mapping[str, Callable[[Sequence[float]], float]] = {"min": min, "max": max}
FUNCTIONS = (*_MANY, *_ONE)


class Undefined(ValueError):
    """The formula has no value here: a division by zero, a root or logarithm of a negative number, an overflow."""


@dataclass(frozen=True, slots=True)
class Formula:
    """A parsed formula in postfix form: numbers, names, and (operator, arguments)."""

    text: str
    steps: tuple[float | str | tuple[str, int], ...]

    @property
    def names(self) -> frozenset[str]:
        """The results it reads."""
        return frozenset(step for step in self.steps if isinstance(step, str))

    def value(self, results: Mapping[str, float]) -> float:
        """Raises Undefined."""
        stack: list[float] = []
        for step in self.steps:
            if isinstance(step, tuple):
                stack[-step[1] :] = [_apply(step[0], stack[-step[1] :])]
            else:
                stack.append(results[step] if isinstance(step, str) else step)
        return stack[0]

    def bounds(self, results: Mapping[str, Interval]) -> Interval:
        """Where the value lies if every result lies within its own bounds."""
        stack: list[Interval] = []
        for step in self.steps:
            if isinstance(step, tuple):
                low, high = _reach(step[0], stack[-step[1] :])
                stack[-step[1] :] = [(-math.inf if math.isnan(low) else low, math.inf if math.isnan(high) else high)]
            else:
                stack.append(results[step] if isinstance(step, str) else (step, step))
        return stack[0]


def parse(text: str) -> Formula:
    """Raises ValueError with the place where the text is no formula."""
    if len(text) > _LONGEST:
        raise ValueError(f"longer than {_LONGEST} characters")
    reader = _Reader(text)
    reader.sum(0)
    if reader.at < len(reader.tokens):
        raise reader.wrong()
    return Formula(text, tuple(reader.steps))


class _Reader:
    def __init__(self, text: str) -> None:
        self.tokens: list[tuple[str, str, int]] = []
        self.steps: list[float | str | tuple[str, int]] = []
        self.at, place = 0, 0
        while text[place:].strip():
            found = _TOKEN.match(text, place)
            if found is None:
                raise ValueError(
                    f"character {place + 1} of the formula: {text[place:].strip()[:10]!r} is not understood"
                )
            kind = ("number", "name", "sign")[(found.lastindex or 1) - 1]
            self.tokens.append((kind, found.group(found.lastindex or 1), found.start(found.lastindex or 1)))
            place = found.end()

    def wrong(self) -> ValueError:
        if self.at >= len(self.tokens):
            return ValueError("the formula ends too early")
        _, token, place = self.tokens[self.at]
        return ValueError(f"character {place + 1} of the formula: {token!r} does not belong here")

    def sign(self, *wanted: str) -> str | None:
        """Take the next token if it is one of these signs."""
        if self.at < len(self.tokens) and self.tokens[self.at][0] == "sign" and self.tokens[self.at][1] in wanted:
            self.at += 1
            return self.tokens[self.at - 1][1]
        return None

    def must(self, wanted: str) -> None:
        if self.sign(wanted) is None:
            raise self.wrong()

    def sum(self, depth: int) -> None:
        if depth > _DEEPEST:
            raise ValueError("the formula is nested too deeply")
        self.product(depth)
        while (operator := self.sign("+", "-")) is not None:
            self.product(depth)
            self.steps.append((operator, 2))

    def product(self, depth: int) -> None:
        self.signed(depth)
        while (operator := self.sign("*", "/")) is not None:
            self.signed(depth)
            self.steps.append((operator, 2))

    def signed(self, depth: int) -> None:
        minus = False
        while (operator := self.sign("+", "-")) is not None:
            minus ^= operator == "-"
        self.power(depth + 1)
        if minus:
            self.steps.append(("-", 1))

    def power(self, depth: int) -> None:
        if depth > _DEEPEST:
            raise ValueError("the formula is nested too deeply")
        self.atom(depth)
        if self.sign("^"):
            self.signed(depth)
            self.steps.append(("^", 2))

    def atom(self, depth: int) -> None:
        if self.sign("("):
            self.sum(depth + 1)
            self.must(")")
            return
        if self.at >= len(self.tokens) or self.tokens[self.at][0] == "sign":
            raise self.wrong()
        kind, token, _ = self.tokens[self.at]
        self.at += 1
        if kind == "number":
            self.steps.append(float(token))
        elif self.sign("("):
            self.call(token, depth)
        else:
            self.steps.append(token)

    def call(self, name: str, depth: int) -> None:
        if name not in FUNCTIONS:
            raise ValueError(f"there is no function {name}; there are {', '.join(FUNCTIONS)}")
        count = 1
        self.sum(depth + 1)
        while self.sign(","):
            self.sum(depth + 1)
            count += 1
        self.must(")")
        if name in _ONE and count != 1:
            raise ValueError(f"{name} takes one number")
        self.steps.append((name, count))


def _apply(operator: str, values: Sequence[float]) -> float:
    try:
        found = _calculate(operator, values)
    except (ValueError, OverflowError, ZeroDivisionError) as error:
        raise Undefined(f"{operator} of {', '.join(f'{value:g}' for value in values)} is not defined") from error
    if not math.isfinite(found):
        raise Undefined(f"{operator} of {', '.join(f'{value:g}' for value in values)} is not finite")
    return found


def _calculate(operator: str, values: Sequence[float]) -> float:
    if operator in _MANY:
        return _MANY[operator](values)
    if operator in _ONE:
        return _ONE[operator](values[0])
    if len(values) == 1:
        return -values[0]
    a, b = values
    if operator == "^":
        return math.pow(a, b)
    return {"+": lambda: a + b, "-": lambda: a - b, "*": lambda: a * b, "/": lambda: a / b}[operator]()


_ALL = (-math.inf, math.inf)


def _reach(operator: str, parts: Sequence[Interval]) -> Interval:
    lows, highs = [low for low, _ in parts], [high for _, high in parts]
    if operator in _MANY:
        return _MANY[operator](lows), _MANY[operator](highs)
    if operator == "abs":
        low, high = parts[0]
        return (0.0 if low <= 0 <= high else min(abs(low), abs(high))), max(abs(low), abs(high))
    if operator in ("sqrt", "log"):
        lows = [max(0.0, lows[0])]
        if highs[0] < 0:
            return _ALL
        return _edge(operator, lows[0]), _edge(operator, highs[0])
    if operator in _ONE:
        return _edge(operator, lows[0]), _edge(operator, highs[0])
    if len(parts) == 1:
        return -highs[0], -lows[0]
    if operator in "+-":
        other = parts[1] if operator == "+" else (-highs[1], -lows[1])
        return lows[0] + other[0], highs[0] + other[1]
    return _corners(operator, parts)


def _corners(operator: str, parts: Sequence[Interval]) -> Interval:
    (a, b), (c, d) = parts
    if (operator == "/" and c <= 0 <= d) or (operator == "^" and (a <= 0 or not math.isfinite(a + b + c + d))):
        whole = c == d and c == int(c) and c >= 0 if math.isfinite(c) else False
        if operator == "^" and whole and math.isfinite(a + b):
            ends = sorted((a**c, b**c))
            return (0.0 if a <= 0 <= b and c % 2 == 0 and c else ends[0]), ends[1]
        return (0.0, math.inf) if operator == "^" and a >= 0 else _ALL
    found = [_corner(operator, x, y) for x, y in itertools.product((a, b), (c, d))]
    return min(found), max(found)


def _corner(operator: str, x: float, y: float) -> float:
    if operator == "*":
        return 0.0 if x == 0 or y == 0 else x * y
    if operator == "/":
        return 0.0 if math.isinf(y) else x / y
    try:
        return math.pow(x, y)
    except OverflowError:
        return math.inf


def _edge(operator: str, end: float) -> float:
    if operator == "log" and end == 0:
        return -math.inf
    if operator == "exp" and end > 700:
        return math.inf
    return end if math.isinf(end) and operator in ("floor", "ceil") else _ONE[operator](end)
