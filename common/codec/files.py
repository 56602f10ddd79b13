"""Recordings in containers: wav, mp3, flac, ogg, m4a, webm, aac and their relatives."""

import io
from collections.abc import Generator, Iterator
from os import PathLike, fspath
from typing import Any

import av
import numpy as np
from av.error import FFmpegError

from common.audio import BYTES_PER_SAMPLE, SAMPLE_RATE_HZ
from common.codec.resample import Normaliser
from common.codec.samples import to_int16
from common.errors import AudioTooLong, UnsupportedFormat

SUPPORTED_FORMATS = ("wav", "mp3", "flac", "ogg", "m4a", "webm", "aac")

# Playlists and image lists make FFmpeg open what they name; only formats that hold their own audio are let in.
_DEMUXERS = "wav,w64,aiff,au,caf,mp3,flac,ogg,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,aac,amr,amrnb,amrwb"
_MAX_CHANNELS = 32
# How far the length in a header may exceed the limit before the audio itself is heard: exact containers not at
# all, those that FFmpeg guesses from the bit rate by the error of that guess.
_HEADER_SLACK = {
    "flac": 1.0,
    "ogg": 1.0,
    "mov,mp4,m4a,3gp,3g2,mj2": 1.0,
    "matroska,webm": 1.0,
    "mp3": 1.25,
    "aac": 2.0,
}
_MICROSECONDS = 1_000_000


def sniff_container(head: bytes) -> str:
    """Name of the container whose signature `head` (12 bytes) carries, or "" for none or an ambiguous one."""
    if head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE":
        return "wav"
    if head[4:8] == b"ftyp":
        return "m4a"
    signatures = {b"fLaC": "flac", b"OggS": "ogg", b"\x1aE\xdf\xa3": "webm", b"ID3": "mp3"}
    return next((name for magic, name in signatures.items() if head.startswith(magic)), "")


