"""`goldsmith report MODEL`: one HTML file."""

from pathlib import Path

import click

from goldsmith.cli.options import open_workspace, workspace_option


@click.command("report")
@click.argument("model")
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("report.html"),
    show_default=True,
)
@workspace_option
def command(model: str, out: Path, workspace: Path, keys: Path | None) -> None:
    """Write the report of MODEL (a name or digest) as one self-contained HTML file."""
    from goldsmith.engines.evidence import find_model
    from goldsmith.stages.report import report

    ws = open_workspace(workspace, keys)
    report(ws, find_model(ws, model)[0], out)
    click.echo(str(out))
