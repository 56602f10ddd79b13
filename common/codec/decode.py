"""Whatever a caller sends to mesh PCM: signed 16 bit, 16 kHz, mono or with its channels kept."""

import io
from collections.abc import Iterator
from os import PathLike, fspath
from pathlib import Path
from typing import BinaryIO, Protocol

import av
import numpy as np
from av.error import FFmpegError

from common.audio import BYTES_PER_SAMPLE, SAMPLE_RATE_HZ
from common.codec import g711
from common.codec.files import AudioFile, sniff_container
from common.codec.pushed import PushedFile
from common.codec.resample import Normaliser
from common.codec.samples import float_to_int16, to_int16
from common.codec.wav import MAX_CHANNELS, MAX_RATE_HZ, MIN_RATE_HZ, plain_wav
from common.errors import AudioTooLong, InvalidArgument, MissingParameter, UnsupportedFormat
from common.pb.voxmesh.audio.v1 import AudioFormat, Encoding

_HEAD_BYTES = 12  # enough for every container signature
_READ_BYTES = 256 * 1024
_OPUS_RATE_HZ = 48_000  # Opus always decodes at its full rate (RFC 6716)

_SAMPLE_BYTES = {
    Encoding.PCM_S16LE: 2,
    Encoding.PCM_S32LE: 4,
    Encoding.PCM_F32LE: 4,
    Encoding.MULAW: 1,
    Encoding.ALAW: 1,
}


class _Stage(Protocol):
    channels: int

    def feed(self, data: bytes) -> bytes: ...
    def finish(self) -> bytes: ...
    def close(self) -> None: ...


class _Raw:
    """Headerless samples."""

    def __init__(self, spec: AudioFormat, *, keep_channels: bool) -> None:
        self._encoding = spec.encoding
        self._source_channels = spec.channels or 1
        self._frame_bytes = _SAMPLE_BYTES[spec.encoding] * self._source_channels
        self._carry = b""
        self._normaliser = Normaliser(
            spec.sample_rate_hz, self._source_channels, SAMPLE_RATE_HZ, keep_channels=keep_channels
        )
        self.channels = self._normaliser.channels
        self._as_is = (
            spec.encoding == Encoding.PCM_S16LE
            and spec.sample_rate_hz == SAMPLE_RATE_HZ
            and self.channels == self._source_channels
        )

    def feed(self, data: bytes) -> bytes:
        if self._carry or len(data) % self._frame_bytes:
            data = self._carry + data
            whole = len(data) - len(data) % self._frame_bytes
            data, self._carry = data[:whole], data[whole:]
        if self._as_is:
            return data
        samples = self._samples(data).reshape(-1, self._source_channels)
        return self._normaliser.push(samples)

    def finish(self) -> bytes:
        return self._normaliser.finish()

    def close(self) -> None:
        self._carry = b""

    def _samples(self, data: bytes) -> np.ndarray:
        if self._encoding == Encoding.PCM_S16LE:
            return np.frombuffer(data, "<i2")
        if self._encoding == Encoding.PCM_S32LE:
            return (np.frombuffer(data, "<i4") >> 16).astype(np.int16)
        if self._encoding == Encoding.PCM_F32LE:
            return float_to_int16(np.frombuffer(data, "<f4"))
        return g711.expand(data, "mulaw" if self._encoding == Encoding.MULAW else "alaw")


