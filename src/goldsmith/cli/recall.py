"""`goldsmith recall SOURCE`: withdraw everything it touched."""

from pathlib import Path

import click

from goldsmith.cli.options import json_option, open_workspace, print_json, say, workspace_option


@click.command("recall")
@click.argument("source", required=False)
@click.option("--batch", default=None, help="Only this batch of the source.")
@click.option("--record", default=None, help="Only the record with this digest.")
@click.option("--reason", required=True, help="Why; it is signed with the withdrawal.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=None,
    help="Where to write the recipe that retrains without it [default: NAME-recalled.yaml here].",
)
@click.option("--dry-run", is_flag=True, help="Only name what it touched.")
@workspace_option
@json_option
def command(
    source: str | None,
    batch: str | None,
    record: str | None,
    reason: str,
    out: Path | None,
    dry_run: bool,
    workspace: Path,
    keys: Path | None,
    as_json: bool,
) -> None:
    """Withdraw every release, model and promotion that SOURCE (or a batch, or one record) touched."""
    from goldsmith.engines.yaml_file import dump_yaml
    from goldsmith.stages.recall import find_touched, recall
    from goldsmith.trust import durable
    from goldsmith.types.errors import BadInput
    from goldsmith.types.recipe import Without

    if source is None and record is None:
        raise BadInput("name what to recall", allowed="SOURCE, SOURCE --batch BATCH, or --record DIGEST")
    without = Without(source=source, batch=batch, record=record)
    ws = open_workspace(workspace, keys)
    touched = find_touched(ws, without) if dry_run else recall(ws, without, reason)
    written = None
    if touched.recipe is not None:
        written = out or Path(f"{touched.recipe.name}.yaml")
        durable.replace(written, dump_yaml(touched.recipe).encode())
    if as_json:
        print_json({**touched.as_dict(), "recipe": str(written) if written else None})
        return
    for kind in ("collections", "reviews", "releases", "runs", "models", "promotions"):
        for digest in getattr(touched, kind):
            state = " - withdrawn" if digest in touched.withdrawn else ""
            click.echo(f"{kind[:-1]:<11} {touched.names.get(digest, '')} {digest[:23]}{state}")
    if written:
        say(f"to retrain without it: goldsmith run {written}")
