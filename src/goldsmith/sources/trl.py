"""TRL's rows: prompt and completion, pairs with the prompt apart or inside, answers with a label."""

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from goldsmith.engines.reading.chat_turns import common_prefix, looks_like_turns, messages, render_messages
from goldsmith.engines.reading.fields import as_boolean, rest_of
from goldsmith.engines.reading.json_text import Number, decode, encode, show
from goldsmith.engines.reading.tool_schemas import render_tools, tool_schemas
from goldsmith.types.artifact import Spec
from goldsmith.types.record import Comparison, Content, Conversation, Message, Rating, Role, TextPart, ToolSchema
from goldsmith.types.row_format import Parsed, RowProblem

_ALLOWED = "text or a list of turns"
_NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][-+]?\d+)?")


class TRL(Spec):
    """The dataset formats of TRL's documentation, conversational (lists of turns) or standard (plain text).

    Plain text becomes a user turn (prompt) and an assistant turn (completion, chosen, rejected). Pairs without a prompt
    share their longest common beginning: whole turns, or text up to its last word. `chosen` and `rejected` lists that
    repeat the prompt (as UltraFeedback's do) are read without it. Where a pair has `messages` and no `prompt`
    (LLaMA-Factory), these are the prompt. A number under `margin` is the pair's strength. `completions` are the steps
    of one answer: they are joined by blank lines, and their `labels` stay among the extra fields, for `process_reward`.
    """

    id: ClassVar[str] = "trl"
    version: ClassVar[int] = 2

    def confidence(self, row: Mapping[str, Any]) -> float:
        if "conversations" in row or ("instruction" in row and "prompt" not in row):
            return 0.0
        if "chosen" in row and "rejected" in row:
            sides = (row["chosen"], row["rejected"])
            if not all(_readable(side) for side in sides) or not _readable(row.get("prompt", "")):
                return 0.0
            return 0.8 if "prompt" in row or "messages" in row or all(looks_like_turns(side) for side in sides) else 0.6
        if _stepwise(row):
            return 0.8
        return 0.8 if "completion" in row and _readable(row["completion"]) and _readable(row.get("prompt")) else 0.0

    def parse(self, row: Mapping[str, Any]) -> Parsed:
        tools = tool_schemas(row.get("tools"), "tools")
        if "chosen" in row or "rejected" in row:
            asked = "messages" if row.get("prompt") is None and "messages" in row else "prompt"
            rest = rest_of(row, frozenset((asked, "chosen", "rejected", "tools")))
            sides = [_side(row, name, Role.ASSISTANT, rest) for name in ("chosen", "rejected")]
            if row.get(asked) is None:
                prompt, chosen, rejected = _implicit(row, sides[0], sides[1])
            else:
                prompt = _side(row, asked, Role.USER, rest)
                chosen, rejected = (_without(prompt, side) for side in sides)
            strength = _margin(rest)
            pair = Comparison(prompt=prompt, chosen=chosen, rejected=rejected, tools=tools, strength=strength)
            return Parsed(pair, rest)
        if _stepwise(row):
            return _steps(row, tools)
        rest = rest_of(row, frozenset(("prompt", "completion", "tools")))
        prompt = _side(row, "prompt", Role.USER, rest)
        answer = _side(row, "completion", Role.ASSISTANT, rest)
        label = row.get("label")
        if isinstance(label, bool) or (isinstance(label, str) and as_boolean(label) is not None):
            del rest["label"]
            return Parsed(Rating(prompt=prompt, answer=answer, label=as_boolean(label), tools=tools), rest)
        return Parsed(Conversation(messages=prompt + answer, tools=tools), rest)

    def render(self, content: Content) -> dict[str, Any]:
        tools = {}
        if not isinstance(content, Conversation | Comparison | Rating):
            raise RowProblem("TRL's text rows are `plain_text`", found=content.kind)
        if content.tools:
            tools = {"tools": render_tools(content.tools)}
        if isinstance(content, Comparison) and (content.strength is None or _NUMBER.fullmatch(content.strength)):
            sides = {"chosen": render_messages(content.chosen), "rejected": render_messages(content.rejected)}
            margin = {} if content.strength is None else {"margin": decode(content.strength)}
            return {"prompt": render_messages(content.prompt), **sides, **margin, **tools}
        if isinstance(content, Rating) and content.label is not None:
            said = {"prompt": render_messages(content.prompt), "completion": render_messages(content.answer)}
            return {**said, "label": content.label, **tools}
        if isinstance(content, Conversation) and content.messages:
            turns = content.messages
            first = next((n for n in range(len(turns), 0, -1) if turns[n - 1].role is not Role.ASSISTANT), 0)
            said = {"prompt": render_messages(turns[:first]), "completion": render_messages(turns[first:])}
            if said["prompt"] and said["completion"]:
                return {**said, **tools}
        raise RowProblem(
            "TRL has no row for this content", found=content.kind, allowed="a prompt with an answer or a pair"
        )


def _margin(rest: dict[str, Any]) -> str | None:
    """The pair's `margin` as it was written, taken out of `rest`; None if it is no number."""
    value = rest.get("margin")
    if isinstance(value, bool) or not isinstance(value, int | float | Number):
        return None
    text = encode(value)
    if not _NUMBER.fullmatch(text):
        return None
    del rest["margin"]
    return text


