"""The text of rows as columns, taken out of the records once and shared by every check.

A check receives a `Sequence[Row]`. `project(rows)` gives its columns; when the sequence is a `ProjectedRows`
(as `goldsmith.engines.screening.screen` hands out) they are computed on first use and kept with the rows.
"""

import hashlib
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from goldsmith.engines.text.features import Features, MapsRows
from goldsmith.types.check import CheckContext, Row
from goldsmith.types.record import (
    Comparison,
    Conversation,
    Maker,
    Message,
    Rating,
    Record,
    Role,
    Text,
    ToolCallPart,
    ToolResultPart,
)

T = TypeVar("T")


class Call(NamedTuple):
    """A tool call in the part of a row that would be learnt. `turn` is the message's index in the row.

    `answered`: a tool result for it follows. None where that cannot be told (last turn, or no results at all).
    `siblings`: calls of the same turn, itself included.
    """

    turn: int
    name: str
    arguments: str
    siblings: int
    answered: bool | None


@dataclass(frozen=True, slots=True)
class Columns:
    """One entry per row in every column; texts keep their case. A column is a read-only sequence: iterate it in order,
    index it or slice it; of a large corpus it lies on the disk.

    `user`: all user turns joined by newlines, `user_turns` of them. `answer`: the assistant's text that would be
    learnt (for comparisons the chosen side; empty for ratings labelled bad). `rejected`: text of the rejected or bad
    side, None where there is none. `prior`: assistant text that would not be learnt (the prompt of a comparison,
    turns of weight 0). `results`: what tools answered, each with its turn. `calls`: the learnt calls. `full`: user,
    prior, answer, calls, results and rejected together, without system prompts and tool schemas, which rows of one
    source share legitimately.
    """

    kind: Sequence[str]
    system: Sequence[str]
    user: Sequence[str]
    user_turns: Sequence[int]
    prior: Sequence[str]
    answer: Sequence[str]
    rejected: Sequence[str | None]
    results: Sequence[tuple[tuple[int, str], ...]]
    full: Sequence[str]
    calls: Sequence[tuple[Call, ...]]
    rejected_calls: Sequence[tuple[Call, ...]]
    tools: Sequence[tuple[str, ...]]
    schemas: Sequence[str]

    def __len__(self) -> int:
        return len(self.full)


class ProjectedRows(Sequence[Row]):
    """Rows with their columns: what `screen` passes to every check, so that text is taken apart once."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = rows
        self._shared: dict[Hashable, Any] = {}

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | Sequence[Row]:
        return self._rows[index]

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows)

    @cached_property
    def columns(self) -> Columns:
        """The text columns."""
        return columns_of(self._rows)

    @cached_property
    def groups(self) -> "Groups":
        """Which source x batch each row belongs to."""
        return Groups.of(self._rows)

    @cached_property
    def origins(self) -> "Origins":
        """What each row's origin says, as columns."""
        return Origins.of(self._rows)

    @cached_property
    def lines(self) -> NDArray[np.int64]:
        """Each row's 1-based line [rows]."""
        return np.fromiter((row.line for row in self._rows), np.int64, len(self._rows))

    def shared(self, key: Hashable, make: Callable[[], T]) -> T:
        """What `make` gives, computed for the first check that asks by this key and kept for the others."""
        if key not in self._shared:
            self._shared[key] = make()
        found: T = self._shared[key]
        return found

    def features(self, check: MapsRows, context: CheckContext) -> Features:
        """What the check's map says of these rows."""
        return Features([0], [check.row_features(self, context)])

    @cached_property
    def content_digests(self) -> NDArray[np.uint64]:
        """SHA-256 of each row's content [rows, 4]: equal for the same content, whatever its origin."""
        found = b"".join(hashlib.sha256(content_json(row.record)).digest() for row in self._rows)
        return np.frombuffer(found, np.uint64).reshape(-1, 4)


