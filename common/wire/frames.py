"""HTTP/2 frames out of what a socket receives (RFC 9113, section 4)."""

from collections.abc import Iterator

from hyperframe.frame import Frame

HEAD_BYTES = 9
MAX_FRAME_BYTES = 16_384  # what every peer may send unless it was told otherwise
STREAM_NUMBERS = 2**31 - 1
DATA = 0x0
PADDED, END_STREAM = 0x8, 0x1


class FrameReader:
    """Cuts bytes into frames; a frame that is not all there is kept until it is."""

    def __init__(self) -> None:
        self._held = b""

    def feed(self, data: bytes) -> Iterator[tuple[memoryview, memoryview]]:
        """Head and body of each frame that is complete; the views are good until the next one is asked for.

        Raises:
            ValueError: a frame larger than allowed.
        """
        if self._held:
            data = self._held + data
        view, at = memoryview(data), 0
        while len(view) - at >= HEAD_BYTES:
            size = int.from_bytes(view[at : at + 3])
            if size > MAX_FRAME_BYTES:
                raise ValueError("a frame larger than was allowed")
            body, end = at + HEAD_BYTES, at + HEAD_BYTES + size
            if end > len(view):
                break
            self._held = b""
            yield view[at:body], view[body:end]
            at = end
        self._held = bytes(view[at:])


def parse(head: memoryview, body: memoryview) -> Frame:
    """Any frame; raises hyperframe's HyperframeError for what is none."""
    frame, _ = Frame.parse_frame_header(head)
    frame.parse_body(body)
    return frame
