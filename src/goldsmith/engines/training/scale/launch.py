"""Starts training where several processes do it: as many as asked for on this machine, or those a launcher started.

On one machine this process starts the others, hands each the job, and waits: one that fails or is lost ends them all,
and its error is raised here. Under torchrun or accelerate launch the first process leads (it alone runs what comes
before and after training) and the others attend it.
"""

import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from goldsmith.engines.training.driver import TrainingJob, TrainingOutcome, run_training
from goldsmith.engines.training.guards import finite
from goldsmith.engines.training.scale import parallel
from goldsmith.engines.training.scale.launcher import launched
from goldsmith.types import errors
from goldsmith.types.errors import BadInput, GoldsmithError, Unavailable

GRACE_S = 20.0
"""How long processes may go on after one has failed; they notice by themselves within a step."""
POLL_S = 0.05


def train_on(job: TrainingJob, processes: int = 1) -> TrainingOutcome:
    """Train in this process, on `processes` of this machine, or on all that a launcher started.

    Raises:
        What `run_training` raises in any of them. Unavailable: a process was lost, or there are fewer GPUs than
        processes. BadInput: processes asked for beside a launcher's.
    """
    if launched():
        if processes > 1:
            raise BadInput(
                "a launcher has started several processes already",
                where="processes",
                found=str(processes),
                next_step="leave it out, or start goldsmith without the launcher",
            )
        _announce(job)
        return run_training(job)
    return run_training(job) if processes == 1 else _spawn(job, processes)


# ---- under a launcher ------------------------------------------------------------------------------------------


@contextmanager
def leading() -> Iterator[bool]:
    """Whether this process leads. Within it the others have attended until the leader was through.

    Raises:
        What training raises, in an attending process too.
    """
    if not launched():
        yield True
        return
    ranks = parallel.join("auto")
    if not ranks.first:
        _attend()
    yield ranks.first
    if ranks.first:
        _announce(None)
    _part()


def _part() -> None:
    """Leave each other in order: a process that exits while another still listens to it would abort that one."""
    parallel.here().gather(None)
    parallel.leave()


def _announce(job: TrainingJob | None) -> None:
    dist.broadcast_object_list([job], src=0, device=torch.device("cpu"), group=parallel.control())


def _attend() -> None:
    while True:
        received: list[TrainingJob | None] = [None]
        try:
            dist.broadcast_object_list(received, src=0, device=torch.device("cpu"), group=parallel.control())
        except RuntimeError as error:
            raise parallel.lost(error) from error
        if received[0] is None:
            return
        run_training(received[0])


# ---- started here ----------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Worker:
    rank: int
    process: "subprocess.Popen[bytes]"
    said: Path

    def message(self) -> dict[str, Any] | None:
        """What it said at its end; None: nothing."""
        return json.loads(self.said.read_text()) if self.said.is_file() else None


def _spawn(job: TrainingJob, processes: int) -> TrainingOutcome:
    gpus = torch.cuda.device_count() if job.device != "cpu" and torch.cuda.is_available() else None
    if gpus is not None and gpus < processes:
        raise Unavailable(
            "there are fewer GPUs than training processes",
            found=f"{gpus} GPUs, {processes} processes",
            next_step="ask for as many processes as there are GPUs",
        )
    data = pickle.dumps(job)
    with tempfile.TemporaryDirectory(prefix="goldsmith-training-") as place:
        environment = _environment(processes)
        workers = [_start(rank, environment, Path(place), data) for rank in range(processes)]
        try:
            with _interrupts(workers):
                _wait(workers)
        finally:
            _end(workers)
        _raise_failure(workers)
        return pickle.loads((Path(place) / "outcome").read_bytes())  # type: ignore[no-any-return]


