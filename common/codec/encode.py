"""Synthesised PCM to what a caller wants to hear, streaming."""

import struct
from dataclasses import dataclass

import av
import numpy as np

from common.codec import g711
from common.codec.resample import Resampler
from common.codec.samples import float_to_int16
from common.errors import InvalidArgument
from common.pb.voxmesh.audio.v1 import Encoding

MIN_RATE_HZ, MAX_RATE_HZ = 8_000, 48_000
UNKNOWN_LENGTH = 0xFFFFFFFF  # what players take for "until the stream ends"
_HEADER_BYTES_AFTER_SIZE = 36

CONTENT_TYPES: dict[Encoding, str] = {
    Encoding.UNSPECIFIED: "audio/pcm",
    Encoding.PCM_S16LE: "audio/pcm",
    Encoding.PCM_S32LE: "audio/pcm",
    Encoding.PCM_F32LE: "audio/pcm",
    Encoding.MULAW: "audio/mulaw",
    Encoding.ALAW: "audio/alaw",
    Encoding.OGG_OPUS: "audio/ogg",
    Encoding.MP3: "audio/mpeg",
    Encoding.FLAC: "audio/flac",
    Encoding.AAC: "audio/aac",
    Encoding.WAV: "audio/wav",
}


@dataclass(frozen=True, slots=True)
class _Lossy:
    codec: str
    muxer: str
    rates_hz: tuple[int, ...]  # empty takes any
    default_bit_rate: int  # bits per second, 0 is the codec's business
    options: dict[str, str]
    max_bit_rate: int = 512_000


# Below it no codec says anything one could understand, and some refuse.
_MIN_BIT_RATE = 6_000
_MPEG_RATES_HZ = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
_MUXED: dict[Encoding, _Lossy] = {
    Encoding.MP3: _Lossy(
        "libmp3lame", "mp3", _MPEG_RATES_HZ, 64_000, {"write_xing": "0", "id3v2_version": "0"}
    ),
    # A page per 20 ms packet: the default of a second would be a second of silence before the first word.
    Encoding.OGG_OPUS: _Lossy(
        "libopus",
        "ogg",
        (8_000, 12_000, 16_000, 24_000, 48_000),
        32_000,
        {"page_duration": "20000"},
        max_bit_rate=256_000,  # of one channel; libopus refuses more
    ),
    Encoding.FLAC: _Lossy("flac", "flac", (), 0, {}),
    Encoding.AAC: _Lossy("aac", "adts", _MPEG_RATES_HZ, 64_000, {}),
}


class Encoder:
    """Encodes one stream of mono audio.

    Attributes:
        sample_rate_hz: rate of the encoded audio; the next one up when the codec has no such rate.
        content_type: its MIME type.
    """

    def __init__(
        self,
        encoding: Encoding,
        sample_rate_hz: int,
        source_rate_hz: int,
        bit_rate: int = 0,
    ) -> None:
        """Sets up the codec.

        Args:
            encoding: output format; unspecified is PCM_S16LE.
            sample_rate_hz: output rate, 8 to 48 kHz; 0 is the source's.
            source_rate_hz: rate of the PCM that will come.
            bit_rate: bits per second of lossy formats, brought within what the codec can do; 0 is the format's default.

        Raises:
            InvalidArgument: a rate or format that cannot be written; the message says what can.
        """
        rate_hz = sample_rate_hz or source_rate_hz
        if not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
            raise InvalidArgument(f"sample_rate must be {MIN_RATE_HZ} to {MAX_RATE_HZ} Hz")
        if encoding not in CONTENT_TYPES:
            names = ", ".join(kind.name.lower() for kind in CONTENT_TYPES if kind != Encoding.UNSPECIFIED)
            raise InvalidArgument(f"this encoding cannot be written; these can: {names}")
        self._encoding = encoding
        self.content_type = CONTENT_TYPES[encoding]
        self._muxer: _Muxer | None = None
        if (muxed := _MUXED.get(encoding)) is not None:
            rate_hz = next((rate for rate in muxed.rates_hz if rate >= rate_hz), rate_hz)
            self._muxer = _Muxer(muxed, rate_hz, bit_rate)
        self.sample_rate_hz = rate_hz
        self._resampler = Resampler(source_rate_hz, rate_hz)
        self._prefix = wav_header(rate_hz) if encoding == Encoding.WAV else b""

    def encode(self, pcm: np.ndarray | bytes) -> bytes:
        """Encoded bytes that are ready after `pcm` ([n] float32 in [-1, 1], [n] int16, or s16le bytes)."""
        return self._take(self._write(self._resampler.push(_as_int16(pcm).reshape(-1, 1))[:, 0]))

    def finish(self) -> bytes:
        """The last bytes; the encoder is then used up."""
        rest = self._write(self._resampler.finish()[:, 0])
        return self._take(rest + (self._muxer.finish() if self._muxer else b""))

    def close(self) -> None:
        """Ends an encoder whose rest nobody wants."""
        if self._muxer:
            self._muxer.finish()

    def _take(self, data: bytes) -> bytes:
        data, self._prefix = self._prefix + data, b""
        return data

    def _write(self, samples: np.ndarray) -> bytes:
        if self._muxer:
            return self._muxer.write(samples)
        if self._encoding in (Encoding.MULAW, Encoding.ALAW):
            return g711.compress(samples, "mulaw" if self._encoding == Encoding.MULAW else "alaw")
        if self._encoding == Encoding.PCM_S32LE:
            return (samples.astype("<i4") << 16).astype("<i4").tobytes()
        if self._encoding == Encoding.PCM_F32LE:
            return (samples.astype("<f4") / np.float32(32768.0)).astype("<f4").tobytes()
        return samples.astype("<i2", copy=False).tobytes()


