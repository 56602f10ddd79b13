"""Ports: free ones, taken ones, and who took them."""

import socket
from collections.abc import Iterable
from dataclasses import dataclass

import psutil


@dataclass(frozen=True, slots=True)
class Owner:
    """A process that listens on a port, as far as the system lets us see."""

    pid: int | None
    command: str

    def __str__(self) -> str:
        return f"{self.command} (pid {self.pid})" if self.pid else self.command


def free_ports(count: int, host: str = "127.0.0.1") -> list[int]:
    """Ports that nobody listens on now, all different."""
    held = [socket.create_server((host, 0)) for _ in range(count)]
    try:
        return [int(server.getsockname()[1]) for server in held]
    finally:
        for server in held:
            server.close()


def taken_ports(ports: Iterable[int], host: str) -> dict[int, Owner]:
    """Which of `ports` cannot be bound on `host`, with who holds them."""
    taken = [port for port in ports if not _can_bind(host, port)]
    owners = _listeners() if taken else {}
    return {port: owners.get(port, Owner(None, "another process")) for port in taken}


def _can_bind(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def _listeners() -> dict[int, Owner]:
    try:
        connections = psutil.net_connections("tcp")
    except psutil.AccessDenied:  # macOS shows other processes' sockets to root only
        return {}
    owners: dict[int, Owner] = {}
    for connection in connections:
        if connection.status == psutil.CONN_LISTEN and connection.laddr:
            owners[connection.laddr.port] = _describe(connection.pid)
    return owners


def _describe(pid: int | None) -> Owner:
    if pid is None:
        return Owner(None, "another user's process")
    try:
        words = psutil.Process(pid).cmdline()
    except psutil.Error:
        words = []
    return Owner(pid, " ".join(words)[:80] or "a process")
