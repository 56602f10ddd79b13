"""One HTTP/2 connection to a sidecar, the client's end of it (RFC 9113).

Why not grpc.aio: it makes a batch of operations, a future and a walk through another thread of every message, which for
thousands of small messages a second is most of what the edge would do. Here a message is one frame, and the frames of
all streams that are written in one turn of the event loop leave in one system call. Headers are left to hpack, frames
other than DATA to hyperframe.
"""

import asyncio
from collections.abc import Sequence
from typing import cast

import hpack
from hyperframe.exceptions import HyperframeError
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from common.errors import Unavailable, VoxmeshError
from common.wire import status
from common.wire.frames import DATA, END_STREAM, MAX_FRAME_BYTES, PADDED, STREAM_NUMBERS, FrameReader, parse
from common.wire.stream import WINDOW_BYTES, Stream

Headers = Sequence[tuple[str, str]]

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DEFAULT_WINDOW, _MAX_WINDOW = 65_535, 2**31 - 1
# Of all streams together; what one of them may send ahead is its own window.
_CONNECTION_WINDOW = 16 << 20
_MAX_HEADER_BYTES = 64 * 1024
_WRITE_AHEAD_BYTES = 1 << 20
_PROTOCOL_ERROR = 0x1
PING_EVERY_S, PONG_WITHIN_S = 20.0, 10.0


