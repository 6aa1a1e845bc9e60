"""`goldsmith diligence SUBJECT`: what a vendor shows a buyer of feedback data."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from goldsmith.cli.options import json_option, open_workspace, say, workspace_option

if TYPE_CHECKING:
    pass

EXIT_CODES = {"pass": 0, "fail": 1, "inconclusive": 3}


@click.command("diligence")
@click.argument("subject")
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("due-diligence.html"),
    show_default=True,
    help="The HTML page; the JSON report, and a signed one's proof, are written beside it.",
)
@click.option(
    "--coverage",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    default=None,
    help="What a drill on this data measured (`goldsmith drill --json`).",
)
@click.option("--drill", is_flag=True, help="Run a small drill now, to measure what the checks would find here.")
@click.option(
    "--votes",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    default=None,
    help="Annotator votes: item, annotator, label, gold or null.",
)
@click.option(
    "--evals",
    multiple=True,
    type=click.Path(path_type=Path, exists=True),
    help="An eval set whose rows must not be in the data (repeatable).",
)
@click.option("--format", "format_name", default=None, help="Override a file's detected row format.")
@click.option("--off", multiple=True, help="Leave a check out (repeatable); the report says so.")
@click.option("--allow-host", "hosts", multiple=True, help="A host that tool calls may name (repeatable).")
@click.option("--allow-tool", "tools", multiple=True, help="A tool that may be called (repeatable).")
@click.option("--source", default="unknown", help="The source of a file's rows that name none.")
@click.option("--batch", default="unknown", help="The batch of a file's rows that name none.")
@workspace_option
@json_option
def command(
    subject: str,
    out: Path,
    coverage: Path | None,
    drill: bool,
    votes: Path | None,
    evals: tuple[Path, ...],
    format_name: str | None,
    off: tuple[str, ...],
    hosts: tuple[str, ...],
    tools: tuple[str, ...],
    source: str,
    batch: str,
    workspace: Path,
    keys: Path | None,
    as_json: bool,
) -> None:
    """Write the due-diligence report of SUBJECT: a file of feedback, or a release or collection of the workspace.

    A file needs no workspace and no keys, and its report is not signed. A release (by name or digest) or a collection
    (source/batch, or digest) gets a signed report, with a proof that `goldsmith verify` checks offline.
    """
    from goldsmith import pipeline
    from goldsmith.types.recipe import CheckEntry
    from goldsmith.types.record import Origin

    entry = CheckEntry(off=off, allowed_hosts=hosts or None, allowed_tools=tools or None)
    wanted = pipeline.Wanted(entry=entry, coverage=coverage, drill=drill, votes=votes, evals=evals)
    if Path(subject).exists():
        origin = Origin(source=source, batch=batch)
        value, written = pipeline.diligence_of_file(
            Path(subject), out, wanted, format_name=format_name, origin=origin, say=say
        )
    else:
        ws = open_workspace(workspace, keys)
        value, written = pipeline.diligence_of_stated(ws, subject, out, wanted, say=say)
    if as_json:
        click.echo(written.report.read_text(encoding="utf-8"))
    else:
        click.echo(value.why)
        click.echo(value.verdict.value)
    for path in (written.page, written.report, written.proof):
        if path is not None:
            say(str(path))
    raise SystemExit(EXIT_CODES[value.verdict.value])
