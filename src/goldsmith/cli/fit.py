"""`goldsmith fit`: will this run fit this hardware?"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from goldsmith.cli.options import json_option, print_json, safe

if TYPE_CHECKING:
    from goldsmith.engines.fit.hardware import Machine
    from goldsmith.engines.fit.work import Work
    from goldsmith.stages.fit import Asked, Fit
    from goldsmith.stages.fit_remedies import Remedy

GIB, MIB = 2**30, 2**20


@click.command("fit")
@click.argument("subject", metavar="[MODEL_OR_RECIPE]", required=False)
@click.option("--method", default="sft", show_default=True, help="Of a model: by which method.")
@click.option(
    "--tune", type=click.Choice(["lora", "full", "qlora"]), default="lora", show_default=True, help="Of a model: what."
)
@click.option("--prompt", type=click.IntRange(min=1), default=256, show_default=True, help="Tokens, where no data is.")
@click.option("--answer", type=click.IntRange(min=1), default=256, show_default=True, help="Tokens, where no data is.")
@click.option("--least", is_flag=True, help="Of a model: settings that take least (one row at a time, checkpointing).")
@click.option("--gpus", type=click.IntRange(min=1), default=1, show_default=True, help="GPUs that train it together.")
@click.option("--shard", is_flag=True, help="Each of them holds a shard (parallel.shard: full), not the whole model.")
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
    least: bool,
    gpus: int,
    shard: bool,
    step: int,
    name: str | None,
    as_json: bool,
) -> None:
    """Say how much memory a training run takes, by part, on this machine and on common GPUs, and how long it takes.

    MODEL is a folder, a config.json or a known open model: only its config is read, nothing is downloaded. Of a recipe
    the rows' own lengths are taken where data and tokenizer are here. Without either: which open models this machine
    (or the first one of --on) can tune, and how, and serve. Exit code 1: it does not fit the first machine listed.
    """
    from goldsmith import pipeline
    from goldsmith.engines.fit.estimate import Sharing
    from goldsmith.stages import fit, fit_remedies

    asked = fit.Asked(method, prompt, answer, least, Sharing(gpus, shard and gpus > 1))
    machines = fit.machines_for(name)
    if subject is None:
        _here(machines, asked, as_json)
        return
    path = Path(subject)
    if path.suffix in (".yaml", ".yml"):
        recipe, _ = pipeline.read_recipe(path)
        model = recipe.base if not (path.parent / recipe.base).is_dir() else str(path.parent / recipe.base)
        work = fit.recipe_work(recipe, path.parent, step, asked)
    else:
        model, work = subject, asked.work(tune)
    config, source = fit.config_of(model)
    if work.settings.adapter.kind == "qlora":
        machines = fit.with_gpus(machines)
    fits = fit.fit_on(config, work, machines)
    helps = [] if fits[0].fits else fit_remedies.remedies(config, work, machines[0])
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
                "notes": list(one.notes),
            }
            for one in fits
        ],
        "remedies": [{"change": one.change, "cost": one.cost, "total": one.total, "fits": one.fits} for one in helps],
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
    for note in first.notes:
        click.echo(f"  {note}")
    for one in helps:
        verdict = "fits" if one.fits else "does not fit yet"
        click.echo(f"  with {one.change}: {_size(one.total).strip()}, {verdict} (costs: {one.cost})")
    click.echo("")
    for each in fits:
        time = "" if each.seconds is None else f"  {_span(each.seconds)}"
        room = f"{each.machine.memory / GIB:6.1f} GiB"
        takes = f"takes{_size(each.memory.total)}{time}"
        click.echo(f"{'yes' if each.fits else 'no ':<4}{safe(each.machine.name):<26}{room}  {takes}")
    several = f" on each of {work.sharing.devices}" if work.sharing.devices > 1 else ""
    click.echo(f"\nBytes{several}. Tensors are counted; on a GPU the rest is by formula, and time a stated range.")
    if any(one.machine.device == "cpu" for one in fits):
        click.echo("A process on a CPU keeps freed memory while there is room, up to twice this under an adapter.")


def _size(count: int) -> str:
    return f"{count / GIB:8.2f} GiB" if count >= GIB else f"{count / MIB:8.2f} MiB"


def _span(seconds: tuple[float, float]) -> str:
    if seconds[1] < 1:
        return "under a second"
    unit, name = (3600, "h") if seconds[1] >= 7200 else (60, "min") if seconds[1] >= 120 else (1, "s")
    return f"{seconds[0] / unit:.1f} to {seconds[1] / unit:.1f} {name}"


def _here(machines: "list[Machine]", asked: "Asked", as_json: bool) -> None:
    from goldsmith.stages.fit import WAYS, abilities

    machine = machines[0]
    found = abilities(machine, asked)  # one at a time: each takes seconds
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
    click.echo(f"{safe(machine.name)}: {machine.memory / GIB:.1f} GiB")
    click.echo(f"\n{'model':<30}" + "".join(f"{name:>14}" for name in (*WAYS, "serve")))
    for each in found:
        cells = [*each.tune.values(), each.serve]
        shown = "".join(
            f"{'no' if cell is None or cell > machine.memory else _size(cell).strip():>14}" for cell in cells
        )
        click.echo(f"{each.model:<30}{shown}")
    how = "one at a time, activations computed again" if asked.least else "packed, as the settings are without a recipe"
    click.echo(f"\n{asked.method}, rows of {asked.prompt + asked.answer} tokens, {how}; serving: 4,096 tokens")
    click.echo("The same for one model, by part: goldsmith fit MODEL with the same options and --tune.")
