"""The two voices of the benchmark behind one call: text in, sound out with the time of its first piece."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from common.codec.resample import Resampler
from tts.engine import TtsEngine
from tts.model import Clause, WordTime
from tts.text.phonemes import PhonemeEncoder, Phonemes
from tts.text.reader import Reader

Pcm = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Spoken:
    """One text read aloud."""

    pcm: Pcm  # [n] float32 at the voice's rate
    rate_hz: int
    first_s: float  # from the text to its first sound
    full_s: float  # to its last
    late_s: float = 0.0  # longest time a listener would have waited in the middle
    words: tuple[WordTime, ...] = ()  # as the voice itself tells them

    @property
    def seconds(self) -> float:
        return len(self.pcm) / self.rate_hz

    def at_16_khz(self) -> Pcm:
        """For the recogniser."""
        resampler = Resampler(self.rate_hz, 16_000)
        samples = (self.pcm.clip(-1, 1) * 32_767).astype(np.int16).reshape(-1, 1)
        whole = np.concatenate([resampler.push(samples), resampler.finish()])
        return whole[:, 0].astype(np.float32) / np.float32(32_768)


Voice = Callable[[str], Spoken]


class OurVoice:
    """Text reading and engine, without the network."""

    def __init__(self, engine: TtsEngine) -> None:
        self.engine = engine
        self.info = engine.voices[0]
        self._reader = Reader(self.info.language)
        self._encoder = PhonemeEncoder(self.info)

    def phonemes(self, text: str) -> Sequence[Phonemes]:
        """The clauses of a text."""
        return self._encoder.encode(self._reader.read(text))

    async def speak(self, text: str) -> Spoken:
        """Times count from the text: words, phonemes and sound."""
        began = time.perf_counter()
        parts: list[Pcm] = []
        words: list[WordTime] = []
        first_s = late_s = heard_s = 0.0
        for phonemes in self.phonemes(text):
            begin_s = heard_s
            async for chunk in self.engine.speak(self.info.name, Clause(phonemes.ids, phonemes.spans)):
                now = time.perf_counter() - began
                first_s = first_s or now
                late_s = max(late_s, now - first_s - heard_s)
                words += [WordTime(w.text, begin_s + w.start_s, begin_s + w.end_s) for w in chunk.words]
                heard_s += len(chunk.pcm) / self.info.sample_rate_hz
                parts.append(chunk.pcm)
        full_s = time.perf_counter() - began
        pcm = np.concatenate(parts)
        return Spoken(pcm, self.info.sample_rate_hz, first_s, full_s, late_s, tuple(words))

    def blocking(self, loop: asyncio.AbstractEventLoop) -> Voice:
        """The same call for code outside the loop's coroutines."""
        return lambda text: loop.run_until_complete(self.speak(text))


def piper(model: Path, threads: int) -> Voice | None:
    """piper-tts with as many threads as ours; it hands out a sentence when all of it is done."""
    try:
        import onnxruntime
        from piper import PiperVoice, SynthesisConfig
    except ImportError:
        return None
    voice = PiperVoice.load(str(model))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    voice.session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    raw = SynthesisConfig(normalize_audio=False)

    def speak(text: str) -> Spoken:
        began = time.perf_counter()
        parts, first_s = [], 0.0
        for chunk in voice.synthesize(text, raw):
            parts.append(chunk.audio_float_array)
            first_s = first_s or time.perf_counter() - began
        full_s = time.perf_counter() - began
        return Spoken(np.concatenate(parts), voice.config.sample_rate, first_s, full_s)

    return speak
