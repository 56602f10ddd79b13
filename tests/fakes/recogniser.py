"""Stand-ins for the recogniser and the voice-activity network, with scripted timing.

Audio carries its own text: every sample of word number k is LEVEL * (k + 1), silence is zero. So the words that a
window holds, wholly or in part, can be read off its samples, through PCM16 and any cut.
"""

import asyncio
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from asr.model import DecodedWord, DecodeRequest, DecodeResult, Pcm
from asr.voice.vad import CHUNK_SAMPLES, Floats, VadState

RATE = 16_000
LEVEL = 1 / 1024
# A word is heard when this share of it is in the window; with less, its beginning is misheard.
HEARD_SHARE = 0.8


@dataclass(frozen=True, slots=True)
class Spoken:
    """A word of the script and when it is said, in ms."""

    text: str
    start_ms: int
    end_ms: int


def script(text: str, *, start_ms: int = 500, word_ms: int = 250, gap_ms: int = 50) -> list[Spoken]:
    """Evenly spoken words; a number in brackets is a pause in ms: "one two [800] three"."""
    words: list[Spoken] = []
    at = start_ms
    for part in text.split():
        if part.startswith("["):
            at += int(part.strip("[]"))
            continue
        words.append(Spoken(part, at, at + word_ms))
        at += word_ms + gap_ms
    return words


def audio(words: Sequence[Spoken], *, total_ms: int | None = None) -> Pcm:
    """Float32 [n]: the script as samples."""
    end_ms = total_ms if total_ms is not None else (words[-1].end_ms if words else 0)
    pcm = np.zeros(end_ms * RATE // 1000, np.float32)
    for k, word in enumerate(words):
        pcm[word.start_ms * RATE // 1000 : word.end_ms * RATE // 1000] = LEVEL * (k + 1)
    return pcm


def pcm16(samples: Pcm) -> bytes:
    """Exactly these levels as 16-bit PCM."""
    return np.round(samples * 32768).astype("<i2").tobytes()


class FakeVoiceActivity:
    """Speech is what is not zero."""

    async def probabilities(self, state: VadState, samples: Floats) -> Floats:
        chunks = np.abs(samples.reshape(-1, CHUNK_SAMPLES))
        return np.where((chunks > 0).mean(axis=1) > 0.3, 0.95, 0.02).astype(np.float32)


@dataclass
class FakeRecogniser:
    """Reads the script off the samples. `delay_s` is what a decode takes; `gate`, when given, holds decodes back."""

    words: Sequence[Spoken] = ()
    name: str = "fake"
    device: str = "cpu"
    languages: tuple[str, ...] = ("en", "de")
    capacity: int = 4
    sample_rate: int = RATE
    delay_s: float = 0.0
    language: str = "en"
    no_speech_prob: float = 0.0
    avg_logprob: float = -0.2
    gate: asyncio.Event | None = None
    error: Exception | None = None
    healthy: bool = True
    requests: list[DecodeRequest] = field(default_factory=list)
    cancelled: int = 0
    active: int = 0
    most_active: int = 0
    closed: bool = False
    _vocabulary: list[str] = field(default_factory=list)

    async def decode(self, request: DecodeRequest) -> DecodeResult:
        assert len(request.pcm) <= 30 * RATE
        self.requests.append(request)
        self.active += 1
        self.most_active = max(self.most_active, self.active)
        try:
            await asyncio.sleep(self.delay_s)
            if self.gate is not None:
                await self.gate.wait()
            if self.error is not None:
                raise self.error
            return self.read(request)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.active -= 1

    def read(self, request: DecodeRequest) -> DecodeResult:
        """What is in the window, without waiting."""
        heard = self._heard(request.pcm)
        tokens = [self._token(" " + word.text) for word in heard]
        prefix = list(request.prefix)
        if prefix:
            # Words of the prefix are not decided again: what follows the last of them in the audio is added.
            tokens = prefix + tokens[len(prefix) :]
            heard += [DecodedWord("?", 0.0, 0.0, 0.5, 1)] * (len(tokens) - len(heard))
            for i, token in enumerate(prefix[: len(heard)]):
                heard[i].text = self._vocabulary[token].strip()
        text = self.decode_tokens(tokens).strip()
        return DecodeResult(
            tokens=tokens,
            text=text,
            words=heard[: len(tokens)] if request.word_times else [],
            language=request.language or self.language,
            language_probability=1.0 if request.language else 0.9,
            avg_logprob=self.avg_logprob,
            compression_ratio=len(text.encode()) / max(len(zlib.compress(text.encode())), 1),
            no_speech_prob=self.no_speech_prob,
            temperature=request.temperature,
            compute_ms=10,
        )

    def encode_text(self, text: str) -> list[int]:
        return [self._token(" " + word) for word in text.split()]

    def decode_tokens(self, ids: Sequence[int]) -> str:
        return "".join(self._vocabulary[i] for i in ids)

    def close(self) -> None:
        self.closed = True

    def _token(self, text: str) -> int:
        if text not in self._vocabulary:
            self._vocabulary.append(text)
        return self._vocabulary.index(text)

    def _heard(self, pcm: Pcm) -> list[DecodedWord]:
        numbers = np.round(pcm / LEVEL).astype(int)
        result = []
        for number in np.unique(numbers[numbers > 0]):
            if number > len(self.words):
                continue
            word = self.words[number - 1]
            places = np.flatnonzero(numbers == number)
            share = len(places) / ((word.end_ms - word.start_ms) * RATE / 1000)
            if share >= HEARD_SHARE:
                text = word.text
            elif share >= 0.3:
                text = word.text[: max(len(word.text) // 2, 1)] + "-"
            else:
                continue
            start, end = float(places[0]) / RATE, float(places[-1] + 1) / RATE
            result.append((start, DecodedWord(text, start, end, 0.9, 1)))
        return [word for _, word in sorted(result, key=lambda entry: entry[0])]