@dataclass(frozen=True, slots=True)
class Groups:
    """Source x batch of each row. `names` is sorted, so that group numbers do not depend on the rows' order."""

    names: tuple[tuple[str, str], ...]
    of_row: NDArray[np.int32]

    @classmethod
    def of(cls, rows: Sequence[Row]) -> "Groups":
        """Groups of these rows."""
        keys = [(row.record.origin.source, row.record.origin.batch) for row in rows]
        names = tuple(sorted(set(keys)))
        number = {key: i for i, key in enumerate(names)}
        return cls(names, np.fromiter((number[key] for key in keys), np.int32, len(keys)))

    def counts(self) -> NDArray[np.int64]:
        """Rows of each group."""
        return np.bincount(self.of_row, minlength=len(self.names))

    @property
    def sources(self) -> tuple[str, ...]:
        """The sources, sorted."""
        return tuple(sorted({source for source, _ in self.names}))

    def source_of_row(self) -> NDArray[np.int32]:
        """For each row the number of its source within `sources`."""
        number = {source: i for i, source in enumerate(self.sources)}
        table = np.array([number[source] for source, _ in self.names], np.int32)
        return table[self.of_row] if len(self.names) else np.zeros(0, np.int32)


@dataclass(frozen=True, slots=True)
class Origins:
    """What the rows' sources state about them, one entry per row in every column (`groups` has source and batch)."""

    maker: Sequence[Maker]
    generator: Sequence[str | None]
    generation_depth: Sequence[int | None]
    licence: Sequence[str | None]
    domain: Sequence[str | None]
    language: Sequence[str | None]
    annotator: Sequence[str | None]
    project: Sequence[str | None]

    @classmethod
    def of(cls, rows: Sequence[Row]) -> "Origins":
        """Origins of these rows."""
        told = [row.record.origin for row in rows]
        return cls(
            maker=[o.maker for o in told],
            generator=[o.generator for o in told],
            generation_depth=[o.generation_depth for o in told],
            licence=[o.licence for o in told],
            domain=[o.domain for o in told],
            language=[o.language for o in told],
            annotator=[o.annotator for o in told],
            project=[o.project for o in told],
        )


def content_json(record: Record) -> bytes:
    """A record's content as JSON: what tells exact duplicates, and what a stored record is rebuilt from."""
    found: bytes = record.content.__pydantic_serializer__.to_json(record.content)
    return found


def project(rows: Sequence[Row]) -> ProjectedRows:
    """`rows` with their columns; the same object if it already has them."""
    return rows if isinstance(rows, ProjectedRows) else ProjectedRows(rows)


def taken(column: Sequence[T], rows: NDArray[np.int64]) -> list[T]:
    """A column's values of these rows: the same as `[column[i] for i in rows]`, for less of a column on the disk."""
    take = getattr(column, "take", None)
    found: list[T] = [column[i] for i in rows.tolist()] if take is None else take(rows)
    return found


def columns_of(rows: Sequence[Row]) -> Columns:
    """The text columns of these rows, in memory."""
    columns = _Lists()
    for row in rows:
        _append(columns, row)
    return Columns(**{name: getattr(columns, name) for name in Columns.__dataclass_fields__})


@dataclass(slots=True)
class _Lists:
    """Columns being filled."""

    kind: list[str] = field(default_factory=list)
    system: list[str] = field(default_factory=list)
    user: list[str] = field(default_factory=list)
    user_turns: list[int] = field(default_factory=list)
    prior: list[str] = field(default_factory=list)
    answer: list[str] = field(default_factory=list)
    rejected: list[str | None] = field(default_factory=list)
    results: list[tuple[tuple[int, str], ...]] = field(default_factory=list)
    full: list[str] = field(default_factory=list)
    calls: list[tuple[Call, ...]] = field(default_factory=list)
    rejected_calls: list[tuple[Call, ...]] = field(default_factory=list)
    tools: list[tuple[str, ...]] = field(default_factory=list)
    schemas: list[str] = field(default_factory=list)


