"""Every promise of the API that needs no model: errors, tools, limits, withdrawal, disconnects, guards."""

import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from goldsmith.engines.sampling.request import Finish
from goldsmith.types.errors import BadInput, Unavailable
from goldsmith.types.finding import Finding, Severity
from goldsmith.types.record import Role, ToolCallPart, ToolResultPart
from goldsmith.types.trajectory import Trajectory
from goldsmith.web.openai_api import Limits, ServedModel
from goldsmith.web.serving import listen

CALL = '<tool_call>\n{"name": "weather", "arguments": {"town": "Zürich"}}\n</tool_call>'
TOOLS: Any = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}]
HELLO: Any = [{"role": "user", "content": "hello"}]


def client_of(url: str, key: str = "any") -> openai.OpenAI:
    return openai.OpenAI(base_url=url + "/v1", api_key=key, max_retries=0, timeout=30)


def post(url: str, body: Any, **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    sent = {"content-type": "application/json", **headers}
    return httpx.post(url + "/v1/chat/completions", content=content, headers=sent, timeout=30)


@pytest.fixture(scope="module")
def plain(running: Any, script: Any) -> Iterator[tuple[str, Any]]:
    writer = script()
    with running({"m": ServedModel(id="m", answerer=writer)}) as url:
        yield url, writer


# ---- malformed and unsupported requests ------------------------------------------------------------------

BAD_BODIES: list[tuple[Any, str, str | None]] = [
    (b"", "invalid_json", None),
    (b"{", "invalid_json", None),
    (b"\xff\xfe", "invalid_json", None),
    (b"[1]", "invalid_type", None),
    (b'{"model": "m", "model": "m"}', "invalid_json", None),
    (b'{"model": "m", "temperature": NaN}', "invalid_json", None),
    (b"[" * 100_000, "invalid_json", None),
    (b'{"n": ' + b"9" * 5000 + b"}", "invalid_json", None),
    (b'{"model": "m", "messages": [{"role": "user", "content": "\\ud800"}]}', "invalid_json", None),
    ({"messages": HELLO}, "missing_required_parameter", "model"),
    ({"model": "m"}, "missing_required_parameter", "messages"),
    ({"model": "m", "messages": []}, "invalid_value", "messages"),
    ({"model": "m", "messages": "hello"}, "invalid_value", "messages"),
    ({"model": "m", "messages": [{"role": "user"}]}, "missing_required_parameter", "messages[0].content"),
    ({"model": "m", "messages": [{"role": "owner", "content": "x"}]}, "invalid_value", "messages[0]"),
    ({"model": "m", "messages": [{"role": "user", "content": None}]}, "invalid_value", "messages[0].content"),
    ({"model": "m", "messages": [{"role": "assistant"}]}, "invalid_value", "messages[0].content"),
    (
        {"model": "m", "messages": [{"role": "user", "content": "x", "mood": "y"}]},
        "unknown_parameter",
        "messages[0].mood",
    ),
    (
        {"model": "m", "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
        "invalid_value",
        None,
    ),
    ({"model": "m", "messages": HELLO, "temprature": 1}, "unknown_parameter", "temprature"),
    ({"model": "m", "messages": HELLO, "temperature": "hot"}, "invalid_value", "temperature"),
    ({"model": "m", "messages": HELLO, "temperature": 3}, "invalid_value", "temperature"),
    ({"model": "m", "messages": HELLO, "top_p": 0}, "invalid_value", "top_p"),
    ({"model": "m", "messages": HELLO, "n": 0}, "invalid_value", "n"),
    ({"model": "m", "messages": HELLO, "n": True}, "invalid_value", "n"),
    ({"model": "m", "messages": HELLO, "max_tokens": 0}, "invalid_value", "max_tokens"),
    ({"model": "m", "messages": HELLO, "seed": 2**63}, "invalid_value", "seed"),
    ({"model": "m", "messages": HELLO, "stop": [""]}, "invalid_value", "stop"),
    ({"model": "m", "messages": HELLO, "stop": ["a"] * 5}, "invalid_value", "stop"),
    ({"model": "m", "messages": HELLO, "stream_options": {"include_usage": True}}, "invalid_value", "stream_options"),
    ({"model": "m", "messages": HELLO, "tools": TOOLS * 2}, "invalid_value", "tools"),
    ({"model": "m", "messages": HELLO, "logprobs": True}, "unsupported_parameter", "logprobs"),
    ({"model": "m", "messages": HELLO, "top_logprobs": 2}, "unsupported_parameter", "logprobs"),
    (
        {"model": "m", "messages": HELLO, "response_format": {"type": "json_object"}},
        "unsupported_parameter",
        "response_format",
    ),
    (
        {"model": "m", "messages": HELLO, "tools": TOOLS, "tool_choice": "required"},
        "unsupported_parameter",
        "tool_choice",
    ),
    (
        {
            "model": "m",
            "messages": HELLO,
            "tools": TOOLS,
            "tool_choice": {"type": "function", "function": {"name": "weather"}},
        },
        "unsupported_parameter",
        "tool_choice",
    ),
    ({"model": "m", "messages": HELLO, "frequency_penalty": 0.5}, "unsupported_parameter", "frequency_penalty"),
    ({"model": "m", "messages": HELLO, "logit_bias": {"5": 1.0}}, "unsupported_parameter", "logit_bias"),
    ({"model": "m", "messages": HELLO, "store": True}, "unsupported_parameter", "store"),
    ({"model": "m", "messages": [{"role": "user", "content": "untellable"}]}, "invalid_value", "messages"),
]


@pytest.mark.parametrize(("body", "code", "param"), BAD_BODIES, ids=range(len(BAD_BODIES)))
def test_a_bad_request_is_refused_in_the_envelope(plain: Any, body: Any, code: str, param: str | None) -> None:
    url, writer = plain
    started = len(writer.budgets)
    answer = post(url, body)
    error = answer.json()["error"]
    assert answer.status_code == 400
    assert set(error) == {"message", "type", "param", "code"}
    assert error["code"] == code, error
    assert error["type"] == "invalid_request_error"
    if param is not None:
        assert error["param"] == param
    assert len(writer.budgets) == started, "nothing was written for it"


def test_an_error_never_repeats_what_a_field_held(plain: Any) -> None:
    secret = "hunter2-correct-horse"
    for body in (
        {"model": "m", "messages": [{"role": "user", "content": {"text": secret}}]},
        {"model": "m", "messages": HELLO, "temperature": secret},
        {"model": "m", "messages": [{"role": secret, "content": "x"}]},
    ):
        answer = post(plain[0], body)
        assert answer.status_code == 400
        assert secret not in answer.text


def test_routes_that_do_not_exist_answer_in_the_envelope(plain: Any) -> None:
    for answer, status in (
        (httpx.get(plain[0] + "/v2/none"), 404),
        (httpx.get(plain[0] + "/v1/chat/completions"), 405),
    ):
        assert answer.status_code == status
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert httpx.get(plain[0] + "/docs").status_code == 404, "no page that loads scripts from elsewhere"
    assert httpx.get(plain[0] + "/healthz").json() == {"status": "ok", "models": 1}


def test_a_web_page_cannot_reach_it(plain: Any) -> None:
    """Neither by a form's content type, nor under its own name pointed at loopback."""
    url, _ = plain
    body = {"model": "m", "messages": HELLO}
    assert post(url, body, **{"content-type": "text/plain"}).status_code == 415
    assert post(url, body, host="evil.example").status_code == 421
    assert post(url, body, host="localhost:1234").status_code == 200
    assert httpx.options(url + "/v1/models", headers={"origin": "https://evil.example"}).status_code == 405


def test_fields_that_change_nothing_here_are_accepted(plain: Any) -> None:
    body = {
        "model": "m",
        "messages": HELLO,
        "user": "u",
        "metadata": {"a": "b"},
        "frequency_penalty": 0,
        "logprobs": False,
        "store": False,
        "response_format": {"type": "text"},
        "tool_choice": "auto",
        "n": 1,
        "stop": None,
    }
    assert post(plain[0], body).status_code == 200


# ---- what reaches the model ------------------------------------------------------------------------------


def test_a_whole_tool_conversation_reaches_the_model(plain: Any) -> None:
    url, writer = plain
    messages: Any = [
        {"role": "developer", "content": "Be kind."},
        {"role": "user", "content": [{"type": "text", "text": "wea"}, {"type": "text", "text": "ther?"}]},
        {
            "role": "assistant",
            "content": None,
            "refusal": None,
            "annotations": [],
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"a": 1.0}'}}
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
    ]
    assert post(url, {"model": "m", "messages": messages, "tools": TOOLS}).status_code == 200
    got, tools = writer.asked[-1]
    assert [message.role for message in got] == [Role.SYSTEM, Role.USER, Role.ASSISTANT, Role.TOOL]
    assert [message.text for message in got] == ["Be kind.", "weather?", "", "sunny"]
    assert got[2].parts == (ToolCallPart(id="c1", name="weather", arguments='{"a": 1.0}'),)
    assert got[3].parts == (ToolResultPart(call_id="c1", text="sunny"),)
    assert [(tool.name, json.loads(tool.definition)) for tool in tools] == [("weather", TOOLS[0])]


def test_limits_and_sampling_reach_the_model(running: Any, script: Any) -> None:
    writer = script()
    limits = Limits(answer_tokens=50)
    with running({"m": ServedModel(id="m", answerer=writer)}, limits=limits, default_temperature=0.5) as url:
        body = {"model": "m", "messages": HELLO}
        post(url, body)
        post(url, {**body, "max_tokens": 7, "temperature": 0})
        post(url, {**body, "max_tokens": 7, "max_completion_tokens": 9, "top_p": 0.5, "seed": 3, "stop": "x"})
        post(url, {**body, "max_tokens": 5000})
    assert writer.budgets == [50, 7, 9, 50]
    assert [s.temperature for s in writer.samplings] == [0.5, 0.0, 0.5, 0.5]
    assert (writer.samplings[2].top_p, writer.samplings[2].seed, writer.samplings[2].stop) == (0.5, 3, ("x",))


# ---- tools -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 4, 500])
def test_tool_calls_arrive_as_the_clients_own(running: Any, script: Any, size: int) -> None:
    text = "I will look.\n" + CALL + "\n" + CALL.replace("Zürich", "Bern")
    writer = script(pieces=[text[at : at + size] for at in range(0, len(text), size)])
    with running({"m": ServedModel(id="m", answerer=writer)}) as url, client_of(url) as client:
        whole = client.chat.completions.create(model="m", messages=HELLO, tools=TOOLS).choices[0]
        assert whole.finish_reason == "tool_calls"
        assert whole.message.content == "I will look."
        assert whole.message.tool_calls is not None
        names = [(c.type, c.function.name, json.loads(c.function.arguments)) for c in whole.message.tool_calls]  # type: ignore[union-attr]
        assert names == [("function", "weather", {"town": town}) for town in ("Zürich", "Bern")]
        assert len({c.id for c in whole.message.tool_calls}) == 2
        chunks = list(client.chat.completions.create(model="m", messages=HELLO, tools=TOOLS, stream=True))
        assert "".join(c.choices[0].delta.content or "" for c in chunks) == "I will look."
        calls = [call for c in chunks for call in c.choices[0].delta.tool_calls or []]
        assert [call.index for call in calls] == [0, 1]
        assert [json.loads(call.function.arguments or "")["town"] for call in calls if call.function] == [
            "Zürich",
            "Bern",
        ]
        assert chunks[-1].choices[0].finish_reason == "tool_calls"
        # the answer goes back as the client made it
        again = [
            *HELLO,
            whole.message,
            {"role": "tool", "tool_call_id": whole.message.tool_calls[0].id, "content": "4 C"},
        ]
        assert client.chat.completions.create(model="m", messages=again, tools=TOOLS).choices
    assert [c.name for c in writer.asked[-1][0][1].calls] == ["weather", "weather"]


@pytest.mark.parametrize(
    "request_fields", [{}, {"tools": TOOLS, "tool_choice": "none"}], ids=["no tools", "tool_choice none"]
)
def test_a_call_that_nobody_asked_for_stays_text(running: Any, script: Any, request_fields: Any) -> None:
    with running({"m": ServedModel(id="m", answerer=script(pieces=["Hi.\n", CALL]))}) as url:
        answer = post(url, {"model": "m", "messages": HELLO, **request_fields}).json()["choices"][0]
    assert "tool_calls" not in answer["message"]
    assert answer["message"]["content"] == "Hi.\n" + CALL
    assert answer["finish_reason"] == "stop"


def test_a_call_that_cannot_be_read_stays_text(running: Any, script: Any) -> None:
    broken = CALL[:-20]
    writer = script(pieces=["Hi.\n", broken], finish=Finish.LENGTH)
    with running({"m": ServedModel(id="m", answerer=writer)}) as url, client_of(url) as client:
        whole = client.chat.completions.create(model="m", messages=HELLO, tools=TOOLS).choices[0]
        chunks = list(client.chat.completions.create(model="m", messages=HELLO, tools=TOOLS, stream=True))
    assert whole.message.content == "Hi.\n" + broken
    assert whole.message.tool_calls is None
    assert whole.finish_reason == "length"
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == whole.message.content
    assert chunks[-1].choices[0].finish_reason == "length"


# ---- standing, keys, limits ------------------------------------------------------------------------------


def test_a_withdrawn_model_stops_being_served_at_once(running: Any, script: Any) -> None:
    reason: list[str | None] = [None]
    models = {
        "m": ServedModel(id="m", answerer=script(), standing=lambda: reason[0]),
        "other": ServedModel(id="other", answerer=script()),
    }
    with running(models) as url, client_of(url) as client:
        assert client.chat.completions.create(model="m", messages=HELLO).choices
        reason[0] = "its source vendor was recalled"
        for streaming in (False, True):
            with pytest.raises(openai.PermissionDeniedError) as refused:
                client.chat.completions.create(model="m", messages=HELLO, stream=streaming)
            assert refused.value.code == "model_withdrawn"
            assert "its source vendor was recalled" in refused.value.message
        standings = {m.id: (m.model_extra or {})["goldsmith"]["standing"] for m in client.models.list()}
        assert standings == {"m": "withdrawn: its source vendor was recalled", "other": "in force"}
        assert client.chat.completions.create(model="other", messages=HELLO).choices
        reason[0] = None
        assert client.chat.completions.create(model="m", messages=HELLO).choices


def test_a_standing_that_cannot_be_told_is_a_refusal(running: Any, script: Any) -> None:
    def broken() -> str | None:
        raise OSError("/secret/path is gone")

    with running({"m": ServedModel(id="m", answerer=script(), standing=broken)}) as url:
        answer = post(url, {"model": "m", "messages": HELLO})
    assert answer.status_code == 403
    assert "could not be told" in answer.json()["error"]["message"]
    assert "secret" not in answer.text


def test_the_models_on_offer_may_change_while_it_runs(running: Any, script: Any) -> None:
    models: dict[str, ServedModel] = {}
    with running(models) as url, client_of(url) as client:
        assert list(client.models.list()) == []
        models["late/one"] = ServedModel(id="late/one", answerer=script())
        assert client.models.retrieve("late/one").id == "late/one"
        assert client.chat.completions.create(model="late/one", messages=HELLO).choices


def test_a_key_is_asked_of_everything_but_health(running: Any, script: Any) -> None:
    with running({"m": ServedModel(id="m", answerer=script())}, api_key="geheim") as url:
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "geheim"}):
            answer = httpx.get(url + "/v1/models", headers=headers)
            assert answer.status_code == 401
            assert answer.json()["error"]["code"] == "invalid_api_key"
        with client_of(url, "geheim") as client:
            assert client.chat.completions.create(model="m", messages=HELLO).choices
        with client_of(url, "wrong") as client, pytest.raises(openai.AuthenticationError):
            client.models.list()
        assert httpx.get(url + "/healthz").status_code == 200


