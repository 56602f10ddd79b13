"""Plain WAV files are read without FFmpeg, to the same samples; all others are left to it."""

import io
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.codec import AudioFile, decode_file, wav_header
from common.codec.wav import plain_wav

SAMPLES = (np.sin(np.arange(24_000) / 9) * 12_000).astype("<i2")


def wav(data: bytes, *, channels: int = 1, rate_hz: int = 16_000, tag: int = 1, bits: int = 16,
        before: bytes = b"", after: bytes = b"", size: int | None = None) -> bytes:  # fmt: skip
    frame = channels * bits // 8
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, tag, channels, rate_hz, rate_hz * frame, frame, bits)
    body = form + before + struct.pack("<4sI", b"data", len(data) if size is None else size) + data + after
    return struct.pack("<4sI4s", b"RIFF", 4 + len(body), b"WAVE") + body


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack("<4sI", name, len(body)) + body + b"\0" * (len(body) % 2)


def by_ffmpeg(data: bytes, **options: Any) -> bytes:
    return b"".join(AudioFile(data, **options))


@pytest.mark.parametrize("keep_channels", [False, True])
@pytest.mark.parametrize(
    ("channels", "rate_hz"), [(1, 16_000), (2, 16_000), (1, 8_000), (2, 44_100), (3, 48_000)]
)
def test_the_samples_are_those_that_ffmpeg_finds(channels: int, rate_hz: int, keep_channels: bool) -> None:
    data = wav(SAMPLES.tobytes(), channels=channels, rate_hz=rate_hz)
    assert plain_wav(io.BytesIO(data))
    file = decode_file(data, keep_channels=keep_channels)
    assert (file.container, file.source_channels, file.source_rate_hz) == ("wav", channels, rate_hz)
    assert file.duration_ms == len(SAMPLES) // channels * 1000 // rate_hz
    assert b"".join(file) == by_ffmpeg(data, keep_channels=keep_channels)


def test_what_stands_around_the_samples_is_not_heard() -> None:
    data = wav(SAMPLES.tobytes(), before=chunk(b"JUNK", b"odd"), after=chunk(b"JUNK", b"more"))
    assert plain_wav(io.BytesIO(data))
    assert b"".join(decode_file(data)) == SAMPLES.tobytes() == by_ffmpeg(data)


@pytest.mark.parametrize(
    "data",
    [
        wav(SAMPLES.tobytes(), tag=0xFFFE),
        wav(SAMPLES.tobytes(), tag=7, bits=8),
        wav(SAMPLES.tobytes(), bits=32),
        wav(SAMPLES.tobytes(), size=0xFFFFFFFF),  # written while the length was not known
        wav(SAMPLES.tobytes(), size=0),
        wav(SAMPLES.tobytes()[:-1]),  # ends within a sample
        wav(SAMPLES.tobytes(), rate_hz=2_000),
        wav_header(16_000, SAMPLES.nbytes)[:20],
        b"RIFF\x04\0\0\0WAVE",
        b"",
        SAMPLES.tobytes(),
    ],
)
def test_everything_else_is_left_to_ffmpeg_from_its_beginning(data: bytes) -> None:
    file = io.BytesIO(data)
    assert plain_wav(file) is None
    assert file.tell() == 0


@given(st.integers(0, 60), st.binary(max_size=20))
def test_a_damaged_header_breaks_nothing(at: int, noise: bytes) -> None:
    good = wav(SAMPLES.tobytes()[:200], before=chunk(b"LIST", b"INFO"))
    file = io.BytesIO(good[:at] + noise + good[at + len(noise) :])
    found = plain_wav(file)
    if found is None:
        assert file.tell() == 0
    else:
        spec, size = found
        assert len(file.read(size)) == size
        assert size % (2 * spec.channels) == 0
