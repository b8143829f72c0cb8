"""Makes the C library return freed memory to the system.

On a CPU every step allocates and frees activations of several megabytes.
"""

import ctypes
import platform

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
"""Parameters of mallopt(3)."""
KEPT = 1 << 30
"""Bytes of freed memory that the process keeps before it returns any to the system."""


def keep_memory() -> None:
    """Keeps up to `KEPT` bytes of freed memory for reuse. To map it again would cost a page fault for every 4 kB.

    All threads share one arena. Call this before any thread starts. Does nothing if the C library is not glibc.
    """
    if platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        for parameter, value in ((M_ARENA_MAX, 1), (M_MMAP_THRESHOLD, KEPT), (M_TRIM_THRESHOLD, KEPT)):
            mallopt(parameter, value)


def give_back() -> None:
    """Returns all freed memory to the system. Used after a load: no later step needs buffers as large."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)
