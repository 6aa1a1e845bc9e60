"""`goldsmith trace MODEL`: where it comes from."""

from pathlib import Path
from typing import Any

import click

from goldsmith.cli.options import json_option, open_workspace, print_json, safe, workspace_option


@click.command("trace")
@click.argument("model")
@click.option("--answer", default=None, help="A question and its answer: also show the training records nearest to it.")
@workspace_option
@json_option
def command(model: str, answer: str | None, workspace: Path, keys: Path | None, as_json: bool) -> None:
    """Show sources -> records -> release -> run -> model -> verdict of MODEL (a name or digest)."""
    from goldsmith.engines.evidence import find_model
    from goldsmith.stages.trace import teachers, trace

    ws = open_workspace(workspace, keys)
    digest, _ = find_model(ws, model)
    found = trace(ws, digest)
    near = teachers(ws, digest, answer) if answer else []
    if as_json:
        print_json({**found.as_dict(), **({"nearest": near} if answer else {})})
        return
    for step in found.steps:
        _tell(step)
    if answer:
        click.echo("nearest in wording among the records it learned from (a pointer, not a measure of influence):")
        for one in near:
            click.echo(f"  {one['similarity']:.2f}  {safe(one['source'])} / {safe(one['batch'])}  {one['record'][:23]}")
            click.echo(f"        {safe(one['text'])[:160]}")


def _tell(step: dict[str, Any]) -> None:
    click.echo(f"model {step['name']} {step['model'][:23]} ({step['form']}): {step['standing']}")
    for verdict in step["verdicts"]:
        click.echo(f"  verdict {verdict['verdict'][:23]}: {verdict['outcome']}, signed {verdict['signed_at']}")
    if "run" in step:
        run, release = step["run"], step["release"]
        click.echo(
            f"  run {run['digest'][:23]}: {run['method']}, {run['steps']} steps "
            f"on {run['records_used']} records, seed {run['seed']}"
        )
        click.echo(
            f"  release {release['name']} {release['digest'][:23]}: "
            f"{release['records']} records, {release['left_out']} left out"
            + (" - WITHDRAWN" if release["withdrawn"] else "")
        )
        for one in release["sources"]:
            click.echo(
                f"    {safe(one['source'])} / {safe(one['batch'])}: "
                f"{one['used']} of {one['delivered']} delivered records used"
                + (" - RECALLED" if one["withdrawn"] else "")
            )
            for said in one["decisions"]:
                void = f" - {safe(said['void'])}" if said["void"] else ""
                click.echo(f"      {said['decision']} {said['review'][7:19]}: {safe(said['reason'])}{void}")
