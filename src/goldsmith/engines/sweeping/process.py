"""One attempt in a process of its own: what it takes is measured whole, and what kills it kills nothing else."""

import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

GRACE_SECONDS = 60.0
"""For a process to write its checkpoint after it was told to stop."""
TOLD_EVERY_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Attempt:
    """How a process ended. `answer`: the JSON object it left, None if it left none. `told`: it was stopped by us."""

    answer: dict[str, Any] | None
    exit_code: int
    seconds: float
    told: bool
    last_words: str


def attempt(
    module: str, task: Mapping[str, Any], folder: Path, *, seconds: float, tick: Callable[[float], None]
) -> Attempt:
    """Run `python -m MODULE` with the task on its standard input, for at most `seconds`; then it is told to stop.

    The process ends by itself when this one is gone (`end_with_parent`). It writes its answer to `task["answer"]`.
    `tick` hears now and then how long it has run.
    """
    folder.mkdir(parents=True, exist_ok=True)
    answer, log = Path(task["answer"]), folder / "output.txt"
    answer.unlink(missing_ok=True)
    began = time.monotonic()
    told = False
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", module],
            stdin=subprocess.PIPE,
            stdout=stream,
            stderr=stream,
            start_new_session=True,  # Ctrl-C comes to this process alone, which hands it on once
        )
        try:
            assert process.stdin is not None
            process.stdin.write(json.dumps(task).encode() + b"\n")
            process.stdin.flush()
            while not _ended(process, max(0.0, min(TOLD_EVERY_SECONDS, seconds - (time.monotonic() - began)))):
                tick(time.monotonic() - began)
                if time.monotonic() - began >= seconds:
                    told = True
                    process.send_signal(signal.SIGINT)
                    break
            if told:
                _ended(process, GRACE_SECONDS)
        except BrokenPipeError:
            process.wait()
        except KeyboardInterrupt:
            process.send_signal(signal.SIGINT)
            _ended(process, GRACE_SECONDS)
            raise
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            if process.stdin is not None:
                process.stdin.close()
    taken = time.monotonic() - began
    found = json.loads(answer.read_bytes()) if answer.is_file() else None
    return Attempt(found, process.returncode, taken, told, _tail(log))


def _ended(process: "subprocess.Popen[bytes]", seconds: float) -> bool:
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def _tail(path: Path) -> str:
    lines = path.read_bytes()[-4000:].decode("utf-8", "replace").strip().splitlines()
    return lines[-1].strip() if lines else ""


# ---- in the process ------------------------------------------------------------------------------------------------


def read_task() -> dict[str, Any]:
    """The task from standard input; from now on this process ends when its parent's end of it closes."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a parent in the background hands on that it is ignored
    task: dict[str, Any] = json.loads(sys.stdin.buffer.readline())

    def watch() -> None:
        while os.read(0, 1024):
            pass
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    return task


def peak_bytes() -> int:
    """The most memory that this process has held.

    Linux: `VmHWM`, because `ru_maxrss` of a process also counts what its parent held when it started it.
    """
    try:
        for line in Path("/proc/self/status").read_text("ascii", "replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def cpu_seconds() -> float:
    """User and system time of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
