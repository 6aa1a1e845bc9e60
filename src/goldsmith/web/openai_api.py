"""The OpenAI-compatible API: `/v1/models` and `/v1/chat/completions`, each answer under evidence that still stands.

Differences from OpenAI's that a client can notice: the default temperature is 0, as the model was examined; what
is not supported is refused by name; request bodies are never logged, stored or sent anywhere.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from goldsmith.types.errors import BadInput
from goldsmith.web.doorman import LOOPBACK_HOSTS, Doorman
from goldsmith.web.openai_answer import Envelope
from goldsmith.web.openai_errors import ApiError, from_bad_input, internal
from goldsmith.web.openai_request import ChatRequest, read_chat_request
from goldsmith.web.openai_run import Run, unless_disconnected
from goldsmith.web.served import Guard, ServedModel, Writer

_log = logging.getLogger(__name__)
__all__ = ["Guard", "Limits", "ServedModel", "Writer", "create_app"]


@dataclass(frozen=True)
class Limits:
    """What one client may take. `answer_tokens` is also what an answer gets that names no limit of its own."""

    body_bytes: int = 1_000_000
    body_timeout_s: float = 30.0
    concurrent_requests: int = 64
    answer_tokens: int = 4096


def create_app(
    models: Mapping[str, ServedModel],
    *,
    api_key: str | None = None,
    hosts: Collection[str] | None = LOOPBACK_HOSTS,
    limits: Limits = Limits(),
    default_temperature: float = 0.0,
    guards: Sequence[Guard] = (),
) -> FastAPI:
    """The ASGI application that serves `models` by name; the mapping is read anew for each request.

    With `guards`, answers are sent when they are whole and every guard has seen them.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(Doorman, hosts=hosts, key=api_key)
    server = _Server(models, limits, default_temperature, tuple(guards))
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_api_route("/healthz", server.health, methods=["GET"])
    app.add_api_route("/v1/models", server.list_models, methods=["GET"])
    app.add_api_route("/v1/models/{model_id:path}", server.show_model, methods=["GET"])
    app.add_api_route("/v1/chat/completions", server.chat, methods=["POST"], response_model=None)
    return app


async def _api_error(_: Request, error: Exception) -> Response:
    return error.response() if isinstance(error, ApiError) else internal().response()


