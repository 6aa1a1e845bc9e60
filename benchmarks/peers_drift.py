"""Drift of model-written text against human text: ours beside evidently's drift preset."""

import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import clean_sets
import results
import synthetic

from goldsmith import plugins
from goldsmith.engines.text.projection import project
from goldsmith.types.check import CheckContext, Row
from goldsmith.types.record import Maker

SETS = ("gsm8k", "codealpaca-new", "alpaca", "hh")
DEFECTS = ("a third of the topics", "answers repeated with a tail", "5 % near copies")
_MOST = 500


def cases(data: Path, repeats: int) -> list[tuple[str, list[Row], list[Row]]]:
    """(what, human rows, synthetic rows), at most 500 a side; `halves` are false alarms, all others are shifts."""
    made = []
    for name in SETS:
        clean = clean_sets.clean_rows(data, [name])
        for draw in range(2 * repeats):
            mixed = random.Random(f"{name}/{draw}").sample(clean, min(len(clean), 2 * _MOST))
            half = len(mixed) // 2
            made.append(("halves", _as(Maker.HUMAN, mixed[:half]), _as(Maker.MODEL, mixed[half:])))
    for defect in DEFECTS:
        for draw in range(repeats):
            rows = synthetic.planted(data, "gsm8k", defect, random.Random(f"{defect}/{draw}"))
            made.append((defect, _of(rows, "people"), _of(rows, defect)))
    for draw in range(repeats):
        rows = synthetic.recursive(data, "wikipedia_abstracts", random.Random(draw))
        made.append(("a word chain's third generation", _of(rows, "people"), _of(rows, "generation 3")))
    rows = synthetic.self_instruct(data)
    model = next(row.record.origin.source for row in rows if row.record.origin.maker is Maker.MODEL)
    made.append(("a model's answers to the same tasks", _of(rows, "people"), _of(rows, model)))
    return made


def _as(maker: Maker, rows: list[Row]) -> list[Row]:
    source = "people" if maker is Maker.HUMAN else "model"
    return [synthetic.labelled(row.record.content, maker, source, i) for i, row in enumerate(rows, 1)]


def _of(rows: list[Row], source: str) -> list[Row]:
    return [row for row in rows if row.record.origin.source == source][:_MOST]


def rows(data: Path, peers: Any, repeats: int) -> list[dict[str, Any]]:
    """Share of cases with an alarm, by what was done; and CPU-seconds for one case."""
    made = cases(data, repeats)
    texts = [[[synthetic.text_of(row) for row in side] for side in case[1:]] for case in made]
    answer = peers("evidently", {"pairs": texts})
    if answer is None:
        return []
    _alarm(synthetic.CHECKS, [*made[0][1][:100], *made[0][2][:100]])
    mine: list[dict[str, bool]] = []
    cpu = {"synthetic_drift": 0.0, "all synthetic checks": 0.0}
    for _, human, model in made:
        both = [Row(i, row.record) for i, row in enumerate([*human, *model], 1)]
        hit = {}
        for name, used in (("synthetic_drift", ("synthetic_drift",)), ("all synthetic checks", synthetic.CHECKS)):
            started = time.process_time()
            hit[name] = _alarm(used, [*both])  # A list of its own, so that nothing is kept from the run before.
            cpu[name] += time.process_time() - started
        mine.append(hit)
    out = []
    for ours, share in cpu.items():
        each = [share / len(made)], [answer["cpu_s"] / len(made)]
        out.append(results.row(f"drift, {ours}: CPU", *each, "CPU-s a case", peer_version=answer["version"]))
        for what in dict.fromkeys(case[0] for case in made):
            at = [i for i, case in enumerate(made) if case[0] == what]
            for column, label in (("text", "text column"), ("", "data set")):
                one = results.row(
                    f"drift, {what}: {ours}, evidently's {label}",
                    [sum(mine[i][ours] for i in at) / len(at)],
                    [sum(column in answer["found"][i] for i in at) / len(at)],
                    "share of cases with an alarm",
                    peer_version=answer["version"],
                )
                out.append({**one, "repeats": len(at)})
    return out


def _alarm(names: Sequence[str], rows: list[Row]) -> bool:
    view = project(rows)
    checks: Any = [plugins.build("checks", name) for name in names]
    return any(bool(check(view, CheckContext()).findings) for check in checks)
