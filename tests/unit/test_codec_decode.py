"""Every format in, mesh PCM out."""

import io
import wave
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.codec import Decoder, decode_file, encode_whole, wav_header
from common.codec.g711 import compress, expand
from common.errors import AudioTooLong, InvalidArgument, MissingParameter, UnsupportedFormat, VoxmeshError
from common.pb.voxmesh.audio.v1 import AudioFormat, Encoding

RATE_HZ = 16_000
CONTAINER = AudioFormat()


def tone(seconds: float, rate_hz: int, hz: float = 440.0) -> np.ndarray:
    """A sine, int16 [n]."""
    return (np.sin(2 * np.pi * hz * np.arange(int(seconds * rate_hz)) / rate_hz) * 16_000).astype(np.int16)


def pcm(data: bytes) -> np.ndarray:
    return np.frombuffer(data, "<i2")


def feed_all(spec: AudioFormat, data: bytes, chunk: int) -> np.ndarray:
    with Decoder(spec) as decoder:
        out = [decoder.feed(data[i : i + chunk]) for i in range(0, len(data), chunk)]
        return pcm(b"".join([*out, decoder.finish()]))


def whole(data: bytes, **options: int) -> np.ndarray:
    return pcm(b"".join(decode_file(data, **options)))  # type: ignore[arg-type]


def mux(fmt: str, codec: str, rate_hz: int, samples: np.ndarray, layout: str = "mono") -> bytes:
    sink = io.BytesIO()
    container = av.open(sink, "w", format=fmt)
    stream = container.add_stream(codec, rate=rate_hz, layout=layout)
    assert isinstance(stream, av.AudioStream)
    frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout=layout)
    frame.sample_rate = rate_hz
    container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
    container.close()
    return sink.getvalue()


def likeness(heard: np.ndarray, hz: float = 440.0) -> float:
    """How much of the energy lies at `hz`, 0 to 1."""
    spectrum = np.abs(np.fft.rfft(heard.astype(np.float64) * np.hanning(len(heard)))) ** 2
    peak = round(hz * len(heard) / RATE_HZ)
    return float(spectrum[peak - 3 : peak + 4].sum() / spectrum.sum())


def test_mesh_format_passes_through_untouched() -> None:
    data = tone(0.5, RATE_HZ).tobytes()
    assert (
        feed_all(AudioFormat(encoding=Encoding.PCM_S16LE, sample_rate_hz=RATE_HZ), data, 3200).tobytes()
        == data
    )


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 22_050, 24_000, 44_100, 48_000])
def test_any_rate_becomes_16_khz_with_its_length_and_phase(rate_hz: int) -> None:
    out = feed_all(
        AudioFormat(encoding=Encoding.PCM_S16LE, sample_rate_hz=rate_hz), tone(1, rate_hz).tobytes(), 1001
    )
    assert abs(len(out) - RATE_HZ) <= 1
    error = out[400:15_000].astype(int) - tone(1, RATE_HZ)[400:15_000]
    assert np.abs(error).max() < 40


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 4000), min_size=1, max_size=12))
def test_cutting_the_input_elsewhere_changes_nothing(cuts: list[int]) -> None:
    spec = AudioFormat(encoding=Encoding.PCM_S16LE, sample_rate_hz=44_100)
    data = tone(0.2, 44_100).tobytes()
    decoder, out, at = Decoder(spec), [], 0
    for cut in cuts:
        out.append(decoder.feed(data[at : at + cut]))
        at += cut
    out += [decoder.feed(data[at:]), decoder.finish()]
    assert b"".join(out) == feed_all(spec, data, len(data)).tobytes()


def test_sample_layouts() -> None:
    samples = tone(0.1, RATE_HZ)
    forms = {
        Encoding.PCM_S32LE: (samples.astype("<i4") << 16).tobytes(),
        Encoding.PCM_F32LE: (samples / np.float32(32767)).astype("<f4").tobytes(),
        Encoding.MULAW: compress(samples, "mulaw"),
        Encoding.ALAW: compress(samples, "alaw"),
    }
    for encoding, data in forms.items():
        out = feed_all(AudioFormat(encoding=encoding, sample_rate_hz=RATE_HZ), data, 77)
        assert np.abs(out.astype(int) - samples).max() <= 600, encoding


def test_g711_known_values() -> None:
    assert expand(bytes([0xFF, 0x00, 0x80]), "mulaw").tolist() == [0, -32124, 32124]
    assert expand(bytes([0xD5, 0x2A, 0xAA]), "alaw").tolist() == [8, -32256, 32256]
    codes = bytes(range(256))
    for law in ("mulaw", "alaw"):
        once = expand(codes, law)
        assert np.array_equal(expand(compress(once, law), law), once)


