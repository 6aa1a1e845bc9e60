"""`goldsmith verify-model ID_OR_PATH_OR_NAME`."""

import sys
from pathlib import Path

import click

from goldsmith.cli.options import json_option, print_json, safe, say, workspace_for, workspace_option
from goldsmith.types.errors import GateRefused, Inconclusive


@click.command("verify-model")
@click.argument("model")
@click.option("--device", default="cpu", show_default=True, help="Where to compute: cpu, or cuda.")
@workspace_option
@json_option
def command(model: str, device: str, workspace: Path, keys: Path | None, as_json: bool) -> None:
    """Test MODEL (a folder, a hub id, goldsmith-nano, or a model's name or digest in the workspace) on its real
    weights: template, mask, stop token, packing, a training step, merging, answering. In float32; takes about three
    times the weights' memory. An adapter of the workspace is tested as the whole model that it makes with its base.

    Exit code 1: a test failed; 3: none failed, but some could not tell.
    """
    from goldsmith.engines.model_files import is_here
    from goldsmith.stages.verify_model import verify_model

    results = []
    ws = None if is_here(model) else workspace_for(model, workspace, keys)
    for result in verify_model(model, ws=ws, device=device):
        results.append(result)
        if not as_json:
            click.echo(f"{result.verdict:<15} {result.name:<28} {safe(result.detail)}")
    counts = {verdict: sum(r.verdict == verdict for r in results) for verdict in ("pass", "fail", "could not tell")}
    code = GateRefused.exit_code if counts["fail"] else Inconclusive.exit_code if counts["could not tell"] else 0
    if as_json:
        print_json({"model": model, "results": [r.as_dict() for r in results], "counts": counts, "exit_code": code})
    else:
        say(f"{model}: " + ", ".join(f"{count} {verdict}" for verdict, count in counts.items()))
    sys.exit(code)
