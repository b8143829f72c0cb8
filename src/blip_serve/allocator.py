"""How the C library gives memory back: on a CPU, activations of megabytes come and go in every step."""

import ctypes
import platform

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
"""Parameters of mallopt(3)."""
KEPT = 1 << 30
"""Bytes that freed memory may amount to before it is given back to the system."""


def keep_memory() -> None:
    """Keeps freed memory, up to `KEPT` bytes, for all threads together: mapping it anew costs a page fault per 4 kB.

    To be called before there are threads. Does nothing where the C library is not glibc.
    """
    if platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        for parameter, value in ((M_ARENA_MAX, 1), (M_MMAP_THRESHOLD, KEPT), (M_TRIM_THRESHOLD, KEPT)):
            mallopt(parameter, value)


def give_back() -> None:
    """Gives back all freed memory, as after a load, whose tensors are not needed again in that size."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)
