"""Freed memory kept by the process, so that every step writes to pages it has already."""

import ctypes
import functools
import sys

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
"""Parameters of mallopt(3) in glibc's malloc.h."""


@functools.cache
def keep_freed_memory() -> bool:
    """Tell glibc to serve every request from its heap and never to shrink it; whether that was done.

    By default each large tensor is mapped anew from the system and given back, and every page of it is
    cleared when it is first written to: on a virtual machine, eight times the time of writing it. A step of
    the same shapes as the last finds all its memory in the heap. Elsewhere than on Linux with glibc nothing
    is done.
    """
    if sys.platform != "linux":
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt") or not hasattr(library, "gnu_get_libc_version"):
        return False
    return bool(library.mallopt(_M_MMAP_MAX, 0)) and bool(library.mallopt(_M_TRIM_THRESHOLD, -1))
