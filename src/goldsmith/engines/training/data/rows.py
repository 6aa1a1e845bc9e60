"""Training rows: a root of tokens and the branches that continue it, so that a shared prompt is computed once."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from goldsmith.engines.chat import Chat, Encoded, EncodedComparison
from goldsmith.engines.training.data.mixing import MAIN
from goldsmith.types.errors import BadInput
from goldsmith.types.record import Comparison, Record

OverLong = Literal["refuse", "drop", "cut_keep_stop"]


@dataclass(frozen=True, slots=True)
class Node:
    """A run of tokens `ids[T]` after its `parent` node (-1: the start); `trained[T]`: the model learns to write it."""

    ids: NDArray[np.int32]
    trained: NDArray[np.bool_]
    parent: int = -1


@dataclass(frozen=True, slots=True)
class Row:
    """What one record teaches. `name` is how messages call it; `key` is equal for equal content. `value`: the number
    that goes with it, where the record has one (1 for a good answer, 0 for a bad one; a margin). `values`: one for each
    trained place, in their order, where the record says something of each. `part`: what it is mixed in as ("": the data
    itself). `weight`: what its loss counts for beside the others'."""

    nodes: tuple[Node, ...]
    name: str
    key: str
    value: float | None = None
    values: tuple[float, ...] = ()
    part: str = MAIN
    weight: float = 1.0

    @property
    def longest(self) -> int:
        """Tokens of the longest path from the start to a leaf."""
        ends: list[int] = []
        for node in self.nodes:
            ends.append(len(node.ids) + (ends[node.parent] if node.parent >= 0 else 0))
        return max(ends)

    @property
    def tokens(self) -> int:
        return sum(len(node.ids) for node in self.nodes)

    @property
    def prompt(self) -> bytes:
        """The tokens before anything trained: rows with equal prompts must not straddle a split."""
        root = self.nodes[0]
        first = int(root.trained.argmax()) if root.trained.any() else len(root.ids)
        return root.ids[:first].tobytes()


def from_conversation(encoded: Encoded, name: str, key: str) -> Row:
    """A row of one path."""
    return Row((Node(encoded.input_ids, encoded.trained),), name, key)


def from_comparison(encoded: EncodedComparison, name: str, key: str) -> Row:
    """A row with the prompt as its root and chosen and rejected as its branches, in this order."""
    nothing = np.zeros(len(encoded.prompt_ids), dtype=np.bool_)
    return Row(
        (
            Node(encoded.prompt_ids, nothing),
            Node(encoded.chosen_ids, encoded.chosen_trained, 0),
            Node(encoded.rejected_ids, encoded.rejected_trained, 0),
        ),
        name,
        key,
    )


def comparison_row(chat: Chat, record: Record, name: str, key: str) -> Row:
    """A comparison's row. Errors: BadInput if the record is none, or cannot be encoded."""
    if not isinstance(record.content, Comparison):
        raise BadInput(f"a {record.content.kind} holds no preference", where=name, allowed="comparison")
    return from_comparison(chat.encode_comparison(record.content), name, key)


def from_rating(encoded: Encoded, name: str, key: str, value: float) -> Row:
    """A row with everything before the answer as its root and the answer as its one branch."""
    first = int(encoded.trained.argmax())
    root = Node(encoded.input_ids[:first], np.zeros(first, dtype=np.bool_))
    return Row((root, Node(encoded.input_ids[first:], encoded.trained[first:], 0)), name, key, value)


@dataclass(frozen=True, slots=True)
class Fitted:
    """Rows that fit, and what was done to those that did not."""

    rows: tuple[Row, ...]
    cut: tuple[str, ...]
    dropped: tuple[str, ...]


