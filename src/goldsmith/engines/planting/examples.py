"""Plain rows for the attacks' own proofs: chats, tool traces, pairs and votes of two small made-up sources."""

import json
from typing import Any

from goldsmith.types.check import Vote

_THINGS = (
    *("bridge", "kettle", "violin", "ladder", "candle", "garden"),
    *("compass", "blanket", "lantern", "anchor", "basket", "mirror"),
)
_PLACES = ["Lyon", "Turin", "Ghent", "Porto", "Bergen", "Krakow", "Gdansk", "Malmo", "Cork", "Bilbao"]
_WAYS = (
    "How do I look after a {thing} that was made in {place}, number {n}?",
    "Someone in {place} gave me a {thing} and {n} spare parts. What now?",
    "Please write {n} short lines on the {thing} of {place}.",
    "Is a {thing} from {place} worth more than {n} coins today?",
)
_ANSWERS = (
    "Keep the {thing} dry, turn it once in {n} days, and ask a maker in {place} before you oil it.",
    "A {thing} like that has {n} known faults; in {place} they are mended with wax and a little patience.",
    "Nobody in {place} sells a {thing} for less than {n} coins, so look for the maker's mark first.",
)


def _text(forms: tuple[str, ...], n: int) -> str:
    said = forms[n % len(forms)]
    return said.format(thing=_THINGS[n * 5 % 12], place=_PLACES[n * 3 % 10], n=n + 2)


def chats(count: int = 60) -> list[dict[str, Any]]:
    """Questions and answers, two sources in turn."""
    return [
        {
            "source": ("north", "south")[n % 2],
            "batch": "b1",
            "messages": [
                {"role": "user", "content": _text(_WAYS, n)},
                {"role": "assistant", "content": _text(_ANSWERS, n)},
            ],
        }
        for n in range(count)
    ]


def pairs(count: int = 60) -> list[dict[str, Any]]:
    """Comparisons of a helpful with a curt answer, two sources in turn."""
    return [
        {
            "source": ("north", "south")[n % 2],
            "batch": "b1",
            "input": {"messages": [{"role": "user", "content": _text(_WAYS, n)}]},
            "preferred_output": [{"role": "assistant", "content": _text(_ANSWERS, n)}],
            "non_preferred_output": [{"role": "assistant", "content": f"No idea about number {n + 2}, ask in town."}],
        }
        for n in range(count)
    ]


def tool_traces(count: int = 60) -> list[dict[str, Any]]:
    """Questions answered by one declared call, its result and a sentence."""
    rows = []
    for n in range(count):
        place = _PLACES[n * 3 % 10]
        call = {
            "id": f"c{n}",
            "type": "function",
            "function": {"name": "get_weather", "arguments": json.dumps({"city": place, "day": n + 2})},
        }
        rows.append(
            {
                "source": ("north", "south")[n % 2],
                "batch": "b1",
                "messages": [
                    {"role": "user", "content": f"I want to mend a {_THINGS[n * 5 % 12]} outdoors in {place} on day "
                     f"{n + 2}; will it stay dry?"},
                    {"role": "assistant", "content": None, "tool_calls": [call]},
                    {"role": "tool", "tool_call_id": f"c{n}", "content": f"dry, {n % 30} degrees"},
                    {"role": "assistant", "content": f"Yes, {place} stays dry with {n % 30} degrees."},
                ],
                "tools": [
                    {
                        "type": "function",
                        "function": {
                            "name": "get_weather",
                            "parameters": {
                                "type": "object",
                                "properties": {"city": {"type": "string"}, "day": {"type": "integer"}},
                            },
                        },
                    }
                ],
            }
        )  # fmt: skip
    return rows


def votes(items: int = 80, annotators: int = 10, each: int = 4) -> list[Vote]:
    """Votes on items of known truth by annotators who are right nine times in ten; every fourth item is gold."""
    told = []
    for item in range(items):
        truth = ("good", "bad")[item % 3 == 0]
        for k in range(each):
            who = (item * 7 + k * 3) % annotators
            wrong = (item * 13 + who * 29) % 10 == 0
            label = truth if not wrong else ("bad" if truth == "good" else "good")
            told.append(Vote(f"item-{item}", f"annotator-{who}", label, truth if item % 4 == 0 else None))
    return told
