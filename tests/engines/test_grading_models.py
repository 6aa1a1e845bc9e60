"""Model graders against an endpoint in this process that answers as it is told."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from goldsmith import plugins
from goldsmith.engines.grading.asking import ask
from goldsmith.engines.grading.examples import said
from goldsmith.types.errors import BadInput, Unavailable


class Judge:
    """Answers each request with the next of `replies`: a text, or an HTTP status."""

    def __init__(self) -> None:
        self.replies: list[str | int] = []
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        judge = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                judge.keys.append(self.headers.get("Authorization"))
                judge.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                reply = judge.replies.pop(0)
                self.send_response(reply if isinstance(reply, int) else 200)
                if reply == 302:
                    self.send_header("Location", "/v1/elsewhere")
                self.end_headers()
                if isinstance(reply, str):
                    self.wfile.write(json.dumps({"choices": [{"message": {"content": reply}}]}).encode())

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def settings(self, **more: Any) -> dict[str, Any]:
        place = {"base_url": f"http://127.0.0.1:{self.server.server_port}/v1", "at_once": 1, "tries": 2}
        asked = [{"role": "user", "content": "Rate {{ sample.output_text }} beside {{ item.gold }}."}]
        return {"model": "judge-1", "input": asked, "endpoint": place | more.pop("endpoint", {}), **more}


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch) -> Iterator[Judge]:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    found = Judge()
    yield found
    found.server.shutdown()
    found.server.server_close()


def test_the_score_is_read_strictly_and_asked_for_again(judge: Judge) -> None:
    judge.replies = [
        '{"result": 7}',
        "I say 7",
        '{"result": 3.5}',
        '{"result": 70}',
        '{"result": "7"}',
        '{"result": true}',
    ]
    judge.replies += ['{"result": 1, "why": ""}']
    reward: Any = plugins.build(
        "rewards", "score_model", judge.settings(range=[0, 10], sampling_params={"temperature": 0})
    )
    found = ask(reward, [said("a", gold="g"), said("b", gold="g"), said("c", gold="g"), said("d"), said("e", gold="g")])
    assert found.values == [7.0, 3.5, None, None, None]
    assert found.unrewarded == {
        "the model's answer holds no result": 2,
        "there is no item.gold": 1,
    }
    first = judge.bodies[0]
    assert (first["model"], first["temperature"]) == ("judge-1", 0.0)
    assert first["messages"][-1] == {"role": "user", "content": "Rate a beside g."}
    assert first["response_format"]["json_schema"]["strict"] is True
    assert judge.keys[0] == "Bearer sk-test"


def test_labels(judge: Judge) -> None:
    judge.replies = ['{"result": "good"}', '{"result": "bad"}', '{"result": "fine"}', '{"result": "GOOD"}']
    more = {"labels": ["good", "bad"], "passing_labels": ["good"]}
    reward: Any = plugins.build("rewards", "label_model", judge.settings(**more))
    found = ask(reward, [said(text, gold="g") for text in "abc"])
    assert found.values == [1.0, 0.0, None]
    for passing in (["good", "bad"], ["fine"], []):
        with pytest.raises(BadInput):
            plugins.build("rewards", "label_model", judge.settings(labels=["good", "bad"], passing_labels=passing))


def test_an_endpoint_that_fails(judge: Judge) -> None:
    samples = [said("a", gold="g"), said("b", gold="g")]
    reward: Any = plugins.build("rewards", "score_model", judge.settings())
    judge.replies = [503, '{"result": 1}', 503, 503]
    found = ask(reward, samples)
    assert found.values == [1.0, None]
    assert list(found.unrewarded) == ["the endpoint gave nothing: HTTP 503"]
    judge.replies = [401, 401]
    with pytest.raises(Unavailable, match="no usable answer") as caught:
        ask(reward, samples)
    assert "sk-test" not in str(caught.value)
    judge.replies = [302, 302]
    with pytest.raises(Unavailable):
        ask(reward, samples)
    assert not judge.replies, "a redirect is not followed, and a refusal not asked again"
    gone: Any = plugins.build("rewards", "score_model", judge.settings(endpoint={"base_url": "http://127.0.0.1:9"}))
    with pytest.raises(Unavailable):
        ask(gone, samples)


def test_forms_that_an_endpoint_may_not_know(judge: Judge) -> None:
    for form, wanted in (("json_object", {"type": "json_object"}), ("none", None)):
        judge.replies = ['{"result": 0.5}']
        reward: Any = plugins.build("rewards", "score_model", judge.settings(endpoint={"response_format": form}))
        assert ask(reward, [said("a", gold="g")]).values == [0.5]
        assert judge.bodies[-1].get("response_format") == wanted
        assert '"result"' in judge.bodies[-1]["messages"][0]["content"]
    for url in ("ftp://x", "https://user:pw@host/v1", "host"):
        with pytest.raises(BadInput):
            plugins.build("rewards", "score_model", judge.settings(endpoint={"base_url": url}))
