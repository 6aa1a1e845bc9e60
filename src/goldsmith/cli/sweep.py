"""`goldsmith sweep RECIPE`: which settings are worth their memory and time."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from goldsmith.cli.options import json_option, open_or_create, print_json, safe, say, workspace_option

if TYPE_CHECKING:
    from goldsmith.engines.sweeping.account import Row, Swept

EXIT_CODES = {"done": 0, "out of budget": 0, "nothing trained": 3}
"""A budget that is used up is an end like another, where at least one candidate was measured."""


@click.command("sweep")
@click.argument("recipe", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@workspace_option
@click.option("--release", "release", default=None, help="Take this release of the workspace: its name or digest.")
@click.option(
    "--hours", type=click.FloatRange(min=0, min_open=True), default=None, help="The budget, in place of the recipe's."
)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=None,
    help="Write the recipe with the best settings.",
)
@json_option
def command(
    recipe: Path,
    workspace: Path,
    keys: Path | None,
    release: str | None,
    hours: float | None,
    device: str,
    out: Path | None,
    as_json: bool,
) -> None:
    """Try what is tuned, rank, learning rate and regularisation of a training step of RECIPE (its `sweep`), the best
    for longer: quality on rows set aside from training, memory, time and cost of each. What the recipe examines with is
    not read. Started again, it goes on where it stopped.

    Exit code 3: no candidate could be measured.
    """
    from typing import Literal, cast

    from goldsmith import pipeline
    from goldsmith.stages.sweep import write_recipe
    from goldsmith.types.recipe import Sweep, SweepBudget

    read, _ = pipeline.read_recipe(recipe)
    if hours is not None:
        wish = read.sweep or Sweep()
        price = None if wish.budget is None else wish.budget.euros_per_hour
        budget = SweepBudget(hours=hours, euros_per_hour=price)
        read = read.model_copy(update={"sweep": wish.model_copy(update={"budget": budget})})
    ws = open_or_create(workspace, keys)
    on = cast(Literal["auto", "cpu", "cuda"], device)
    swept = pipeline.try_settings(ws, read, recipe.parent, from_release=release, device=on, say=say)
    if out is not None and swept.best is not None:
        write_recipe(read, swept, out, recipe.parent)
        say(f"best settings: {out}")
    print_json({"recipe": read.name, **swept.as_dict()}) if as_json else _tell(swept)
    raise SystemExit(3 if swept.best is None else EXIT_CODES[swept.ended])


def _tell(swept: "Swept") -> None:
    priced = swept.cost is not None
    width = max(len(str(row.candidate)) for row in swept.rows)
    head = f"   {'candidate':<{width}}{'steps':>8}{'quality':>10}{'memory':>11}{'whole run':>12}"
    click.echo(head + (f"{'its cost':>10}" if priced else ""))
    for row in swept.rows:
        mark = ("*" if row.pareto else " ") + (">" if row.best else " ")
        line = f"{mark} {safe(str(row.candidate)):<{width}}{row.steps:>8}{_number(row.quality):>10}{_memory(row):>11}"
        line += f"{_seconds(row.whole_seconds):>12}"
        line += (f"{'' if row.whole_cost is None else f'{row.whole_cost:.4f}':>10}") if priced else ""
        click.echo(line + (f"  {_cut(safe(row.reason))}" if row.reason else ""))
    total = f"{swept.ended}: {_seconds(swept.seconds).strip()}" + (f", {swept.cost:.4f} euros" if priced else "")
    click.echo(f"\n{total}; rungs at steps {', '.join(map(str, swept.rungs))}; {swept.validation} rows to compare on")
    click.echo("* nothing beats it on quality, memory and time together   > best quality")


def _cut(text: str) -> str:
    return text if len(text) <= 80 else text[:77] + "..."


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _memory(row: "Row") -> str:
    return f"{row.memory / 2**20:,.0f} MiB" if row.memory else ""


def _seconds(value: float | None) -> str:
    if value is None:
        return ""
    unit, name = (3600, "h") if value >= 7200 else (60, "min") if value >= 120 else (1, "s")
    return f"{value / unit:.1f} {name}"
