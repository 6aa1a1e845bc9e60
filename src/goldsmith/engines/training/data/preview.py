"""What a forward holds, in words: which tokens are trained, masked or cut away, who sits beside whom.

Made from the rows and the plan that training itself uses; no weights are loaded.
"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from goldsmith.engines.chat import Chat
from goldsmith.engines.training.data.prepare import names_aside, plan_of, prepare_data
from goldsmith.engines.training.data.rows import Node, Row
from goldsmith.engines.training.method import Method
from goldsmith.engines.training.settings import TrainingSettings
from goldsmith.types.errors import BadInput
from goldsmith.types.record import Record

Kind = Literal["trained", "masked", "dropped"]
_NO_LIMIT = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Token:
    """`stop`: it ends a trained turn."""

    text: str
    kind: Kind
    stop: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """A run of tokens of a row. `shared_by`: the branches that continue it, computed once for all of them."""

    name: str
    tokens: tuple[Token, ...]
    shared_by: int = 0


@dataclass(frozen=True, slots=True)
class ShownRow:
    """`cut`: tokens taken out of it because it was too long."""

    name: str
    value: float | None
    parts: tuple[Part, ...]
    tokens: int
    trained: int
    cut: int


@dataclass(frozen=True, slots=True)
class Preview:
    """One forward of one update. `tokens` go through the model, `labels` of them are learned. `too_long`: rows over
    `max_length` in all; `stops_the_run`: they are more than the settings allow. `answers`: how many the model writes to
    each row, where rows are prompts and only the model's own answers are learned; else 0. `left_out`: rows that a run
    does not come to train on, whatever the settings."""

    update: int
    updates: int
    forward: int
    forwards: int
    capacity: int
    rows: tuple[ShownRow, ...]
    tokens: int
    labels: int
    train_rows: int
    validation_rows: int
    other_kind: int
    max_length: int
    over_long: str
    too_long: tuple[str, ...]
    cut: int
    dropped: int
    stops_the_run: bool
    facts: Mapping[str, str]
    answers: int = 0
    left_out: tuple[str, ...] = ()


def preview(
    method: Method,
    settings: TrainingSettings,
    chat: Chat,
    records: Sequence[Record],
    names: Sequence[str],
    validation: Sequence[Record] | None = None,
    validation_names: Sequence[str] | None = None,
    *,
    context: int | None = None,
    seed: int,
    device: str = "cpu",
    update: int = 1,
    forward: int = 1,
) -> Preview:
    """The forward number `forward` of the update number `update`, both from 1. `names`, `validation_names`: what rows
    are called. `context`: tokens that the model was made for.

    Rows that are too long where the settings refuse them are shown as left out; `stops_the_run` says so.

    Raises:
        BadInput: as in training: rows that cannot be encoded, none of the method's kind; no such update or forward.
    """
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder)
        lenient = settings.model_copy(update={"early_stopping_patience": 0})
        whole = lenient.model_copy(update={"max_length": _NO_LIMIT})
        aside, called = validation or (), validation_names or names_aside(validation or ())
        told = (records, validation, names)
        every = prepare_data(method, whole, chat, *told, cache, validation_names=called)
        full = {row.key: row for row in (*every.train, *every.validation)}
        rows = (*every.train, *every.validation)
        long = tuple(row.name for row in rows if row.longest > settings.max_length)
        stops = bool(long) and settings.over_long == "refuse"
        if stops:
            fits = [place for place, name in enumerate(names) if name not in long]
            records, names = [records[i] for i in fits], [names[i] for i in fits]
            if not records:
                prepare_data(method, settings, chat, *told, cache, context=context)  # refuses, with the reason
            kept = [(one, name) for one, name in zip(aside, called, strict=True) if name not in long]
            validation, called = [one for one, _ in kept] or None, [name for _, name in kept]
        data = prepare_data(method, lenient, chat, records, validation, names, cache, validation_names=called)
    plan = plan_of(settings, data.train, seed, device=device, share=True)
    _require(1 <= update <= plan.steps, "update", update, plan.steps)
    answers = int(getattr(settings, "group_size", 0))
    # Prompts alone are no batch: what the model is trained on are answers that nobody has written yet.
    forwards = [] if answers else plan.update(update - 1).batches
    count = len(forwards) or 1
    _require(1 <= forward <= count, "forward", forward, count)
    chosen = forwards[forward - 1].rows if forwards else plan.rows_of(update - 1)
    members = [data.train[i] for i in chosen]
    kinds = {record_name: record.content.kind for record_name, record in zip(names, records, strict=True)}
    return Preview(
        update=update,
        updates=plan.steps,
        forward=forward,
        forwards=count,
        capacity=plan.forward_tokens,
        rows=tuple(_shown(chat, row, full[row.key], kinds.get(row.name, "")) for row in members),
        tokens=forwards[forward - 1].tokens if forwards else sum(row.tokens for row in members),
        labels=int(forwards[forward - 1].labels_N.numel()) if forwards else 0,
        too_long=long,
        stops_the_run=stops,
        train_rows=len(data.train),
        validation_rows=len(data.validation),
        other_kind=data.other_kind,
        max_length=settings.max_length,
        over_long=settings.over_long,
        cut=len(data.cut),
        dropped=len(data.dropped),
        facts=dict(chat.facts),
        answers=answers,
    )


def _require(holds: bool, what: str, found: int, most: int) -> None:
    if not holds:
        raise BadInput(f"there is no such {what}", found=str(found), allowed=f"1 to {most}")


def _shown(chat: Chat, row: Row, full: Row, kind: str) -> ShownRow:
    parents = [node.parent for node in row.nodes]
    parts = []
    cut = 0
    for place, (node, before) in enumerate(zip(row.nodes, full.nodes, strict=True)):
        gone = len(before.ids) - len(node.ids)
        cut += gone
        tokens = _tokens(chat, node, before, first=place == 0)
        parts.append(Part(_name(place, parents, kind), tokens, parents.count(place)))
    trained = sum(token.kind == "trained" for part in parts for token in part.tokens)
    return ShownRow(row.name, row.value, tuple(parts), row.tokens, trained, cut)


def _name(place: int, parents: Sequence[int], kind: str) -> str:
    if len(parents) == 1:
        return "row"
    if place in parents:
        return "prompt"
    if kind == "comparison" and len(parents) == 3:
        return ("", "chosen", "rejected")[place]
    leaves = [i for i in range(len(parents)) if i not in parents]
    return "answer" if len(leaves) == 1 else f"branch {leaves.index(place) + 1}"


def _tokens(chat: Chat, node: Node, before: Node, *, first: bool) -> tuple[Token, ...]:
    """The node's tokens in the order of the uncut row; the very first of a row is predicted from nothing."""
    trained = node.trained.copy()
    if first and len(trained):
        trained[0] = False
    keep = len(node.ids) - 1 if len(before.ids) > len(node.ids) else len(node.ids)
    texts = _texts(chat, node.ids[:keep], trained[:keep])
    found = [_token(chat, *one) for one in zip(texts, node.ids[:keep], trained[:keep], strict=True)]
    if keep < len(node.ids):  # cut: the text's end is gone, the stop token stayed, what came after it taught nothing
        stop = int(np.flatnonzero(before.trained)[-1])
        found += [Token(text, "dropped") for text in _texts(chat, before.ids[keep:stop])]
        found.append(_token(chat, _decoded(chat, node.ids[-1:]), node.ids[-1], True))
        found += [Token(text, "dropped") for text in _texts(chat, before.ids[stop + 1 :])]
    return tuple(found)


