"""Reads a chat completion request: strictly, with every field that would change the answer honoured or refused."""

import json
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from goldsmith.engines.sampling.request import Sampling
from goldsmith.types.record import Message, Part, Role, TextPart, ToolCallPart, ToolResultPart, ToolSchema
from goldsmith.web.openai_errors import ApiError, unsupported


class _Body(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class _Text(_Body):
    type: Literal["text"]
    text: str


_Content = str | list[_Text]


class _Function(_Body):
    name: str = Field(min_length=1)
    arguments: str


class _Call(_Body):
    id: str
    type: Literal["function"] = "function"
    function: _Function
    index: int | None = None  # some clients send a streamed call back as they got it


class _System(_Body):
    role: Literal["system", "developer"]
    content: _Content


class _User(_Body):
    role: Literal["user"]
    content: _Content


class _Assistant(_Body):
    role: Literal["assistant"]
    content: _Content | None = None
    tool_calls: list[_Call] | None = None
    # the official client sends its own message back with these, empty
    refusal: None = None
    audio: None = None
    function_call: None = None
    annotations: list[Any] | None = Field(default=None, max_length=0)


class _Tool(_Body):
    role: Literal["tool"]
    content: _Content
    tool_call_id: str
    name: str | None = None


_Message = Annotated[_System | _User | _Assistant | _Tool, Field(discriminator="role")]


class _Declared(_Body):
    name: str = Field(min_length=1, pattern=r"^[A-Za-z0-9_.-]+$")
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class _Offer(_Body):
    type: Literal["function"]
    function: _Declared


class _Named(_Body):
    type: str
    function: dict[str, Any] | None = None


class _Format(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow", frozen=True)
    type: str


class _StreamOptions(_Body):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class ChatRequest(_Body):
    """A chat completion request. Fields of OpenAI's that are not here are refused by name."""

    model: str = Field(min_length=1)
    messages: list[_Message] = Field(min_length=1)
    tools: list[_Offer] | None = None
    tool_choice: str | _Named | None = None
    temperature: float | None = Field(default=None, ge=0.0, le=2.0)
    top_p: float | None = Field(default=None, gt=0.0, le=1.0)
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    n: int | None = Field(default=None, ge=1, le=16)
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63)
    stop: str | list[str] | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    response_format: _Format | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: dict[str, float] | None = None
    parallel_tool_calls: bool | None = None
    store: bool | None = None
    # accepted, for they do not change what is answered here
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    metadata: dict[str, str] | None = None
    service_tier: Literal["auto", "default"] | None = None

    @property
    def stops(self) -> tuple[str, ...]:
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())

    @property
    def answer_tokens(self) -> int | None:
        """The most tokens that the answer may have, if the request says."""
        return self.max_completion_tokens if self.max_completion_tokens is not None else self.max_tokens

    @property
    def wants_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)

    def sampling(self, default_temperature: float) -> Sampling:
        temperature = default_temperature if self.temperature is None else self.temperature
        seed = None if self.seed is None else self.seed % 2**64
        return Sampling(
            temperature=temperature,
            top_p=1.0 if self.top_p is None else self.top_p,
            seed=seed,
            stop=self.stops,
        )

    def conversation(self) -> tuple[Message, ...]:
        """The messages as the platform's own."""
        return tuple(_message(message) for message in self.messages)

    def offered_tools(self) -> tuple[ToolSchema, ...]:
        """The tools that the model may call; none with `tool_choice: "none"`."""
        if self.tool_choice == "none":
            return ()
        return tuple(
            ToolSchema(
                name=offer.function.name,
                definition=json.dumps(offer.model_dump(exclude_unset=True), ensure_ascii=False),
            )
            for offer in self.tools or ()
        )


def read_chat_request(body: bytes) -> ChatRequest:
    """The request in `body`. Raises ApiError (400), whose message never repeats what a field held."""
    try:
        text = body.decode("utf-8")
        parsed = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
        if "\\u" in text:
            # a lone surrogate is legal JSON and no text: no tokenizer can read it
            json.dumps(parsed, ensure_ascii=False).encode("utf-8")
    except UnicodeError as error:
        raise ApiError(400, "The body is not UTF-8 text.", code="invalid_json") from error
    except RecursionError as error:
        raise ApiError(400, "The body's JSON is nested too deeply.", code="invalid_json") from error
    except _BadJson as error:
        raise ApiError(400, str(error), code="invalid_json") from error
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise ApiError(400, f"The body is not valid JSON ({where}): {error.msg}.", code="invalid_json") from error
    except ValueError as error:  # a number with more digits than Python converts
        raise ApiError(400, "The body holds a number that is too long.", code="invalid_json") from error
    if not isinstance(parsed, dict):
        raise ApiError(400, "The body must be a JSON object.", code="invalid_type")
    try:
        request = ChatRequest.model_validate(parsed)
    except ValidationError as error:
        raise _explained(error) from error
    _check_supported(request)
    return request


