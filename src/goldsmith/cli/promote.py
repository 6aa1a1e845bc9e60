"""`goldsmith promote MODEL --policy POLICY`."""

from pathlib import Path

import click

from goldsmith.cli.options import json_option, open_workspace, print_json, workspace_option

EXIT_CODES = {"pass": 0, "fail": 1, "inconclusive": 3}


@click.command("promote")
@click.argument("model")
@click.option("--policy", type=click.Path(path_type=Path, exists=True, dir_okay=False), required=True)
@workspace_option
@json_option
def command(model: str, policy: Path, workspace: Path, keys: Path | None, as_json: bool) -> None:
    """Judge MODEL's newest examination by a policy file; the verdict is signed whatever it is."""
    from goldsmith.engines.evidence import find_model, newest_examination
    from goldsmith.stages.promote import promote, read_policy

    ws = open_workspace(workspace, keys)
    rules = read_policy(policy)
    digest, verdict = promote(ws, newest_examination(ws, find_model(ws, model)[0]), rules)
    if as_json:
        print_json({"digest": digest, **verdict.model_dump(mode="json")})
    else:
        for rule in verdict.rules:
            click.echo(f"{rule.outcome.value:<13}{rule.rule}: {rule.observed} (required: {rule.required})")
        click.echo(f"{verdict.outcome.value}: verdict {digest}")
    raise SystemExit(EXIT_CODES[verdict.outcome.value])
