"""The note a running mesh leaves in the state directory, so that other commands find it."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil

NOTE = "mesh.json"
LOCK = "up.lock"


@dataclass(frozen=True, slots=True)
class Note:
    """Where a mesh answers, and its processes."""

    pid: int
    url: str
    grpc: str
    started_at: float
    pids: dict[str, int] = field(default_factory=dict)

    @property
    def is_running(self) -> bool:
        """Whether the command that started the mesh still runs (and is not another process with its number)."""
        return _is_same_process(self.pid, self.started_at)

    def leftovers(self) -> dict[str, int]:
        """Processes of the mesh that outlived the command that started them."""
        if self.is_running:
            return {}
        return {name: pid for name, pid in self.pids.items() if _looks_like_ours(pid, self.started_at)}


def write(state_dir: Path, note: Note) -> None:
    """Puts the note down in one step."""
    draft = state_dir / f"{NOTE}.new"
    draft.write_text(json.dumps(asdict(note)), encoding="utf-8")
    draft.replace(state_dir / NOTE)


def read(state_dir: Path) -> Note | None:
    """The note, or None without one."""
    try:
        return Note(**json.loads((state_dir / NOTE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def remove(state_dir: Path) -> None:
    with suppress(OSError):
        (state_dir / NOTE).unlink()


@contextmanager
def sole_owner(state_dir: Path) -> Iterator[bool]:
    """Whether we are the only mesh of this state directory; the claim ends with the block or the process."""
    state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (state_dir / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
            return
        yield True


def own_start_time() -> float:
    return psutil.Process(os.getpid()).create_time()


def _is_same_process(pid: int, started_at: float) -> bool:
    try:
        return abs(psutil.Process(pid).create_time() - started_at) < 1.0
    except psutil.Error:
        return False


def _looks_like_ours(pid: int, mesh_started_at: float) -> bool:
    # A number may have been given to somebody else's process since: ours has our modules or programs in it.
    try:
        process = psutil.Process(pid)
        words = " ".join(process.cmdline())
        return process.create_time() >= mesh_started_at and any(
            mark in words
            for mark in (" -m asr", " -m tts", " -m license", " -m session", " -m edge", "envoy", "redis")
        )
    except psutil.Error:
        return False
