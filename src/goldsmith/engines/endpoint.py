"""JSON to an HTTP endpoint that a recipe names, and back: no redirects, a bounded answer, the key in no message."""

import http.client
import json
import os
import time
import urllib.error
import urllib.request
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator

_MOST_BYTES = 64 * 2**20
_WORTH_RETRYING = (408, 425, 429, 500, 502, 503, 504)


def _http(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password:
        raise ValueError("must be an http or https address without a name or password in it")
    return url.rstrip("/")


Address = Annotated[str, AfterValidator(_http)]
"""An http or https address without a name or password in it."""


class NoAnswer(Exception):
    """The endpoint gave none; in a few words why, nothing of what was sent or received in them."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the texts, and the key, somewhere nobody named."""

    def redirect_request(self, *_: Any) -> None:
        return None


def post_json(url: str, body: object, *, key_env: str, timeout_s: float, retries: int = 0) -> Any:
    """The JSON that the endpoint answers; where it is busy or away it is asked `retries` times more, ever later.

    `key_env`: the environment variable with its key; none is sent if it is empty. Errors: NoAnswer.
    """
    headers = {"Content-Type": "application/json"}
    if key := os.environ.get(key_env):
        headers["Authorization"] = f"Bearer {key}"
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    for attempt in range(retries + 1):
        try:
            with urllib.request.build_opener(_NoRedirect).open(request, timeout=timeout_s) as answer:
                return json.loads(answer.read(_MOST_BYTES))
        except urllib.error.HTTPError as error:
            if attempt == retries or error.code not in _WORTH_RETRYING:
                raise NoAnswer(f"HTTP {error.code}") from None
        except ValueError as error:
            raise NoAnswer(type(error).__name__) from None
        except (OSError, http.client.HTTPException) as error:
            if attempt == retries:
                raise NoAnswer(type(error).__name__) from None
        time.sleep(0.2 * 2**attempt)
    raise AssertionError("unreachable")  # pragma: no cover