def test_an_oversize_body_is_refused_unread(running: Any, script: Any) -> None:
    limits = Limits(body_bytes=1000)
    with running({"m": ServedModel(id="m", answerer=script())}, limits=limits) as url:
        big = json.dumps({"model": "m", "messages": [{"role": "user", "content": "x" * 2000}]}).encode()
        declared = post(url, big)

        def chunks() -> Iterator[bytes]:
            yield big[:900]
            yield big[900:]

        headers = {"content-type": "application/json"}
        undeclared = httpx.post(url + "/v1/chat/completions", content=chunks(), headers=headers)
        for answer in (declared, undeclared):
            assert answer.status_code == 413
            assert answer.json()["error"]["code"] == "request_too_large"
        assert post(url, {"model": "m", "messages": HELLO}).status_code == 200


def test_a_body_that_does_not_arrive_is_given_up(running: Any, script: Any) -> None:
    limits = Limits(body_timeout_s=0.2)
    with running({"m": ServedModel(id="m", answerer=script())}, limits=limits) as url:
        host, _, port = url.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port)), timeout=20) as connection:
            head = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            connection.sendall((head + "content-length: 100\r\n\r\n{").encode())
            assert b" 408 " in connection.recv(1000).split(b"\r\n")[0]


def test_too_many_at_once_are_told_to_wait(running: Any, script: Any) -> None:
    hold = threading.Event()
    writer = script(hold=hold)
    limits = Limits(concurrent_requests=2)
    with running({"m": ServedModel(id="m", answerer=writer)}, limits=limits) as url:
        answers: list[httpx.Response] = []
        body = {"model": "m", "messages": HELLO}
        threads = [
            threading.Thread(target=lambda streaming=s: answers.append(post(url, {**body, "stream": streaming})))  # type: ignore[misc]
            for s in (False, True)
        ]
        for thread in threads:
            thread.start()
        _until(lambda: len(writer.budgets) == 2)
        busy = post(url, body)
        assert busy.status_code == 429
        assert busy.headers["retry-after"] == "1"
        assert busy.json()["error"]["code"] == "rate_limit_exceeded"
        # a bad request takes no place
        hold.set()
        for thread in threads:
            thread.join(20)
        assert [answer.status_code for answer in answers] == [200, 200]
        for _ in range(3):
            assert post(url, {**body, "messages": [{"role": "user", "content": "untellable"}]}).status_code == 400
        assert post(url, body).status_code == 200


