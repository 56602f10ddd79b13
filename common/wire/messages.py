"""gRPC messages in the DATA frames of HTTP/2: every message has its length before it, frames are cut anywhere."""

import struct
from collections.abc import Iterator

from common.errors import Internal

PREFIX_BYTES = 5
_PREFIX = struct.Struct(">BI")  # compressed or not, length
# Frame header (24 bits of length in two fields, type DATA, flags, stream) and the prefix of the message in it.
_FRAMED = struct.Struct(">BHBBIBI")
_FRAME = struct.Struct(">BHBBI")


def prefixed(message: bytes) -> bytes:
    """A message as it is put into frames."""
    return _PREFIX.pack(0, len(message)) + message


def framed(stream_id: int, message: bytes) -> bytes:
    """A whole message in one DATA frame; it has to fit into one."""
    size = len(message) + PREFIX_BYTES
    return _FRAMED.pack(size >> 16, size & 0xFFFF, 0, 0, stream_id, 0, len(message)) + message


def data_frame(stream_id: int, data: bytes | memoryview, flags: int = 0) -> bytes:
    """A DATA frame."""
    return _FRAME.pack(len(data) >> 16, len(data) & 0xFFFF, 0, flags, stream_id) + data


class Assembler:
    """Messages out of the pieces of one stream.

    Says with each message what flow control still owes for it: the bytes of a message that is not complete are
    given back as they come (it could be larger than the window), those of a complete one when somebody reads it.
    """

    def __init__(self, max_bytes: int) -> None:
        self._held = bytearray()
        self._max_bytes = max_bytes

    @property
    def unfinished(self) -> int:
        """Bytes of a message whose rest is still to come."""
        return len(self._held)

    def feed(self, data: bytes | memoryview) -> Iterator[tuple[bytes, int]]:
        """Whole messages, and bytes of `data` in each.

        Raises:
            Internal: a message that is compressed or too large.
        """
        before = len(self._held)
        self._held += data
        while len(self._held) >= PREFIX_BYTES:
            compressed, size = _PREFIX.unpack_from(self._held)
            if compressed:
                raise Internal("the service compressed a message unasked")
            if size > self._max_bytes:
                raise Internal(f"the service sent a message of {size} bytes")
            end = PREFIX_BYTES + size
            if len(self._held) < end:
                return
            message = bytes(self._held[PREFIX_BYTES:end])
            del self._held[:end]
            yield message, end - before
            before = 0
