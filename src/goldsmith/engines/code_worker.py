"""The sandbox's worker, run as a program of its own: reads calls, forks, confines the child, calls, writes results.

Started by `code_sandbox` with `python -I -S`: it imports nothing of Goldsmith.
"""

import ctypes
import json
import os
import platform
import resource
import select
import signal
import struct
import sys
import time

LIBC = ctypes.CDLL(None, use_errno=True)
_PDEATHSIG, _NO_NEW_PRIVS, _SET_SECCOMP, _FILTER = 1, 38, 22, 2
_DENIED_EVERYWHERE = (424, 425, 426, 427, 434, 435, 438, 452)  # pidfd and io_uring calls, clone3, fchmodat2
_DENIED = {
    "x86_64": (
        0xC000003E,
        (
            # sockets; processes; signals; tracing and other processes' memory
            41, 42, 49, 53, 56, 57, 58, 59, 322, 62, 200, 234, 101, 310, 311,
            # modes, owners, times and attributes of files, which Landlock leaves alone
            90, 91, 92, 93, 94, 260, 268, 280, 132, 235, 261, 188, 189, 190, 197, 198, 199,
            # mounts, namespaces, keys, kernel machinery, shared memory and queues, limits
            165, 166, 272, 308, 250, 248, 249, 298, 321, 323, 29, 30, 68, 240, 160, 302,
        ),
    ),
    "aarch64": (
        0xC00000B7,
        (
            198, 199, 200, 203, 220, 221, 281, 129, 130, 131, 117, 270, 271,
            52, 53, 54, 55, 88, 5, 6, 7, 14, 15, 16,
            40, 39, 97, 268, 219, 217, 218, 241, 280, 282, 194, 196, 186, 180, 164, 261,
        ),
    ),
}  # fmt: skip
_READ = 4 | 8  # Landlock: read files, list folders


def cannot() -> str | None:
    """Why this machine cannot confine a process, or None."""
    if sys.platform != "linux" or platform.machine() not in _DENIED:
        return f"{sys.platform} on {platform.machine()}"
    version = LIBC.syscall(444, None, 0, 1)
    return None if version >= 3 else f"Landlock version {max(0, version)}"


def confine(limits: dict) -> None:  # type: ignore[type-arg]
    """No way back from here. Raises OSError where the kernel refuses."""
    memory = limits["megabytes"] * 2**20
    seconds = max(1, int(limits["seconds"] + 0.999))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))  # the first ends it by a signal of its own
    for kind, most in (
        (resource.RLIMIT_AS, memory), (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 64), (resource.RLIMIT_CORE, 0),
    ):  # fmt: skip
        resource.setrlimit(kind, (most, most))
    _must(LIBC.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0))
    _only_pythons_files()
    _only_plain_calls()


def _only_pythons_files() -> None:
    version = LIBC.syscall(444, None, 0, 1)
    handled = (1 << (13 if version < 2 else 14 if version < 3 else 15 if version < 5 else 16)) - 1
    ruleset = LIBC.syscall(444, ctypes.create_string_buffer(struct.pack("Q", handled), 8), 8, 0)
    _must(ruleset)
    for folder in {os.path.dirname(os.__file__), "/usr/lib", "/lib", "/lib64"}:
        if os.path.isdir(folder):
            descriptor = os.open(folder, os.O_PATH | os.O_CLOEXEC)
            rule = ctypes.create_string_buffer(struct.pack("=Qi", _READ, descriptor), 12)
            _must(LIBC.syscall(445, ruleset, 1, rule, 0))
            os.close(descriptor)
    _must(LIBC.syscall(446, ruleset, 0))
    os.close(ruleset)


def _only_plain_calls() -> None:
    architecture, denied = _DENIED[platform.machine()]
    numbers = sorted({*denied, *_DENIED_EVERYWHERE})
    steps = [(0x20, 0, 0, 4), (0x15, 1, 0, architecture), (0x06, 0, 0, 0x80000000), (0x20, 0, 0, 0)]
    steps.append((0x35, len(numbers) + 1, 0, 0x40000000))  # the x32 way of calling
    steps += [(0x15, len(numbers) - place, 0, number) for place, number in enumerate(numbers)]
    steps += [(0x06, 0, 0, 0x7FFF0000), (0x06, 0, 0, 0x00050000 | 1)]  # allow; refuse with EPERM
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(steps), ctypes.addressof(code)), 16)
    _must(LIBC.prctl(_SET_SECCOMP, _FILTER, program, 0, 0))


def _must(result: int) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def call(head: dict, arguments: list, pipe: int) -> None:  # type: ignore[type-arg]
    """In the child: confine, run, write the result to `pipe`; never returns."""
    said = {"failure": "the sandbox could not be closed"}
    try:
        LIBC.prctl(_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        confine(head)
        said = {"failure": "the code could not be loaded"}
        space: dict = {"__name__": "grader"}  # type: ignore[type-arg]
        exec(compile(head["source"], "<grader>", "exec"), space)
        if not callable(space.get(head["function"])):
            said = {"failure": f"the code defines no function {head['function']}"}
        else:
            said = {"value": space[head["function"]](*arguments)}
            json.dumps(said, allow_nan=False)
    except MemoryError:
        said = {"failure": "out of memory"}
    except BaseException as error:
        if "value" in said:
            said = {"failure": "the result is no JSON value"}
        elif "could not be closed" not in said["failure"]:
            said = {"failure": f"the code raised {type(error).__name__}"[:80]}
    line = json.dumps(said).encode()
    if len(line) > head["output_bytes"]:
        line = b'{"failure": "the result is too long"}'
    while line:
        line = line[os.write(pipe, line) :]
    os._exit(0)


def attempt(head: dict, arguments: list) -> bytes:  # type: ignore[type-arg]
    """One call in a child of its own; one line of JSON."""
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(ours)
        nowhere = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nowhere, descriptor)
        call(head, arguments, theirs)
    os.close(theirs)
    said, end = b"", time.monotonic() + 2 * head["seconds"] + 1
    while len(said) <= head["output_bytes"]:
        ready, _, _ = select.select([ours], [], [], max(0.0, end - time.monotonic()))
        part = os.read(ours, 65536) if ready else b""
        if not part:
            break
        said += part
    late = time.monotonic() >= end
    os.close(ours)
    os.kill(child, signal.SIGKILL)
    _, status, used = os.wait4(child, 0)
    if not late and said and len(said) <= head["output_bytes"]:
        return _one_result(said)
    spent = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU
    out_of_time = late or spent or used.ru_utime + used.ru_stime >= 0.9 * head["seconds"]
    return b'{"failure": "out of time"}' if out_of_time else b'{"failure": "the process was killed"}'


def _one_result(said: bytes) -> bytes:
    """What the child wrote as one line with one result, whatever it wrote: code that finds the pipe may write to it
    itself, and must not be taken for the results of other calls."""
    try:
        result = json.loads(said)
        alone = list(result) if isinstance(result, dict) else None
        if alone == ["value"] or (alone == ["failure"] and isinstance(result["failure"], str)):
            return json.dumps(result).encode()
    except (ValueError, RecursionError):
        pass
    return b'{"failure": "the sandbox gave no result"}'


def main() -> None:
    """Head, then calls, one JSON line each; out comes `{}` or why not, then a line for each call."""
    LIBC.prctl(_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    head = json.loads(sys.stdin.readline())
    reason = cannot()
    print(json.dumps({"cannot": reason} if reason else {}), flush=True)
    if reason:
        return
    for line in sys.stdin:
        sys.stdout.buffer.write(attempt(head, json.loads(line)) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