def fit(
    rows: Sequence[Row],
    max_length: int,
    over_long: OverLong,
    *,
    may_be_empty: bool = False,
    context: int | None = None,
) -> Fitted:
    """Handle rows longer than `max_length` tokens as told.

    `cut_keep_stop` takes tokens out of the middle of the last answer's text, never its stop token nor the prompt;
    a row whose prompt alone is too long is dropped and counted. `context`: tokens that the model was made for.

    Raises:
        BadInput: `refuse` and there is such a row, or nothing is left (unless it `may_be_empty`: rows to validate on).
    """
    long = [row for row in rows if row.longest > max_length]
    if long and over_long == "refuse":
        worst = max(long, key=lambda row: row.longest)
        raise BadInput(
            f"{len(long)} of {len(rows)} rows are longer than max_length",
            where=", ".join(row.name for row in long[:5]) + (", …" if len(long) > 5 else ""),
            found=f"up to {worst.longest} tokens ({worst.name})",
            allowed=f"{max_length} tokens",
            next_step=_what_helps(worst.longest, max_length, context),
        )
    kept: list[Row] = []
    cut: list[str] = []
    dropped: list[str] = []
    for row in rows:
        if row.longest <= max_length:
            kept.append(row)
            continue
        shorter = _cut(row, max_length) if over_long == "cut_keep_stop" else None
        if shorter is None:
            dropped.append(row.name)
        else:
            cut.append(row.name)
            kept.append(shorter)
    if not kept and not may_be_empty:
        raise BadInput(
            "no row is left to train on",
            found=f"all {len(rows)} are longer than max_length",
            allowed=f"{max_length} tokens",
        )
    return Fitted(tuple(kept), tuple(cut), tuple(dropped))


def _what_helps(longest: int, max_length: int, context: int | None) -> str:
    if context is None or longest <= context:
        return f"set max_length to {longest}, or over_long to drop or cut_keep_stop"
    room = f"set max_length to {context} at most, and " if max_length < context else ""
    return (
        f"this model reads no more than {context} tokens (max_position_embeddings): {room}leave longer rows out "
        "(over_long: drop), shorten their answers (over_long: cut_keep_stop), or divide them before they are delivered"
    )


def _cut(row: Row, max_length: int) -> Row | None:
    """The row with its over-long leaves shortened, or None where that would leave nothing but the stop token."""
    nodes = list(row.nodes)
    parents = {node.parent for node in nodes}
    ends: list[int] = []
    for place, node in enumerate(row.nodes):
        start = ends[node.parent] if node.parent >= 0 else 0
        ends.append(start + len(node.ids))
        if ends[place] <= max_length:
            continue
        trained = np.flatnonzero(node.trained)
        if place in parents or not len(trained):
            return None
        # Everything after the last trained token teaches nothing; then text gives way, the stop token stays.
        stop = int(trained[-1])
        room = max_length - start - 1
        begin = stop
        while begin > 0 and node.trained[begin - 1]:
            begin -= 1
        if room <= begin:
            return None
        keep = np.r_[0 : min(room, stop), stop]
        nodes[place] = replace(node, ids=node.ids[keep], trained=node.trained[keep])
    return replace(row, nodes=tuple(nodes))


@dataclass(frozen=True, slots=True)
class Split:
    train: tuple[Row, ...]
    validation: tuple[Row, ...]


def split(rows: Sequence[Row], share: float) -> Split:
    """Set about `share` of the rows aside. Which ones follows from their content alone, and rows with one prompt
    stay together, so that no duplicate of a training prompt is validated on."""
    if share <= 0:
        return Split(tuple(rows), ())
    groups: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        groups.setdefault(hashlib.sha256(row.prompt).hexdigest(), []).append(place)
    aside: set[int] = set()
    wanted = max(1, round(share * len(rows)))
    for key in sorted(groups):
        if len(aside) >= wanted:
            break
        if len(aside) + len(groups[key]) < len(rows):
            aside.update(groups[key])
    if not aside:
        raise BadInput(
            "no validation rows can be set aside: all rows share one prompt",
            found=f"{len(rows)} rows",
            next_step="give validation records of their own, or set validation_share to 0",
        )
    return Split(
        tuple(row for place, row in enumerate(rows) if place not in aside),
        tuple(rows[place] for place in sorted(aside)),
    )
