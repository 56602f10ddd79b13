"""The speaker encoder with its real weights, on real voices."""

from pathlib import Path

import numpy as np
import pytest

from asr.diarize.clustering import SAME_VOICE, tell_apart
from asr.diarize.embedding import HIDDEN, SpeakerEncoder
from asr.diarize.windows import SpeechWindows
from asr.diarize.worker import load_encoder
from asr.model import Pcm
from asr.voice.vad import CHUNK_SAMPLES, SileroVad, VadState
from bench.clips import read
from cli.paths import model_cache_dir
from common.errors import Unavailable

ONE, OTHER = "ls-to-1688-142285-0000.flac", "vctk-p226_003.flac"


@pytest.fixture(scope="module")
def encoder() -> SpeakerEncoder:
    loaded = load_encoder("speaker-ge2e", model_cache_dir())
    assert isinstance(loaded, SpeakerEncoder)
    return loaded


def voices(encoder: SpeakerEncoder, pcm: Pcm, number: int = 0) -> list[tuple[float, int]]:
    """Middle of each window in seconds, and its voice."""
    pcm = pcm[: len(pcm) - len(pcm) % CHUNK_SAMPLES]
    cutter = SpeechWindows(0.5)
    windows = cutter.push(pcm, SileroVad.load().step([VadState()], [pcm])[0]) + cutter.close()
    reliable = [window.reliable for window in windows]
    found = tell_apart(encoder([window.pcm for window in windows]), reliable, number)
    return [
        ((window.start + window.end) / 32_000, voice) for window, voice in zip(windows, found, strict=True)
    ]


def test_two_people_one_after_the_other_are_two_voices(encoder: SpeakerEncoder, evaldata: Path) -> None:
    one, other = read(evaldata / "audio" / ONE), read(evaldata / "audio" / OTHER)
    found = voices(encoder, np.concatenate((one, other, one)))
    bounds_s = len(one) / 16_000, (len(one) + len(other)) / 16_000
    first = {voice for at, voice in found if at < bounds_s[0] or at > bounds_s[1]}
    second = {voice for at, voice in found if bounds_s[0] < at < bounds_s[1]}
    assert len(first) == len(second) == 1 and first != second
    assert len({voice for _, voice in voices(encoder, one)}) == 1
    assert len({voice for _, voice in voices(encoder, one, 2)}) == 2


def test_a_voice_is_the_same_at_any_loudness_and_length(encoder: SpeakerEncoder, evaldata: Path) -> None:
    pcm = read(evaldata / "audio" / ONE)[16_000:41_600]
    same = encoder([pcm, pcm * 0.03, pcm * 0.003, pcm[:20_000]])
    assert same.shape == (4, HIDDEN)
    np.testing.assert_allclose(np.linalg.norm(same, axis=1), 1, atol=1e-5)
    assert (same @ same[0] > SAME_VOICE + 0.1).all()
    assert same[1] @ same[2] > 0.99  # quiet windows are raised to one level


def test_a_file_that_is_no_encoder_is_said(tmp_path: Path) -> None:
    (tmp_path / "pretrained.pt").write_bytes(b"nothing of the kind")
    with pytest.raises(Unavailable, match="holds no speaker encoder"):
        SpeakerEncoder.load(tmp_path)
    with pytest.raises(Unavailable):
        SpeakerEncoder.load(tmp_path / "absent.pt")