class _BadJson(ValueError):
    pass


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _BadJson("The body's JSON holds an object with the same key twice.")
    return found


def _no_constant(name: str) -> None:
    raise _BadJson(f"{name} is not JSON.")


def _explained(error: ValidationError) -> ApiError:
    """The first problem, in words, without the value (which may be private)."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    kinds = {"system", "developer", "user", "assistant", "tool", "str", "int", "float"}
    path = ""
    for place, part in enumerate(first["loc"]):
        if isinstance(part, int):
            path += f"[{part}]"
        elif place and (part in kinds or part.startswith(("list[", "_"))):
            continue  # pydantic's name of a union's branch, no field of the request
        else:
            path += f".{part}" if path else part
    if first["type"] == "extra_forbidden":
        return ApiError(400, f"Unknown parameter: {path!r}.", code="unknown_parameter", param=path)
    if first["type"] == "missing":
        return ApiError(400, f"Missing required parameter: {path!r}.", code="missing_required_parameter", param=path)
    # this message of pydantic's repeats what it found
    said = "unknown role" if first["type"].startswith("union_tag") else first["msg"]
    return ApiError(400, f"Invalid value for {path!r}: {said}.", code="invalid_value", param=path)


def _check_supported(request: ChatRequest) -> None:
    if request.logprobs or request.top_logprobs is not None:
        raise unsupported("logprobs", "This server does not return log-probabilities.")
    if request.response_format is not None and request.response_format.type != "text":
        raise unsupported("response_format", "This server supports the response format 'text' only.")
    if request.tool_choice not in (None, "auto", "none"):
        raise unsupported("tool_choice", "This server supports tool_choice 'auto' and 'none'; it cannot force a call.")
    if request.parallel_tool_calls is False and request.tools:
        raise unsupported("parallel_tool_calls", "This server cannot limit the model to one call a turn.")
    for name in ("presence_penalty", "frequency_penalty"):
        if getattr(request, name):
            raise unsupported(name, f"This server does not support {name}.")
    if request.logit_bias:
        raise unsupported("logit_bias", "This server does not support logit_bias.")
    if request.store:
        raise unsupported("store", "This server stores no conversations.")
    if request.stream_options is not None and not request.stream:
        raise ApiError(
            400,
            "'stream_options' is only allowed with 'stream': true.",
            code="invalid_value",
            param="stream_options",
        )
    if len(request.stops) > 4 or any(not stop or len(stop) > 256 for stop in request.stops):
        raise ApiError(400, "'stop' takes up to 4 texts of 1 to 256 characters.", code="invalid_value", param="stop")
    names = [offer.function.name for offer in request.tools or ()]
    if len(set(names)) != len(names):
        raise ApiError(400, "'tools' names the same function twice.", code="invalid_value", param="tools")
    for place, message in enumerate(request.messages):
        if isinstance(message, _Assistant) and message.content is None and not message.tool_calls:
            raise ApiError(
                400,
                "An assistant message needs content or tool_calls.",
                code="invalid_value",
                param=f"messages[{place}].content",
            )


def _message(message: _System | _User | _Assistant | _Tool) -> Message:
    if isinstance(message, _Tool):
        result = ToolResultPart(call_id=message.tool_call_id, name=message.name, text=_text(message.content))
        return Message(role=Role.TOOL, parts=(result,))
    if isinstance(message, _Assistant):
        parts: list[Part] = []
        if message.content:
            parts.append(TextPart(text=_text(message.content)))
        parts += [
            ToolCallPart(id=call.id, name=call.function.name, arguments=call.function.arguments)
            for call in message.tool_calls or ()
        ]
        return Message(role=Role.ASSISTANT, parts=tuple(parts) or (TextPart(text=""),))
    role = Role.USER if isinstance(message, _User) else Role.SYSTEM
    return Message(role=role, parts=(TextPart(text=_text(message.content)),))


def _text(content: _Content) -> str:
    return content if isinstance(content, str) else "".join(part.text for part in content)
