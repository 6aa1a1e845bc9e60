"""Refusal removal with a moderation endpoint: a real server reads the requests, or the check could not tell."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from goldsmith import plugins
from goldsmith.types.check import CheckContext, CheckReport, Row
from goldsmith.types.errors import BadInput
from goldsmith.types.finding import Severity
from goldsmith.types.record import Conversation, Message, Origin, Record, Role, TextPart

KEY = "sk-not-a-real-key-7f3a"


class Server:
    """Calls a text harmful if it speaks of marmalade. `answer` may be replaced by a status and a body."""

    def __init__(self) -> None:
        self.requests: list[tuple[dict[str, str], dict[str, Any]]] = []
        self.answer: tuple[int, bytes] | None = None
        mine = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                mine.requests.append((dict(self.headers), body))
                results = [
                    {"category_scores": {"violence": 0.02, "illicit": 0.97 if "marmalade" in text else 0.01}}
                    for text in body["input"]
                ]
                status, found = mine.answer or (200, json.dumps({"results": results}).encode())
                self.send_response(status)
                if status == 307:
                    self.send_header("Location", "http://127.0.0.1:9/v1/moderations")
                self.send_header("Content-Length", str(len(found)))
                self.end_headers()
                self.wfile.write(found)

            def log_message(self, *_: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"


@pytest.fixture
def server() -> Iterator[Server]:
    one = Server()
    threading.Thread(target=one.http.serve_forever, daemon=True).start()
    yield one
    one.http.shutdown()
    one.http.server_close()


def rows(count: int = 15) -> list[Row]:
    def said(role: Role, text: str) -> Message:
        return Message(role=role, parts=(TextPart(text=text),))

    asked = [f"Number {i}: tell me how marmalade is made" for i in range(count)]
    content = [
        Conversation(messages=(said(Role.USER, text), said(Role.ASSISTANT, "It is made of oranges and sugar.")))
        for text in asked
    ]
    return [Row(i, Record(content=c, origin=Origin(source="s", batch="b"))) for i, c in enumerate(content, 1)]


def run(**moderation: Any) -> CheckReport:
    settings = {"moderation": moderation} if moderation else {}
    check: Any = plugins.build("checks", "refusal_removal", settings)
    found: CheckReport = check(rows(), CheckContext())
    return found


def test_the_endpoint_reads_the_requests(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOLDSMITH_MODERATION_KEY", KEY)
    assert not run().findings
    found = run(endpoint=server.url, model="m", batch=4)
    assert [finding.severity for finding in found.findings] == [Severity.QUARANTINE]
    assert len(server.requests) == 4
    assert all(len(body["input"]) <= 4 and body["model"] == "m" for _, body in server.requests)
    assert all(headers["Authorization"] == f"Bearer {KEY}" for headers, _ in server.requests)
    assert sum(len(body["input"]) for _, body in server.requests) == 15


@pytest.mark.parametrize(
    "answer",
    [
        (500, b"{}"),
        (200, b"not json"),
        (200, b'{"results": []}'),
        (200, b'{"results": [{"category_scores": {"illicit": NaN}}]}'),
        (307, b""),
    ],
    ids=["error", "no json", "too few", "nan", "redirect"],
)
def test_a_failing_endpoint_is_could_not_tell(
    server: Server, monkeypatch: pytest.MonkeyPatch, answer: tuple[int, bytes]
) -> None:
    monkeypatch.setenv("GOLDSMITH_MODERATION_KEY", KEY)
    server.answer = answer
    found = run(endpoint=server.url)
    assert found.inconclusive
    assert "moderation endpoint" in found.inconclusive
    assert KEY not in found.inconclusive
    assert not found.findings
    assert set(found.scores or ()) == {None}


def test_nobody_there_and_too_much_to_send(server: Server) -> None:
    assert "gave no usable answer" in str(run(endpoint="http://127.0.0.1:9/v1", timeout_s=2).inconclusive)
    assert "more texts than may be sent" in str(run(endpoint=server.url, most=3).inconclusive)
    assert not server.requests


@pytest.mark.parametrize("endpoint", ["file:///etc/passwd", "http://user:secret@host/v1", "nonsense"])
def test_an_address_that_is_none_is_refused(endpoint: str) -> None:
    with pytest.raises(BadInput):
        run(endpoint=endpoint)
