"""`goldsmith init`: make a workspace."""

from pathlib import Path

import click

from goldsmith.cli.options import json_option, print_json, workspace_option


@click.command("init")
@workspace_option
@click.option("--name", default=None, help="The workspace's name [default: the folder's].")
@click.option(
    "--root",
    "root_file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    default=None,
    help="A signed trust root; without it local keys are made and all is self-attested.",
)
@click.option("--source", "sources", multiple=True, help="A source that gets a local key of its own (repeatable).")
@json_option
def command(
    workspace: Path,
    keys: Path | None,
    name: str | None,
    root_file: Path | None,
    sources: tuple[str, ...],
    as_json: bool,
) -> None:
    """Make a workspace: the folder that holds all evidence."""
    from goldsmith.trust.keys import KeyRing
    from goldsmith.trust.workspace import Workspace

    made = Workspace.create(
        workspace,
        name=name,
        keys=KeyRing(keys) if keys else None,
        root_envelope=root_file.read_bytes() if root_file else None,
        sources=sources or None,
    )
    facts = {
        "workspace": str(workspace),
        "name": made.name,
        "self_attested": made.self_attested,
        "root_fingerprint": made.root_fingerprint,
        "keys": str(made.keys.folder),
    }
    if as_json:
        print_json(facts)
        return
    click.echo(f"workspace {made.name!r} in {workspace}" + (" (self-attested)" if made.self_attested else ""))
    click.echo(f"trust root {made.root_fingerprint}")
    click.echo("Keep that fingerprint outside the workspace: `goldsmith verify --root` asks for it.")
