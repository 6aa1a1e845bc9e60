"""What freed memory does: kept for speed, given back where it is short. In processes of their own: it stays set."""

import os
import subprocess
import sys

import pytest

from goldsmith.engines.training.memory import allocator

PATTERN = """
import ctypes, sys, time
from goldsmith.engines.training.memory import allocator
{before}
assert allocator.keep_pages()
libc = ctypes.CDLL("libc.so.6")
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
start, big, small = allocator.resident(), [], []
for n in range(60):  # small blocks that stay lie between large ones
    big.append(libc.malloc(4 << 20)); ctypes.memset(big[-1], 1, 4 << 20)
    small.append(libc.malloc(1 << 16)); ctypes.memset(small[-1], 1, 1 << 16)
full = allocator.resident() - start
for block in big:
    libc.free(block)
for _ in range({waits}):
    time.sleep(0.05)
    if allocator.resident() - start < full / 4:
        break
print(full >> 20, (allocator.resident() - start) >> 20)
"""


RESERVES = {
    "MALLOC_TOP_PAD_": str(1 << 28),
    "MALLOC_MMAP_THRESHOLD_": str(1 << 32),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 32),
}
"""What an environment may ask of glibc: that nothing is given back."""


def held(memory: str, before: str = "", waits: int = 1, **more: str) -> tuple[int, int]:
    """MiB held with the large blocks, and after they were freed."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    environment = {**own, **more, "GOLDSMITH_MEMORY": memory}
    done = subprocess.run(
        [sys.executable, "-c", PATTERN.format(before=before, waits=waits)],
        capture_output=True, text=True, timeout=240, check=True, env=environment,
    )  # fmt: skip
    full, after = done.stdout.split()
    return int(full), int(after)


pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")


def test_freed_memory_is_kept_for_speed():
    full, after = held("fast")
    assert full >= 230
    assert after >= 230


@pytest.mark.parametrize("environment", [{}, RESERVES])
def test_freed_memory_goes_back_at_once_where_it_is_asked_for(environment: dict[str, str]):
    full, after = held("tight", waits=200, **environment)
    assert full >= 230
    assert after < 30


def test_a_process_that_holds_most_of_the_memory_gives_back_by_itself():
    limit = "allocator.memory_there = lambda: allocator.resident() + (200 << 20)"
    _, after = held("", f"allocator.SHORT = 1.0; {limit}", waits=200)
    assert after < 60


def test_the_environment_decides_how_cuda_memory_is_allocated(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr("torch._C._accelerator_setAllocatorSettings", told.append)
    monkeypatch.setattr(sys, "platform", "linux")
    for name in allocator.CUDA_ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    assert allocator.grow_segments()
    assert allocator.grow_segments(grow=False), "a later step of the same process may need it off"
    assert told == ["expandable_segments:True", "expandable_segments:False"]
    monkeypatch.setenv("PYTORCH_CUDA_ALLOC_CONF", "max_split_size_mb:128")
    assert not allocator.grow_segments()
    assert len(told) == 2
