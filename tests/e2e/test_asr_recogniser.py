"""Real checkpoints say the right words at the right times."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from asr.engine.recogniser import WhisperRecogniser, load_recogniser
from asr.model import DecodeRequest
from bench.clips import Clip, load_clips
from bench.text import error_rate, normalise
from common.settings import ServiceSettings
from common.weights import fetch


@pytest.fixture(scope="module", params=["whisper-base", "whisper-tiny.en"])
def recogniser(request: pytest.FixtureRequest) -> Iterator[WhisperRecogniser]:
    """Both checkpoints of the catalogue."""
    cache: Path = ServiceSettings.model_fields["model_cache_dir"].get_default(call_default_factory=True)
    loaded = load_recogniser(
        fetch(request.param, cache), name=request.param, device="cpu", threads=2, slots=4
    )
    yield loaded
    loaded.close()


@pytest.fixture(scope="module")
def clips(evaldata: Path) -> list[Clip]:
    return load_clips(evaldata, ["en"], 4.0, 9.0, count=4)


async def test_words_are_right_alone_and_together(recogniser: WhisperRecogniser, clips: list[Clip]) -> None:
    requests = [DecodeRequest(clip.pcm, language="en") for clip in clips]
    alone = [await recogniser.decode(request) for request in requests]
    together = await asyncio.gather(*(recogniser.decode(request) for request in requests))
    references = [normalise(clip.text) for clip in clips]
    for results in (alone, together):
        assert error_rate(references, [normalise(result.text) for result in results]) < 0.2


async def test_words_lie_within_the_speech(recogniser: WhisperRecogniser, clips: list[Clip]) -> None:
    pause = np.zeros(32_000, np.float32)
    result = await recogniser.decode(
        DecodeRequest(np.concatenate([pause, clips[0].pcm, pause]), language="en", word_times=True)
    )
    assert result.words[0].end_s > 1.9
    assert result.words[-1].start_s < 2.1 + clips[0].seconds
    starts = [word.start_s for word in result.words]
    assert starts == sorted(starts)


async def test_a_guess_of_the_text_saves_time_and_changes_little(
    recogniser: WhisperRecogniser, clips: list[Clip]
) -> None:
    plain = await recogniser.decode(DecodeRequest(clips[1].pcm, language="en"))
    guessed = await recogniser.decode(DecodeRequest(clips[1].pcm, language="en", draft=tuple(plain.tokens)))
    assert error_rate([normalise(plain.text)], [normalise(guessed.text)]) < 0.2


async def test_nothing_said_is_nothing_written(recogniser: WhisperRecogniser) -> None:
    for samples in (0, 16_000, 480_000):
        result = await recogniser.decode(DecodeRequest(np.zeros(samples, np.float32), language="en"))
        assert result.text == ""