@pytest.mark.parametrize("streaming", [False, True])
def test_a_client_that_goes_away_stops_the_writing(running: Any, script: Any, streaming: bool) -> None:
    writer = script(pieces=["word "] * 2000, delay_s=0.02)
    limits = Limits(concurrent_requests=1)
    with running({"m": ServedModel(id="m", answerer=writer)}, limits=limits) as url:
        host, _, port = url.removeprefix("http://").partition(":")
        body = json.dumps({"model": "m", "messages": HELLO, "stream": streaming}).encode()
        with socket.create_connection((host, int(port)), timeout=20) as connection:
            head = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            connection.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
            _until(lambda: bool(writer.budgets))
            if streaming:
                assert connection.recv(100)
            assert not writer.cancelled.is_set()
        assert writer.cancelled.wait(20)
        # and its place is free again
        writer.pieces, writer.delay_s = ["short"], 0.0
        _until(lambda: post(url, {"model": "m", "messages": HELLO, "max_tokens": 1}).status_code != 429)


# ---- streams ---------------------------------------------------------------------------------------------


def test_the_stream_is_made_of_server_sent_events(running: Any, script: Any) -> None:
    writer = script(pieces=["naï", "ve\n\ndata: x", "日本\u2028"])
    with running({"m": ServedModel(id="m", answerer=writer)}) as url:
        answer = post(url, {"model": "m", "messages": HELLO, "stream": True, "n": 2})
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-store"
    lines = answer.content.decode().split("\n\n")
    assert lines[-2:] == ["data: [DONE]", ""]
    chunks = [json.loads(line.removeprefix("data: ")) for line in lines[:-2]]
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    for choice in (0, 1):
        deltas = [c["choices"][0] for c in chunks if c["choices"][0]["index"] == choice]
        assert deltas[0]["delta"]["role"] == "assistant"
        assert "".join(d["delta"].get("content") or "" for d in deltas) == "naïve\n\ndata: x日本\u2028"
        assert [d["finish_reason"] for d in deltas if d["finish_reason"]] == ["stop"]
        assert deltas[-1]["finish_reason"] == "stop"


