"""Many WebSocket clients in one process, cheap enough not to be what is measured.

Frames are made once: RFC 6455 lets a client choose any masking key, and with four zero bytes the payload is the frame's
own. Chunks of all sockets are spread evenly over the 100 ms.
"""

import asyncio
import base64
import json
import os
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

CHUNK_MS = 100
CHUNK_BYTES = CHUNK_MS * 32
_TICK_S = 0.001
_ZERO_MASK = bytes(4)
_BINARY, _TEXT, _CLOSE, _PING, _PONG = 0x82, 0x1, 0x8, 0x9, 0xA


def _frame(opcode: int, payload: bytes) -> bytes:
    """A whole masked frame."""
    size = len(payload)
    head = struct.pack("!BBH", opcode, 0x80 | 126, size) if size > 125 else bytes([opcode, 0x80 | size])
    return head + _ZERO_MASK + payload


AUDIO = _frame(_BINARY, os.urandom(CHUNK_BYTES))
_CLOSE_STREAM = _frame(0x81, b'{"type":"close_stream"}')


@dataclass(slots=True)
class Heard:
    """What all sockets saw. Latencies are in seconds."""

    latencies: list[float] = field(default_factory=list)
    finals: int = 0
    sent: int = 0
    late: list[float] = field(
        default_factory=list
    )  # by how much this process was behind its own plan, tick by tick
    broken: list[str] = field(default_factory=list)


class Socket(asyncio.Protocol):
    """One client."""

    def __init__(self, host: str, path: str, key: str, heard: Heard) -> None:
        self._request = (
            f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}\r\n"
            f"Sec-WebSocket-Version: 13\r\nAuthorization: Token {key}\r\n\r\n"
        ).encode()
        loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[None] = loop.create_future()
        self.closed: asyncio.Future[None] = loop.create_future()
        self._heard, self._held = heard, b""
        self._sent_at: list[float] = []
        self.counts = False  # whether latencies are being noted
        self._ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._held += data
        if not self.opened.done():
            head, found, rest = self._held.partition(b"\r\n\r\n")
            if not found:
                return
            self._held = rest
            if b" 101 " not in head.split(b"\r\n", 1)[0]:
                self.opened.set_exception(ConnectionError(head.split(b"\r\n", 1)[0].decode()))
                return
            self.opened.set_result(None)
        while (taken := self._take()) > 0:
            self._held = self._held[taken:]

    def connection_lost(self, error: Exception | None) -> None:
        if not self.opened.done():
            self.opened.set_exception(ConnectionError("closed before the upgrade"))
        if not self._ended:
            self._heard.broken.append(str(error or "closed"))
        self.closed.set_result(None)

    def send_chunk(self) -> None:
        """100 ms of audio."""
        if self.closed.done():
            return
        self._sent_at.append(time.perf_counter())
        self._transport.write(AUDIO)
        self._heard.sent += 1

    def end(self) -> None:
        """No more audio."""
        self._ended = True
        if not self.closed.done():
            self._transport.write(_CLOSE_STREAM)

    def _take(self) -> int:
        """Reads one frame from the front; its length, 0 when it is not all there."""
        held = self._held
        if len(held) < 2:
            return 0
        opcode, size, begin = held[0] & 0xF, held[1] & 0x7F, 2
        if size == 126:
            if len(held) < 4:
                return 0
            size, begin = int.from_bytes(held[2:4]), 4
        if len(held) < begin + size:
            return 0
        payload = held[begin : begin + size]
        if opcode == _TEXT:
            self._told(payload)
        elif opcode == _PING:
            self._transport.write(_frame(0x80 | _PONG, payload))
        elif opcode == _CLOSE:
            self._transport.write(_frame(0x80 | _CLOSE, payload[:2]))
        return begin + size

    def _told(self, payload: bytes) -> None:
        now = time.perf_counter()
        event = json.loads(payload)
        if event.get("type") == "error":
            self._heard.broken.append(event.get("message", "error"))
        if "transcript" not in event or not event["transcript"]:
            return
        self._heard.finals += event["is_final"]
        if self.counts:
            chunk = int(event["transcript"].split(" ", 1)[0])  # the stand-in begins with it
            self._heard.latencies.append(now - self._sent_at[chunk - 1])


async def stream(sockets: Sequence[Socket], heard: Heard, seconds: float, counted_after_s: float) -> None:
    """Every socket sends a chunk each 100 ms, for so long; latencies count after a while."""
    begin = time.perf_counter()
    period, count = CHUNK_MS / 1000, len(sockets)
    due = 0
    total = int(seconds / period) * count
    counting = False
    while due < total:
        now = time.perf_counter() - begin
        ready = min(int(now / period * count) + 1, total)
        if due < ready:
            heard.late.append(now - due * period / count)
        for number in range(due, ready):
            sockets[number % count].send_chunk()
        due = ready
        if not counting and now > counted_after_s:
            counting = True
            for socket in sockets:
                socket.counts = True
        await asyncio.sleep(_TICK_S)
