"""A recogniser or a voice in a process of its own for a benchmark, on free ports, ended with it."""

import os
import socket
import sys
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
STOP_S = 30


class Worker:
    """`python -m asr` or `python -m tts` with one model. Its log goes to stderr."""

    def __init__(self, model: str, threads: int = 0, device: str = "auto", service: str = "asr") -> None:
        port, ops_port = _free_port(), _free_port()
        cores = threads or len(psutil.Process().cpu_affinity() or [1])
        self.address = f"127.0.0.1:{port}"
        self.process = psutil.Popen(
            [sys.executable, "-m", service],
            cwd=ROOT,
            stdout=sys.stderr,
            env={
                **os.environ,
                "PORT": str(port),
                "OPS_PORT": str(ops_port),
                "MODEL_URL": model,
                f"{service.upper()}_THREADS": str(cores),
                f"{service.upper()}_DEVICE": device,
                "OMP_NUM_THREADS": str(cores),
                "OMP_WAIT_POLICY": "PASSIVE",
                "OPENBLAS_NUM_THREADS": "1",
            },
        )

    def stop(self) -> None:
        """Ends the process, gently at first."""
        self.process.terminate()
        try:
            self.process.wait(STOP_S)
        except psutil.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
