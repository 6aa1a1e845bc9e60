"""Writes docs/reference/*.md from the code. `--check` fails where a page is not what the code says."""

import inspect
import sys
from pathlib import Path

import click
from pydantic import BaseModel

from goldsmith import plugins
from goldsmith.cli.main import COMMANDS, cli
from goldsmith.types import contract as contracts
from goldsmith.types import recipe as recipes

HERE = Path(__file__).parent / "reference"
MADE = "<!-- made by docs/generate.py; do not edit -->\n"
KINDS: tuple[plugins.Kind, ...] = ("sources", "checks", "methods", "rewards", "evals", "attacks")


def command_line() -> str:
    """One section a command, from click's own help."""
    parts = [MADE, "# Command line\n"]
    parts.append(
        "`--json` prints one JSON document on stdout; progress and logs go to stderr.\n\n"
        "| exit code | means |\n|---|---|\n| 0 | pass |\n| 1 | a gate said no |\n| 2 | wrong usage or bad input |\n"
        "| 3 | inconclusive |\n| 4 | something needed is unavailable |\n| 5 | integrity failure |\n"
        "| 70 | a bug in Goldsmith |\n| 130 | interrupted |\n"
    )
    for name in COMMANDS:
        found = cli.get_command(click.Context(cli), name)
        assert found is not None
        parts.append(f"## {name}\n\n```text\n{_help(found, f'goldsmith {name}')}\n```\n")
        if isinstance(found, click.Group):
            for sub in found.commands.values():
                parts.append(f"```text\n{_help(sub, f'goldsmith {name} {sub.name}')}\n```\n")
    return "\n".join(parts)


def _help(command: click.Command, title: str) -> str:
    return command.get_help(click.Context(command, info_name=title, max_content_width=100))


def capabilities() -> str:
    """One table a kind: every capability, its settings and their defaults."""
    parts = [MADE, "# Capabilities\n"]
    for kind in KINDS:
        parts.append(f"## {kind.capitalize()}\n\n| name | what it does | settings |\n|---|---|---|")
        for name in plugins.names(kind):
            found = plugins.find(kind, name)
            first = (inspect.getdoc(found) or "").split("\n\n")[0].replace("\n", " ")
            settings = "<br>".join(
                f"`{n}` = `{f.get_default(call_default_factory=True)!r}`" for n, f in found.model_fields.items()
            )
            parts.append(f"| `{name}` | {_cell(first)} | {_cell(settings)} |")
        parts.append("")
    return "\n".join(parts)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def contract() -> str:
    """The contract's models with their fields."""
    parts = [MADE, "# Contract\n", "What `--contract FILE` reads. Unknown keys fail, with a suggestion.\n"]
    models: tuple[type[BaseModel], ...] = (
        contracts.Contract,
        contracts.Records,
        contracts.Covers,
        contracts.Rates,
        contracts.GoldAccuracy,
        contracts.AgreementClause,
        contracts.Power,
        contracts.Sampling,
        contracts.Redelivery,
    )
    for model in models:
        parts.append(f"## {model.__name__}\n\n{inspect.getdoc(model)}\n\n| key | default |\n|---|---|")
        for name, field in model.model_fields.items():
            if name != "kind":
                default = "required" if field.is_required() else f"`{field.get_default(call_default_factory=True)!r}`"
                parts.append(f"| `{name}` | {_cell(default)} |")
        parts.append("")
    return "\n".join(parts)


def recipe() -> str:
    """The recipe's models with their fields."""
    parts = [
        MADE,
        "# Recipe\n",
        "`goldsmith show schema` prints the JSON Schema, for editors. Unknown keys fail, with a suggestion.\n",
    ]
    for model in (
        recipes.Recipe,
        recipes.SourceEntry,
        recipes.CheckEntry,
        recipes.ReleasePolicy,
        recipes.Without,
        recipes.TrainStep,
        recipes.Parallel,
        recipes.EvalEntry,
        recipes.PromotionPolicy,
        recipes.Rule,
        recipes.Sweep,
        recipes.SweepBudget,
        recipes.SweepObjective,
    ):
        parts.append(f"## {model.__name__}\n\n{inspect.getdoc(model)}\n\n| key | default |\n|---|---|")
        for name, field in model.model_fields.items():
            default = "required" if field.is_required() else f"`{field.get_default(call_default_factory=True)!r}`"
            parts.append(f"| `{name}` | {_cell(default)} |")
        parts.append("")
    return "\n".join(parts)


def main() -> None:
    """Write the pages, or with `--check` compare them."""
    stale = []
    for name, text in (
        ("command-line", command_line()),
        ("capabilities", capabilities()),
        ("recipe", recipe()),
        ("contract", contract()),
    ):
        path = HERE / f"{name}.md"
        if "--check" not in sys.argv:
            path.write_text(text, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(path.name)
    if stale:
        sys.exit(f"not what the code says: {', '.join(stale)}; run: python docs/generate.py")


if __name__ == "__main__":
    main()
