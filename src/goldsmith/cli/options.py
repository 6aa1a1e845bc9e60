"""What several commands share: where the workspace is, how results are printed."""

import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from goldsmith.types.errors import GoldsmithError

if TYPE_CHECKING:
    from goldsmith.trust.workspace import Workspace

F = TypeVar("F", bound=Callable[..., Any])
DEFAULT_WORKSPACE = ".goldsmith"


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


def print_json(value: Any) -> None:
    """The one document on stdout."""
    print(json.dumps(value, indent=2, ensure_ascii=True))


def safe(text: str) -> str:
    """Hostile text made harmless for a terminal: control and format characters are shown as escapes."""
    return "".join(c if c.isprintable() or c == " " else c.encode("unicode_escape").decode() for c in text)
