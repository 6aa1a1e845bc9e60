"""Asking a model behind an OpenAI-compatible endpoint for one small JSON object.

What is sent leaves the machine, so no recipe does it by default.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any, Literal

from pydantic import Field

from goldsmith.engines import endpoint as endpoints
from goldsmith.engines.endpoint import Address, post_json
from goldsmith.types.artifact import Frozen, Real
from goldsmith.types.errors import Unavailable


class Endpoint(Frozen):
    """Where to ask, and how hard to try. `base_url` as OpenAI's clients want it (`https://host/v1`)."""

    base_url: Address = "https://api.openai.com/v1"
    key_env: str = "OPENAI_API_KEY"
    """The environment variable that holds the key; none is sent if it is empty."""
    tries: Annotated[int, Field(ge=1, le=10)] = 4
    """Also where an answer is not of the form that was asked for."""
    timeout_s: Annotated[Real, Field(gt=0)] = 60.0
    at_once: Annotated[int, Field(ge=1, le=256)] = 8
    """Requests under way at a time."""
    response_format: Literal["json_schema", "json_object", "none"] = "json_schema"
    """How the endpoint is told the form; the form is also said in words."""


Chat = list[dict[str, str]]


class NoAnswer(ValueError):
    """The model gave nothing of the form; the message is the reason, in a few words."""


def ask_all(
    endpoint: Endpoint,
    model: str,
    chats: Sequence[Chat],
    schema: Mapping[str, Any],
    read: Callable[[Any], Any],
    sampling: Mapping[str, Any],
) -> list[Any]:
    """What `read` makes of the model's answer to each chat, or a NoAnswer in its place. `read` gets the parsed JSON and
    raises NoAnswer for what is not of the form, which is then asked for again.

    Raises:
        Unavailable: the endpoint gave no answer to any of them.
    """

    def one(chat: Chat) -> Any:
        reason = NoAnswer("the model was not asked")
        for _ in range(endpoint.tries):
            try:
                return read(_parsed(_post(endpoint, _body(endpoint, model, chat, schema, sampling))))
            except _Down as error:
                return error
            except NoAnswer as error:
                reason = error
        return reason

    with ThreadPoolExecutor(endpoint.at_once) as pool:
        found = list(pool.map(one, chats))
    down = [one for one in found if isinstance(one, _Down)]
    if found and len(down) == len(found):
        raise Unavailable(
            "the model's endpoint gave no usable answer",
            where=endpoint.base_url,
            found=str(down[0]),
            next_step=f"check the address, the model's name and the key in {endpoint.key_env}",
        )
    return found


class _Down(NoAnswer):
    pass


def _body(
    endpoint: Endpoint, model: str, chat: Chat, schema: Mapping[str, Any], sampling: Mapping[str, Any]
) -> dict[str, Any]:
    words = f"Answer with one JSON object and nothing else. It must fit this JSON schema: {json.dumps(schema)}"
    body: dict[str, Any] = {"model": model, "messages": [{"role": "system", "content": words}, *chat], **sampling}
    if endpoint.response_format == "json_schema":
        form = {"name": "grade", "schema": schema, "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": form}
    elif endpoint.response_format == "json_object":
        body["response_format"] = {"type": "json_object"}
    return body


def _post(endpoint: Endpoint, body: Mapping[str, Any]) -> Any:
    how: dict[str, Any] = {"key_env": endpoint.key_env, "timeout_s": float(endpoint.timeout_s)}
    try:
        return post_json(f"{endpoint.base_url}/chat/completions", body, retries=endpoint.tries - 1, **how)
    except endpoints.NoAnswer as error:
        raise _Down(f"the endpoint gave nothing: {error}") from None


def _parsed(answer: Any) -> Any:
    try:
        text = answer["choices"][0]["message"]["content"]
        value = json.loads(text)
    except (KeyError, IndexError, TypeError, ValueError, RecursionError):
        raise NoAnswer("the model's answer is no JSON object") from None
    if not isinstance(value, dict):
        raise NoAnswer("the model's answer is no JSON object")
    return value
