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
    from goldsmith.stages.serve import serve
    from goldsmith.web.app import application
    from goldsmith.web.serving import listen, server_for

    key = _key(api_key_env)
    ws = open_workspace(workspace, keys)
    servables = [serve(ws, name) for name in models]
    with ExitStack() as stack:
        listener = stack.enter_context(listen(host, port, has_key=key is not None))
        app = application(servables, stack, api_key=key, any_host=key is not None)
        for one in servables:
            say(f"serving {one.name}: {one.evidence['served_as']}, model {one.digest}")
        say(f"http://{host}:{listener.getsockname()[1]}/v1")
        server_for(app).run(sockets=[listener])


def _key(variable: str | None) -> str | None:
    from goldsmith.types.errors import BadInput

    if variable is None:
        return None
    if not os.environ.get(variable):
        raise BadInput("the variable that should hold the API key is empty", where=variable, next_step="set it")
    return os.environ[variable]
