"""Runs somebody's Python function on JSON values, in processes that can do little else.

Every call has a process of its own: nothing is left over from one to the next. In it the kernel allows no socket, no
other program, no further process, no signal (seccomp), no file but Python's own for reading (Landlock), and bounds CPU
time, wall time, memory and output. Standard library only. Where the kernel cannot do this, nothing is run.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from goldsmith.types.artifact import Frozen, Real
from goldsmith.types.errors import Unavailable

_WORKER = Path(__file__).with_name("code_worker.py")
_STARTING_S = 30.0


class Limits(Frozen):
    """What one call may take."""

    seconds: Annotated[Real, Field(gt=0, le=600)] = 5.0
    """CPU time; wall time is twice that and a second."""
    megabytes: Annotated[int, Field(ge=64, le=16_384)] = 512
    output_bytes: Annotated[int, Field(ge=64, le=2**20)] = 65_536
    """Of the result as JSON; what is printed is thrown away."""


@dataclass(frozen=True, slots=True)
class Ran:
    """What a call gave, as a JSON value; or `failure`, why it gave nothing, in a few words."""

    value: Any = None
    failure: str | None = None


def run_each(source: str, function: str, calls: Sequence[Sequence[Any]], limits: Limits) -> list[Ran]:
    """`function(*arguments)` of the module `source` for each list of arguments, in their order.

    Raises:
        Unavailable: this machine cannot confine a process so.
    """
    if not calls:
        return []
    head = {"source": source, "function": function, **limits.model_dump()}
    head |= {"seconds": float(limits.seconds), "parent": os.getpid()}
    told = "".join(json.dumps(line) + "\n" for line in (head, *calls))
    budget = _STARTING_S + len(calls) * (2 * float(limits.seconds) + 2)
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-B", str(_WORKER)],
            input=told.encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={},
            cwd="/",
            timeout=budget,
            start_new_session=True,
            check=False,
        )
        lines = done.stdout.decode("utf-8", "replace").splitlines()
    except subprocess.TimeoutExpired as error:
        lines = (error.stdout or b"").decode("utf-8", "replace").splitlines()
    ready = _object(lines[0]) if lines else {"cannot": "the worker did not start"}
    if "cannot" in ready:
        raise Unavailable(
            "code cannot be confined on this machine, so it is not run",
            where="the Python sandbox",
            found=ready["cannot"],
            allowed="Linux 6.2 or newer with Landlock, on x86-64 or arm64",
            next_step="run it there, or use another reward",
        )
    found = [Ran(**_object(line)) for line in lines[1 : 1 + len(calls)]]
    return found + [Ran(failure="the sandbox came to an end")] * (len(calls) - len(found))


def _object(line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError:
        return {"failure": "the sandbox gave no result"}
    return value if isinstance(value, dict) else {"failure": "the sandbox gave no result"}
