"""`goldsmith demo`: the whole circle in a small world."""

from pathlib import Path

import click

from goldsmith.cli.options import json_option, print_json, say


@click.command("demo")
@click.option(
    "-o", "--out", type=click.Path(path_type=Path, file_okay=False), default=Path("out/demo"), show_default=True
)
@click.option("--unchecked", is_flag=True, help="Train on everything delivered, whatever the checks say.")
@json_option
def command(out: Path, unchecked: bool, as_json: bool) -> None:
    """Play the whole circle: three sources, one of them poisoned; ends in one HTML report."""
    from goldsmith.demo.circle import play

    played = play(out, unchecked=unchecked, say=say)
    if as_json:
        print_json(played.facts)
    else:
        for rule in played.facts["rules"]:
            click.echo(f"{rule['outcome']:<13}{rule['rule']}: {rule['observed']} (required: {rule['required']})")
        click.echo(f"{'as meant' if played.expected else 'NOT as meant'}: {played.report}")
    raise SystemExit(0 if played.expected else 1)
