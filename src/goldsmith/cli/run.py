"""`goldsmith run RECIPE`: the whole circle."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import click

from goldsmith.cli.options import json_option, open_or_create, print_json, say, workspace_option

EXIT_CODES = {"pass": 0, "fail": 1, "inconclusive": 3}


@click.command("run")
@click.argument("recipe", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@workspace_option
@click.option(
    "--report",
    "report_file",
    type=click.Path(path_type=Path),
    default=None,
    help="Also write the HTML report.",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Read the recipe, build everything it names, look for what it tunes in a base that is here, and stop.",
)
@click.option(
    "--processes",
    type=click.IntRange(min=1),
    default=None,
    help="Train on so many processes of this machine, one for each GPU; the result is that of one.  "
    "[default: what the recipe says, else 1]",
)
@click.option(
    "--shard",
    type=click.Choice(["none", "full"]),
    default=None,
    help="Whether each process holds the whole model or a shard of it (FSDP2).  "
    "[default: what the recipe says, else none]",
)
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default=None,
    help="Where the training processes are: here, or workers of a Ray cluster.  "
    "[default: what the recipe says, else local]",
)
@json_option
def command(
    recipe: Path,
    workspace: Path,
    keys: Path | None,
    report_file: Path | None,
    dry_run: bool,
    processes: int | None,
    shard: str | None,
    engine: str | None,
    as_json: bool,
) -> None:
    """Run the whole circle of RECIPE: sources in, verdict out."""
    from goldsmith import pipeline

    read, _ = pipeline.read_recipe(recipe)
    pipeline.dry_run(read)
    if dry_run:
        pipeline.require_base(read, here=True)
        print_json(read.model_dump(mode="json")) if as_json else say(f"{recipe}: every key and setting is known")
        return
    given = {"processes": processes, "shard": shard, "engine": engine}
    parallel = read.parallel.model_copy(update={name: value for name, value in given.items() if value is not None})
    circle = None
    with _leading() as leads:
        if leads:
            ws = open_or_create(workspace, keys)
            try:
                circle = pipeline.run(ws, read, recipe.parent, say=say, parallel=parallel)
            except KeyboardInterrupt:
                say("\nstopped: the same command goes on, and training from its last checkpoint")
                raise
    if circle is None:  # another process of a launcher leads, and is through
        return
    if report_file is not None:
        from goldsmith.stages.report import report

        report(ws, circle.trained[-1].digest, report_file)
        say(f"report: {report_file}")
    facts = pipeline.summary(circle)
    if as_json:
        print_json(facts)
    else:
        _tell(facts)
    raise SystemExit(EXIT_CODES[circle.outcome.value])


def _leading() -> AbstractContextManager[bool]:
    """Whether this process runs the circle: all but the first that torchrun or accelerate launch started only help to
    train."""
    from goldsmith.engines.training.scale.launcher import launched

    if not launched():
        return nullcontext(True)
    from goldsmith.engines.training.scale import launch

    return launch.leading()


def _tell(facts: dict[str, object]) -> None:
    rules = facts["rules"]
    assert isinstance(rules, list)
    for rule in rules:
        click.echo(f"{rule['outcome']:<13}{rule['rule']}: {rule['observed']} (required: {rule['required']})")
    models = facts["models"]
    assert isinstance(models, list)
    click.echo(f"{facts['verdict']}: model {facts['recipe']} {models[-1]}")
