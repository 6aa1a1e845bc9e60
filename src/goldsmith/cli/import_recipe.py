"""`goldsmith import-recipe FILE`: a configuration of LLaMA-Factory or Axolotl as a recipe."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from goldsmith.cli.options import broken, json_option, print_json, safe, say

if TYPE_CHECKING:
    from goldsmith.engines.migration.draft import Note
    from goldsmith.engines.migration.migrate import Migrated

WORDS = {
    "taken": "taken",
    "changed": "CHANGED",
    "unsupported": "NOT SUPPORTED",
    "ignored": "no effect",
    "unknown": "UNKNOWN KEY",
    "added": "added",
}


@click.command("import-recipe")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--from",
    "tool",
    type=click.Choice(["llamafactory", "axolotl"]),
    default=None,
    help="Whose file it is [default: told from its keys].",
)
@click.option(
    "-o", "--out", type=click.Path(path_type=Path, dir_okay=False), default=None, help="Write the recipe here."
)
@click.option("--devices", type=click.IntRange(min=1), default=1, show_default=True, help="GPUs the file ran on.")
@click.option("--strict", is_flag=True, help="Exit with 1 where a line is unsupported or unknown.")
@json_option
def command(file: Path, tool: str | None, out: Path | None, devices: int, strict: bool, as_json: bool) -> None:
    """Write a recipe from FILE, a YAML configuration of LLaMA-Factory or Axolotl.

    Says line by line what was taken, what means something else here, and what is not supported, with the next step.
    The recipe goes to --out, or to stdout with the account on stderr, whose last line names the keys that were not
    taken.
    """
    from goldsmith.engines.migration.migrate import as_text
    from goldsmith.stages.import_recipe import import_recipe

    made = import_recipe(file, tool=tool, devices=devices)  # type: ignore[arg-type]
    text = None if made.recipe is None else as_text(made, file, (out or file).parent)
    if text is not None:
        _hold_against_the_loader(text)
    if out is not None and text is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text, encoding="utf-8")
    if as_json:
        print_json(_document(made, text))
    else:
        _tell(made, file)
        if text is not None:
            say(f"recipe: {out}") if out else click.echo(text, nl=False)
        if (left := _not_taken(made)) is not None:
            _account(left)
    raise SystemExit(_exit_code(made, strict))


def _hold_against_the_loader(text: str) -> None:
    """What was written is read back as `goldsmith run` reads it, with a reward where one is yet to be named; a failure
    here is a bug of ours."""
    from goldsmith import pipeline
    from goldsmith.engines.yaml_file import parse_yaml
    from goldsmith.types.asking import PLACEHOLDER
    from goldsmith.types.recipe import Recipe

    text = text.replace(f"reward: {PLACEHOLDER}", "reward: length")
    pipeline.dry_run(parse_yaml(text, Recipe, name="the imported recipe"))


def _exit_code(made: "Migrated", strict: bool) -> int:
    if made.recipe is None:
        return 2
    return 1 if strict and (made.count("unsupported") or made.count("unknown")) else 0


def _document(made: "Migrated", text: str | None) -> dict[str, object]:
    return {
        "from": made.tool,
        "recipe": made.recipe,
        "text": text,
        "notes": [asdict(note) for note in made.notes],
        "counts": {outcome: made.count(outcome) for outcome in WORDS},
    }


def _tell(made: "Migrated", file: Path) -> None:
    from goldsmith.engines.migration.draft import TITLES

    _account(f"{safe(str(file))}: a configuration of {TITLES[made.tool]}")
    for note in made.notes:
        _account(_line(note))
    _account(
        "; ".join(f"{made.count(outcome)} {word.lower()}" for outcome, word in WORDS.items() if made.count(outcome))
    )
    if made.recipe is None:
        say("no recipe was written: this way of training does not exist here")


def _not_taken(made: "Migrated") -> str | None:
    """The last word: how many keys of theirs have no say in the recipe that they should have, and which."""
    keys = list(
        dict.fromkeys(note.key for note in made.notes if note.line and note.outcome in ("unsupported", "unknown"))
    )
    if not keys:
        return None
    return f"not taken: {len(keys)} key{'s' if len(keys) > 1 else ''}: {', '.join(safe(key) for key in keys)}"


def _account(text: str) -> None:
    """On stderr; on a terminal within its width."""
    say(broken(text, lambda _: 8) if sys.stderr.isatty() else text)


def _line(note: "Note") -> str:
    where = f"{note.line:>4}" if note.line else "   -"
    text = f"{where}  {safe(note.key)}: {safe(note.found)}  [{WORDS[note.outcome]}]"
    if note.to:
        text += f" -> {safe(note.to)}"
    if note.text:
        text += f"\n        {safe(note.text)}"
    if note.next_step:
        text += f"\n        next: {safe(note.next_step)}"
    return text
