"""Errors in the envelope of OpenAI's API: {"error": {"message", "type", "param", "code"}}."""

from collections.abc import Mapping

from fastapi.responses import JSONResponse

from goldsmith.types.errors import BadInput


class ApiError(Exception):
    """A request that is answered with an error. `param` is the request's field, as `messages[0].role`."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        kind: str = "invalid_request_error",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.param = param
        self.kind = kind
        self.headers = dict(headers or {})

    def body(self) -> dict[str, dict[str, str | None]]:
        """The envelope."""
        return {"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}}

    def response(self) -> JSONResponse:
        return JSONResponse(self.body(), status_code=self.status, headers=self.headers)


def from_bad_input(error: BadInput) -> ApiError:
    """A request that the model's chat template or tokenizer cannot write."""
    return ApiError(400, str(error), code="invalid_value", param="messages")


def unsupported(param: str, message: str) -> ApiError:
    """A request for something that this server does not do, and says so rather than ignore it."""
    return ApiError(400, message, code="unsupported_parameter", param=param)


def internal(message: str = "The server failed; the answer is lost.") -> ApiError:
    return ApiError(500, message, code="internal_error", kind="server_error")
