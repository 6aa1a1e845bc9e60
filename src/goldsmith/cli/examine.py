"""`goldsmith examine MODEL --recipe RECIPE`."""

from pathlib import Path

import click

from goldsmith.cli.options import json_option, open_workspace, print_json, workspace_option


@click.command("examine")
@click.argument("model")
@click.option(
    "--recipe",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    required=True,
    help="The recipe whose evals to run.",
)
@click.option("--against", default=None, help="The model to compare with on the same items [default: its base].")
@workspace_option
@json_option
def command(model: str, recipe: Path, against: str | None, workspace: Path, keys: Path | None, as_json: bool) -> None:
    """Examine MODEL (a name or digest) with a recipe's evals, beside its base model."""
    from goldsmith import pipeline
    from goldsmith.engines.evidence import find_model, root_model
    from goldsmith.stages.examine import examine

    read, _ = pipeline.read_recipe(recipe)
    ws = open_workspace(workspace, keys)
    digest, _ = find_model(ws, model)
    base = find_model(ws, against)[0] if against else root_model(ws, digest)
    made, examination = examine(ws, digest, base if base != digest else None, read.examine, seed=read.seed)
    if as_json:
        print_json({"examination": made, "results": [r.model_dump(mode="json") for r in examination.results]})
        return
    for r in examination.results:
        beside = f"   base {r.base_mean:.3f}" if r.base_mean is not None else ""
        click.echo(f"{r.eval}.{r.metric:<32} {r.mean:.3f} [{r.low:.3f}, {r.high:.3f}] n={r.n}{beside}")
    click.echo(f"examination {made}")
