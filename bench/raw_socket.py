"""A WebSocket client that can do everything wrong: it writes frames as it is told and reads what comes back."""

import asyncio
import base64
import os
import struct
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
_FIN, _MASKED = 0x80, 0x80
_SHORT, _LONG = 125, 0xFFFF
MAX_PATH_CHARS = 7_000


@dataclass
class RawSocket:
    """One connection.

    Attributes:
        status: of the upgrade; 101 when it is open.
        close_code: what the server closed with; 0 when it has not, 1005 when it gave none.
        close_reason: and why.
        messages: text and binary messages that came.
    """

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    status: int = 0
    close_code: int = 0
    close_reason: str = ""
    messages: list[str | bytes] = field(default_factory=list)

    @classmethod
    async def connect(cls, host: str, port: int, path: str, headers: dict[str, str]) -> Self:
        """Asks for the upgrade."""
        reader, writer = await asyncio.open_connection(host, port)
        socket = cls(reader, writer)
        lines = [
            f"GET {path} HTTP/1.1",
            f"Host: {host}:{port}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
            "Sec-WebSocket-Version: 13",
            *(f"{name}: {value}" for name, value in headers.items()),
        ]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        head = await reader.readuntil(b"\r\n\r\n")
        socket.status = int(head.split(b" ", 2)[1])
        return socket

    def frame(
        self,
        opcode: int,
        data: bytes = b"",
        *,
        fin: bool = True,
        reserved: int = 0,
        masked: bool = True,
        length: int = -1,
    ) -> None:
        """Writes a frame; `length` may lie."""
        size = len(data) if length < 0 else length
        first, mark = opcode | (_FIN if fin else 0) | reserved << 4, _MASKED if masked else 0
        if size <= _SHORT:
            head = struct.pack("!BB", first, mark | size)
        elif size <= _LONG:
            head = struct.pack("!BBH", first, mark | 126, size)
        else:
            head = struct.pack("!BBQ", first, mark | 127, size)
        mask = b"\0\0\0\0" if masked else b""  # a mask of zeros leaves the data as it is
        with suppress(ConnectionError, RuntimeError):
            self.writer.write(head + mask + data)

    def close(self, code: int, reason: bytes = b"") -> None:
        self.frame(CLOSE, struct.pack("!H", code) + reason)

    async def read(self) -> None:
        """Reads until the server has closed or gone; answers its pings."""
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                opcode, data = await self._frame()
                if opcode == TEXT:
                    self.messages.append(data.decode())
                elif opcode == BINARY:
                    self.messages.append(data)
                elif opcode == PING:
                    self.frame(PONG, data)
                elif opcode == CLOSE:
                    self.close_code = struct.unpack("!H", data[:2])[0] if len(data) >= 2 else 1005
                    self.close_reason = data[2:].decode(errors="replace")
                    self.frame(CLOSE, data[:2])
                    return

    async def gone(self) -> None:
        """Lets go of the connection."""
        self.writer.close()
        with suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(1):
                await self.writer.wait_closed()

    def abort(self) -> None:
        """Breaks the connection without a word."""
        self.writer.transport.abort()

    async def _frame(self) -> tuple[int, bytes]:
        first, second = await self.reader.readexactly(2)
        size = second & 0x7F
        if size == 126:
            size = struct.unpack("!H", await self.reader.readexactly(2))[0]
        elif size == 127:
            size = struct.unpack("!Q", await self.reader.readexactly(8))[0]
        return first & 0x0F, await self.reader.readexactly(size)
