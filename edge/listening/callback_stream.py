"""The messages of a live stream on their way to a url: one after another, in their order, each signed and retried."""

import asyncio

from common.errors import Cancelled, Unavailable
from edge.dialects.callbacks import Callback
from edge.listening.callbacks import Courier, Delivery
from edge.values import Json

MAX_WAITING = 256


class CallbackStream:
    """Takes messages as a socket would.

    Args:
        id: of the stream; a message is delivered under this and its number.
        callback: where the messages go.
        courier: delivers.
        secret: signs.
    """

    def __init__(self, id: str, callback: Callback, courier: Courier, secret: str) -> None:
        self._id, self._callback, self._courier, self._secret = id, callback, courier, secret
        self._waiting: asyncio.Queue[Json | None] = asyncio.Queue()
        self._room = asyncio.Event()
        self._given_up = False

    async def send(self, message: Json, timeout_s: float) -> None:
        """Takes a message; waits while too many do.

        Raises:
            Unavailable: a message was not taken, whatever was tried; those after it would leave a hole.
            Cancelled: too many wait for too long.
        """
        try:
            async with asyncio.timeout(timeout_s):
                while self._waiting.qsize() >= MAX_WAITING and not self._given_up:
                    self._room.clear()
                    await self._room.wait()
        except TimeoutError:
            raise Cancelled("the callback takes too long") from None
        if self._given_up:
            raise Unavailable("the callback does not answer")
        self._waiting.put_nowait(message)

    def end(self) -> None:
        """No more messages will come; those that wait are still delivered."""
        self._waiting.put_nowait(None)

    async def run(self) -> None:
        """Delivers until the end."""
        number = 0
        try:
            while (message := await self._waiting.get()) is not None:
                self._room.set()
                delivery = Delivery(f"{self._id}.{number}", self._callback, message, self._secret)
                number += 1
                if not await self._courier.deliver(delivery):
                    return
        finally:
            self._given_up = True
            self._room.set()