async def _http_error(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    known = {404: ("There is no such route.", "unknown_url"), 405: ("Wrong method.", "method_not_allowed")}
    message, code = known.get(status, ("The request was refused.", "refused"))
    return ApiError(status, message, code=code).response()


class _Leased(StreamingResponse):
    """A stream that gives back what it holds, whether or not anybody read it."""

    release: Callable[[], None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            if self.release is not None:
                self.release()


class _Server:
    def __init__(
        self,
        models: Mapping[str, ServedModel],
        limits: Limits,
        default_temperature: float,
        guards: tuple[Guard, ...],
    ) -> None:
        self._models = models
        self._limits = limits
        self._temperature = default_temperature
        self._guards = guards
        self._running = 0

    async def health(self) -> dict[str, Any]:
        return {"status": "ok", "models": len(self._models)}

    async def list_models(self) -> dict[str, Any]:
        shown = [await self._shown(name, model) for name, model in sorted(self._models.items())]
        return {"object": "list", "data": shown}

    async def show_model(self, model_id: str) -> dict[str, Any]:
        return await self._shown(model_id, self._find(model_id))

    async def chat(self, request: Request) -> Response:
        _check_content_type(request)
        wanted = read_chat_request(await self._body(request))
        model = self._find(wanted.model)
        reason = await self._refusal(wanted.model, model)
        if reason is not None:
            raise ApiError(
                403,
                f"The model {wanted.model!r} is no longer served: {reason}",
                code="model_withdrawn",
                param="model",
                kind="permission_error",
            )
        release = self._take_place()
        try:
            run = await self._start(wanted, model)
        except BaseException:
            release()
            raise
        if wanted.stream:
            response = _Leased(
                run.stream(with_usage=wanted.wants_usage),
                media_type="text/event-stream",
                headers={**model.headers(), **_NO_CACHE},
            )
            response.release = partial(_end, run, release)
            return response
        try:
            turns = await unless_disconnected(request, run.whole())
        finally:
            _end(run, release)
        if turns is None:
            return Response(status_code=499)  # nginx's "client closed request"; nobody is there to read it
        return JSONResponse(run.envelope.completion(turns), headers=model.headers())

    async def _shown(self, name: str, model: ServedModel) -> dict[str, Any]:
        reason = await self._refusal(name, model)
        standing = "in force" if reason is None else f"withdrawn: {reason}"
        return {
            "id": name,
            "object": "model",
            "created": model.created,
            "owned_by": model.owned_by,
            "context_length": model.answerer.context_length,
            "goldsmith": {**model.evidence, "standing": standing},
        }

    def _find(self, name: str) -> ServedModel:
        model = self._models.get(name)
        if model is None:
            raise ApiError(
                404,
                f"The model {name[:200]!r} does not exist here. See /v1/models.",
                code="model_not_found",
                param="model",
            )
        return model

    async def _refusal(self, name: str, model: ServedModel) -> str | None:
        """Why the model may not be served. Who cannot tell refuses."""
        try:
            return await asyncio.to_thread(model.standing)
        except Exception as error:
            _log.error("the standing of model %s could not be told: %s", name, type(error).__name__)
            return f"its standing could not be told ({type(error).__name__})"

    async def _body(self, request: Request) -> bytes:
        limit = self._limits.body_bytes
        too_large = ApiError(413, f"The body is larger than {limit} bytes.", code="request_too_large")
        declared = request.headers.get("content-length", "0")
        if not declared.isdecimal() or int(declared) > limit:
            raise too_large
        parts = bytearray()
        try:
            async with asyncio.timeout(self._limits.body_timeout_s):
                async for part in request.stream():
                    parts += part
                    if len(parts) > limit:
                        raise too_large
        except TimeoutError as error:
            raise ApiError(408, "The body did not arrive in time.", code="request_timeout") from error
        return bytes(parts)

    def _take_place(self) -> Callable[[], None]:
        """A place among the concurrent requests, and what gives it back (once, however often it is called)."""
        if self._running >= self._limits.concurrent_requests:
            raise ApiError(
                429,
                "The server is busy. Try again shortly.",
                code="rate_limit_exceeded",
                kind="rate_limit_error",
                headers={"retry-after": "1"},
            )
        self._running += 1
        held = True

        def release() -> None:
            nonlocal held
            if held:
                held = False
                self._running -= 1

        return release

    async def _start(self, wanted: ChatRequest, model: ServedModel) -> Run:
        messages, tools = wanted.conversation(), wanted.offered_tools()
        try:
            prompt = await asyncio.to_thread(model.answerer.encode, messages, tools)
        except BadInput as error:
            raise from_bad_input(error) from error
        limit = model.answerer.context_length
        if limit is not None and len(prompt) >= limit:
            raise ApiError(
                400,
                f"The model's context is {limit} tokens; the messages and tools are {len(prompt)} tokens.",
                code="context_length_exceeded",
                param="messages",
            )
        run = Run(
            model,
            Envelope(wanted.model, model.evidence.get("model_digest"), len(prompt)),
            prompt_messages=messages,
            may_call=bool(tools),
            guards=self._guards,
        )
        budget = min(wanted.answer_tokens or self._limits.answer_tokens, self._limits.answer_tokens)
        sampling = wanted.sampling(self._temperature)
        run.start(prompt, budget, [sampling.for_row(choice) for choice in range(wanted.n or 1)])
        return run


_NO_CACHE = {"cache-control": "no-store", "x-accel-buffering": "no"}


def _end(run: Run, release: Callable[[], None]) -> None:
    run.cancel()
    release()


def _check_content_type(request: Request) -> None:
    """A web page can make a browser post text/plain to any server unasked, but not JSON."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise ApiError(415, "Send the body as 'Content-Type: application/json'.", code="wrong_content_type")
