"""Long runs by hand (`make soak`): circles, recalls and kills without end; a server under load. Bounded by SOAK_S
seconds (600) and SOAK_REQUESTS (400). What was measured is written to out/soak.json."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from goldsmith.trust.verify import verify

pytestmark = [pytest.mark.soak, pytest.mark.timeout(7200)]
SECONDS = float(os.environ.get("SOAK_S", "600"))
REQUESTS = int(os.environ.get("SOAK_REQUESTS", "400"))
OUT = Path(__file__).parents[2] / "out" / "soak.json"

READER = """
import select, sys
from goldsmith.stages.trace import trace
from goldsmith.trust.workspace import Workspace
seen, reads, last = 0, 0, b""
stop = False
while not stop:
    stop = bool(select.select([sys.stdin], [], [], 0.5)[0])
    with Workspace.open(sys.argv[1]) as ws:
        for _ in range(5):
            ws.refresh()
            entries = list(ws.ledger)
            assert len(entries) >= seen, f"the ledger shrank from {seen} to {len(entries)}"
            assert seen == 0 or entries[seen - 1] == last, "an entry changed"
            seen, last, reads = len(entries), entries[-1], reads + 1
            for statement in ws.statements("model"):
                trace(ws, statement.subjects["model"])
print(reads, seen)
"""


def record(**facts: Any) -> None:
    """Add what was measured to out/soak.json."""
    OUT.parent.mkdir(exist_ok=True)
    known = json.loads(OUT.read_text()) if OUT.exists() else {}
    known.update({name: {**value, "date": time.strftime("%Y-%m-%d")} for name, value in facts.items()})
    OUT.write_text(json.dumps(known, indent=1) + "\n")


class Cycle:
    """One workspace through many circles, by one chain of chances."""

    def __init__(self, desk: Any, seed: int) -> None:
        self.desk, self.chance = desk, random.Random(seed)
        self.counts = dict.fromkeys(("cycles", "runs", "kills", "recalls", "served", "refused_after_recall"), 0)
        self.entries: dict[str, bytes] = desk.entries()

    def certainly(self, *arguments: str, kill: float) -> None:
        """The command to success; by chance `kill` a first try of it is killed at a random time."""
        if self.chance.random() < kill:
            with self.desk.start(*arguments) as process:
                threading.Timer(self.chance.uniform(0.3, 15.0), process.kill).start()
                process.communicate(timeout=600)
            self.counts["kills"] += process.returncode == -signal.SIGKILL
        done = self.desk.run(*arguments)
        assert done.returncode == 0, f"{arguments}\n{done.stderr}"

    def run(self, number: int) -> str:
        """New deliveries of both sources, and a circle over them."""
        name = f"boxes-{number}"
        for source in ("anna", "bert"):
            text = (self.desk.folder / f"{source}.jsonl").read_text(encoding="utf-8")
            (self.desk.folder / f"{source}-{number}.jsonl").write_text(text.replace("shelf", f"shelf {number}/"))
        recipe = (self.desk.folder / "recipe.yaml").read_text(encoding="utf-8").replace("max_steps: 4", "max_steps: 2")
        for source in ("anna", "bert"):
            recipe = recipe.replace(f"file: {source}.jsonl", f'batch: "{number}", file: {source}-{number}.jsonl')
        (self.desk.folder / f"{name}.yaml").write_text(recipe.replace("name: boxes", f"name: {name}"))
        self.certainly("run", f"{name}.yaml", "--json", kill=0.5)
        self.counts["runs"] += 1
        return name

    def serve_and_recall(self, name: str, number: int) -> None:
        """A served model answers until a delivery that taught it is recalled; the server dies one way or another."""
        with self.desk.start("serve", name, "--port", "0") as server:
            try:
                address = address_of(server)
                assert ask(address, name, 8)[0] == 200
                self.counts["served"] += 1
                self.certainly("recall", "anna", "--batch", str(number), "--reason", "soak", "--json", kill=0.3)
                self.counts["recalls"] += 1
                assert ask(address, name, 8)[0] == 403
                self.counts["refused_after_recall"] += 1
            finally:
                self.chance.choice((server.kill, server.terminate))()

    def assert_holds(self) -> None:
        """Nothing stated is lost or changed, and everything verifies."""
        entries = self.desk.entries()
        assert {name: entries.get(name) for name in self.entries} == self.entries
        self.entries = entries
        # A killed process may have left what nothing leads to; opening the workspace puts that aside.
        assert self.desk.run("show", "decisions").returncode == 0
        report = verify(self.desk.workspace)
        assert report.ok, str(report)


def address_of(server: "subprocess.Popen[str]") -> str:
    """Where a started server listens; it is left to talk on."""
    assert server.stderr is not None
    address = next(m[0] for line in server.stderr if (m := re.search(r"http://\S+/v1", line)))
    threading.Thread(target=server.stderr.read, daemon=True).start()
    return address


def ask(address: str, model: str, tokens: int) -> tuple[int, int]:
    """One streamed answer: HTTP status, and how many pieces came."""
    body = {
        "model": model, "max_tokens": tokens, "stream": True,
        "messages": [{"role": "user", "content": "What colour is box 7?"}],
    }  # fmt: skip
    request = urllib.request.Request(
        f"{address}/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            lines = [line for line in answer if line.startswith(b"data: ")]
            assert lines[-1].strip() == b"data: [DONE]"
            return answer.status, len(lines)
    except urllib.error.HTTPError as error:
        return error.code, 0


def test_circles_recalls_and_kills(desk):
    """Runs, recalls and servers, about half of them killed, beside a process that reads all the time."""
    cycle = Cycle(desk, seed=20261126)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, "-c", READER, str(desk.workspace)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    ) as reader:  # fmt: skip
        started = time.monotonic()
        while time.monotonic() - started < SECONDS:
            cycle.counts["cycles"] += 1
            name = cycle.run(cycle.counts["cycles"])
            if cycle.counts["cycles"] % 2 == 0:
                cycle.serve_and_recall(name, cycle.counts["cycles"])
            cycle.assert_holds()
        out, err = reader.communicate(input="stop\n", timeout=120)
    assert reader.returncode == 0, err
    reads, seen = map(int, out.split())
    assert reads > 2 * cycle.counts["cycles"]
    assert seen == len(cycle.entries)
    assert cycle.counts["kills"] > 0
    assert cycle.counts["refused_after_recall"] == cycle.counts["recalls"] == cycle.counts["served"] > 0
    record(circles={**cycle.counts, "seconds": round(time.monotonic() - started), "reads": reads, "entries": seen})


def resident_mb(pid: int) -> float:
    """Memory of a process and its children, as the kernel counts it."""
    total = 0.0
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            total = int(line.split()[1]) / 1024
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return total + sum(resident_mb(int(child)) for child in children)


def test_a_server_under_streaming_load_does_not_grow(desk):
    """Four clients at once; the memory after a quarter of the requests is about the memory at the end."""
    assert desk.run("admit", "goldsmith-nano", "--reason", "soak").returncode == 0
    with desk.start("serve", "goldsmith-nano", "--port", "0") as server:
        try:
            address = address_of(server)
            pieces, memory = [], []
            for _ in range(4):
                pieces += in_parallel(lambda: ask(address, "goldsmith-nano", 24), REQUESTS // 4, clients=4)
                memory.append(round(resident_mb(server.pid), 1))
        finally:
            server.terminate()
    assert {status for status, _ in pieces} == {200}
    assert len(pieces) == REQUESTS // 4 * 4
    record(serving={"requests": len(pieces), "clients": 4, "memory_mb_by_quarter": memory})
    assert memory[-1] - memory[0] < 30, memory


def in_parallel(work: Any, count: int, *, clients: int) -> list[Any]:
    """`count` results of `work`, from `clients` threads at a time."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(clients) as pool:
        return list(pool.map(lambda _: work(), range(count)))
