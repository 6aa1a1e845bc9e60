"""Runs the API on a socket: loopback unless told otherwise, and never on the open network without a key."""

import ipaddress
import socket

import uvicorn
from starlette.types import ASGIApp

from goldsmith.types.errors import BadInput, Unavailable


def listen(host: str = "127.0.0.1", port: int = 8000, *, has_key: bool = False) -> socket.socket:
    """A listening socket; port 0 takes a free one.

    Raises:
        BadInput: another machine could connect, and there is no key. Unavailable: the port is taken.
    """
    if not has_key and not _is_loopback(host):
        raise BadInput(
            "a server that other machines can reach needs an API key",
            where="host",
            found=host,
            allowed="127.0.0.1, ::1 or localhost without a key",
            next_step="set an API key",
        )
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        raise Unavailable(
            "the server cannot listen there",
            where=f"{host}:{port}",
            found=error,
            next_step="choose another port, or 0 for any free one",
        ) from error
    return listener


def server_for(app: ASGIApp) -> uvicorn.Server:
    """A server to run with `run(sockets=[listener])`; setting its `should_exit` ends it.

    Running answers get 10 seconds to end. No request is logged, neither its path nor its body.
    """
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=10,
        lifespan="off",
    )
    return uvicorn.Server(config)


def serve(app: ASGIApp, listener: socket.socket) -> None:
    """Serve until interrupted (Ctrl-C, SIGTERM)."""
    server_for(app).run(sockets=[listener])


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
