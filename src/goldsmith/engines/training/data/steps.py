"""Answers in steps: where each ends among the tokens, and what was said of each."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from goldsmith.engines.chat import Chat
from goldsmith.engines.grading.samples import strict_json
from goldsmith.engines.training.data.rows import Node, Row
from goldsmith.types.errors import BadInput
from goldsmith.types.record import Conversation, Message, Record, Role, TextPart, ToolSchema


@dataclass(frozen=True, slots=True)
class Stepwise:
    """A prompt and an answer in steps. `labels[i]`: whether step i is right; None where nobody said."""

    prompt: tuple[Message, ...]
    answer: Message
    labels: tuple[bool | None, ...]
    tools: tuple[ToolSchema, ...] = ()


def steps_of(record: Record) -> Stepwise | None:
    """The record as steps, or None if it is no conversation that ends in an answer with `labels` among its extra
    fields."""
    content = record.content
    extra = strict_json(record.extra) if record.extra else None
    labels = extra.get("labels") if isinstance(extra, dict) else None
    if not isinstance(content, Conversation) or not isinstance(labels, list) or len(content.messages) < 2:
        return None
    if content.messages[-1].role is not Role.ASSISTANT or not all(_is_label(one) for one in labels):
        return None
    said = tuple(None if one is None else bool(one) for one in labels)
    return Stepwise(content.messages[:-1], content.messages[-1], said, content.tools)


def _is_label(value: object) -> bool:
    return value is None or isinstance(value, bool) or (isinstance(value, int) and value in (0, 1))


def split_steps(answer: Message, delimiter: str) -> list[str]:
    """The steps' texts: the parts of a turn that has several, else what `delimiter` divides; empty ones left out."""
    texts = [part.text for part in answer.parts if isinstance(part, TextPart)]
    pieces = texts if len(texts) > 1 else answer.text.split(delimiter)
    return [piece.strip() for piece in pieces if piece.strip()]


def step_row(chat: Chat, stepwise: Stepwise, labels: Sequence[bool | None], delimiter: str, name: str, key: str) -> Row:
    """The prompt, and the answer asked at the end of each step that has a label. A batch asks at the tokens before the
    trained ones, so that what is marked is the token after each step's end.

    Raises:
        BadInput: another number of labels than steps; no label at all; an answer that cannot be written.
    """
    texts = split_steps(stepwise.answer, delimiter)
    ids, ends, first = chat.encode_steps(stepwise.prompt, stepwise.answer, stepwise.tools, texts)
    if len(ends) != len(labels):
        raise BadInput(
            "a row's steps and labels differ in number",
            where=name,
            found=f"{len(ends)} steps, {len(labels)} labels",
            next_step="set delimiter to what divides the steps",
        )
    asked = [(end, label) for end, label in zip(ends, labels, strict=True) if label is not None]
    if not asked:
        raise BadInput("none of a row's steps has a label", where=name, allowed="true or false for at least one")
    marks = np.zeros(len(ids), dtype=np.bool_)
    marks[[end + 1 for end, _ in asked]] = True
    nodes = (Node(ids[:first], marks[:first]), Node(ids[first:], marks[first:], 0))
    return Row(nodes, name, key, None, tuple(float(bool(label)) for _, label in asked))
