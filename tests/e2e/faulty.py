"""Runs the `goldsmith` command with one fault planned; the product knows nothing of it.

The plan is JSON in FAULT: `where` (a part of "FILE:FUNCTION" of some frame on the stack, such as "stages/release.py"),
`at` (which of the file operations there, from 1), `do`: `kill` (SIGKILL to itself), `interrupt` (SIGINT, as Ctrl-C
sends), or `full` (from then on the kernel refuses every write beyond the first bytes of a file). COUNT names a file
that gets the number of file operations of each stage instead.
"""

import json
import os
import resource
import signal
import sys
from collections import Counter
from types import FrameType

EVENTS = ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate", "os.link", "os.chmod")
PLAN = json.loads(os.environ.get("FAULT", "{}"))
COUNT = os.environ.get("COUNT")
MAIN = os.path.join("goldsmith", "")
seen: Counter[str] = Counter()
busy = False


def stack(frame: FrameType | None) -> list[str]:
    """FILE:FUNCTION of the product's frames, innermost first."""
    names = []
    while frame is not None:
        code = frame.f_code
        if MAIN in code.co_filename:
            names.append(f"{code.co_filename.rpartition(MAIN)[2]}:{code.co_name}")
        frame = frame.f_back
    return names


def watch(event: str, arguments: tuple[object, ...]) -> None:
    """Count the file operation, and do what is planned when it is its turn."""
    global busy
    if event not in EVENTS or busy:
        return
    path = str(arguments[0])
    if "__pycache__" in path or "site-packages" in path or path.endswith((".py", ".pyc", ".so")):
        return  # compiled code is written by the first run and read by the next: no two runs would count the same
    names = stack(sys._getframe(1))
    if COUNT:
        seen.update({name.partition(":")[0] for name in names if name.startswith("stages/")})
        return
    if not any(PLAN["where"] in name for name in names):
        return
    seen["here"] += 1
    if seen["here"] == PLAN["at"]:
        busy = True  # nothing more is planned
        if PLAN["do"] == "full":
            resource.setrlimit(resource.RLIMIT_FSIZE, (16, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
        else:
            os.kill(os.getpid(), signal.SIGKILL if PLAN["do"] == "kill" else signal.SIGINT)


signal.signal(signal.SIGINT, signal.default_int_handler)  # as at a terminal, wherever the tests themselves run
if PLAN or COUNT:
    sys.addaudithook(watch)
try:
    from goldsmith.cli.main import main

    main()
finally:
    if COUNT:
        busy = True
        with open(COUNT, "w", encoding="utf-8") as stream:
            json.dump(seen, stream)
