"""`goldsmith drill FILE`: plant known attacks into a copy, and see what the checks find."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from goldsmith.cli.options import json_option, print_json, safe, say

if TYPE_CHECKING:
    from goldsmith.types.coverage import Cell, Coverage

FOUND = 0.9
REMARK = (
    "The planted records are for testing only: they were made in memory, FILE was not changed, and nothing was sent "
    "anywhere."
)


@click.command("drill")
@click.argument("file", type=click.Path(path_type=Path, exists=True))
@click.option("--attack", "attacks", multiple=True, help="An attack to plant (repeatable) [default: all].")
@click.option(
    "--records", type=click.IntRange(1), multiple=True, help="Records to plant (repeatable) [default: 10 20 50 100]."
)
@click.option("--draws", type=click.IntRange(1), default=3, show_default=True, help="Plantings of each kind and size.")
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed plants the same.")
@click.option("--new-source", is_flag=True, help="Plant as a source of its own, not into an existing batch.")
@click.option(
    "--cpu-minutes",
    type=click.FloatRange(0.0),
    default=20.0,
    show_default=True,
    help="Stop planting after so much CPU time and report what was measured.",
)
@click.option(
    "--most-rows", type=click.IntRange(1), default=20_000, show_default=True, help="Drill a sample of so many rows."
)
@click.option("--format", "format_name", default=None, help="Override the detected row format.")
@click.option("--evals", multiple=True, type=click.Path(path_type=Path, exists=True), help="An eval set (repeatable).")
@click.option(
    "--votes",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    default=None,
    help="Annotator votes: item, annotator, label, gold or null.",
)
@click.option("--off", multiple=True, help="Leave a check out (repeatable).")
@click.option("--allow-host", "hosts", multiple=True, help="A host that tool calls may name (repeatable).")
@click.option("--allow-tool", "tools", multiple=True, help="A tool that may be called (repeatable).")
@json_option
def command(
    file: Path,
    attacks: tuple[str, ...],
    records: tuple[int, ...],
    draws: int,
    seed: int,
    new_source: bool,
    cpu_minutes: float,
    most_rows: int,
    format_name: str | None,
    evals: tuple[Path, ...],
    votes: Path | None,
    off: tuple[str, ...],
    hosts: tuple[str, ...],
    tools: tuple[str, ...],
    as_json: bool,
) -> None:
    """Plant known attacks into a copy of FILE and show what the checks find of them.

    FILE is only read. What is planted stays in memory and goes nowhere; it is for testing.
    """
    from goldsmith.engines.drilling import SIZES
    from goldsmith.stages.drill import drill_file
    from goldsmith.types.recipe import CheckEntry

    coverage = drill_file(
        file,
        CheckEntry(off=off, allowed_hosts=hosts or None, allowed_tools=tools or None),
        format_name=format_name,
        evals=evals,
        votes=votes,
        attacks=attacks,
        most_rows=most_rows,
        records=records or SIZES,
        draws=draws,
        seed=seed,
        new_source=new_source,
        cpu_seconds=60.0 * cpu_minutes,
        progress=say,
    )
    if as_json:
        print_json(_document(file, coverage))
    else:
        _tell(coverage)


def _document(file: Path, coverage: "Coverage") -> dict[str, Any]:
    cells = [{**cell.model_dump(mode="json"), **_numbers(cell)} for cell in coverage.cells]
    tried = dict.fromkeys(cell.attack for cell in coverage.cells)
    return {
        "file": str(file),
        "remark": REMARK,
        **coverage.model_dump(mode="json"),
        "line": coverage.line,
        "clean_above": coverage.clean_above,
        "cpu_s": coverage.cpu_s,
        "cells": cells,
        "records_needed": {attack: coverage.least_records(attack, FOUND) for attack in tried},
        "blind_to": coverage.blind_to(FOUND),
    }


def _numbers(cell: "Cell") -> dict[str, float]:
    """Stored values hold no floats; the document for other programs does."""
    return {name: getattr(cell, name) for name in ("tpr", "tpr_low", "named_low", "cpu_s")}


def _tell(coverage: "Coverage") -> None:
    part = "" if coverage.rows == coverage.rows_in_all else f" of {coverage.rows_in_all}"
    click.echo(f"{coverage.rows}{part} rows, {coverage.sources} source x batches, {len(coverage.checks)} checks")
    click.echo(
        f"found: combined > {coverage.line:.4f}, which {coverage.clean_above:.2%} of the untouched rows exceed; "
        "low: lower bound of the 95 % interval"
    )
    for name in coverage.clean_quarantined:
        click.echo(f"quarantined as it is, and not planted in: {safe(name)}")
    click.echo(f"\n{'attack':<26}{'records':>8}{'found':>8}{'low':>7}{'named':>8}{'honest':>9}{'CPU-s':>8}  seen by")
    for cell in coverage.cells:
        click.echo(_line(cell))
    click.echo("")
    for attack in dict.fromkeys(cell.attack for cell in coverage.cells if cell.draws):
        least = coverage.least_records(attack, FOUND)
        needed = "in no size tried" if least is None else f"from {least} records on"
        click.echo(f"{attack:<26}{FOUND:.0%} found {needed}")
    if blind := coverage.blind_to(FOUND):
        click.echo(f"\nThese checks would miss, in data like this: {', '.join(blind)}")
    if coverage.cut_short:
        click.echo(f"Cut short: {coverage.cut_short}; cells with fewer than {coverage.draws_asked} draws say so.")
    click.echo(REMARK)


def _line(cell: "Cell") -> str:
    start = f"{cell.attack:<26}{cell.records:>8}"
    if cell.inapplicable is not None:
        return f"{start}  inapplicable: {safe(cell.inapplicable)}"
    if not cell.draws:
        return f"{start}  not measured"
    named = f"{cell.named}/{cell.draws}"
    honest = f"{cell.honest_quarantined}/{cell.honest}"
    return (
        f"{start}{cell.tpr:>8.2f}{cell.tpr_low:>7.2f}{named:>8}{honest:>9}{cell.cpu_s:>8.1f}  "
        f"{', '.join(cell.seen_by[:3]) or '-'}"
    )