def _environment(processes: int) -> dict[str, str]:
    """The launcher's variables, as torchrun sets them, and this machine's cores dealt out."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {
        "OMP_NUM_THREADS": str(max(1, cores // processes)),
        **({"GLOO_SOCKET_IFNAME": "lo"} if sys.platform == "linux" else {}),
        **os.environ,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
    }


def _start(rank: int, environment: Mapping[str, str], place: Path, data: bytes) -> _Worker:
    said = place / f"said-{rank}.json"
    process = subprocess.Popen(
        [sys.executable, "-m", "goldsmith.engines.training.scale.launch", str(said)],
        env={**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        stdin=subprocess.PIPE,
        start_new_session=True,  # a terminal's Ctrl-C comes once, from here
    )
    assert process.stdin is not None
    try:
        process.stdin.write(len(data).to_bytes(8, "big") + data)
        process.stdin.flush()  # it stays open: its end tells the worker that this process is gone
    except BrokenPipeError:
        pass  # it has died; what it said is read later
    return _Worker(rank, process, said)


def _wait(workers: list[_Worker]) -> None:
    """Until all are through, or a while after one has failed."""
    until = float("inf")
    while time.monotonic() < until:
        codes = [worker.process.poll() for worker in workers]
        if None not in codes:
            return
        if until == float("inf") and any(codes):  # a code above 0, or below it: a signal
            until = time.monotonic() + GRACE_S
        time.sleep(POLL_S)


def _end(workers: list[_Worker]) -> None:
    """Kill those that are still there."""
    for worker in workers:
        if worker.process.poll() is None:
            worker.said.with_suffix(".ended").touch()
            worker.process.kill()
        worker.process.wait()
        if worker.process.stdin is not None:
            worker.process.stdin.close()


@contextmanager
def _interrupts(workers: list[_Worker]) -> Iterator[None]:
    """Hands Ctrl-C on: the first lets the workers write a checkpoint, the second ends them at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def hand_on(*_: Any) -> None:
        for worker in workers:
            if worker.process.poll() is None:
                worker.process.send_signal(signal.SIGINT)

    before = signal.signal(signal.SIGINT, hand_on)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _raise_failure(workers: list[_Worker]) -> None:
    """What went wrong first, if anything did: a lost process before an error, an error before those it caused."""
    failed = [worker for worker in workers if worker.process.returncode]
    if not failed:
        return
    messages = [(worker, worker.message()) for worker in failed]
    names = {message["kind"] for _, message in messages if message}
    if "KeyboardInterrupt" in names:
        raise KeyboardInterrupt
    for worker, message in messages:
        if message is None and not worker.said.with_suffix(".ended").exists():
            raise Unavailable(
                f"training process {worker.rank + 1} of {len(workers)} was lost",
                found=_how(worker.process.returncode),
                next_step="look for what ended it (memory?); the last checkpoint is kept, and the same command goes on "
                "from it, with any number of processes",
            )
    told = [message for _, message in messages if message is not None]
    raise _error(min(told, key=lambda message: message["kind"] == "Elsewhere"))


def _how(code: int) -> str:
    return f"ended by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _error(message: Mapping[str, Any]) -> Exception:
    """The error that a worker told of, as its own class."""
    parts = message["parts"]
    if parts is None:
        return RuntimeError(f"a training process failed:\n{message['text']}")
    kind = getattr(errors, message["kind"], None) or getattr(finite, message["kind"], None) or Unavailable
    assert issubclass(kind, GoldsmithError)
    return kind(
        parts["what"],
        where=parts.get("where"),
        found=parts.get("found"),
        allowed=parts.get("allowed"),
        next_step=parts.get("next"),
    )


def raise_told(said: Sequence[Path]) -> None:
    """Raise what processes told of in these files, if any did: an error before those that it caused in others."""
    told = [json.loads(path.read_text()) for path in said]
    if told:
        raise _error(min(told, key=lambda message: message["kind"] == "Elsewhere"))


def tell(said: Path, error: BaseException) -> None:
    """Leave an error where whoever started this process looks for it."""
    import traceback

    parts = error.as_dict() if isinstance(error, GoldsmithError) else None
    text = "".join(traceback.format_exception(error)) if parts is None else ""
    partial = said.with_suffix(".partial")
    partial.write_text(json.dumps({"kind": type(error).__name__, "parts": parts, "text": text}))
    partial.rename(said)


def _work(said: Path) -> int:
    """A started process: read the job, train, say how it went."""
    source = sys.stdin.buffer
    data = source.read(int.from_bytes(source.read(8), "big"))

    def follow() -> None:
        source.read()
        os._exit(errors.INTERRUPTED_EXIT_CODE)  # whoever started this is gone

    threading.Thread(target=follow, daemon=True).start()
    try:
        job: TrainingJob = pickle.loads(data)
        outcome = run_training(job)
        if parallel.here().first:
            (said.parent / "outcome").write_bytes(pickle.dumps(outcome))
    except BaseException as error:
        tell(said, error)
        return 1
    finally:
        parallel.leave()
    return 0


if __name__ == "__main__":
    code = _work(Path(sys.argv[1]))
    sys.stderr.flush()
    os._exit(code)  # the thread that reads stdin would hold the interpreter's end up
