"""Recipe -> the first forward of its training, token by token, before anything is trained."""

from pathlib import Path
from typing import cast

from goldsmith import plugins
from goldsmith.engines.splits import split_records
from goldsmith.engines.training.data.preview import Preview, preview
from goldsmith.engines.training.settings import TrainingSettings
from goldsmith.stages.collect import read_source
from goldsmith.stages.train import records_for
from goldsmith.types.errors import BadInput
from goldsmith.types.recipe import Recipe
from goldsmith.types.record import Record


def show_batch(recipe: Recipe, folder: Path, *, step: int = 1, update: int = 1, forward: int = 1) -> Preview:
    """What the training step number `step` of a recipe sees first; the files named in it are read from `folder`.

    Rows come straight from the files: those that the checks would leave out are among them. Only the base's tokenizer
    is loaded. Errors: BadInput as in training, or a delivery that is only in a workspace; Unavailable.
    """
    from goldsmith import nano
    from goldsmith.engines.chat import open_chat

    if not 1 <= step <= len(recipe.train):
        raise BadInput("the recipe has no such training step", found=str(step), allowed=f"1 to {len(recipe.train)}")
    chosen = recipe.train[step - 1]
    method = plugins.build("methods", chosen.method, chosen.settings)
    names: dict[int, str] = {}
    records: list[Record] = []
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
            records.append(row.record)
            names[id(row.record)] = f"{entry.name} / {entry.batch} line {row.line}"
    wanted = records_for(chosen.method, records)
    training, validation = split_records(wanted, recipe.validation_share)
    base = str(nano.model_path()) if recipe.base == "goldsmith-nano" else recipe.base
    return preview(
        method,  # type: ignore[arg-type]
        cast(TrainingSettings, method),
        open_chat(base, cast(TrainingSettings, method).new_tokens),
        training,
        [names[id(record)] for record in training],
        validation or None,
        seed=recipe.seed,
        device=_device(),
        update=update,
        forward=forward,
    )


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