def _append(columns: _Lists, row: Row) -> None:
    content = row.record.content
    columns.kind.append(content.kind)
    if isinstance(content, Text):
        parts = _Parts()
        parts.answer.append(content.text)
        tools: tuple[str, ...] = ()
        schemas = ""
        rejected: _Parts | None = None
    else:
        tools = tuple(tool.name for tool in content.tools)
        schemas = "\n".join(tool.definition for tool in content.tools)
        parts, rejected = _sides(content)
    columns.system.append("\n".join(parts.system))
    columns.user_turns.append(len(parts.user))
    columns.user.append("\n".join(parts.user))
    columns.prior.append("\n".join(parts.prior))
    columns.answer.append("\n".join(parts.answer))
    columns.results.append(tuple(parts.results))
    columns.calls.append(tuple(parts.calls))
    columns.tools.append(tools)
    columns.schemas.append(schemas)
    columns.rejected.append(None if rejected is None else "\n".join(rejected.answer))
    columns.rejected_calls.append(() if rejected is None else tuple(rejected.calls))
    columns.full.append("\n".join(_full(parts, rejected)))


def _full(parts: "_Parts", rejected: "_Parts | None") -> Iterator[str]:
    yield from parts.user
    yield from parts.prior
    yield from parts.answer
    for call in parts.calls:
        yield f"{call.name} {call.arguments}"
    yield from (text for _, text in parts.results)
    if rejected is not None:
        yield from rejected.answer
        for call in rejected.calls:
            yield f"{call.name} {call.arguments}"


@dataclass(slots=True)
class _Parts:
    system: list[str] = field(default_factory=list)
    user: list[str] = field(default_factory=list)
    prior: list[str] = field(default_factory=list)
    answer: list[str] = field(default_factory=list)
    results: list[tuple[int, str]] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)


def _sides(content: Conversation | Comparison | Rating) -> tuple[_Parts, _Parts | None]:
    if isinstance(content, Conversation):
        return _read(content.messages, _Parts(), 0), None
    parts = _read(content.prompt, _Parts(), 0, learnt=False)
    first = len(content.prompt)
    if isinstance(content, Comparison):
        return _read(content.chosen, parts, first), _read(content.rejected, _Parts(), first)
    if content.label is False:
        return parts, _read(content.answer, _Parts(), first)
    return _read(content.answer, parts, first), None


def _read(messages: Sequence[Message], parts: _Parts, first: int, *, learnt: bool = True) -> _Parts:
    calls: list[tuple[int, ToolCallPart, int]] = []
    results: list[tuple[int, ToolResultPart]] = []
    for turn, message in enumerate(messages, first):
        if message.role is Role.ASSISTANT:
            if learnt and message.trained:
                own = message.calls
                calls += [(turn, call, len(own)) for call in own]
                parts.answer.append(message.text)
            else:
                parts.prior.append(message.text)
        elif message.role is Role.USER:
            parts.user.append(message.text)
        elif message.role is Role.SYSTEM:
            parts.system.append(message.text)
        else:
            parts.results.append((turn, message.text))
        results += [(turn, part) for part in message.parts if isinstance(part, ToolResultPart)]
    if calls:
        last = first + len(messages) - 1
        parts.calls.extend(_answered(calls, results, last))
    return parts


def _answered(
    calls: list[tuple[int, ToolCallPart, int]], results: list[tuple[int, ToolResultPart]], last: int
) -> Iterator[Call]:
    ids = {part.call_id for _, part in results if part.call_id is not None}
    turns = sorted({turn for turn, _, _ in calls})
    for turn, call, siblings in calls:
        following = next((t for t in turns if t > turn), last + 1)
        own = [part for at, part in results if turn < at <= following]
        if turn == last or not results:
            answered = None
        elif call.id is not None and ids:
            answered = call.id in ids
        elif len(own) >= siblings:
            answered = True
        else:
            named = [part.name for part in own if part.name]
            answered = call.name in named if named else None if own else False
        yield Call(turn, call.name, call.arguments, siblings, answered)
