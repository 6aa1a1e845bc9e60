"""`goldsmith collect RECIPE`: take in deliveries."""

from pathlib import Path

import click

from goldsmith.cli.options import json_option, open_or_create, print_json, workspace_option


@click.command("collect")
@click.argument("recipe", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@workspace_option
@click.option("--again", is_flag=True, help="Do not mind files that were taken in before; without it that is a replay.")
@json_option
def command(recipe: Path, workspace: Path, keys: Path | None, again: bool, as_json: bool) -> None:
    """Take in the signed deliveries RECIPE names; each whole, or refused whole with the reason."""
    from goldsmith import pipeline
    from goldsmith.stages.collect import collect

    read, _ = pipeline.read_recipe(recipe)
    ws = open_or_create(workspace, keys)
    taken = [collect(ws, entry, recipe.parent, reuse=again) for entry in read.sources]
    if as_json:
        print_json(
            [{"collection": one.digest, "again": one.again, **one.collection.model_dump(mode="json")} for one in taken]
        )
        return
    for one in taken:
        held = one.collection
        click.echo(
            f"{held.source} / {held.batch}: {held.count} records, {held.faulty} faulty, {held.format}"
            + (" (taken in before)" if one.again else "")
        )