def test_a_failure_is_an_error_whole_or_streamed(running: Any, script: Any, caplog: pytest.LogCaptureFixture) -> None:
    writer = script(pieces=["Hel"], fails=MemoryError("the user's words"))
    with running({"m": ServedModel(id="m", answerer=writer)}) as url, client_of(url) as client:
        with pytest.raises(openai.InternalServerError) as failed:
            client.chat.completions.create(model="m", messages=HELLO)
        assert failed.value.code == "internal_error"
        stream = client.chat.completions.create(model="m", messages=HELLO, stream=True)
        with pytest.raises(openai.APIError, match="server failed"):
            list(stream)
    assert "words" not in caplog.text


def test_nothing_of_a_request_is_logged(running: Any, script: Any, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(script):  # type: ignore[misc, valid-type]
        def encode(self, messages: Any, tools: Any = ()) -> Any:
            raise KeyError(messages[0].text)

    with caplog.at_level(logging.DEBUG), running({"m": ServedModel(id="m", answerer=Broken())}) as url:
        answer = post(url, {"model": "m", "messages": [{"role": "user", "content": "my private words"}]})
    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "internal_error"
    assert "private" not in answer.text
    assert "private" not in caplog.text
    assert "request failed: KeyError" in caplog.text


# ---- guards ----------------------------------------------------------------------------------------------


def test_a_guard_withholds_an_answer_before_any_of_it_is_sent(running: Any, script: Any) -> None:
    seen: list[Trajectory] = []

    def guard(trajectory: Trajectory) -> list[Finding]:
        seen.append(trajectory)
        bad = "poison" in trajectory.messages[-1].text
        severity = Severity.EXCLUDE if bad else Severity.NOTE
        return [Finding(check="words", severity=severity, score=1.0, evidence="a word", subject="model")]

    models = {
        "bad": ServedModel(id="bad", answerer=script(pieces=["good, then", " poison"])),
        "good": ServedModel(id="good", answerer=script(pieces=["good, ", "good"])),
    }
    with running(models, guards=[guard]) as url, client_of(url) as client:
        whole = client.chat.completions.create(model="bad", messages=HELLO).choices[0]
        assert (whole.message.content, whole.finish_reason) == (None, "content_filter")
        chunks = list(client.chat.completions.create(model="bad", messages=HELLO, stream=True))
        assert "".join(c.choices[0].delta.content or "" for c in chunks) == ""
        assert chunks[-1].choices[0].finish_reason == "content_filter"
        good = client.chat.completions.create(model="good", messages=HELLO, stream=True)
        assert "".join(c.choices[0].delta.content or "" for c in good) == "good, good"
    assert [message.text for message in seen[0].messages] == ["hello", "good, then poison"]


# ---- sockets ---------------------------------------------------------------------------------------------


def test_the_open_network_needs_a_key() -> None:
    with pytest.raises(BadInput, match="needs an API key"):
        listen("0.0.0.0", 0)
    listen("0.0.0.0", 0, has_key=True).close()
    listen("::1", 0).close()


def test_a_taken_port_is_unavailable() -> None:
    with listen(port=0) as first, pytest.raises(Unavailable, match="cannot listen"):
        listen(port=first.getsockname()[1])


def _until(condition: Any, timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