class _Muxer:
    """A codec and its container, written to memory that every call empties."""

    def __init__(self, kind: _Lossy, rate_hz: int, bit_rate: int) -> None:
        self._rate_hz = rate_hz
        self._sink = _Sink()
        self._container = av.open(
            self._sink, "w", format=kind.muxer, options={"flush_packets": "1", **kind.options}
        )
        stream = self._container.add_stream(kind.codec, rate=rate_hz, layout="mono")
        assert isinstance(stream, av.AudioStream)
        self._stream = stream
        if kind.default_bit_rate:
            wanted = max(bit_rate, _MIN_BIT_RATE) if bit_rate else kind.default_bit_rate
            self._stream.bit_rate = min(wanted, kind.max_bit_rate)
        self._samples_in = 0
        self._finished = False

    def write(self, samples: np.ndarray) -> bytes:
        if len(samples):
            frame = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(samples).reshape(1, -1), format="s16", layout="mono"
            )
            frame.sample_rate = self._rate_hz
            frame.pts = self._samples_in
            self._samples_in += len(samples)
            self._container.mux(self._stream.encode(frame))
        return self._sink.take()

    def finish(self) -> bytes:
        if not self._finished:
            self._finished = True
            if self._samples_in:
                self._container.mux(self._stream.encode(None))
            self._container.close()
        return self._sink.take()


class _Sink:
    """A file object with nothing but write: muxers then never seek back to a header."""

    def __init__(self) -> None:
        self._data = bytearray()

    def write(self, data: bytes) -> int:
        self._data += data
        return len(data)

    def take(self) -> bytes:
        taken = bytes(self._data)
        self._data.clear()
        return taken


def _as_int16(pcm: np.ndarray | bytes) -> np.ndarray:
    if isinstance(pcm, bytes):
        return np.frombuffer(pcm, "<i2")
    return pcm if pcm.dtype == np.int16 else float_to_int16(pcm)


def wav_header(sample_rate_hz: int, data_bytes: int | None = None, channels: int = 1) -> bytes:
    """The 44 bytes before 16-bit PCM; without a length, sizes say "until the end"."""
    sizes = (
        (UNKNOWN_LENGTH, UNKNOWN_LENGTH)
        if data_bytes is None
        else (data_bytes + _HEADER_BYTES_AFTER_SIZE, data_bytes)
    )
    block = 2 * channels
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        b"RIFF", sizes[0], b"WAVE", b"fmt ", 16, 1, channels, sample_rate_hz, sample_rate_hz * block, block, 16,
        b"data", sizes[1],
    )  # fmt: skip


def encode_whole(
    pcm: np.ndarray | bytes, encoding: Encoding, sample_rate_hz: int, source_rate_hz: int, bit_rate: int = 0
) -> bytes:
    """A whole recording at once, with the right sizes in its header; the same arguments as Encoder."""
    encoder = Encoder(encoding, sample_rate_hz, source_rate_hz, bit_rate)
    data = encoder.encode(pcm) + encoder.finish()
    if encoding == Encoding.WAV:
        body = data[len(wav_header(encoder.sample_rate_hz)) :]
        return wav_header(encoder.sample_rate_hz, len(body)) + body
    return data
