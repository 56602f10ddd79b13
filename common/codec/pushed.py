"""Containers that arrive in pieces: FFmpeg pulls, a socket pushes, one thread stands between."""

import threading

from common.codec.files import AudioFile, sniff_container
from common.errors import AudioTooLarge

# Enough for the headers of every streamable container; more would only delay the first words.
_PROBE_BYTES = 16 * 1024
# MP4 keeps its index at the end unless it was written for streaming, so all of it has to be there first.
_MAX_HELD_BYTES = 100 * 1024 * 1024


class PushedFile:
    """Decodes a container whose bytes are fed.

    `feed` returns once the decoder has used up what it was given, so the thread never runs beside the caller:
    results depend on the bytes only, and a slow decoder slows down whoever feeds it.
    """

    def __init__(self, head: bytes, *, keep_channels: bool = False, max_ms: int = 0) -> None:
        self.channels = 1
        self._keep_channels, self._max_ms = keep_channels, max_ms
        self._hold = sniff_container(head) == "m4a"
        self._turn = threading.Condition()
        self._input = bytearray()  # guarded by _turn, like all below
        self._output: list[bytes] = []
        self._ended = False  # no more input will come
        self._starving = False  # the decoder waits for input
        self._done = False
        self._error: Exception | None = None
        self._thread: threading.Thread | None = None

    def feed(self, data: bytes) -> bytes:
        """PCM that is ready after `data`; raises what AudioFile raises."""
        with self._turn:
            self._input += data
            if self._hold:
                if len(self._input) > _MAX_HELD_BYTES:
                    raise AudioTooLarge(
                        "an MP4 stream must be shorter; send Ogg, WebM or FLAC",
                        max_size_mb=_MAX_HELD_BYTES // (1024 * 1024),
                    )
                return b""
            return self._give_turn()

    def finish(self) -> bytes:
        """The rest of the PCM; raises what AudioFile raises."""
        with self._turn:
            self._ended = True
            pcm = self._give_turn()
        self._join()
        return pcm

    def close(self) -> None:
        """Ends the thread; what it had left is dropped."""
        with self._turn:
            self._ended = True
            self._input.clear()
            self._turn.notify_all()
        self._join()

    def _give_turn(self) -> bytes:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="container-decoder", daemon=True)
            self._thread.start()
        self._starving = False
        self._turn.notify_all()
        self._turn.wait_for(lambda: self._starving or self._done)
        if self._done and self._error is not None:
            raise self._error
        if self._done:
            self._input.clear()  # whatever follows the end of the recording
        pcm = b"".join(self._output)
        self._output.clear()
        return pcm

    def _join(self) -> None:
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        try:
            source = bytes(self._input) if self._hold else _Reader(self)
            file = AudioFile(
                source,
                keep_channels=self._keep_channels,
                max_ms=self._max_ms,
                block_ms=0,
                probe_bytes=0 if self._hold else _PROBE_BYTES,
            )
            self.channels = file.channels
            try:
                for block in file:
                    self._output.append(block)
            finally:
                file.close()
        except Exception as error:  # handed to whoever feeds, who raises it
            self._error = error
        finally:
            with self._turn:
                self._done = True
                self._turn.notify_all()

    def read(self, size: int) -> bytes:
        """Called by FFmpeg on the thread: waits for bytes, b"" at the end."""
        with self._turn:
            while not self._input and not self._ended:
                self._starving = True
                self._turn.notify_all()
                self._turn.wait()
            taken = bytes(self._input[:size])
            del self._input[:size]
            return taken


class _Reader:
    """A file object with nothing but read: FFmpeg then knows that it cannot seek."""

    def __init__(self, owner: PushedFile) -> None:
        self.read = owner.read