class _OpusPackets:
    """Bare Opus packets, one per feed."""

    # A lost or damaged packet is normal on a bad line; nothing but damaged ones is another format.
    _HOPELESS_PACKETS = 25

    def __init__(self, spec: AudioFormat, *, keep_channels: bool) -> None:
        channels = 2 if (spec.channels or 1) == 2 else 1
        self._decoder = av.CodecContext.create("libopus", "r")
        assert isinstance(self._decoder, av.AudioCodecContext)
        self._decoder.sample_rate = _OPUS_RATE_HZ
        self._decoder.layout = "stereo" if channels == 2 else "mono"
        self._normaliser = Normaliser(_OPUS_RATE_HZ, channels, SAMPLE_RATE_HZ, keep_channels=keep_channels)
        self.channels = self._normaliser.channels
        self._good, self._bad = 0, 0

    def feed(self, data: bytes) -> bytes:
        if not data:
            return b""
        try:
            frames = self._decoder.decode(av.Packet(data))
        except FFmpegError:
            self._bad += 1
            if not self._good and self._bad >= self._HOPELESS_PACKETS:
                raise self._hopeless() from None
            return b""
        self._good += 1
        return b"".join(self._normaliser.push(to_int16(frame)) for frame in frames)

    def finish(self) -> bytes:
        if self._bad and not self._good:
            raise self._hopeless()
        return self._normaliser.finish()

    def close(self) -> None:
        pass

    def _hopeless(self) -> UnsupportedFormat:
        return UnsupportedFormat(
            "these are not Opus packets; send one packet per message, or ogg_opus for Ogg"
        )


class Decoder:
    """Decodes a live stream: bytes in as they come, PCM out as soon as it can be had.

    Headerless encodings never wait. Containers come out as far as the container allows; MP4 whose index is at
    its end comes out at `finish`. A RIFF header before what was announced as headerless is believed, not heard.
    Close it (or use it as a context manager): a container keeps a thread.
    """

    def __init__(self, spec: AudioFormat, *, keep_channels: bool = False, max_ms: int = 0) -> None:
        """Checks the format.

        Args:
            spec: format of the bytes; an unspecified encoding is a container.
            keep_channels: interleave channels rather than mix them.
            max_ms: longest audio accepted; 0 is no limit.

        Raises:
            InvalidArgument: a rate or channel count nobody uses.
        """
        self._spec, self._keep_channels, self._max_ms = spec, keep_channels, max_ms
        self._head = b""
        self._stage: _Stage | None = None
        self._bytes_out = 0
        if spec.encoding in _SAMPLE_BYTES:
            check_raw_format(spec)

    def feed(self, data: bytes) -> bytes:
        """PCM that is ready after `data`.

        Raises:
            UnsupportedFormat: the bytes are not what they were announced as.
            AudioTooLong: more audio than `max_ms`.
        """
        if self._stage is None:
            data, self._head = self._head + data, b""
            if self._undecided(data):
                self._head = data
                return b""
            self._stage = self._open(data)
        return self._counted(self._stage.feed(data))

    def finish(self) -> bytes:
        """The rest of the PCM.

        Raises:
            UnsupportedFormat: bytes came, and nothing could be decoded from them.
            AudioTooLong: more audio than `max_ms`.
        """
        if self._stage is None:
            if not self._head:
                return b""
            self._stage = self._open(self._head)
            return self._counted(self._stage.feed(self._head) + self._stage.finish())
        return self._counted(self._stage.finish())

    @property
    def channels(self) -> int:
        """Channels of the PCM; known once audio came in."""
        return self._stage.channels if self._stage else 1

    @property
    def decoded_ms(self) -> int:
        """Length of the PCM so far."""
        return self._bytes_out // self.channels // BYTES_PER_SAMPLE * 1000 // SAMPLE_RATE_HZ

    def close(self) -> None:
        """Ends the decoder without its rest."""
        if self._stage is not None:
            self._stage.close()

    def __enter__(self) -> "Decoder":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _undecided(self, head: bytes) -> bool:
        if self._spec.encoding == Encoding.OPUS:
            return False
        if self._spec.encoding in _SAMPLE_BYTES and not b"RIFF".startswith(head[:4]):
            return False
        return len(head) < _HEAD_BYTES

    def _open(self, head: bytes) -> _Stage:
        spec = self._spec
        if spec.encoding == Encoding.OPUS:
            return _OpusPackets(spec, keep_channels=self._keep_channels)
        if spec.encoding in _SAMPLE_BYTES and sniff_container(head) != "wav":
            return _Raw(spec, keep_channels=self._keep_channels)
        return PushedFile(head, keep_channels=self._keep_channels, max_ms=self._max_ms)

    def _counted(self, pcm: bytes) -> bytes:
        self._bytes_out += len(pcm)
        if self._max_ms and self.decoded_ms > self._max_ms:
            raise AudioTooLong(
                f"the audio is longer than the limit of {self._max_ms / 1000:g} s",
                max_duration_s=self._max_ms / 1000,
            )
        return pcm


