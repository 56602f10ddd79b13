"""Sending to a client: at once where that is possible, not for ever where it is not."""

import asyncio
from typing import Any, cast

import pytest
from aiohttp import web

from common.errors import Cancelled
from edge.sockets import send_json


class Socket:
    """A client that takes frames when told to."""

    def __init__(self, *, before: Exception | None = None, after: Exception | None = None) -> None:
        self.taking = asyncio.Event()
        self.sent: list[str] = []
        self.given_up = False
        self._before, self._after = before, after

    async def send_str(self, text: str) -> None:
        if self._before:
            raise self._before
        try:
            for _ in range(2):
                await self.taking.wait()
                await asyncio.sleep(0 if self.taking.is_set() else 1)
        except asyncio.CancelledError:
            self.given_up = True
            raise
        if self._after:
            raise self._after
        self.sent.append(text)


class Quick:
    def __init__(self) -> None:
        self.sent: list[str] = []

    async def send_str(self, text: str) -> None:
        self.sent.append(text)


def send(socket: Any, timeout_s: float = 5.0) -> Any:
    return send_json(cast(web.WebSocketResponse, socket), {"a": "ä"}, timeout_s)


async def test_what_can_leave_at_once_needs_no_turn_of_the_loop() -> None:
    socket = Quick()
    with pytest.raises(StopIteration):
        send(socket).send(None)
    assert socket.sent == ['{"a":"ä"}']


async def test_a_client_that_is_slow_is_waited_for() -> None:
    socket = Socket()
    sending = asyncio.create_task(send(socket))
    await asyncio.sleep(0.01)
    assert not socket.sent
    socket.taking.set()
    await sending
    assert socket.sent == ['{"a":"ä"}']


async def test_a_client_that_never_reads_is_given_up() -> None:
    socket = Socket()
    with pytest.raises(Cancelled, match="does not read"):
        await send(socket, 0.02)
    assert socket.given_up and not socket.sent


@pytest.mark.parametrize("error", [ConnectionResetError(), RuntimeError("closing")])
async def test_a_client_that_is_gone(error: Exception) -> None:
    with pytest.raises(Cancelled, match="is gone"):
        await send(Socket(before=error))
    socket = Socket(after=error)
    socket.taking.set()
    with pytest.raises(Cancelled, match="is gone"):
        await send(socket)


async def test_whoever_sends_can_be_cancelled_meanwhile() -> None:
    socket = Socket()
    sending = asyncio.create_task(send(socket))
    await asyncio.sleep(0.01)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert socket.given_up
