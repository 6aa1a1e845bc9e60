"""Recipe -> the first forward of its training, token by token, before anything is trained."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

from goldsmith import plugins
from goldsmith.engines.evidence import row_name
from goldsmith.engines.screening import excluded
from goldsmith.engines.splits import split_records
from goldsmith.engines.training.data.preview import Preview, preview
from goldsmith.engines.training.model.loading import context_of
from goldsmith.engines.training.settings import TrainingSettings
from goldsmith.stages.check import checks_of
from goldsmith.stages.collect import read_source
from goldsmith.stages.train import WELL_FORMED, checks_for, records_for
from goldsmith.types.check import CheckContext, Row
from goldsmith.types.errors import BadInput
from goldsmith.types.recipe import Recipe


def show_batch(recipe: Recipe, folder: Path, *, step: int = 1, update: int = 1, forward: int = 1) -> Preview:
    """What the training step number `step` of a recipe sees first; the files named in it are read from `folder`.

    Rows come straight from the files. Of the checks only `well_formed` is asked: what it excludes holds nothing to
    learn, and a run leaves it out; what others would leave out is among them. Only the base's tokenizer is loaded.
    Errors: BadInput as in training, or a delivery that is only in a workspace; Unavailable.
    """
    from goldsmith import nano
    from goldsmith.engines.chat import open_chat

    if not 1 <= step <= len(recipe.train):
        raise BadInput("the recipe has no such training step", found=str(step), allowed=f"1 to {len(recipe.train)}")
    chosen = recipe.train[step - 1]
    method = plugins.build("methods", chosen.method, chosen.settings)
    names: dict[int, str] = {}
    rows: list[Row] = []
    for entry in recipe.sources:
        if entry.file is None:
            raise BadInput(
                "this delivery is in a workspace alone",
                where=f"{entry.name} / {entry.batch}",
                found=entry.collection,
                allowed="sources that name a file",
                next_step="name the file it came from",
            )
        for row in read_source(folder / entry.file, entry).rows:
            rows.append(row)
            names[id(row.record)] = row_name(entry.name, entry.batch, row.line)
    unusable = _unusable(recipe, rows)
    wanted = records_for(chosen.method, [row.record for row in rows if id(row.record) not in unusable])
    training, validation = split_records(wanted, recipe.validation_share)
    base = str(nano.model_path()) if recipe.base == "goldsmith-nano" else recipe.base
    shown = preview(
        method,  # type: ignore[arg-type]
        cast(TrainingSettings, method),
        open_chat(base, cast(TrainingSettings, method).new_tokens),
        training,
        [names[id(record)] for record in training],
        validation or None,
        [names[id(record)] for record in validation],
        context=context_of(base),
        seed=recipe.seed,
        device=_device(),
        update=update,
        forward=forward,
    )
    return replace(shown, left_out=tuple(names[id(row.record)] for row in rows if id(row.record) in unusable))


def _unusable(recipe: Recipe, rows: Sequence[Row]) -> set[int]:
    """The ids of records that the recipe's own `well_formed` keeps out of its release."""
    if recipe.release.excluded != "leave_out":
        return set()
    reports = [one(rows, CheckContext()) for one in checks_of(checks_for(recipe)) if one.id == WELL_FORMED]
    out = excluded([finding for report in reports for finding in report.findings])
    return {id(row.record) for row in rows if (row.record.origin.source, row.record.origin.batch, row.line) in out}


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
