"""`goldsmith serve`: an OpenAI-compatible API over promoted models."""

import os
from contextlib import ExitStack
from pathlib import Path

import click

from goldsmith.cli.options import open_workspace, say, workspace_option


@click.command("serve")
@click.argument("models", nargs=-1, required=True)
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535))
@click.option(
    "--api-key-env",
    default=None,
    help="Name of the environment variable that holds the key clients must send.",
)
@workspace_option
def command(
    models: tuple[str, ...], host: str, port: int, api_key_env: str | None, workspace: Path, keys: Path | None
) -> None:
    """Serve MODELS (names or digests), each promoted or admitted, at http://HOST:PORT/v1."""
    import uvicorn

    from goldsmith.stages.serve import serve
    from goldsmith.web.app import application

    ws = open_workspace(workspace, keys)
    servables = [serve(ws, name) for name in models]
    with ExitStack() as stack:
        app = application(servables, stack, api_key=os.environ[api_key_env] if api_key_env else None)
        for one in servables:
            say(f"serving {one.name}: {one.evidence['standing']}, model {one.digest}")
        say(f"http://{host}:{port}/v1")
        uvicorn.run(app, host=host, port=port, log_level="warning", access_log=False)
