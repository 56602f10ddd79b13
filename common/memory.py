"""Habits of the C library's allocator that matter to an engine: glibc only, elsewhere nothing happens."""

import ctypes
import sys
from typing import Any

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT_BYTES = 64 * 2**20


def _libc() -> Any:
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim") else None


def keep_buffers() -> None:
    """Lets freed activations stay in the process: else each layer's are mapped and cleared anew, page by page."""
    if (libc := _libc()) is not None:
        libc.mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES)
        libc.mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)


def give_back() -> None:
    """Returns what loading left behind to the system."""
    if (libc := _libc()) is not None:
        libc.malloc_trim(0)
