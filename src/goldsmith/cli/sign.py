"""`goldsmith sign FILE`: sign a file as a source's next delivery."""

from pathlib import Path

import click

from goldsmith.cli.options import open_workspace, workspace_option


@click.command("sign")
@click.argument("file", type=click.Path(path_type=Path, exists=True))
@workspace_option
@click.option("--source", required=True, help="The source that delivers.")
@click.option("--batch", default="1", show_default=True)
@click.option(
    "--recipe",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    default=None,
    help="Take what the recipe says of this file's origin (licence, maker, ...), which is part of what is signed.",
)
@click.option("--format", "format_name", default=None, help="Override the detected row format.")
def command(
    file: Path,
    workspace: Path,
    keys: Path | None,
    source: str,
    batch: str,
    recipe: Path | None,
    format_name: str | None,
) -> None:
    """Sign FILE as the next delivery of a source to this workspace; writes FILE.delivery.json beside it."""
    from goldsmith import pipeline
    from goldsmith.stages.collect import sign_delivery
    from goldsmith.types.recipe import SourceEntry

    entry = SourceEntry(name=source, batch=batch, file=str(file), format=format_name)
    if recipe is not None:
        entries = pipeline.read_recipe(recipe)[0].sources
        entry = next((one for one in entries if (one.name, one.batch) == (source, batch)), entry)
    written = sign_delivery(open_workspace(workspace, keys), entry, file)
    click.echo(str(written))
