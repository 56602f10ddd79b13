"""One call on a connection: messages out, messages in, and how it ended."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from typing import Protocol

from hyperframe.frame import RstStreamFrame, WindowUpdateFrame

from common.errors import Cancelled, Internal, VoxmeshError
from common.wire.frames import END_STREAM
from common.wire.messages import PREFIX_BYTES, Assembler, data_frame, framed, prefixed

# What the peer may send ahead of whoever reads. Events are small; a client that does not read them stops the model.
WINDOW_BYTES = 65_535
# A sender that never waits for its next message must not keep the event loop from what else there is to do.
_TURN_BYTES = 256 * 1024
_CANCEL = 0x8


class Link(Protocol):
    """What a stream needs of its connection."""

    window: int  # bytes that all streams together may send
    max_frame: int
    paused: bool  # the socket takes no more
    unsent: int  # bytes written in this turn of the event loop

    def write(self, data: bytes) -> None: ...
    def block(self, stream: "Stream") -> None: ...
    def forget(self, stream: "Stream") -> None: ...


class Stream:
    """A gRPC call whose both sides stream. Not thread-safe."""

    def __init__(self, link: Link, number: int, window: int, max_message_bytes: int) -> None:
        self.number = number
        self.window = window  # bytes that may be sent
        self._link = link
        self._waiting: deque[memoryview] = deque()  # until a window opens
        self._drained: asyncio.Future[None] | None = None
        self._said_all = self._sent_all = False
        self._assembler = Assembler(max_message_bytes)
        self._heard: deque[tuple[bytes, int]] = deque()  # messages and what flow control owes for them
        self._owed = 0
        self._news: asyncio.Future[None] | None = None
        self._over = False
        self._error: VoxmeshError | None = None

    # The caller's side.

    @property
    def open(self) -> bool:
        """Whether the peer has not ended the call."""
        return not self._over

    @property
    def blocked(self) -> bool:
        """Whether `drained` has to be awaited before more is sent."""
        return bool(self._waiting) or self._link.unsent > _TURN_BYTES

    def send(self, message: bytes) -> None:
        """Sends a message, now or as soon as the peer takes it; see `drained`. After the end of the call it is lost."""
        if self._over or self._said_all:
            return
        size, link = len(message) + PREFIX_BYTES, self._link
        if (
            not self._waiting
            and not link.paused
            and size <= self.window
            and size <= link.window
            and size <= link.max_frame
        ):
            self.window -= size
            link.window -= size
            link.write(framed(self.number, message))
        else:
            self._waiting.append(memoryview(prefixed(message)))
            self.pump()

    async def drained(self) -> None:
        """Waits until all that was sent is on its way, or the call is over; lets others on who have much to say too."""
        if self._link.unsent > _TURN_BYTES:
            await asyncio.sleep(0)
        while self._waiting and not self._over:
            self._drained = self._drained or asyncio.get_running_loop().create_future()
            await self._drained

    def end(self) -> None:
        """No more messages will come."""
        if not self._said_all:
            self._said_all = True
            self.pump()

    def cancel(self) -> None:
        """Ends the call here and at the peer, unless it is over."""
        if not self._over:
            self._reset()
            self.finish(Cancelled("the call was given up"))

    async def messages(self) -> AsyncGenerator[bytes, None]:
        """What the peer says, to the end of the call; closing it cancels the call.

        Raises:
            VoxmeshError: what the peer raised, or Unavailable when it is gone.
        """
        try:
            while True:
                while self._heard:
                    message, owed = self._heard.popleft()
                    self._give_back(owed)
                    yield message
                if self._over:
                    break
                self._news = asyncio.get_running_loop().create_future()
                await self._news
            if self._error is not None:
                raise self._error
        finally:
            self.cancel()

    # The connection's side.

    def pump(self) -> None:
        """Sends what waits, as far as the windows go."""
        link = self._link
        while self._waiting and not link.paused:
            piece = self._waiting[0]
            room = min(self.window, link.window, link.max_frame)
            if room <= 0:
                break
            self._waiting.popleft()
            if len(piece) > room:
                self._waiting.appendleft(piece[room:])
                piece = piece[:room]
            self.window -= len(piece)
            link.window -= len(piece)
            link.write(data_frame(self.number, piece))
        if self._waiting:
            link.block(self)
            return
        _wake(self._drained)
        self._drained = None
        if self._said_all and not self._sent_all and not self._over:
            self._sent_all = True
            link.write(data_frame(self.number, b"", END_STREAM))

    def hear(self, data: memoryview, padding: int = 0) -> None:
        """A DATA frame."""
        try:
            new = 0
            for message, owed in self._assembler.feed(data):
                self._heard.append((message, owed))
                new += owed
        except Internal as error:
            self._reset()
            self.finish(error)
            return
        self._give_back(len(data) - new + padding)
        if new:
            _wake(self._news)

    def finish(self, error: VoxmeshError | None) -> None:
        """The call is over; what was heard before can still be read."""
        if self._over:
            return
        self._over, self._error = True, error
        self._waiting.clear()
        _wake(self._drained)
        _wake(self._news)
        self._link.forget(self)

    def close(self, error: VoxmeshError | None) -> None:
        """The peer has said its last; it need not hear the rest of ours."""
        if not self._sent_all and not self._over:
            self._reset()
        self.finish(error)

    def _reset(self) -> None:
        self._link.write(RstStreamFrame(self.number, error_code=_CANCEL).serialize())

    def _give_back(self, size: int) -> None:
        self._owed += size
        if self._owed * 2 >= WINDOW_BYTES and not self._over:
            self._link.write(WindowUpdateFrame(self.number, window_increment=self._owed).serialize())
            self._owed = 0


def _wake(waiter: "asyncio.Future[None] | None") -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
