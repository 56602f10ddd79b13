"""A real mesh in processes of its own, started the way a person starts it."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import psutil

from tests.conftest import REPOSITORY

# The first start of a machine downloads the models.
UP_WITHIN_S = 300.0
Event = dict[str, Any]


class RunningMesh:
    """`up --json` on free ports, with a state directory of its own and the machine's model cache.

    Args:
        state_dir: its own.
        options: of `up`.
        variables: of its environment.

    Attributes:
        url: of the edge, e.g. "http://127.0.0.1:40001".
        grpc: host:port of the public gRPC listener.
        key: licence key that it accepts.
        events: everything it has said.
    """

    def __init__(self, state_dir: Path, *options: str, **variables: str) -> None:
        self.state_dir = state_dir
        self.events: list[Event] = []
        self._said = threading.Condition()
        command = [sys.executable, "-m", "cli", "up", "--json", "--free-ports"]
        self.process = subprocess.Popen(
            [*command, "--state-dir", str(state_dir), *options],
            cwd=REPOSITORY,
            env={**os.environ, "LICENSE_KEY": "", "REDIS_URL": "", **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.url = self.grpc = self.key = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def wait_up(self) -> Self:
        """Until everything is ready."""
        up = self.wait_for(lambda event: event["event"] in ("up", "gave_up", "end"), within_s=UP_WITHIN_S)
        assert up["event"] == "up", f"the mesh did not come up:\n{self.transcript()}"
        self.url, self.grpc, self.key = up["url"], up["grpc"], up["key"]
        return self

    def wait_for(self, wanted: Callable[[Event], bool], *, within_s: float, since: int = 0) -> Event:
        """The first event from number `since` on that is wanted."""
        deadline = time.monotonic() + within_s
        with self._said:
            while True:
                for event in self.events[since:]:
                    if wanted(event):
                        return event
                left = deadline - time.monotonic()
                assert left > 0, f"not said within {within_s} s:\n{self.transcript()}"
                self._said.wait(left)

    @property
    def auth(self) -> dict[str, str]:
        """Headers with the key."""
        return {"Authorization": f"Token {self.key}"}

    @property
    def auth_pairs(self) -> tuple[tuple[str, str], ...]:
        """The same as gRPC metadata."""
        return (("authorization", f"Bearer {self.key}"),)

    @property
    def ws_url(self) -> str:
        """The edge, for WebSockets."""
        return "ws" + self.url.removeprefix("http")

    @property
    def pids(self) -> dict[str, int]:
        """The processes that run now."""
        note = json.loads((self.state_dir / "mesh.json").read_text())
        return dict(note["pids"])

    def kill(self, name: str, signum: int = signal.SIGKILL) -> None:
        """Sends a signal to one of the processes."""
        os.kill(self.pids[name], signum)

    def stop(self, within_s: float = 60.0) -> int:
        """As Ctrl-C does; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            code = self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        self._reader.join(5)
        assert self.process.stdout
        self.process.stdout.close()
        return code

    def logs(self, name: str) -> str:
        """The end of what a process wrote."""
        path = self.state_dir / "logs" / f"{name}.log"
        return path.read_text(errors="replace")[-4000:] if path.exists() else ""

    def transcript(self) -> str:
        """The events, for a message of a failing test. The key is left out."""
        lines = [json.dumps({**event, "key": "..."} if "key" in event else event) for event in self.events]
        return "\n".join(lines[-40:])

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            try:
                event = json.loads(line)
            except ValueError:
                event = {"event": "output", "line": line.rstrip()}
            self._add(event)
        self._add({"event": "end"})

    def _add(self, event: Event) -> None:
        with self._said:
            self.events.append(event)
            self._said.notify_all()


def alive(pids: dict[str, int]) -> list[str]:
    """Which of the processes still run."""
    found = []
    for name, pid in pids.items():
        try:
            if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                found.append(name)
        except psutil.NoSuchProcess:
            continue
    return found