_PIECES_AT_MOST = 12
"""Tokens that one sign's bytes may be spread over before they are shown as what they are."""


def _texts(chat: Chat, ids: NDArray[np.int32], kinds: NDArray[np.bool_] | None = None) -> list[str]:
    """Each token's text. A sign whose bytes several tokens of one kind share stands whole at the first of them."""
    texts = [_decoded(chat, ids[place : place + 1]) for place in range(len(ids))]
    for first in range(len(ids)):
        if _BROKEN not in texts[first]:
            continue
        for end in range(first + 2, min(first + _PIECES_AT_MOST, len(ids)) + 1):
            if kinds is not None and kinds[end - 1] != kinds[first]:
                break
            whole = _decoded(chat, ids[first:end])
            if _BROKEN not in whole:
                texts[first:end] = [whole, *[""] * (end - first - 1)]
                break
    return texts


_BROKEN = "\ufffd"


def _decoded(chat: Chat, ids: NDArray[np.int32]) -> str:
    text: str = chat.tokenizer.decode(ids.tolist(), skip_special_tokens=False, clean_up_tokenization_spaces=False)
    return text


def _token(chat: Chat, text: str, number: int, trained: bool) -> Token:
    return Token(text, "trained" if trained else "masked", bool(trained) and int(number) in chat.stop_ids)
