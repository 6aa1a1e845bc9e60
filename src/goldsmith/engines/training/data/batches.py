"""Rows as tensors: all rows of a forward one after the other in a single flat sequence, no padding.

Names of axes: T tokens of the flat sequence, N labelled positions, S segments.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from goldsmith.engines.training.data import mixing
from goldsmith.engines.training.data.mixing import MAIN
from goldsmith.engines.training.data.rows import Node, Row


@dataclass(frozen=True, slots=True)
class Layout:
    """Which stretch of the flat sequence may see which: each segment sees itself causally, and its ancestors whole."""

    lengths: tuple[int, ...]
    parents: tuple[int, ...]

    def ancestors(self, segment: int) -> tuple[int, ...]:
        """From the root down, the segment itself left out."""
        found: list[int] = []
        parent = self.parents[segment]
        while parent >= 0:
            found.append(parent)
            parent = self.parents[parent]
        return tuple(reversed(found))


@dataclass(frozen=True, slots=True)
class Batch:
    """One forward. `labels_N[i]` is to be predicted from position `predictors_N[i]`; `owners_N[i]` is the number,
    within this batch, of the trained node it belongs to (`owner_rows` gives each owner's row, in order). `part`: what
    all of its rows are mixed in as. `weights`: of each of `rows`; none where all count the same. `draw`: the seed and
    step of the update it is part of; None where nothing is learnt from it."""

    input_ids_T: torch.Tensor
    position_ids_T: torch.Tensor
    predictors_N: torch.Tensor
    labels_N: torch.Tensor
    owners_N: torch.Tensor
    owner_rows: tuple[int, ...]
    layout: Layout
    rows: tuple[int, ...]
    part: str = MAIN
    weights: tuple[float, ...] = ()
    draw: tuple[int, int] | None = None

    @property
    def tokens(self) -> int:
        return int(self.input_ids_T.numel())

    @property
    def label_weights_N(self) -> torch.Tensor | None:
        """The weight of each label's row, float32; None where all count the same."""
        if not self.weights:
            return None
        of_row = dict(zip(self.rows, self.weights, strict=True))
        owners = torch.tensor([of_row[row] for row in self.owner_rows], device=self.owners_N.device)
        return owners[self.owners_N]

    def to(self, device: torch.device) -> "Batch":
        """The same on another device."""
        if device.type == "cpu":
            return self
        return Batch(
            self.input_ids_T.to(device),
            self.position_ids_T.to(device),
            self.predictors_N.to(device),
            self.labels_N.to(device),
            self.owners_N.to(device),
            self.owner_rows,
            self.layout,
            self.rows,
            self.part,
            self.weights,
            self.draw,
        )


class _Builder:
    def __init__(self) -> None:
        self.ids: list[np.ndarray] = []
        self.positions: list[np.ndarray] = []
        self.predictors: list[np.ndarray] = []
        self.labels: list[np.ndarray] = []
        self.owners: list[np.ndarray] = []
        self.owner_rows: list[int] = []
        self.lengths: list[int] = []
        self.parents: list[int] = []
        self.at = 0

    def add(self, node: Node, parent: int, start: int, before: int, row: int, leaf: bool) -> int:
        """Append one node; `start` its first position, `before` the flat index of the token before it (-1: none).
        Returns its segment number, or -1 where it adds no token (a branch of a single stop token)."""
        trained = node.trained.copy()
        if before < 0 and len(trained):
            trained[0] = False  # nothing comes before it to predict it from
        places = np.flatnonzero(trained)
        # A leaf's last label is predicted from the token before it; what follows predicts nothing and is left out.
        length = (int(places[-1]) if len(places) else 0) if leaf else len(node.ids)
        if leaf and not len(places):
            return -1
        if len(places):
            predictors = self.at + places - 1
            predictors[places == 0] = before
            self.predictors.append(predictors)
            self.labels.append(node.ids[places])
            self.owners.append(np.full(len(places), len(self.owner_rows)))
            self.owner_rows.append(row)
        if length == 0:
            return -1
        self.ids.append(node.ids[:length])
        self.positions.append(np.arange(start, start + length))
        self.lengths.append(length)
        self.parents.append(parent)
        self.at += length
        return len(self.lengths) - 1

    def build(self, rows: Sequence[int], part: str, weights: tuple[float, ...]) -> Batch:
        def joined(parts: list[np.ndarray]) -> torch.Tensor:
            return torch.from_numpy(np.concatenate(parts).astype(np.int64))

        return Batch(
            joined(self.ids),
            joined(self.positions),
            joined(self.predictors),
            joined(self.labels),
            joined(self.owners),
            tuple(self.owner_rows),
            Layout(tuple(self.lengths), tuple(self.parents)),
            tuple(rows),
            part,
            weights,
        )


def flat_batch(rows: Sequence[Row], chosen: Sequence[int], *, share: bool = True) -> Batch:
    """The rows at the indices `chosen` as one flat sequence.

    `share`: a prompt with several branches appears once. Without it every branch gets a copy of its prompt, for
    models whose attention cannot be steered; labels and owners come in the same order.
    """
    builder = _Builder()
    for index in chosen:
        row = rows[index]
        parents = {node.parent for node in row.nodes}
        if not share and len(row.nodes) > 1:
            _add_paths(builder, row, index, parents)
            continue
        segments: list[int] = []
        ends: list[tuple[int, int]] = []  # for each node: (next position, flat index of its last token)
        for place, node in enumerate(row.nodes):
            start, before = ends[node.parent] if node.parent >= 0 else (0, -1)
            parent = segments[node.parent] if node.parent >= 0 else -1
            segments.append(builder.add(node, parent, start, before, index, place not in parents))
            ends.append((start + len(node.ids), builder.at - 1))
    parts = {rows[index].part for index in chosen}
    weights = tuple(rows[index].weight for index in chosen)
    even = all(weight == 1.0 for weight in weights)
    return builder.build(chosen, parts.pop() if len(parts) == 1 else MAIN, () if even else weights)


def _add_paths(builder: _Builder, row: Row, index: int, parents: set[int]) -> None:
    for place, leaf in enumerate(row.nodes):
        if place in parents:
            continue
        path = [leaf]
        while path[0].parent >= 0:
            path.insert(0, row.nodes[path[0].parent])
        ids = np.concatenate([node.ids for node in path])
        trained = np.concatenate([node.trained for node in path])
        builder.add(Node(ids, trained), -1, 0, -1, index, True)


def pack(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Best-fit decreasing: indices of `lengths` in bins whose sum is at most `capacity` (a longer item gets a bin of
    its own). Equal input gives equal bins. Uses at most 11/9 OPT + 4 bins (Johnson et al. 1974)."""
    bins: list[list[int]] = []
    room: list[int] = []
    for item in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        best = -1
        for place, free in enumerate(room):
            if lengths[item] <= free and (best < 0 or free < room[best]):
                best = place
        if best < 0:
            bins.append([item])
            room.append(max(0, capacity - lengths[item]))
        else:
            bins[best].append(item)
            room[best] -= lengths[item]
    return [sorted(chosen) for chosen in bins]


def dealt(tokens: Sequence[int], size: int) -> list[list[int]]:
    """Items by process: the longest first, each to the process with the fewest tokens so far (Graham 1969: at most 4/3
    of the best). Equal input gives equal parts; within a part the order is kept."""
    parts: list[list[int]] = [[] for _ in range(size)]
    loads = [0] * size
    for item in sorted(range(len(tokens)), key=lambda i: (-tokens[i], i)):
        least = loads.index(min(loads))
        parts[least].append(item)
        loads[least] += tokens[item]
    return [sorted(part) for part in parts]


@dataclass(frozen=True, slots=True)
class Update:
    """The rows of one optimiser step, in forwards. `labels` counts trained tokens over all of them."""

    step: int
    epoch: float
    rows: tuple[int, ...]
    batches: tuple[Batch, ...]

    @property
    def labels(self) -> int:
        return sum(int(batch.labels_N.numel()) for batch in self.batches)

    @property
    def tokens(self) -> int:
        return sum(batch.tokens for batch in self.batches)


@dataclass(frozen=True, slots=True)
class Plan:
    """Which rows meet in which step: a pure function of the seed, so that any step can be found again.

    `rows_per_update` rows make a step. They are computed in forwards of at most `forward_tokens` tokens, packed best
    fit, or of `forward_rows` rows in their order where `forward_tokens` is 0; the result is the same. `processes`
    share an update: it is cut into that many parts of about equal tokens before it is put into forwards.

    `mix`: (part, share of each update's rows); what is left are rows of the main part, which epochs count. The rows of
    a forward are all of one part, so that each part's loss is known.
    """

    rows: tuple[Row, ...]
    seed: int
    rows_per_update: int
    steps: int
    forward_tokens: int
    forward_rows: int
    share: bool = True
    mix: tuple[tuple[str, float], ...] = ()
    processes: int = 1

    @property
    def steps_per_epoch(self) -> int:
        if self.mix:
            main = sum(row.part == MAIN for row in self.rows)
            return mixing.steps_per_pass(main, self.rows_per_update, [share for _, share in self.mix])
        return -(-len(self.rows) // self.rows_per_update)

    def rows_of(self, step: int) -> list[int]:
        """Row indices of the 0-based `step`."""
        if self.mix:
            return self._mixed(step)
        epoch, place = divmod(step, self.steps_per_epoch)
        order = np.random.Generator(np.random.PCG64([self.seed, epoch])).permutation(len(self.rows))
        low = place * self.rows_per_update
        return [int(i) for i in order[low : low + self.rows_per_update]]

    def _mixed(self, step: int) -> list[int]:
        names = [MAIN, *(part for part, _ in self.mix)]
        places: dict[str, list[int]] = {name: [] for name in names}
        for place, row in enumerate(self.rows):
            places[row.part].append(place)
        shares = [share for _, share in self.mix]
        return mixing.chosen_rows(step, self.rows_per_update, [places[name] for name in names], shares, self.seed)

    def update(self, step: int) -> Update:
        """Step number `step`, 0-based."""
        chosen = self.rows_of(step)
        parts = [chosen]
        if self.processes > 1:
            sizes = [self.rows[i].tokens for i in chosen]
            parts = [[chosen[place] for place in part] for part in dealt(sizes, self.processes) if part]
        batches = tuple(replace(one, draw=(self.seed, step)) for part in parts for one in self.forwards(part))
        return Update(step, (step + 1) / self.steps_per_epoch, tuple(chosen), batches)

    def updates(self, start: int = 0) -> Iterator[Update]:
        """All updates from `start` on."""
        for step in range(start, self.steps):
            yield self.update(step)

    def forwards(self, chosen: Sequence[int]) -> Iterator[Batch]:
        """The rows at `chosen` in forwards."""
        yield from self._forwards(self.rows, chosen)

    def over(self, rows: Sequence[Row]) -> Iterator[Batch]:
        """Other rows, once and in order, in forwards of the same size."""
        for low in range(0, len(rows), 256):
            yield from self._forwards(rows, range(low, min(low + 256, len(rows))))

    def _forwards(self, rows: Sequence[Row], chosen: Sequence[int]) -> Iterator[Batch]:
        for part in dict.fromkeys(rows[i].part for i in chosen):
            yield from self._packed(rows, [i for i in chosen if rows[i].part == part])

    def _packed(self, rows: Sequence[Row], chosen: Sequence[int]) -> Iterator[Batch]:
        if self.forward_tokens:
            bins = pack([rows[i].tokens for i in chosen], self.forward_tokens)
        else:
            bins = [
                list(range(low, min(low + self.forward_rows, len(chosen))))
                for low in range(0, len(chosen), self.forward_rows)
            ]
        for members in bins:
            yield flat_batch(rows, [chosen[m] for m in members], share=self.share)
