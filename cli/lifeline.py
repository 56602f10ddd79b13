"""Ties the life of a child process to ours, so that `kill -9` of the command line leaves nothing behind."""

import ctypes
import os
import signal
import sys
from collections.abc import Callable

PR_SET_PDEATHSIG = 1


def tie_to_parent() -> Callable[[], None] | None:
    """A function for the child to call between fork and exec; None where the system has no such tie.

    Linux only (prctl(2)). The signal comes when the thread that forked ends, so fork from the main thread.
    """
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def tie() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # the parent died before the tie was made
            os._exit(1)

    return tie
