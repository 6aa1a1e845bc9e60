"""`goldsmith admit MODEL`: the operator vouches for a base model."""

from pathlib import Path

import click

from goldsmith.cli.options import open_or_create, workspace_option


@click.command("admit")
@click.argument("model")
@click.option("--reason", required=True, help="Why it may be served without an examination; shown in /v1/models.")
@workspace_option
def command(model: str, reason: str, workspace: Path, keys: Path | None) -> None:
    """Admit base MODEL (goldsmith-nano, a folder or a hub id) for serving, signed by the operator."""
    from goldsmith.stages.promote import admit
    from goldsmith.stages.train import register_base

    ws = open_or_create(workspace, keys)
    digest, _ = register_base(ws, model)
    admit(ws, digest, reason)
    click.echo(f"admitted {model} {digest}")
