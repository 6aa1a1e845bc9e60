"""`goldsmith show`: look at what is there."""

import inspect
from pathlib import Path

import click

from goldsmith.cli.options import open_workspace, print_json, safe, workspace_option

KINDS = ("sources", "checks", "methods", "evals", "judges", "defences", "attacks")


@click.group("show")
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
@click.argument("release")
@workspace_option
def findings(release: str, workspace: Path, keys: Path | None) -> None:
    """What the checks found in RELEASE's deliveries."""
    from goldsmith.engines.evidence import find_release, findings_of

    ws = open_workspace(workspace, keys)
    for one in findings_of(ws, find_release(ws, release)[1]):
        where = f"{safe(one.source or '?')} / {safe(one.batch or '?')}"
        click.echo(f"{one.severity.value:<11}{one.check} ({one.score:.2f}) {where}: {safe(one.evidence)}")