def check_raw_format(spec: AudioFormat) -> None:
    """Raises InvalidArgument unless a headerless format says all it must."""
    if not MIN_RATE_HZ <= spec.sample_rate_hz <= MAX_RATE_HZ:
        raise InvalidArgument(
            f"sample_rate must be {MIN_RATE_HZ} to {MAX_RATE_HZ} Hz for audio without a header"
        )
    if spec.channels > MAX_CHANNELS:
        raise InvalidArgument(f"channels must be 1 to {MAX_CHANNELS}")


class _RawFile(Iterator[bytes]):
    """A recording whose samples lie bare in the file, block by block; the same attributes as AudioFile."""

    def __init__(
        self,
        file: BinaryIO,
        spec: AudioFormat,
        *,
        keep_channels: bool,
        max_ms: int,
        n_bytes: int | None = None,
        container: str = "",
    ) -> None:
        check_raw_format(spec)
        self._file, self._left = (
            file,
            n_bytes,
        )  # bytes of samples that are still to be read; None is all there are
        self._decoder = Decoder(spec, keep_channels=keep_channels, max_ms=max_ms)
        self._ended = False
        self.container = container
        self.source_channels = spec.channels or 1
        self.source_rate_hz = spec.sample_rate_hz
        self.channels = self.source_channels if keep_channels else 1
        frames = (n_bytes or 0) // (_SAMPLE_BYTES[spec.encoding] * self.source_channels)
        self.duration_ms = frames * 1000 // spec.sample_rate_hz

    @property
    def decoded_ms(self) -> int:
        return self._decoder.decoded_ms

    def __next__(self) -> bytes:
        try:
            while not self._ended:
                data = self._file.read(_READ_BYTES if self._left is None else min(_READ_BYTES, self._left))
                if self._left is not None:
                    self._left -= len(data)
                self._ended = not data
                block = self._decoder.feed(data) if data else self._decoder.finish()
                if block:
                    return block
            raise StopIteration
        except BaseException:  # the end, or what ends it: nobody needs to close what was read to its end
            self.close()
            raise

    def close(self) -> None:
        self._decoder.close()
        self._file.close()


def decode_file(
    source: bytes | str | PathLike[str],
    spec: AudioFormat | None = None,
    *,
    keep_channels: bool = False,
    max_ms: int = 0,
) -> AudioFile | _RawFile:
    """A whole recording as an iterator of PCM blocks; memory holds one block. Close it, or read it to its end.

    Args:
        source: the bytes or a path.
        spec: format, for a recording without a header; a container's own header is believed before it.
        keep_channels: interleave channels rather than mix them.
        max_ms: longest audio accepted; 0 is no limit.

    Raises:
        MissingParameter: nothing there.
        UnsupportedFormat: not audio (here, or at the first block).
        AudioTooLong: more than `max_ms` (here, or when the audio passes it).
        InvalidArgument: a bad rate or channel count in `spec`.
    """
    file: BinaryIO = io.BytesIO(source) if isinstance(source, bytes) else Path(fspath(source)).open("rb")
    head = file.read(_HEAD_BYTES)
    file.seek(0)
    if not head:
        file.close()
        raise MissingParameter("the audio is empty")
    try:
        if spec is not None and spec.encoding in _SAMPLE_BYTES and not sniff_container(head):
            return _RawFile(file, spec, keep_channels=keep_channels, max_ms=max_ms)
        if spec is not None and spec.encoding == Encoding.OPUS and not sniff_container(head):
            raise UnsupportedFormat("bare Opus packets only make sense in a stream; send Ogg Opus")
        if (plain := plain_wav(file)) is not None:
            wav, n_bytes = plain
            return _RawFile(
                file, wav, keep_channels=keep_channels, max_ms=max_ms, n_bytes=n_bytes, container="wav"
            )
        return AudioFile(file, keep_channels=keep_channels, max_ms=max_ms, close_source=True)
    except BaseException:
        file.close()
        raise
