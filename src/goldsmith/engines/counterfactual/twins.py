"""Twins of records: the same conversation, comparison or rating about another group, with the same decision in it."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from goldsmith.engines.counterfactual.swap import NotSwapped, swap
from goldsmith.engines.counterfactual.words import Axis
from goldsmith.trust.records import content_digest
from goldsmith.types.record import (
    Comparison,
    Content,
    Conversation,
    Maker,
    Message,
    Part,
    Rating,
    Record,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)


class _Stop(Exception):
    """A text of the record cannot be swapped."""


def twin_of(record: Record, axis: Axis) -> Record | NotSwapped:
    """The record about the other group: prompt and answers are swapped alike, so that what was decided stays decided.

    In tool calls and results only texts that are values are swapped; names of tools and fields, and the tools on offer,
    stay. What a person wrote counts as mixed from then on.
    """
    try:
        content, words = _content(record.content, axis)
    except _Stop as stop:
        return NotSwapped(str(stop))
    if not words:
        return NotSwapped(f"no word or name of the axis {axis}")
    maker = Maker.MIXED if record.origin.maker is Maker.HUMAN else record.origin.maker
    origin = record.origin.model_copy(update={"maker": maker, "generator": f"counterfactual {axis}"})
    return record.model_copy(update={"content": content, "origin": origin})


@dataclass(frozen=True, slots=True)
class Augmented:
    """`records`, of which so many are `twins`, and how often each reason kept a record without one."""

    records: tuple[Record, ...]
    twins: int
    without: dict[str, int]


def with_twins(records: Iterable[Record], axes: Sequence[Axis]) -> Augmented:
    """Every record, each followed by its twin on each of the axes it has one on: afterwards both groups have had the
    same said and decided about them (counterfactual augmentation)."""
    return _augmented(records, axes, keep=True)


def substituted(records: Iterable[Record], axes: Sequence[Axis], seed: int = 0) -> Augmented:
    """Every record or its twin, by a coin of `seed` and its content: no row comes twice (counterfactual substitution).
    Of several axes a coin each."""
    return _augmented(records, axes, keep=False, seed=seed)


def _augmented(records: Iterable[Record], axes: Sequence[Axis], *, keep: bool, seed: int = 0) -> Augmented:
    found: list[Record] = []
    without: dict[str, int] = {}
    twins = 0
    for record in records:
        now = record
        for axis in axes:
            twin = twin_of(now, axis)
            if isinstance(twin, NotSwapped):
                without[twin.reason] = without.get(twin.reason, 0) + 1
            elif keep:
                found.append(twin)
                twins += 1
            elif _coin(record, axis, seed):
                now = twin
        found.append(now)
        twins += not keep and now is not record
    return Augmented(tuple(found), twins, without)


def _coin(record: Record, axis: Axis, seed: int) -> bool:
    return hashlib.sha256(f"{seed}/{axis}/{content_digest(record)}".encode()).digest()[0] % 2 == 0


# ---- the parts of a record -----------------------------------------------------------------------------------------


def _content(content: Content, axis: Axis) -> tuple[Content, int]:
    if isinstance(content, Conversation):
        fields: tuple[str, ...] = ("messages",)
    elif isinstance(content, Comparison):
        fields = ("prompt", "chosen", "rejected")
    elif isinstance(content, Rating):
        fields = ("prompt", "answer")
    else:
        text, words = _text(content.text, axis)
        return content.model_copy(update={"text": text}), words
    changed: dict[str, tuple[Message, ...]] = {}
    total = 0
    for field in fields:
        turns = [_message(message, axis) for message in getattr(content, field)]
        changed[field] = tuple(message for message, _ in turns)
        total += sum(words for _, words in turns)
    return content.model_copy(update=changed), total


def _message(message: Message, axis: Axis) -> tuple[Message, int]:
    parts = [_part(part, axis) for part in message.parts]
    return message.model_copy(update={"parts": tuple(part for part, _ in parts)}), sum(words for _, words in parts)


def _part(part: Part, axis: Axis) -> tuple[Part, int]:
    if isinstance(part, TextPart):
        text, words = _text(part.text, axis)
        return part.model_copy(update={"text": text}), words
    if isinstance(part, ToolCallPart):
        text, words = _json(part.arguments, axis)
        return part.model_copy(update={"arguments": text}), words
    if isinstance(part, ToolResultPart):
        text, words = _json(part.text, axis)
        return part.model_copy(update={"text": text}), words
    return part, 0


def _text(text: str, axis: Axis) -> tuple[str, int]:
    found = swap(text, axis)
    if isinstance(found, NotSwapped):
        raise _Stop(found.reason)
    return found.text, found.words


def _json(text: str, axis: Axis) -> tuple[str, int]:
    """JSON with its texts swapped, verbatim where nothing is; what is no JSON is a text."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return _text(text, axis)
    swapped, words = _value(value, axis)
    return (json.dumps(swapped, ensure_ascii=False), words) if words else (text, 0)


def _value(value: Any, axis: Axis) -> tuple[Any, int]:
    if isinstance(value, str):
        return _text(value, axis)
    if isinstance(value, list):
        members = [_value(one, axis) for one in value]
        return [one for one, _ in members], sum(words for _, words in members)
    if isinstance(value, dict):
        fields = {key: _value(one, axis) for key, one in value.items()}
        return {key: one for key, (one, _) in fields.items()}, sum(words for _, words in fields.values())
    return value, 0
