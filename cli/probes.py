"""Asks a starting process whether it is ready. Each probe returns None when it is, else why not."""

import asyncio
import json
from collections.abc import Awaitable, Callable

Probe = Callable[[], Awaitable[str | None]]

TIMEOUT_S = 2.0
NOT_YET = "not answering yet"


def ready(port: int, path: str = "/ready", host: str = "127.0.0.1") -> Probe:
    """A path that answers 200 when the service takes work; the reasons it gives else become ours."""

    async def probe() -> str | None:
        status, body = await _http_get(host, port, path)
        if status == 200:
            return None
        if status == 0:
            return NOT_YET
        try:
            said = json.loads(body)
            reasons = said.get("reasons") or {"": said.get("reason")}
        except (ValueError, AttributeError):
            reasons = {}
        return ", ".join(str(why or name) for name, why in reasons.items()) or f"{path} answers {status}"

    return probe


def responds(port: int, path: str, host: str = "127.0.0.1") -> Probe:
    """A path that answers at all."""

    async def probe() -> str | None:
        status, _ = await _http_get(host, port, path)
        return None if status else NOT_YET

    return probe


def redis_ping(port: int, host: str = "127.0.0.1") -> Probe:
    """Redis answers PING."""

    async def probe() -> str | None:
        reply = await _exchange(host, port, b"PING\r\n", limit=64)
        return None if reply.startswith(b"+PONG") else NOT_YET

    return probe


async def _http_get(host: str, port: int, path: str) -> tuple[int, bytes]:
    """Status and body; status 0 when there is no answer in time."""
    request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
    reply = await _exchange(host, port, request, limit=1 << 16)
    head, _, body = reply.partition(b"\r\n\r\n")
    words = head.split(b" ", 2)
    return (int(words[1]), body) if len(words) > 1 and words[1].isdigit() else (0, b"")


async def _exchange(host: str, port: int, request: bytes, *, limit: int) -> bytes:
    try:
        async with asyncio.timeout(TIMEOUT_S):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(request)
                if limit <= 64:
                    return await reader.readline()
                return await reader.read(limit)
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return b""
