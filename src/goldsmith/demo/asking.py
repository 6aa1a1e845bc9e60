"""Asks the served model one question over HTTP and plays the nano world's tools for it."""

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from goldsmith.nano import tasks, world
from goldsmith.stages.serve import serve
from goldsmith.trust.workspace import Workspace

TURNS = 6


@dataclass(frozen=True, slots=True)
class Asked:
    """One question and its answer. `status`: of the last HTTP response; `served_model`: the digest it named."""

    question: str
    answer: str
    status: int
    served_model: str = ""


@contextmanager
def ask_over_http(ws: Workspace, name: str) -> Iterator[Callable[[], Asked]]:
    """Serve model `name` on a free port of this machine while the context lasts; call what it yields to ask."""
    from goldsmith.web.app import application
    from goldsmith.web.serving import listen, server_for

    with ExitStack() as stack:
        app = application([serve(ws, name)], stack)
        listener = stack.enter_context(listen("127.0.0.1", 0))
        server = server_for(app)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            yield lambda: _ask(listener.getsockname()[1], name)
        finally:
            server.should_exit = True
            thread.join(timeout=30)


def _ask(port: int, name: str) -> Asked:
    task = tasks.generate(tasks.DEMO_SKILL, 1, seed=20_261, split="heldout")[0]
    here = world.World(task.state)
    messages = list(task.prompt())
    for _ in range(TURNS):
        status, headers, body = _post(port, {"model": name, "messages": messages, "tools": task.schemas()})
        if status != 200:
            return Asked(task.request, str(body.get("error", {}).get("message", "")), status)
        message = body["choices"][0]["message"]
        calls = message.get("tool_calls") or []
        if not calls:
            return Asked(task.request, message.get("content") or "", status, headers.get("x-goldsmith-model", ""))
        messages.append({k: v for k, v in message.items() if k in ("role", "content", "tool_calls")})
        for call in calls:
            result = here.call(call["function"]["name"], json.loads(call["function"]["arguments"]))
            messages.append({"role": "tool", "tool_call_id": call["id"], "content": result})
    return Asked(task.request, "no answer within the turn limit", 200)


def _post(port: int, document: dict[str, Any]) -> tuple[int, dict[str, str], dict[str, Any]]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/chat/completions",
        data=json.dumps(document).encode(),
        headers={"content-type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=120) as response:
            return response.status, dict(response.headers.items()), json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers.items()), json.load(error)