class Connection(asyncio.Protocol):
    """Made by `loop.create_connection`; `ready` is done when the peer has greeted, or failed when it will not."""

    def __init__(self, authority: str, *, max_message_bytes: int) -> None:
        self.window, self.max_frame, self.paused = _DEFAULT_WINDOW, MAX_FRAME_BYTES, False
        self._loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[None] = self._loop.create_future()
        self._authority, self._max_message_bytes = authority, max_message_bytes
        self._streams: dict[int, Stream] = {}
        self._blocked: dict[int, Stream] = {}  # those that wait for a window, longest first
        self._next_number, self._first_window, self._max_streams = 1, _DEFAULT_WINDOW, STREAM_NUMBERS
        self._encoder, self._decoder = hpack.Encoder(), hpack.Decoder(_MAX_HEADER_BYTES)
        self._transport: asyncio.Transport | None = None
        self._frames = FrameReader()
        self._out: list[bytes] = []
        self.unsent = 0
        self._block: HeadersFrame | None = None  # headers whose rest comes in CONTINUATION frames
        self._unacknowledged = 0  # bytes heard that the connection's window still lacks
        self._going = False  # no new streams
        self._heard_something = True
        self._watch: asyncio.TimerHandle | None = None

    @property
    def has_room(self) -> bool:
        """Whether it can take one more call."""
        return not self._going and self.ready.done() and len(self._streams) < self._max_streams

    @property
    def closed(self) -> bool:
        return self._going and not self._streams

    def call(self, path: str, headers: Headers) -> Stream:
        """Opens a call; `has_room` has to be true."""
        number = self._next_number
        self._next_number += 2
        self._going = self._going or self._next_number > STREAM_NUMBERS
        stream = Stream(self, number, self._first_window, self._max_message_bytes)
        self._streams[number] = stream
        fields = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", path),
            (":authority", self._authority),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
            ("user-agent", "voxmesh"),
            *headers,
        ]
        frame = HeadersFrame(number, self._encoder.encode(fields), flags=["END_HEADERS"])
        for piece in _split(frame, self.max_frame):
            self.write(piece.serialize())
        return stream

    def close(self) -> None:
        """Ends the connection and what runs on it."""
        self._lost(Unavailable("the connection was closed"))
        if self._transport is not None:
            self._transport.write(GoAwayFrame(0).serialize())
            self._transport.close()

    # What streams use.

    def write(self, data: bytes) -> None:
        """Leaves with all else that is written in this turn of the event loop."""
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(data)
        self.unsent += len(data)

    def block(self, stream: Stream) -> None:
        self._blocked[stream.number] = stream

    def forget(self, stream: Stream) -> None:
        self._streams.pop(stream.number, None)
        self._blocked.pop(stream.number, None)
        if self._going and not self._streams and self._transport is not None:
            self._loop.call_soon(self._transport.close)

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport = cast(asyncio.Transport, transport)
        transport.set_write_buffer_limits(_WRITE_AHEAD_BYTES)
        settings = {SettingsFrame.ENABLE_PUSH: 0, SettingsFrame.INITIAL_WINDOW_SIZE: WINDOW_BYTES}
        self.write(_PREFACE + SettingsFrame(0, settings=settings).serialize())
        self.write(WindowUpdateFrame(0, window_increment=_CONNECTION_WINDOW - _DEFAULT_WINDOW).serialize())
        self._watch = self._loop.call_later(PING_EVERY_S, self._ping)

    def data_received(self, data: bytes) -> None:
        self._heard_something = True
        try:
            self._read_frames(data)
        except (HyperframeError, hpack.HPACKError, ValueError) as error:
            self._fail(f"the sidecar does not speak HTTP/2 ({type(error).__name__})")

    def connection_lost(self, error: Exception | None) -> None:
        self._lost(Unavailable("the connection broke"))

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        self._unblock()

    def _flush(self) -> None:
        out, self._out, self.unsent = self._out, [], 0
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(b"".join(out))

    def _ping(self) -> None:
        """A peer that vanished without closing is noticed."""
        if self._heard_something:
            self._heard_something = False
            self._watch = self._loop.call_later(PING_EVERY_S, self._ping)
        else:
            self.write(PingFrame(0, opaque_data=b"voxmesh?").serialize())
            self._watch = self._loop.call_later(PONG_WITHIN_S, self._miss)

    def _miss(self) -> None:
        if self._heard_something:
            self._ping()
        else:
            self._fail("the sidecar does not answer")

    # Frames.

    def _read_frames(self, data: bytes) -> None:
        for head, body in self._frames.feed(data):
            if head[3] == DATA and not head[4] & PADDED and self._block is None:
                number = int.from_bytes(head[5:]) & STREAM_NUMBERS
                self._data(number, body, 0, bool(head[4] & END_STREAM))
            else:
                self._frame(parse(head, body))

    def _frame(self, frame: Frame) -> None:
        if self._block is not None and not isinstance(frame, ContinuationFrame):
            raise ValueError("headers were interrupted")
        if isinstance(frame, DataFrame):
            padding = frame.flow_controlled_length - len(frame.data)
            self._data(frame.stream_id, memoryview(frame.data), padding, "END_STREAM" in frame.flags)
        elif isinstance(frame, HeadersFrame | ContinuationFrame):
            self._headers(frame)
        elif isinstance(frame, WindowUpdateFrame):
            self._opened(frame.stream_id, frame.window_increment)
        elif isinstance(frame, SettingsFrame):
            self._settings(frame)
        elif isinstance(frame, PingFrame) and "ACK" not in frame.flags:
            self.write(PingFrame(0, opaque_data=frame.opaque_data, flags=["ACK"]).serialize())
        elif isinstance(frame, RstStreamFrame):
            if stream := self._streams.get(frame.stream_id):
                stream.finish(status.of_reset(frame.error_code))
        elif isinstance(frame, GoAwayFrame):
            self._go_away(frame.last_stream_id)

    def _data(self, number: int, data: memoryview, padding: int, last: bool) -> None:
        self._unacknowledged += len(data) + padding
        if self._unacknowledged * 2 >= _CONNECTION_WINDOW:
            self.write(WindowUpdateFrame(0, window_increment=self._unacknowledged).serialize())
            self._unacknowledged = 0
        if stream := self._streams.get(number):
            stream.hear(data, padding)
            if last:
                stream.close(status.of_trailers({}))

    def _headers(self, frame: HeadersFrame | ContinuationFrame) -> None:
        if isinstance(frame, HeadersFrame):
            self._block = frame
        elif self._block is None or frame.stream_id != self._block.stream_id:
            raise ValueError("headers continue that never began")
        else:
            self._block.data += frame.data
            if len(self._block.data) > _MAX_HEADER_BYTES:
                raise ValueError("too many headers")
        if "END_HEADERS" not in frame.flags:
            return
        block, self._block = self._block, None
        fields = {str(name): str(value) for name, value in self._decoder.decode(block.data)}
        stream = self._streams.get(block.stream_id)
        if stream is None:
            return
        if fields.get(":status", "200") != "200" and "grpc-status" not in fields:
            stream.close(status.of_http(fields[":status"]))
        elif "END_STREAM" in block.flags:
            stream.close(status.of_trailers(fields))

    def _settings(self, frame: SettingsFrame) -> None:
        if "ACK" in frame.flags:
            return
        told = frame.settings
        self.max_frame = told.get(SettingsFrame.MAX_FRAME_SIZE, self.max_frame)
        self._max_streams = told.get(SettingsFrame.MAX_CONCURRENT_STREAMS, self._max_streams)
        self._encoder.header_table_size = min(told.get(SettingsFrame.HEADER_TABLE_SIZE, 4096), 4096)
        first = told.get(SettingsFrame.INITIAL_WINDOW_SIZE, self._first_window)
        change, self._first_window = first - self._first_window, first
        for stream in self._streams.values():
            stream.window += change
        self.write(SettingsFrame(0, flags=["ACK"]).serialize())
        if not self.ready.done():
            self.ready.set_result(None)
        self._unblock()

    def _opened(self, number: int, increment: int) -> None:
        if number == 0:
            self.window += increment
            if self.window > _MAX_WINDOW:
                raise ValueError("a window too large")
            self._unblock()
        elif stream := self._streams.get(number):
            stream.window += increment
            stream.pump()

    def _unblock(self) -> None:
        """Lets the streams on that waited; who waits longest comes first."""
        waiting, self._blocked = self._blocked, {}
        for stream in waiting.values():
            stream.pump()

    def _go_away(self, last: int) -> None:
        self._going = True
        for stream in [one for number, one in self._streams.items() if number > last]:
            stream.finish(Unavailable("the sidecar goes away"))
        if not self._streams and self._transport is not None:
            self._transport.close()

    def _fail(self, why: str) -> None:
        self._lost(Unavailable(why))
        if self._transport is not None:
            self._transport.write(GoAwayFrame(0, error_code=_PROTOCOL_ERROR).serialize())
            self._transport.abort()

    def _lost(self, error: VoxmeshError) -> None:
        self._going = True
        if self._watch is not None:
            self._watch.cancel()
        if not self.ready.done():
            self.ready.set_exception(error)
            self.ready.exception()  # whoever waited may be gone
        for stream in list(self._streams.values()):
            stream.finish(error)


def _split(frame: HeadersFrame, limit: int) -> list[Frame]:
    """Headers that are longer than a frame may be go on in others."""
    pieces = [frame.data[at : at + limit] for at in range(0, len(frame.data), limit)]
    if len(pieces) == 1:
        return [frame]
    frame.data = pieces[0]
    frame.flags.discard("END_HEADERS")
    rest: list[Frame] = [ContinuationFrame(frame.stream_id, piece) for piece in pieces[1:]]
    rest[-1].flags.add("END_HEADERS")
    return [frame, *rest]
