"""Calls to a sidecar that stream both ways: connections as they are needed, generated messages over them."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from contextlib import aclosing, suppress
from typing import TypeVar

import betterproto2

from common.decode import decode
from common.errors import Unavailable
from common.telemetry import client_call
from common.wire.connection import Connection
from common.wire.stream import Stream

CONNECT_WITHIN_S = 5.0

Response = TypeVar("Response", bound=betterproto2.Message)


class Channel:
    """To one address, e.g. "127.0.0.1:15001". Connects with the first call; close it when the process ends."""

    def __init__(self, address: str, *, max_message_bytes: int) -> None:
        self._address, self._max_message_bytes = address, max_message_bytes
        self._connections: list[Connection] = []
        self._opening: asyncio.Task[None] | None = None

    async def call(self, path: str, headers: Iterable[tuple[str, str]] = ()) -> Stream:
        """Opens a call of the method at `path`; raises Unavailable when nobody listens."""
        while (connection := self._with_room()) is None:
            opening = self._opening
            if opening is None or opening.done():
                opening = self._opening = asyncio.create_task(self._connect(), name="wire connect")
            # A hundred streams that begin together share one attempt; any of them may leave before its end.
            await asyncio.wait({opening})
            if opening.cancelled():
                raise Unavailable("the channel was closed")
            if error := opening.exception():
                raise error
        return connection.call(path, tuple(headers))

    async def stream_stream(
        self,
        path: str,
        requests: AsyncIterable[object],
        response_type: type[Response],
        metadata: Iterable[tuple[str, str]] = (),
    ) -> AsyncGenerator[Response, None]:
        """The answers to `requests`, which are generated messages or their bytes. Closing it cancels the call.

        Raises:
            VoxmeshError: what the service raised, or Unavailable when it is gone.
            Exception: what `requests` raised.
        """
        with client_call(path) as trace:
            stream = await self.call(path, [*metadata, *trace])
            sender = asyncio.create_task(_send(stream, requests), name="wire send")
            try:
                async with aclosing(stream.messages()) as messages:
                    async for message in messages:
                        yield decode(response_type, message)
            finally:
                stream.cancel()
                sender.cancel()
                with suppress(asyncio.CancelledError):
                    await sender

    async def close(self) -> None:
        """Ends every call."""
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait({self._opening})
        for connection in self._connections:
            connection.close()
        self._connections.clear()

    def _with_room(self) -> Connection | None:
        return next((one for one in self._connections if one.has_room), None)

    async def _connect(self) -> None:
        self._connections = [one for one in self._connections if not one.closed]
        host, _, port = self._address.rpartition(":")
        loop = asyncio.get_running_loop()
        connection = Connection(self._address, max_message_bytes=self._max_message_bytes)
        try:
            async with asyncio.timeout(CONNECT_WITHIN_S):
                await loop.create_connection(lambda: connection, host.strip("[]"), int(port))
                await connection.ready
            if not connection.has_room:
                raise Unavailable("the sidecar takes no calls")
        except (OSError, TimeoutError):
            raise Unavailable("the sidecar cannot be reached") from None
        else:
            self._connections.append(connection)
        finally:
            if connection not in self._connections:
                connection.close()


async def _send(stream: Stream, requests: AsyncIterable[object]) -> None:
    try:
        async for request in requests:
            stream.send(bytes(request))  # type: ignore[call-overload]  # a message has __bytes__
            if stream.blocked:
                await stream.drained()
            if not stream.open:
                return
        stream.end()
    except Exception:
        stream.cancel()
        raise
