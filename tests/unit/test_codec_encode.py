"""Synthesised PCM in, every format out."""

import io
import wave

import numpy as np
import pytest

from common.codec import Encoder, decode_file, encode_whole
from common.errors import InvalidArgument
from common.pb.voxmesh.audio.v1 import AudioFormat, Encoding

SOURCE_HZ = 22_050
RAW = (Encoding.PCM_S16LE, Encoding.PCM_S32LE, Encoding.PCM_F32LE, Encoding.MULAW, Encoding.ALAW)
CONTAINED = (Encoding.WAV, Encoding.MP3, Encoding.OGG_OPUS, Encoding.FLAC, Encoding.AAC)


def speech_like(seconds: float) -> np.ndarray:
    """Float [n] at SOURCE_HZ."""
    t = np.arange(int(seconds * SOURCE_HZ)) / SOURCE_HZ
    sound: np.ndarray = (0.3 * np.sin(2 * np.pi * 300 * t) * (1 + np.sin(2 * np.pi * 3 * t)) / 2).astype(
        np.float32
    )
    return sound


def heard(data: bytes, spec: AudioFormat | None = None) -> np.ndarray:
    return np.frombuffer(b"".join(decode_file(data, spec)), "<i2").astype(np.float64)


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 22_050, 24_000, 44_100, 48_000])
@pytest.mark.parametrize("encoding", RAW + CONTAINED)
def test_what_is_encoded_decodes_to_the_same_sound(encoding: Encoding, rate_hz: int) -> None:
    sound = speech_like(1.0)
    encoder = Encoder(encoding, rate_hz, SOURCE_HZ)
    data = (
        b"".join(encoder.encode(sound[i : i + 1000]) for i in range(0, len(sound), 1000)) + encoder.finish()
    )
    spec = AudioFormat(encoding=encoding, sample_rate_hz=encoder.sample_rate_hz) if encoding in RAW else None
    out = heard(data, spec)
    assert abs(len(out) - 16_000) < 0.2 * 16_000  # lossy codecs pad
    expected = heard(encode_whole(sound, Encoding.WAV, 16_000, SOURCE_HZ))
    lag = np.correlate(out[:12_000], expected[:8_000], "valid").argmax()
    aligned = out[lag : lag + 8_000]
    assert np.corrcoef(aligned, expected[: len(aligned)])[0, 1] > 0.97


@pytest.mark.parametrize("encoding", RAW + CONTAINED)
def test_audio_leaves_while_more_is_made(encoding: Encoding) -> None:
    encoder = Encoder(encoding, 24_000, SOURCE_HZ)
    early = b"".join(encoder.encode(speech_like(0.1)) for _ in range(4))
    assert len(early) > 500
    encoder.close()


def test_ints_floats_and_bytes_are_the_same_sound() -> None:
    floats = speech_like(0.1)
    ints = (floats * 32767).astype(np.int16)
    forms = [
        encode_whole(form, Encoding.PCM_S16LE, 16_000, SOURCE_HZ) for form in (floats, ints, ints.tobytes())
    ]
    assert forms[0] == forms[1] == forms[2]


def test_wav_sizes_are_right_when_whole_and_open_when_streamed() -> None:
    data = encode_whole(speech_like(1.0), Encoding.WAV, 16_000, SOURCE_HZ)
    with wave.open(io.BytesIO(data)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16_000, 1, 2)
        assert file.getnframes() * 2 == len(data) - 44
    encoder = Encoder(Encoding.WAV, 16_000, SOURCE_HZ)
    assert encoder.encode(speech_like(0.1))[4:8] == b"\xff\xff\xff\xff"


def test_no_audio_is_an_empty_but_valid_stream() -> None:
    for encoding in RAW + CONTAINED:
        assert isinstance(Encoder(encoding, 16_000, SOURCE_HZ).finish(), bytes)


def test_rates_the_codec_lacks_become_the_next_one() -> None:
    assert Encoder(Encoding.OGG_OPUS, 44_100, SOURCE_HZ).sample_rate_hz == 48_000
    assert Encoder(Encoding.MP3, 22_050, SOURCE_HZ).sample_rate_hz == 22_050
    assert Encoder(Encoding.PCM_S16LE, 0, SOURCE_HZ).sample_rate_hz == SOURCE_HZ


def test_bit_rate_decides_the_size() -> None:
    sizes = [
        len(encode_whole(speech_like(3.0), Encoding.MP3, 24_000, SOURCE_HZ, rate))
        for rate in (32_000, 96_000)
    ]
    assert sizes[1] > 2 * sizes[0]


def test_content_types() -> None:
    assert Encoder(Encoding.MP3, 24_000, SOURCE_HZ).content_type == "audio/mpeg"
    assert Encoder(Encoding.UNSPECIFIED, 24_000, SOURCE_HZ).content_type == "audio/pcm"


def test_what_cannot_be_written_says_what_can() -> None:
    with pytest.raises(InvalidArgument, match="8000 to 48000"):
        Encoder(Encoding.MP3, 96_000, SOURCE_HZ)
    with pytest.raises(InvalidArgument, match="ogg_opus"):
        Encoder(Encoding.OPUS, 24_000, SOURCE_HZ)


@pytest.mark.parametrize("encoding", [Encoding.MP3, Encoding.OGG_OPUS, Encoding.AAC])
@pytest.mark.parametrize("bit_rate", [1, 8_000, 256_001, 512_000, 2**32 - 1])
def test_any_bit_rate_is_brought_within_what_the_codec_can_do(encoding: Encoding, bit_rate: int) -> None:
    encoder = Encoder(encoding, 24_000, SOURCE_HZ, bit_rate)
    assert len(heard(encoder.encode(speech_like(0.2)) + encoder.finish()))
