"""What stands before every route: the host that was asked for, the key, and errors that quote no request."""

import hmac
import logging
from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from goldsmith.web.openai_errors import ApiError, internal

_log = logging.getLogger(__name__)

LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "[::1]"})


class Doorman:
    """Refuses before anything is read.

    `hosts`: names under which the server may be asked; a web page that points its own name at 127.0.0.1 (DNS
    rebinding) is not among them. None: any. `key`: the bearer token that all routes but `/healthz` want.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str] | None, key: str | None) -> None:
        self._app = app
        self._hosts = None if hosts is None else frozenset(host.lower() for host in hosts)
        self._key = None if key is None else key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(Headers(scope=scope), scope["path"])
        if refusal is not None:
            await refusal.response()(scope, receive, send)
            return
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception as error:
            # the traceback may quote the request: only its kind and place are logged
            place = _innermost(error)
            _log.error("request failed: %s at %s", type(error).__name__, place)
            if not started:
                await internal().response()(scope, receive, send)

    def _refusal(self, headers: Headers, path: str) -> ApiError | None:
        if self._hosts is not None and _host(headers.get("host", "")) not in self._hosts:
            return ApiError(421, "This server does not answer under that host name.", code="wrong_host")
        if self._key is None or path == "/healthz":
            return None
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), self._key):
            return None
        return ApiError(
            401,
            "The API key is missing or wrong. Send it as 'Authorization: Bearer KEY'.",
            code="invalid_api_key",
            headers={"www-authenticate": "Bearer"},
        )


def _host(header: str) -> str:
    """The host without its port, lower-case."""
    header = header.strip().lower()
    if header.startswith("["):
        return header[: header.find("]") + 1]
    return header.partition(":")[0]


def _innermost(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_name}:{trace.tb_lineno}" if trace is not None else "unknown"
