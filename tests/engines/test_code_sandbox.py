"""What runs in the sandbox can calculate and nothing else."""

import socket
from pathlib import Path
from typing import Any

import pytest

from goldsmith import plugins
from goldsmith.engines.code_sandbox import Limits, Ran, run_each
from goldsmith.engines.code_worker import cannot
from goldsmith.engines.grading.asking import ask
from goldsmith.engines.grading.examples import said
from goldsmith.types.errors import BadInput

pytestmark = pytest.mark.skipif(cannot() is not None, reason=f"this kernel cannot confine code: {cannot()}")
QUICK = Limits(seconds=1, megabytes=128, output_bytes=1000)


def run(body: str, *arguments: Any, times: int = 1) -> list[Ran]:
    source = "import os, re, sys, math\n" + body
    return run_each(source, "grade", [list(arguments)] * times, QUICK)


def test_it_calculates_each_call_afresh() -> None:
    assert run("def grade(x): return math.sqrt(x['n'])", {"n": 4}, times=2) == [Ran(2.0), Ran(2.0)]
    assert run("seen = []\ndef grade(): seen.append(1); return len(seen)", times=3) == [Ran(1)] * 3
    assert run("def grade(): print('x' * 10**6); return 'é'") == [Ran("é")]
    assert run_each("", "grade", [], QUICK) == []


@pytest.mark.parametrize(
    ("body", "failure"),
    [
        ("def grade(): 1 / 0", "the code raised ZeroDivisionError"),
        ("def grade(", "the code raised SyntaxError"),
        ("x = 1", "the code defines no function grade"),
        ("def grade(): return float('nan')", "the result is no JSON value"),
        ("def grade(): return {1, 2}", "the result is no JSON value"),
        ("def grade(): return 'x' * 2000", "the result is too long"),
        ("def grade(): return len('x' * 10**9)", "out of memory"),
        ("def grade():\n while True: pass", "out of time"),
        ("import time\ndef grade(): time.sleep(60)", "out of time"),
        ("def grade(): os._exit(0)", "the process was killed"),
        ("def grade(): sys.exit()", "the code raised SystemExit"),
        ("def grade(): return grade()", "the code raised RecursionError"),
    ],
)
def test_failures_are_told_apart(body: str, failure: str) -> None:
    assert run(body) == [Ran(failure=failure)]


@pytest.mark.parametrize(
    "act",
    [
        "__import__('socket').socket()",
        "__import__('socket').socketpair()",
        "os.fork()",
        "os.execv('/bin/true', ['true'])",
        "__import__('subprocess').run(['true'])",
        "__import__('threading').Thread(target=print).start()",
        "os.kill(os.getppid(), 9)",
        "open('/etc/passwd').read()",
        "os.listdir('/')",
        "open(FILE).read()",
        "open(FILE, 'w').write('x')",
        "os.truncate(FILE, 0)",
        "os.unlink(FILE)",
        "os.rename(FILE, FILE + '2')",
        "os.chmod(FILE, 0)",
        "os.utime(FILE)",
        "os.symlink(FILE, FILE + '2')",
        "os.mkdir(FILE + '2')",
        "__import__('resource').setrlimit(__import__('resource').RLIMIT_AS, (2**40, 2**40))",
        "__import__('ctypes').CDLL(None).unshare(0x10000000) and (_ for _ in ()).throw(OSError)",
    ],
)
def test_nothing_outside_can_be_reached(act: str, tmp_path: Path) -> None:
    file = tmp_path / "kept"
    file.write_text("secret")
    tried = f" try:\n  {act}\n except (OSError, ValueError, RuntimeError):\n  return 'no'\n return 'yes'"
    body = f"FILE = {str(file)!r}\ndef grade():\n{tried}"
    assert run(body) in ([Ran("no")], [Ran(failure="the process was killed")])
    assert file.read_text() == "secret"
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_no_connection_comes_out_even_where_somebody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        port = server.getsockname()[1]
        run(f"import socket\ndef grade(): socket.create_connection(('127.0.0.1', {port}))")
        with pytest.raises(TimeoutError):
            server.accept()


def test_one_that_dies_does_not_take_the_others_with_it() -> None:
    found = run_each(
        "import os\ndef grade(x):\n if x == 1: os.abort()\n return x", "grade", [[n] for n in range(3)], QUICK
    )
    assert [one.value for one in found] == [0, None, 2]


@pytest.mark.parametrize(
    "forged", [r'{"value": 9}\n{"value": 9}\n', r'{"other": 1}', "[1]", r'{"value": 1, "failure": "x"}', "["]
)
def test_what_code_writes_to_the_pipe_is_not_taken_for_other_calls_results(forged: str) -> None:
    body = f"""
import os
def grade(x):
    if x == 1:
        for descriptor in range(3, 64):
            try:
                os.write(descriptor, b'{forged}')
            except OSError:
                pass
        os._exit(0)
    return x
"""
    found = run_each(body, "grade", [[n] for n in range(4)], QUICK)
    assert [one.value for one in found] == [0, None, 2, 3]
    assert found[1].failure is not None


def test_the_reward_counts_failures_and_never_makes_them_zero() -> None:
    source = "def grade(sample, item):\n    return item['score']"
    reward: Any = plugins.build("rewards", "python", {"source": source, "high": 2})
    assert reward.needs_reference
    found = ask(reward, [said("", score=s) for s in (0, 1.5, True, 3, "1", None)] + [said("")])
    assert found.values == [0.0, 1.5, 1.0, None, None, None, None]
    assert found.unrewarded == {
        "a value outside of 0 to 2": 1,
        "grade returned a str instead of a number": 1,
        "grade returned a NoneType instead of a number": 1,
        "the code raised KeyError": 1,
    }
    for source in ("def grade(", "x" * 300_000):
        with pytest.raises(BadInput):
            plugins.build("rewards", "python", {"source": source})


def test_a_pattern_that_takes_for_ever_cannot_tell() -> None:
    how = {"pattern": "(a+)+$", "limits": {"seconds": 1, "megabytes": 128}}
    reward: Any = plugins.build("rewards", "regex", how)
    found = ask(reward, [said("aaa"), said("a" * 40 + "b"), said("b")])
    assert found.values == [1.0, None, 0.0]
    assert found.unrewarded == {"out of time": 1}
    with pytest.raises(BadInput, match="no regular expression"):
        plugins.build("rewards", "regex", {"pattern": "(a"})