def test_floats_that_are_no_numbers_are_silence() -> None:
    data = np.array([np.nan, np.inf, -np.inf, 3.0], "<f4").tobytes()
    out = feed_all(AudioFormat(encoding=Encoding.PCM_F32LE, sample_rate_hz=RATE_HZ), data, 16)
    assert out.tolist() == [0, 32767, -32767, 32767]


def test_channels_are_mixed_or_kept() -> None:
    stereo = np.stack([tone(0.1, RATE_HZ), np.zeros(1600, np.int16)], axis=1)
    spec = AudioFormat(encoding=Encoding.PCM_S16LE, sample_rate_hz=RATE_HZ, channels=2)
    mixed = feed_all(spec, stereo.tobytes(), 999)
    assert np.abs(mixed.astype(int) - tone(0.1, RATE_HZ) // 2).max() <= 1
    kept = Decoder(spec, keep_channels=True)
    assert kept.feed(stereo.tobytes()) == stereo.tobytes()
    assert kept.channels == 2
    file = decode_file(wav_header(RATE_HZ, stereo.nbytes, 2) + stereo.tobytes(), keep_channels=True)
    assert (file.channels, b"".join(file)) == (2, stereo.tobytes())


CONTAINERS = [
    ("wav", "pcm_s16le", 44_100),
    ("wav", "pcm_mulaw", 8_000),
    ("mp3", "libmp3lame", 24_000),
    ("flac", "flac", 48_000),
    ("ogg", "libopus", 48_000),
    ("webm", "libopus", 48_000),
    ("ipod", "aac", 44_100),
    ("adts", "aac", 22_050),
]


@pytest.mark.parametrize(("fmt", "codec", "rate_hz"), CONTAINERS)
def test_containers_whole_and_in_pieces(fmt: str, codec: str, rate_hz: int) -> None:
    data = mux(fmt, codec, rate_hz, tone(1.5, rate_hz))
    out = whole(data)
    assert abs(len(out) - 1.5 * RATE_HZ) < 0.08 * RATE_HZ
    assert likeness(out) > 0.98
    pieces = feed_all(CONTAINER, data, 400)
    assert abs(len(pieces) - len(out)) < 0.08 * RATE_HZ
    assert likeness(pieces) > 0.98


@pytest.mark.parametrize(("fmt", "codec", "rate_hz"), [c for c in CONTAINERS if c[0] != "ipod"])
def test_containers_stream_before_their_end(fmt: str, codec: str, rate_hz: int) -> None:
    data = mux(fmt, codec, rate_hz, np.concatenate([tone(1, rate_hz), tone(29, rate_hz, 700)]))
    with Decoder(CONTAINER) as decoder:
        early = b"".join(decoder.feed(data[i : i + 1000]) for i in range(0, len(data) // 2, 1000))
    assert len(early) > 5 * RATE_HZ * 2


def test_a_wav_header_is_believed_before_the_announced_encoding() -> None:
    data = wav_header(8_000) + tone(1, 8_000).tobytes()
    spec = AudioFormat(encoding=Encoding.PCM_S16LE, sample_rate_hz=44_100)
    assert abs(len(feed_all(spec, data, 3)) - RATE_HZ) <= 2
    assert abs(len(pcm(b"".join(decode_file(data, spec)))) - RATE_HZ) <= 2


def test_headerless_recordings() -> None:
    spec = AudioFormat(encoding=Encoding.MULAW, sample_rate_hz=8_000)
    assert abs(len(pcm(b"".join(decode_file(compress(tone(3, 8_000), "mulaw"), spec)))) - 3 * RATE_HZ) <= 1


def test_bare_opus_packets() -> None:
    data = mux("ogg", "libopus", 48_000, tone(1, 48_000))
    packets = [bytes(packet) for packet in av.open(io.BytesIO(data), "r").demux(audio=0) if packet.size]
    decoder = Decoder(AudioFormat(encoding=Encoding.OPUS))
    out = [decoder.feed(packet) for packet in packets]
    out.insert(5, decoder.feed(b"\xff\xff\xff garbage"))
    heard = pcm(b"".join([*out, decoder.finish()]))
    assert likeness(heard[2000:]) > 0.95
    with pytest.raises(UnsupportedFormat):
        lost = Decoder(AudioFormat(encoding=Encoding.OPUS))
        lost.feed(b"\xff\xff\xff garbage")
        lost.finish()


def test_a_truncated_mp3_gives_what_is_there() -> None:
    data = mux("mp3", "libmp3lame", 24_000, tone(4, 24_000))
    out = whole(data[: len(data) // 2 + 17])
    assert 1.5 * RATE_HZ < len(out) < 2.5 * RATE_HZ
    assert likeness(out) > 0.95


@pytest.mark.parametrize(
    "data", [b"some text\n" * 3000, b"x", b"\x00" * 60_000, b"RIFF\x00\x00\x00\x00WAVE", b"ID3" * 9]
)
def test_what_is_not_audio_is_refused(data: bytes) -> None:
    with pytest.raises(UnsupportedFormat) as refused:
        list(decode_file(data))
    assert "wav" in refused.value.details["supported_formats"]
    with pytest.raises(UnsupportedFormat):
        feed_all(CONTAINER, data, 4096)


def test_playlists_open_nothing(tmp_path: Path) -> None:
    secret = tmp_path / "secret.wav"
    secret.write_bytes(encode_whole(tone(1, RATE_HZ), Encoding.WAV, RATE_HZ, RATE_HZ))
    playlist = tmp_path / "list.m3u8"
    playlist.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{secret}\n#EXT-X-ENDLIST\n")
    concat = tmp_path / "list.txt"
    concat.write_text(f"ffconcat version 1.0\nfile {secret}\n")
    for path in (playlist, concat):
        with pytest.raises(UnsupportedFormat):
            list(decode_file(path))


def test_empty_and_bad_specs() -> None:
    with pytest.raises(MissingParameter):
        decode_file(b"")
    with pytest.raises(InvalidArgument, match="4000 to 192000"):
        Decoder(AudioFormat(encoding=Encoding.PCM_S16LE))
    with pytest.raises(InvalidArgument, match="channels"):
        Decoder(AudioFormat(encoding=Encoding.PCM_S16LE, sample_rate_hz=8000, channels=99))
    assert Decoder(CONTAINER).finish() == b""


def test_long_audio_stops_at_the_limit() -> None:
    long = mux("flac", "flac", 8_000, np.zeros(8_000 * 120, np.int16))  # 2 minutes in a few kB
    with pytest.raises(AudioTooLong) as refused:
        list(decode_file(long, max_ms=60_000))
    assert refused.value.details["max_duration_s"] == 60
    endless = wav_header(RATE_HZ) + bytes(RATE_HZ * 2 * 5)  # the header does not know its length
    assert len(whole(endless, max_ms=5_000)) == RATE_HZ * 5
    file = decode_file(endless, max_ms=3_000)
    with pytest.raises(AudioTooLong):
        list(file)
    assert file.decoded_ms <= 4_000
    with pytest.raises(AudioTooLong), Decoder(CONTAINER, max_ms=1_000) as decoder:
        for at in range(0, len(endless), 8000):
            decoder.feed(endless[at : at + 8000])


def test_a_path_and_bounded_blocks(tmp_path: Path) -> None:
    path = tmp_path / "clip.flac"
    path.write_bytes(mux("flac", "flac", 16_000, tone(10, 16_000)))
    file = decode_file(path)
    sizes = [len(block) for block in file]
    file.close()
    assert sum(sizes) == 10 * RATE_HZ * 2
    assert max(sizes) <= 2 * RATE_HZ * 2
    assert file.duration_ms == 10_000


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=3000), st.sampled_from(list(Encoding)), st.integers(1, 900))
def test_garbage_ends_in_pcm_or_a_typed_error(data: bytes, encoding: Encoding, chunk: int) -> None:
    try:
        feed_all(AudioFormat(encoding=encoding, sample_rate_hz=8_000), data, chunk)
    except VoxmeshError as error:
        assert error.http < 500


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damaged_recordings_end_in_pcm_or_a_typed_error(data: st.DataObject) -> None:
    fmt, codec, rate_hz = data.draw(st.sampled_from(CONTAINERS))
    good = bytearray(mux(fmt, codec, rate_hz, tone(0.3, rate_hz)))
    for at in data.draw(st.lists(st.integers(0, len(good) - 1), max_size=20)):
        good[at] ^= data.draw(st.integers(1, 255))
    cut = data.draw(st.integers(1, len(good)))
    try:
        list(decode_file(bytes(good[:cut]), max_ms=60_000))
    except VoxmeshError as error:
        assert error.http < 500


def test_a_codec_without_a_decoder_is_refused() -> None:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams((1, 2, 16_000, 0, "NONE", ""))
        out.writeframes(b"\0" * 8000)
    damaged = bytearray(file.getvalue())
    damaged[20:22] = b"NN"  # the format tag of the header: one that nobody has registered
    with pytest.raises(UnsupportedFormat):
        list(decode_file(bytes(damaged)))
