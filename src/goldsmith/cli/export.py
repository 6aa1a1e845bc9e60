"""`goldsmith export`: data for other people's tools."""

from pathlib import Path

import click

from goldsmith.cli.options import open_workspace, say, workspace_option


@click.group("export")
def command() -> None:
    """Write data in standard forms, for other people's tools."""


@command.command("croissant")
@click.argument("subject")
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="An empty or new folder for the description and the records.",
)
@click.option(
    "--card",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    default=None,
    help="YAML with what only you can say: description, use cases, protocol, maintenance ...",
)
@click.option("--source", default="unknown", help="The source of a file's rows that name none.")
@click.option("--batch", default="unknown", help="The batch of a file's rows that name none.")
@workspace_option
def croissant(
    subject: str, out: Path, card: Path | None, source: str, batch: str, workspace: Path, keys: Path | None
) -> None:
    """Describe SUBJECT (a file, a release, or a collection) in Croissant 1.1 with RAI, beside its records.

    The data is checked as `goldsmith diligence` does; what is known is said, the rest is "not stated".
    """
    from goldsmith import pipeline
    from goldsmith.types.record import Origin

    if Path(subject).exists():
        written = pipeline.croissant_of_file(Path(subject), out, card, origin=Origin(source=source, batch=batch))
    else:
        written = pipeline.croissant_of_stated(open_workspace(workspace, keys), subject, out, card)
    click.echo(str(written[0]))
    for path in written[1:]:
        say(str(path))
