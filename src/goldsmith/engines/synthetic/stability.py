"""Does a source say the same when it is asked again? Batches that answer one set of prompts, and metrics between
halves.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from goldsmith.engines.synthetic import diversity
from goldsmith.engines.synthetic.groups import kappa
from goldsmith.engines.synthetic.sides import Unit
from goldsmith.engines.text.projection import Columns
from goldsmith.engines.text.tokens import ngrams, words

FEWEST_SHARED = 20
_MOST = 1000
_LONGEST = 1500


@dataclass(frozen=True, slots=True)
class Repeat:
    """Two batches of one source that answer the same prompts. `equal`: the share of equal answers; `moved`: the largest
    coefficient of variation of a metric between them, and `metric` its name; `agreement`: Cohen's kappa of repeated
    judgements (None without comparisons).
    """

    source: str
    batches: tuple[str, str]
    prompts: int
    equal: float
    moved: float
    metric: str
    agreement: float | None


def repeats(columns: Columns, units: tuple[Unit, ...], generators: Sequence[str | None]) -> Iterator[Repeat]:
    """Pairs of a source's batches, by the same generator, that share at least 20 prompts and half of the smaller."""
    by_source: dict[str, list[Unit]] = {}
    for unit in units:
        if unit.batch is not None:
            by_source.setdefault(unit.source, []).append(unit)
    for own in by_source.values():
        read = [_by_prompt(columns, unit.rows) for unit in own]
        for k in range(1, len(own)):
            first, second = read[k - 1], read[k]
            shared = sorted(first.keys() & second.keys())
            if len(shared) < max(FEWEST_SHARED, 0.5 * min(len(first), len(second))):
                continue
            made = {generators[rows[key]] for rows in (first, second) for key in shared[:_MOST]}
            if len(made) != 1:
                continue
            yield _repeat(columns, own[k - 1], own[k], [(first[key], second[key]) for key in shared[:_MOST]])


def _by_prompt(columns: Columns, rows: NDArray[np.int64]) -> dict[str, int]:
    found: dict[str, int] = {}
    for row in rows.tolist():
        prompt = columns.user[row]
        if columns.kind[row] == "comparison":
            prompt += "\n" + "\n".join(sorted((columns.answer[row], columns.rejected[row] or "")))
        if prompt:
            found[prompt] = min(row, found.get(prompt, row))
    return found


def _repeat(columns: Columns, one: Unit, two: Unit, pairs: list[tuple[int, int]]) -> Repeat:
    judged = [(a, b) for a, b in pairs if columns.kind[a] == columns.kind[b] == "comparison"]
    agreement = None
    if len(judged) >= FEWEST_SHARED:
        # Which answer sorts first is arbitrary, so half of the judgements are yes whatever the judge prefers.
        rounds = [
            [columns.answer[i] <= (columns.rejected[i] or "") for i in side] for side in zip(*judged, strict=True)
        ]
        agreement = kappa(rounds[0], rounds[1])
    said = [(a, b) for a, b in pairs if columns.kind[a] != "comparison"]
    texts = [[columns.answer[i][:_LONGEST] for i in side] for side in zip(*said, strict=True)] if said else [[], []]
    equal = float(np.mean([a == b for a, b in zip(*texts, strict=True)])) if said else 1.0
    moved, metric = 0.0, "answers"
    for name, values in _metrics(texts).items():
        middle = abs(values[0] + values[1]) / 2
        variation = float(np.std(values, ddof=1)) / middle if middle > 0 else 0.0
        if variation > moved:
            moved, metric = variation, name
    return Repeat(one.source, (one.batch or "", two.batch or ""), len(pairs), equal, moved, metric, agreement)


def _metrics(texts: list[list[str]]) -> dict[str, tuple[float, float]]:
    if not texts[0]:
        return {}
    tokens = [words(side) for side in texts]
    pairs = [ngrams(one, 2).hashes for one in tokens]
    budget = min(len(one) for one in pairs)
    lengths = [float(one.counts().mean()) for one in tokens]
    kinds = [diversity.distinct(one, budget) for one in pairs]
    return {"mean length": (lengths[0], lengths[1]), "different word pairs": (kinds[0], kinds[1])}
