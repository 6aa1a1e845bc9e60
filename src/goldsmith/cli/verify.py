"""`goldsmith verify FOLDER`: every byte, signature and link, offline."""

from pathlib import Path

import click

from goldsmith.cli.options import json_option, print_json


@click.command("verify")
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False), default=Path(".goldsmith"))
@click.option("--root", "fingerprint", default=None, help="The trust root's fingerprint, kept outside the folder.")
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    default=None,
    help="A checkpoint file kept outside the folder.",
)
@json_option
def command(folder: Path, fingerprint: str | None, checkpoint: Path | None, as_json: bool) -> None:
    """Check every byte, signature and link of a workspace; works on a copy, without keys or network."""
    from goldsmith.trust.verify import verify

    report = verify(folder, fingerprint, checkpoint.read_text(encoding="utf-8") if checkpoint else None)
    if as_json:
        print_json(report.model_dump(mode="json"))
    else:
        click.echo(str(report))
    report.raise_if_failed()
