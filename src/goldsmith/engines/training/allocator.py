"""Keeps freed memory in the process on Linux with glibc.

Every forward pass allocates and frees the same large blocks. By default glibc hands blocks above 32 MiB straight back
to the kernel, which zeroes their pages again at the next use: on CPUs that costs a good part of a step. The same from
outside: `MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=-1` in the environment.
"""

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_TOP_PAD = -1, -4, -2


def keep_pages() -> bool:
    """Tell the allocator to keep what it has got; whether it listened (glibc only)."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))
