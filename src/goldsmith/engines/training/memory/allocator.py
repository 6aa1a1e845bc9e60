"""How freed memory is dealt with: on Linux with glibc kept in the process for speed, given back where it is short; on a
GPU in segments that grow.

Every forward pass allocates and frees the same large blocks. By default glibc hands blocks above 32 MiB straight back
to the kernel, which zeroes their pages again at the next use: on CPUs that costs a good part of a step. So they are
kept (the same from outside: `MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=-1` in the environment).

What is kept has holes that no later block fits into; under an adapter a process held twice what was alive in it. Once
it holds most of the memory there is, large blocks are mapped one by one instead and holes are given back: it then holds
what is alive, and takes about a sixth more CPU time.

On a GPU torch's allocator cuts blocks from segments of fixed size, and what is left between blocks of other sizes is
lost: up to a fifth of the tensors for pairs on an H100. A segment that grows page by page has none of it, at the same
speed (benchmarks/fit.py --device cuda).
"""

import ctypes
import os
import sys
import threading
from pathlib import Path
from typing import Any, Final

import torch

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -2, -3, -4
BLOCK: Final = 2**20
"""Blocks from this size on are mapped one by one where memory is short."""
SHORT: Final = 0.7
"""Share of the memory there is which a process may hold before it gives back."""
ENVIRONMENT: Final = "GOLDSMITH_MEMORY"
"""`tight`: give back from the start; `fast`: never."""
CUDA_ENVIRONMENT: Final = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF")
_EVERY_SECONDS: Final = 0.05
_watching = threading.Lock()


def keep_pages(*, short: bool = False) -> bool:
    """Tell the allocator to keep what it has got until memory runs short; whether it listened (glibc only). `short`: it
    is short from the start."""
    libc = _libc()
    if libc is None:
        return False
    wanted = os.environ.get(ENVIRONMENT, "")
    if wanted == "tight" or (short and wanted != "fast"):
        return give_back()
    done = bool(libc.mallopt(_M_MMAP_MAX, 0)) and bool(libc.mallopt(_M_TRIM_THRESHOLD, -1))
    if done and wanted != "fast" and _watching.acquire(blocking=False):  # one watcher for a process
        threading.Thread(target=_watch, args=(SHORT * memory_there(),), name="memory", daemon=True).start()
    return done


def grow_segments(*, grow: bool = True) -> bool:
    """Have torch's allocator of CUDA memory grow its segments from now on, or not, unless the environment says how it
    is to allocate; whether it was told (Linux alone). It holds for the process: whoever comes next says it anew."""
    if not sys.platform.startswith("linux") or any(os.environ.get(name) for name in CUDA_ENVIRONMENT):
        return False
    tell = getattr(torch._C, "_accelerator_setAllocatorSettings", None)
    if tell is None:
        return False
    tell(f"expandable_segments:{grow}")
    return True


def give_back() -> bool:
    """From now on map large blocks one by one, so that what is freed goes back to the kernel, and hand over the holes
    there are; whether the allocator listened."""
    libc = _libc()
    if libc is None:
        return False
    done = bool(libc.mallopt(_M_MMAP_MAX, 65536)) and bool(libc.mallopt(_M_MMAP_THRESHOLD, BLOCK))
    # Where the environment asks for a large reserve at the heap's end, blocks would be cut from that instead.
    done = done and bool(libc.mallopt(_M_TOP_PAD, 1 << 17)) and bool(libc.mallopt(_M_TRIM_THRESHOLD, 2 * BLOCK))
    libc.malloc_trim(0)
    return done


def _watch(limit: float) -> None:
    wait = threading.Event().wait
    while True:
        wait(_EVERY_SECONDS)
        if resident() > limit:
            give_back()
            wait(10 * _EVERY_SECONDS)  # what was kept before leaves holes as it is freed: they are handed over too


def resident() -> int:
    """Bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def memory_there() -> int:
    """Bytes that this process may hold: what it holds, and what is free on the machine or in its control group."""
    told = Path("/proc/meminfo").read_text(encoding="ascii")
    free = int(told.split("MemAvailable:")[1].split()[0]) * 1024
    group = Path("/sys/fs/cgroup")
    try:
        limit = (group / "memory.max").read_text(encoding="ascii").strip()
        used = (group / "memory.current").read_text(encoding="ascii")
        free = min(free, int(limit) - int(used)) if limit.isdigit() else free
    except (OSError, ValueError):
        pass
    return resident() + max(0, free)


def _libc() -> Any:
    if not sys.platform.startswith("linux"):
        return None
    try:
        libc = ctypes.CDLL("libc.so.6")
        return libc if hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim") else None
    except OSError:
        return None