class AudioFile(Iterator[bytes]):
    """Decodes a recording block by block; memory holds one block, whatever the length.

    Iterating gives interleaved s16le PCM at the mesh's rate.

    Attributes:
        container: FFmpeg's name of the container.
        channels: channels of the PCM (1, or those of the recording when kept).
        source_channels: channels of the recording.
        source_rate_hz: sample rate of the recording.
        duration_ms: length by the header; 0 when it does not say.
        decoded_ms: length of the PCM handed out so far.
    """

    def __init__(
        self,
        source: Any,
        *,
        keep_channels: bool = False,
        max_ms: int = 0,
        block_ms: int = 1000,
        probe_bytes: int = 0,
        close_source: bool = False,
    ) -> None:
        """Reads the header.

        Args:
            source: bytes, a path, or a binary file object (without seek it is read as a stream).
            keep_channels: interleave the channels rather than mix them.
            max_ms: longest audio accepted; 0 is no limit.
            block_ms: length of a block; 0 hands out every decoded frame.
            probe_bytes: bytes to look at before the first frame; 0 is FFmpeg's default.
            close_source: `close` also closes the file object.

        Raises:
            UnsupportedFormat: not a recording, or none with audio in it.
            AudioTooLong: the header says so; or, while iterating, there is more audio than `max_ms`.
        """
        self._max_ms, self._block_ms = max_ms, block_ms
        options = {"format_whitelist": _DEMUXERS}
        if probe_bytes:
            options |= {"probesize": str(probe_bytes), "analyzeduration": "0"}
        self._source = source if close_source else None
        opened = io.BytesIO(source) if isinstance(source, bytes) else source
        opened = fspath(opened) if isinstance(opened, PathLike) else opened
        try:
            self._container = av.open(opened, "r", options=options, metadata_errors="ignore")
        except (FFmpegError, ValueError, UnicodeError) as error:
            raise _unsupported("not audio in a known format") from error
        self.container = self._container.format.name
        try:
            self._begin(keep_channels)
        except BaseException:
            self._container.close()
            raise

    def _begin(self, keep_channels: bool) -> None:
        streams = self._container.streams.audio
        if not streams:
            raise _unsupported("no audio track in the file")
        self._stream = streams[0]
        if self._stream.codec_context is None:  # a codec that FFmpeg has no decoder for, or a damaged header
            raise _unsupported("no decoder for the audio in the file")
        self._keep_channels = keep_channels
        self.source_rate_hz = self._stream.codec_context.sample_rate or 0
        self.source_channels = self._stream.codec_context.channels or 1
        if self.source_channels > _MAX_CHANNELS:
            raise _unsupported(f"more than {_MAX_CHANNELS} channels")
        self.channels = self.source_channels if keep_channels else 1
        self.duration_ms = (self._container.duration or 0) * 1000 // _MICROSECONDS
        slack = _HEADER_SLACK.get(self.container)
        if self._max_ms and slack and self.duration_ms > self._max_ms * slack:
            raise self._too_long()
        self._samples_out = 0
        self._normaliser: Normaliser | None = None
        self._normaliser_key = (0, 0)
        self._blocks: Generator[bytes, None, None] = self._decode()

    @property
    def decoded_ms(self) -> int:
        return self._samples_out * 1000 // SAMPLE_RATE_HZ

    def __next__(self) -> bytes:
        try:
            block = next(self._blocks)
            self._samples_out += len(block) // (BYTES_PER_SAMPLE * self.channels)
            if self._max_ms and self.decoded_ms > self._max_ms:
                raise self._too_long()
        except BaseException:  # the end, or what ends it: nobody needs to close what was read to its end
            self.close()
            raise
        return block

    def close(self) -> None:
        """Lets go of the file; iterating to the end does it too."""
        self._blocks.close()
        self._container.close()
        if self._source is not None:
            self._source.close()

    def _decode(self) -> Generator[bytes, None, None]:
        held: list[np.ndarray] = []
        held_samples, heard = 0, False
        for frame in self._frames():
            samples, heard = to_int16(frame), True
            key = (frame.sample_rate, samples.shape[1])
            if key != self._normaliser_key:  # the first frame, or a chained stream with another layout
                yield from self._drain(held)
                held_samples = 0
                self._change_layout(key)
            held.append(samples)
            held_samples += len(samples)
            if held_samples * 1000 >= self._block_ms * frame.sample_rate:
                yield from self._push(held)
                held_samples = 0
        if not heard:
            raise _unsupported("no audio could be decoded from the file")
        yield from self._drain(held)

    def _frames(self) -> Iterator[av.AudioFrame]:
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets, None)
            except FFmpegError:  # the file is cut or damaged here: what came before stays good
                packet = None
            if packet is None:
                return
            try:
                for frame in packet.decode():
                    if isinstance(frame, av.AudioFrame) and frame.samples:
                        yield frame
            except (FFmpegError, ValueError):
                continue  # one damaged packet

    def _change_layout(self, key: tuple[int, int]) -> None:
        rate_hz, channels = key
        self._normaliser_key = key
        keep = self._keep_channels and channels == self.channels
        self._normaliser = Normaliser(rate_hz, channels, SAMPLE_RATE_HZ, keep_channels=keep)

    def _push(self, held: list[np.ndarray]) -> Iterator[bytes]:
        assert self._normaliser is not None
        block = self._normaliser.push(np.concatenate(held)) if held else b""
        held.clear()
        if block:
            yield self._widen(block)

    def _drain(self, held: list[np.ndarray]) -> Iterator[bytes]:
        if self._normaliser is None:
            return
        yield from self._push(held)
        if rest := self._normaliser.finish():
            yield self._widen(rest)

    def _widen(self, block: bytes) -> bytes:
        assert self._normaliser is not None
        if self._normaliser.channels == self.channels:
            return block
        return np.repeat(np.frombuffer(block, "<i2"), self.channels).tobytes()

    def _too_long(self) -> AudioTooLong:
        limit_s = self._max_ms / 1000
        return AudioTooLong(
            f"the audio is longer than the limit of {limit_s / 3600:g} h ({limit_s:g} s)",
            max_duration_s=limit_s,
        )


def _unsupported(why: str) -> UnsupportedFormat:
    return UnsupportedFormat(f"Unsupported audio format: {why}", supported_formats=list(SUPPORTED_FORMATS))
