"""`goldsmith show`: look at what is there."""

import inspect
import os
import sys
from pathlib import Path

import click

from goldsmith.cli.options import Commands, json_option, open_workspace, print_json, safe, workspace_option

KINDS = ("sources", "checks", "methods", "rewards", "evals", "judges", "defences", "attacks")


@click.group("show", cls=Commands)
def command() -> None:
    """Show records, findings, what was left out, or the capabilities there are."""


@command.command("capabilities")
@click.argument("kind", type=click.Choice(KINDS), required=False)
def capabilities(kind: str | None) -> None:
    """The built-in capabilities and their settings."""
    from goldsmith import plugins

    for each in (kind,) if kind else KINDS:
        for name in plugins.names(each):  # type: ignore[arg-type]
            found = plugins.find(each, name)  # type: ignore[arg-type]
            doc = (inspect.getdoc(found) or "").split("\n")[0]
            click.echo(f"{each[:-1]:<9}{name:<22}{doc}")
            for field, info in found.model_fields.items() if kind else ():
                click.echo(f"{'':<11}{field} = {info.default!r}")


@command.command("schema")
@click.argument("name", type=click.Choice(["recipe", "due-diligence"]), default="recipe")
def schema(name: str) -> None:
    """The JSON Schema of a recipe (for editors), or of a due-diligence report (for those who read one by machine)."""
    from goldsmith.types.diligence import report_schema
    from goldsmith.types.recipe import Recipe

    print_json(Recipe.model_json_schema() if name == "recipe" else report_schema())


@command.command("rows")
@click.argument("file", type=click.Path(path_type=Path, exists=True))
@click.option("-n", "count", default=3, show_default=True)
@click.option("--format", "format_name", default=None)
def rows(file: Path, count: int, format_name: str | None) -> None:
    """The first records of FILE as Goldsmith reads them, and its faulty lines."""
    from goldsmith.stages.collect import read_source
    from goldsmith.types.recipe import SourceEntry

    reading = read_source(file, SourceEntry(name="shown", file=str(file), format=format_name))
    for row in reading.rows[:count]:
        print_json({"line": row.line, **row.record.model_dump(mode="json", exclude_defaults=True)})
    for fault in reading.faults[:20]:
        click.echo(f"line {fault.line}: {safe(fault.what)}", err=True)


@command.command("batch")
@click.argument("recipe", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("-n", "count", type=click.IntRange(min=1), default=4, show_default=True, help="At most so many rows.")
@click.option("--step", type=click.IntRange(min=1), default=1, show_default=True, help="Which step of `train`.")
@click.option("--update", type=click.IntRange(min=1), default=1, show_default=True, help="Which update of it.")
@click.option("--forward", type=click.IntRange(min=1), default=1, show_default=True, help="Which forward of that.")
@click.option("--tokens", "bounds", is_flag=True, help="A bar between tokens.")
@click.option("--colour", type=click.Choice(["auto", "always", "never"]), default="auto", show_default=True)
@json_option
def batch(
    recipe: Path, count: int, step: int, update: int, forward: int, bounds: bool, colour: str, as_json: bool
) -> None:
    """The first forward of RECIPE's training: what is trained, what is masked, what is cut away, who sits beside whom.

    The rows are read from the recipe's files, before any check but well_formed; only the base's tokenizer is loaded.
    Without colour (NO_COLOR, or no terminal) marks say the same. Exit code 1 where rows are too long and the run would
    stop.
    """
    from goldsmith import pipeline
    from goldsmith.cli import batch_text
    from goldsmith.stages.show_batch import show_batch

    read, _ = pipeline.read_recipe(recipe)
    shown = show_batch(read, recipe.parent, step=step, update=update, forward=forward)
    if as_json:
        print_json(batch_text.document(shown, count))
    else:
        coloured = colour == "always" or (colour == "auto" and sys.stdout.isatty() and not os.environ.get("NO_COLOR"))
        for line in batch_text.lines(shown, colour=coloured, most_rows=count, bounds=bounds):
            click.echo(line, color=coloured)
    raise SystemExit(1 if shown.stops_the_run else 0)


@command.command("left-out")
@click.argument("release")
@workspace_option
def left_out(release: str, workspace: Path, keys: Path | None) -> None:
    """Everything that was delivered and is not in RELEASE, with the reasons."""
    from goldsmith.engines.evidence import find_release, left_out_of

    ws = open_workspace(workspace, keys)
    for one in left_out_of(ws, find_release(ws, release)[1]):
        click.echo(f"{safe(one.source)} / {safe(one.batch)} line {one.line}: {safe(one.reason)}")


@command.command("findings")
@click.argument("release", required=False)
@click.option("--open", "only_open", is_flag=True, help="Only those that keep rows out and that nobody decided on.")
@workspace_option
@json_option
def findings(release: str | None, only_open: bool, workspace: Path, keys: Path | None, as_json: bool) -> None:
    """What the checks found in RELEASE's deliveries [default: the newest], and what reviewers decided on it."""
    from goldsmith.engines.evidence import find_release, newest_release
    from goldsmith.stages.review import found_in

    ws = open_workspace(workspace, keys)
    _, made = find_release(ws, release) if release else newest_release(ws)
    found = [one for one in found_in(ws, made) if one.state == "open" or not only_open]
    if as_json:
        print_json([{"id": f.id, "state": f.state, **f.finding.model_dump(mode="json")} for f in found])
        return
    for one in found:
        where = f"{safe(one.source)} / {safe(one.batch)}"
        told = one.finding
        click.echo(
            f"{one.id[7:19]} {one.state:<7}{told.severity.value:<11}{told.check} ({told.score:.2f}) {where}: "
            f"{safe(told.evidence)}"
        )


@command.command("decisions")
@workspace_option
@json_option
def decisions(workspace: Path, keys: Path | None, as_json: bool) -> None:
    """What reviewers decided, and whether it is still in force."""
    from goldsmith.engines.reviews import decisions as all_decisions

    found = all_decisions(open_workspace(workspace, keys))
    if as_json:
        print_json([{"id": f.digest, "void": f.void, **f.review.model_dump(mode="json")} for f in found])
        return
    for one in found:
        held = one.review
        until = f" until {held.expires_at}" if held.expires_at else ""
        click.echo(
            f"{one.digest[7:19]} {held.decision.value} {safe(held.source)} / {safe(held.batch)}{until}: "
            f"{safe(held.reason)} (signed as {one.role}, {one.signed_at})"
            + (f" - {safe(one.void)}" if one.void else "")
        )
