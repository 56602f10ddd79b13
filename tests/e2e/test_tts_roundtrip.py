"""What the voice says is what was written: the real engine, heard by the real recogniser."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import jiwer
import numpy as np
import platformdirs

from asr.engine.recogniser import load_recogniser
from asr.model import DecodeRequest, Priority
from common.audio import pcm16_to_float
from common.pb.voxmesh.audio.v1 import AudioFormat, Encoding
from common.pb.voxmesh.tts import v1 as pb
from common.weights import fetch
from tts.loading import load_engine, warm_up
from tts.service import TtsService
from tts.settings import TtsSettings

CACHE = Path(platformdirs.user_cache_dir("voxmesh")) / "models"
RATE_HZ = 16_000

# What is written, and how a recogniser that writes words would hear it.
SENTENCES = [
    ("Hello, how can I help you today?", "hello how can i help you today"),
    ("I paid $5.50 for it.", "i paid $5.50 for it"),
    ("We drove 300 km at 60 mph.", "we drove 300 kilometers at 60 miles per hour"),
    ("Dr. Smith lives near St. Louis.", "dr smith lives near st louis"),
    ("King Louis XIV died in 1715.", "king louis xiv died in 1715"),
    ("The FBI and NASA work in the U.S.A.", "the fbi and nasa work in the usa"),
    ("No problem, I'll send it right away.", "no problem i'll send it right away"),
    ("The quick brown fox jumps over the lazy dog.", "the quick brown fox jumps over the lazy dog"),
]


def plain(text: str) -> str:
    return "".join(char for char in text.lower() if char.isalnum() or char in " '$").strip()


async def speak(service: TtsService, text: str) -> tuple[np.ndarray, list[pb.WordTime]]:
    async def requests() -> AsyncIterator[pb.SynthesizeRequest]:
        format_ = AudioFormat(Encoding.PCM_S16LE, RATE_HZ)
        yield pb.SynthesizeRequest(config=pb.SynthesizeConfig(format=format_, word_times=True, seed=1))
        yield pb.SynthesizeRequest(text=text)

    responses = [response async for response in service.synthesize(requests())]
    audio = b"".join(response.audio for response in responses if response.audio)
    return pcm16_to_float(audio), [response.word for response in responses if response.word]


async def test_the_recogniser_hears_what_was_written() -> None:
    settings = TtsSettings(threads=2)
    engine = load_engine(settings, say=lambda _: None)
    await warm_up(engine, say=lambda _: None)
    service = TtsService(engine, settings)
    try:
        spoken = [await speak(service, text) for text, _ in SENTENCES]
    finally:
        await engine.close()
    model = await asyncio.to_thread(
        load_recogniser, fetch("whisper-base", CACHE), name="whisper-base", device="cpu", threads=2, slots=4
    )
    try:
        heard = [
            (await model.decode(DecodeRequest(pcm=pcm, language="en", priority=Priority.BATCH))).text
            for pcm, _ in spoken
        ]
    finally:
        await asyncio.to_thread(model.close)
    wer = jiwer.wer([plain(ref) for _, ref in SENTENCES], [plain(text) for text in heard])
    assert wer <= 0.08, heard
    for (text, _), (pcm, words) in zip(SENTENCES, spoken, strict=True):
        assert [word.text for word in words] == text.split()
        # The first word begins where sound begins.
        onset_ms = int(np.flatnonzero(np.abs(pcm) > 0.01)[0]) * 1000 / RATE_HZ
        assert abs(onset_ms - words[0].start_ms) < 60
