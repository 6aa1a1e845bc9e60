"""Model -> one HTML page that says where it came from, what was caught, what it learned and what it can do."""

from pathlib import Path

from goldsmith.engines.report.gather import gather
from goldsmith.engines.report.page import render
from goldsmith.engines.report.story import Story
from goldsmith.trust import durable
from goldsmith.trust.workspace import Workspace
from goldsmith.types.artifact import Digest

__all__ = ["Story", "report"]


def report(ws: Workspace, model: Digest, out: Path, story: Story | None = None) -> Path:
    """Write the report of `model` to `out`: one self-contained page without scripts or requests; `out` is returned.

    All of it comes from the workspace (and `story`); the same workspace gives the same bytes. The file appears whole
    or not at all. Errors: Tampered if what was stored does not hold; Unavailable if `out` cannot be written.
    """
    page = render(gather(ws, model), story or Story())
    durable.replace(out, page.encode())
    return out
