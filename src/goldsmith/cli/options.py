"""What several commands share: where the workspace is, how results are printed."""

import inspect
import json
import os
import shutil
import sys
import textwrap
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from goldsmith.types.errors import GoldsmithError

if TYPE_CHECKING:
    from goldsmith.trust.workspace import Workspace

F = TypeVar("F", bound=Callable[..., Any])
DEFAULT_WORKSPACE = ".goldsmith"


class Commands(click.Group):
    """A group whose list of commands tells each one's help whole, over several lines where it is long; click's own cuts
    it at the terminal's edge."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list, each command with the first paragraph of its help."""
        found = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        rows = [(name, _first_paragraph(one)) for name, one in found if one is not None and not one.hidden]
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)


def _first_paragraph(command: click.Command) -> str:
    return " ".join(inspect.cleandoc(command.help or command.short_help or "").split("\n\n")[0].split())


def workspace_option(function: F) -> F:
    """`--workspace FOLDER` and `--keys FOLDER`."""
    function = click.option(
        "--keys",
        type=click.Path(path_type=Path, file_okay=False),
        default=None,
        help="Folder of private keys [default: .goldsmith-keys beside the workspace].",
    )(function)
    return click.option(
        "-w",
        "--workspace",
        type=click.Path(path_type=Path, file_okay=False),
        default=lambda: Path(os.environ.get("GOLDSMITH_WORKSPACE", DEFAULT_WORKSPACE)),
        show_default=f"$GOLDSMITH_WORKSPACE or {DEFAULT_WORKSPACE}",
        help="The folder that holds all evidence.",
    )(function)


def json_option(function: F) -> F:
    """`--json`: one JSON document on stdout, everything else on stderr."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")(function)


def contract_options(function: F) -> F:
    """`--contract`, and what may be handed in with it: `--inspected`, `--power`, `--since`."""
    file = click.Path(path_type=Path, exists=True, dir_okay=False)
    for name, text in (
        ("--since", "The rejected delivery that this one answers: only what is new or changed is inspected."),
        ("--power", "What goldsmith drill --json measured on this delivery, for the contract's power clauses."),
        ("--inspected", "The sheet that goldsmith contract sample wrote, filled in by people."),
        ("--contract", "Hold the delivery against this contract (YAML), clause by clause."),
    ):
        function = click.option(name, type=file, default=None, help=text)(function)
    return function


def open_workspace(path: Path, keys: Path | None) -> "Workspace":
    """Open the workspace with the keys given."""
    from goldsmith.trust.keys import KeyRing
    from goldsmith.trust.workspace import Workspace

    return _closed_at_the_end(Workspace.open(path, KeyRing(keys) if keys else None))


def open_or_create(path: Path, keys: Path | None) -> "Workspace":
    """Open the workspace, or make a self-attested one: nobody must learn about signatures to start."""
    from goldsmith.trust.keys import KeyRing
    from goldsmith.trust.workspace import Workspace

    ring = KeyRing(keys) if keys else None
    if (path / "workspace.json").exists():
        return _closed_at_the_end(Workspace.open(path, ring))
    say(f"made a workspace in {path} with local keys: what it signs is self-attested")
    return _closed_at_the_end(Workspace.create(path, keys=ring))


def workspace_for(model: str, workspace: Path, keys: Path | None) -> "Workspace | None":
    """The workspace, where the model is no folder and there is one."""
    if Path(model).expanduser().is_dir() or not (workspace / "workspace.json").exists():
        return None
    return open_workspace(workspace, keys)


def _closed_at_the_end(ws: "Workspace") -> "Workspace":
    """However the command ends, what it stored and did not come to state is put aside: `verify` holds right after."""

    def close() -> None:
        with suppress(GoldsmithError, OSError):  # a full disk has been told of; the next opening puts it aside
            ws.close()

    click.get_current_context().call_on_close(close)
    return ws


def say(message: str) -> None:
    """Progress and remarks, on stderr."""
    print(message, file=sys.stderr, flush=True)


def broken(text: str, indent: Callable[[str], int]) -> str:
    """Text whose lines are broken between words to the terminal's width; what goes on is indented by what `indent` says
    of the line."""
    width = shutil.get_terminal_size().columns

    def fill(line: str) -> str:
        return textwrap.fill(
            line,
            width,
            subsequent_indent=" " * indent(line),
            break_long_words=False,
            break_on_hyphens=False,
            replace_whitespace=False,
        )

    return "\n".join(fill(line) if len(line) > width else line for line in text.split("\n"))


def print_json(value: Any) -> None:
    """The one document on stdout."""
    print(json.dumps(value, indent=2, ensure_ascii=True))


def print_json_list(document: dict[str, Any], name: str, items: Iterable[Any]) -> None:
    """As `print_json`, with `items` under `name` (an empty list in `document`), of which one at a time is held."""
    before, after = json.dumps(document, indent=2, ensure_ascii=True).split(f'\n  "{name}": []', 1)
    write = sys.stdout.write
    write(f'{before}\n  "{name}": [')
    mark = ""
    for item in items:
        write(f"{mark}\n    " + json.dumps(item, indent=2, ensure_ascii=True).replace("\n", "\n    "))
        mark = ","
    write(("\n  ]" if mark else "]") + after + "\n")


class Progress:
    """Says on stderr how many steps are done: in place on a terminal, else every ten seconds; of quick work nothing."""

    def __init__(self, what: str) -> None:
        self._what, self._said, self._reused = what, time.monotonic(), 0

    def __call__(self, done: int, reused: int) -> None:
        if reused > self._reused == 0:
            say("an earlier run of this command was cut off: its parts are used again")
        self._reused = reused
        terminal = sys.stderr.isatty()
        if time.monotonic() - self._said >= (0.5 if terminal else 10):
            self._said = time.monotonic()
            print(f"{self._what}: {done}", file=sys.stderr, flush=True, end="\r" if terminal else "\n")


def safe(text: str) -> str:
    """Hostile text made harmless for a terminal: control and format characters are shown as escapes."""
    return "".join(c if c.isprintable() or c == " " else c.encode("unicode_escape").decode() for c in text)