def _stepwise(row: Mapping[str, Any]) -> bool:
    steps = row.get("completions")
    if "completion" in row or not isinstance(steps, list) or not steps:
        return False
    return all(isinstance(step, str) for step in steps) and isinstance(row.get("labels"), list)


def _steps(row: Mapping[str, Any], tools: tuple[ToolSchema, ...]) -> Parsed:
    rest = rest_of(row, frozenset(("prompt", "completions", "tools")))
    prompt = _side(row, "prompt", Role.USER, rest)
    steps = [step.strip() for step in row["completions"]]
    if any(not step or "\n\n" in step for step in steps) or len(steps) != len(row["labels"]):
        raise RowProblem(
            "each step must be a text without blank lines, with one label",
            where="completions",
            found=f"{len(steps)} steps, {len(row['labels'])} labels",
        )
    answer = Message(role=Role.ASSISTANT, parts=(TextPart(text="\n\n".join(steps)),))
    return Parsed(Conversation(messages=(*prompt, answer), tools=tools), rest)


def _readable(value: Any) -> bool:
    return isinstance(value, str) or looks_like_turns(value) or (isinstance(value, Mapping) and "role" in value)


def _side(row: Mapping[str, Any], name: str, role: Role, rest: dict[str, Any]) -> tuple[Message, ...]:
    value = row.get(name)
    if isinstance(value, str):
        return (Message(role=role, parts=(TextPart(text=value),)),)
    if isinstance(value, Mapping):
        value = [value]
    if not isinstance(value, list):
        what = f"{name} is missing" if value is None else f"{name} must be {_ALLOWED}"
        raise RowProblem(what, where=name, found=show(value), allowed=_ALLOWED)
    return messages(value, name, rest)


def _without(prompt: tuple[Message, ...], side: tuple[Message, ...]) -> tuple[Message, ...]:
    repeats = len(side) > len(prompt) and side[: len(prompt)] == prompt
    return side[len(prompt) :] if repeats else side


def _implicit(
    row: Mapping[str, Any], chosen: tuple[Message, ...], rejected: tuple[Message, ...]
) -> tuple[tuple[Message, ...], tuple[Message, ...], tuple[Message, ...]]:
    one, other = row.get("chosen"), row.get("rejected")
    if isinstance(one, str) and isinstance(other, str):
        shared = _shared_words(one, other)
        prompt = (Message(role=Role.USER, parts=(TextPart(text=one[:shared]),)),) if shared else ()
        said = [(Message(role=Role.ASSISTANT, parts=(TextPart(text=side[shared:]),)),) for side in (one, other)]
        return prompt, said[0], said[1]
    shared = common_prefix(chosen, rejected)
    return chosen[:shared], chosen[shared:], rejected[shared:]


def _shared_words(one: str, other: str) -> int:
    """The length of the longest common beginning that ends with white space; 0 for equal texts."""
    most = min(len(one), len(other))
    low, high = 0, most
    while low < high:  # the longest common beginning by bisection: comparing slices is far faster than a loop
        middle = (low + high + 1) // 2
        low, high = (middle, high) if one[:middle] == other[:middle] else (low, middle - 1)
    if one == other:
        return 0
    while low and not one[low - 1].isspace():
        low -= 1
    return low


_ASKED = {"role": "user", "content": "Name a river."}
_GOOD = {"role": "assistant", "content": "The Rhine."}
_BAD = {"role": "assistant", "content": "No."}
_PAIR = "user: Name a river. || assistant: The Rhine. || assistant: No."
ROWS = [
    ({"prompt": "Name a river.", "completion": "The Rhine."}, "user: Name a river. | assistant: The Rhine."),
    ({"prompt": [_ASKED], "completion": [_GOOD]}, "user: Name a river. | assistant: The Rhine."),
    ({"prompt": "Name a river.", "chosen": "The Rhine.", "rejected": "No."}, _PAIR),
    ({"prompt": [_ASKED], "chosen": [_GOOD], "rejected": [_BAD]}, _PAIR),
    ({"chosen": [_ASKED, _GOOD], "rejected": [_ASKED, _BAD]}, _PAIR),
    ({"prompt": "Name a river.", "chosen": "The Rhine.", "rejected": "No.", "margin": 2}, _PAIR),
    ({"messages": [_ASKED], "chosen": _GOOD, "rejected": _BAD}, _PAIR),
    ({"prompt": "Name a river.", "chosen": [_ASKED, _GOOD], "rejected": [_ASKED, _BAD]}, _PAIR),
    (
        {"chosen": "The sky is blue.", "rejected": "The sky is green."},
        "user: The sky is  || assistant: blue. || assistant: green.",
    ),
    (
        {"prompt": "Name a river.", "completions": ["One is long.", "The Rhine."], "labels": [True, True]},
        "user: Name a river. | assistant: One is long.\\n\\nThe Rhine.",
    ),
    (
        {"prompt": "Name a river.", "completion": "No.", "label": False},
        "user: Name a river. || assistant: No. || bad",
    ),
]
