"""`goldsmith fit`: will this run fit this hardware?"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from goldsmith.cli.options import json_option, print_json, safe

if TYPE_CHECKING:
    from goldsmith.stages.fit import Fit, Remedy, Work

GIB = 2**30


@click.command("fit")
@click.argument("subject", metavar="[MODEL_OR_RECIPE]", required=False)
@click.option("--method", default="sft", show_default=True, help="Of a model: by which method.")
@click.option(
    "--tune", type=click.Choice(["lora", "full"]), default="lora", show_default=True, help="Of a model: what."
)
@click.option("--prompt", type=click.IntRange(min=1), default=256, show_default=True, help="Tokens, where no data is.")
@click.option("--answer", type=click.IntRange(min=1), default=256, show_default=True, help="Tokens, where no data is.")
@click.option("--step", type=click.IntRange(min=1), default=1, show_default=True, help="Of a recipe: which step.")
@click.option(
    "--on", "name", default=None, help="Only machines with this in their name [default: this and common GPUs]."
)
@json_option
def command(
    subject: str | None,
    method: str,
    tune: str,
    prompt: int,
    answer: int,
    step: int,
    name: str | None,
    as_json: bool,
) -> None:
    """Say how much memory a training run takes, by part, on this machine and on common GPUs, and how long it takes.

    MODEL is a folder, a config.json or a known open model: only its config is read, nothing is downloaded. Of a recipe
    the rows' own lengths are taken where data and tokenizer are here. Without either: what this machine can tune and
    serve. Exit code 1: it does not fit the first machine listed.
    """
    if subject is None:
        _here(as_json)
        return
    from goldsmith import pipeline
    from goldsmith.stages import fit

    path = Path(subject)
    if path.suffix in (".yaml", ".yml"):
        recipe, _ = pipeline.read_recipe(path)
        model = recipe.base if not (path.parent / recipe.base).is_dir() else str(path.parent / recipe.base)
        work = fit.recipe_work(recipe, path.parent, step, prompt=prompt, answer=answer)
    else:
        model = subject
        work = fit.stated_work(method, fit.build(method, fit.WAYS[tune]), prompt=prompt, answer=answer, rows=1000)
    config, source = fit.config_of(model)
    machines = fit.machines_for(name)
    fits = fit.fit_on(config, work, machines)
    helps = [] if fits[0].fits else list(fit.remedies(config, work, machines[0]))
    if as_json:
        print_json(_document(model, source, work, fits, helps))
    else:
        _tell(model, source, work, fits, helps)
    raise SystemExit(0 if fits[0].fits else 1)


def _document(model: str, source: str, work: "Work", fits: "list[Fit]", helps: "list[Remedy]") -> dict[str, Any]:
    from goldsmith.engines.fit.estimate import as_dict

    return {
        "model": model,
        "config": source,
        "method": work.method,
        "rows": len(work.rows),
        "lengths": "stated" if work.stated else "measured",
        "machines": [
            {
                "name": one.machine.name,
                "memory": one.machine.memory,
                "source": one.machine.source,
                "fits": one.fits,
                "bytes": as_dict(one.memory),
                "seconds": one.seconds,
            }
            for one in fits
        ],
        "remedies": [{"change": one.change, "total": one.total, "fits": one.fits} for one in helps],
    }


def _tell(model: str, source: str, work: "Work", fits: "list[Fit]", helps: "list[Remedy]") -> None:
    lengths = "stated" if work.stated else "the data's own"
    longest = max(row.longest for row in work.rows)
    click.echo(
        f"{safe(model)} ({safe(source)}): {work.method}, {len(work.rows)} rows of up to {longest} tokens ({lengths})"
    )
    first = fits[0]
    click.echo(f"\n{safe(first.machine.name)}, {first.machine.memory / GIB:.1f} GiB:")
    for part, size in first.memory.parts().items():
        if size:
            click.echo(f"  {part:<12}{_size(size)}")
    verdict = "fits" if first.fits else "does not fit"
    click.echo(f"  {'total':<12}{_size(first.memory.total)}: {verdict}")
    for one in helps:
        click.echo(f"  with {one.change}: {_size(one.total).strip()}, {'fits' if one.fits else 'does not fit yet'}")
    click.echo("")
    for each in fits:
        time = "" if each.seconds is None else f"  {_span(each.seconds)}"
        room = f"{each.machine.memory / GIB:6.1f} GiB"
        takes = f"takes{_size(each.memory.total)}{time}"
        click.echo(f"{'yes' if each.fits else 'no ':<4}{safe(each.machine.name):<26}{room}  {takes}")
    adapted = work.settings.adapter.kind != "none" and any(one.machine.device == "cpu" for one in fits)
    if adapted:
        click.echo("\nOn a CPU the heap may hold twice this under an adapter (measured): `yes` leaves room for it.")
    click.echo("\nTensors are counted; on a GPU the rest is by formula, not measured, and time a stated range.")


def _size(count: int) -> str:
    return f"{count / GIB:8.2f} GiB"


def _span(seconds: tuple[float, float]) -> str:
    unit, name = (3600, "h") if seconds[1] >= 7200 else (60, "min") if seconds[1] >= 120 else (1, "s")
    return f"{seconds[0] / unit:.1f} to {seconds[1] / unit:.1f} {name}"


def _here(as_json: bool) -> None:
    from goldsmith.engines.fit.hardware import detect
    from goldsmith.stages.fit import abilities

    machines = detect()
    machine = machines[0]
    found = list(abilities(machine))
    if as_json:
        print_json(
            {
                "machines": [{"name": one.name, "device": one.device, "memory": one.memory} for one in machines],
                "models": [
                    {"model": one.model, "parameters": one.parameters, "tune": dict(one.tune), "serve": one.serve}
                    for one in found
                ],
            }
        )
        return
    for one in machines:
        click.echo(f"{safe(one.name)}: {one.memory / GIB:.1f} GiB")
    click.echo(f"\n{'model':<30}{'full':>14}{'lora':>14}{'serve':>14}")
    for each in found:
        cells = [*each.tune.values(), each.serve]
        shown = "".join(
            f"{'no' if cell is None or cell > machine.memory else _size(cell).strip():>14}" for cell in cells
        )
        click.echo(f"{each.model:<30}{shown}")
    click.echo(
        "\nrows of 1,024 tokens one at a time, activations computed again; serving one conversation of 4,096 tokens"
    )
