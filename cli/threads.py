"""Shares the cores out between processes.

Two OpenMP runtimes that each take every core stall one another: idle workers spin while the other's wait. So
each process gets its share, and idle workers sleep (OMP_WAIT_POLICY=PASSIVE).
"""

import os
from pathlib import Path

CGROUP_CPU_MAX = Path("/sys/fs/cgroup/cpu.max")


def usable_cores(cgroup: Path = CGROUP_CPU_MAX) -> int:
    """Cores this process may use: the affinity mask, and the container's quota where there is one."""
    has_mask = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if has_mask else os.cpu_count() or 1
    try:
        quota, period = cgroup.read_text().split()
    except (OSError, ValueError):
        return cores
    if not quota.isdigit():
        return cores
    return max(1, min(cores, int(quota) // int(period)))


def shares(cores: int, asr_workers: int = 1) -> dict[str, int]:
    """OpenMP threads per process. Recognition gets most; the gRPC services do no arithmetic.

    Up to two cores recognition may use both: synthesis is seldom busy at the same moment, and a passive wait
    makes the overlap cheap.
    """
    tts = max(1, cores // 4)
    asr = cores if cores <= 2 else cores - tts
    return {"asr": max(1, asr // asr_workers), "tts": tts}


def environment(threads: int) -> dict[str, str]:
    """Variables that hold a process to `threads` threads of arithmetic."""
    return {
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
    }
