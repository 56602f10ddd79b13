"""Speaks the parts of a script: phonemes to the engine, its sound through effects and encoder, times of words."""

import time
from collections import deque
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from common import metrics
from common.codec.encode import Encoder
from common.pb.voxmesh.tts import v1 as pb
from tts.effects import Shaper, pitch_ratio
from tts.gate import Gate
from tts.model import Clause, Synthesiser, VoiceInfo, WordTime
from tts.options import MAX_PITCH, MAX_SPEED, MAX_VOLUME_DB, MIN_SPEED, MIN_VOLUME_DB, Options
from tts.script import Say
from tts.text.phonemes import PhonemeEncoder, Phonemes

SILENCE_CHUNK_S = 1.0


@dataclass(slots=True)
class Studio:
    """What all streams of a worker share."""

    synthesiser: Synthesiser
    gate: Gate
    encoders: dict[str, PhonemeEncoder] = field(default_factory=dict)

    @property
    def voices(self) -> dict[str, VoiceInfo]:
        return {voice.name: voice for voice in self.synthesiser.voices}

    def phonemes(self, voice: VoiceInfo, say: Say) -> list[Phonemes]:
        """The clauses of a part; what the voice has no sign for is counted."""
        encoder = self.encoders.setdefault(voice.name, PhonemeEncoder(voice))
        clauses = encoder.encode(say.words)
        if encoder.unknown:
            metrics.tts_unknown_phonemes.add(encoder.unknown.total(), {"voice": voice.name})
            encoder.unknown.clear()
        return clauses


@dataclass(frozen=True, slots=True)
class _Manner:
    """How one part is spoken: the options of the stream and the style of the part together."""

    voice: VoiceInfo
    speaker: int
    speed: float
    ratio: float  # of pitch
    volume_db: float


class Speaker:
    """The audio of one stream."""

    def __init__(self, options: Options, studio: Studio, voices: Mapping[str, VoiceInfo]) -> None:
        """Raises InvalidArgument for a format that cannot be written."""
        self._options, self._studio, self._voices = options, studio, voices
        self._rate_hz = (
            options.voice.sample_rate_hz
        )  # of the stream before encoding, whatever voices take part
        self.encoder = Encoder(options.encoding, options.sample_rate_hz, self._rate_hz, options.bit_rate)
        self._samples = 0  # spoken so far, at `_rate_hz`
        self._clauses = 0  # that were given a seed
        self._model_s = 0.0  # waited for the engine
        self._words: deque[pb.WordTime] = deque()  # not yet about to be heard
        self.first_audio_s: float | None = None

    @property
    def audio_s(self) -> float:
        """Length of the audio so far."""
        return self._samples / self._rate_hz

    @property
    def audio_ms(self) -> int:
        return self._samples * 1000 // self._rate_hz

    @property
    def real_time_factor(self) -> float:
        """Time the engine took, over the length of the audio."""
        return self._model_s / self.audio_s if self._samples else 0.0

    async def say(self, part: Say) -> AsyncGenerator[pb.SynthesizeResponse, None]:
        """Speaks one part. Raises AtCapacity, Unavailable and what the engine raises."""
        manner = self._manner(part)
        for phonemes in self._studio.phonemes(manner.voice, part):
            clause = Clause(
                phonemes.ids,
                phonemes.spans if self._options.word_times else (),
                speaker=manner.speaker,
                speed=manner.speed / manner.ratio,
                seed=self._next_seed(),
            )
            async with aclosing(self._speak(clause, manner, part.ready_at)) as responses:
                async for response in responses:
                    yield response

    def silence(self, ms: int) -> Iterator[pb.SynthesizeResponse]:
        """So much silence, in pieces."""
        left = ms * self._rate_hz // 1000
        while left > 0:
            piece = min(left, int(SILENCE_CHUNK_S * self._rate_hz))
            yield from self._emit(np.zeros(piece, np.int16))
            left -= piece

    def finish(self) -> Iterator[pb.SynthesizeResponse]:
        """The last bytes of the format."""
        yield from self._heard(None)
        if rest := self.encoder.finish():
            yield pb.SynthesizeResponse(audio=rest)

    def close(self) -> None:
        """Ends a stream whose rest nobody wants."""
        self.encoder.close()

    def _next_seed(self) -> int | None:
        """One for each clause: two that share their noise would share their melody."""
        if not self._options.seed:
            return None
        self._clauses += 1
        return self._options.seed + self._clauses - 1

    async def _speak(
        self, clause: Clause, manner: _Manner, ready_at: float
    ) -> AsyncGenerator[pb.SynthesizeResponse, None]:
        shaper = Shaper(
            manner.voice.sample_rate_hz, self._rate_hz, ratio=manner.ratio, volume_db=manner.volume_db
        )
        begin_s = self.audio_s
        async with self._studio.gate.place():
            began = time.perf_counter()
            async with aclosing(self._studio.synthesiser.speak(manner.voice.name, clause)) as chunks:
                async for chunk in chunks:
                    self._model_s += time.perf_counter() - began
                    self._schedule(chunk.words, begin_s, manner.ratio)
                    pcm = shaper.push(chunk.pcm)
                    if chunk.last:
                        pcm = np.concatenate([pcm, shaper.finish()])
                    for response in self._emit(pcm):
                        if response.audio and self.first_audio_s is None:
                            self.first_audio_s = time.monotonic() - ready_at
                        yield response
                    began = time.perf_counter()

    def _manner(self, part: Say) -> _Manner:
        options, style = self._options, part.style
        voice = self._voices[style.voice] if style.voice else options.voice
        pitch = min(max(options.pitch + style.pitch, -MAX_PITCH), MAX_PITCH)
        return _Manner(
            voice,
            speaker=options.speaker if voice is options.voice else 0,
            speed=min(max(options.speed * style.rate, MIN_SPEED), MAX_SPEED),
            ratio=pitch_ratio(pitch),
            volume_db=min(max(options.volume_db + style.volume_db, MIN_VOLUME_DB), MAX_VOLUME_DB),
        )

    def _schedule(self, words: list[WordTime], begin_s: float, ratio: float) -> None:
        """Times of a clause to times of the stream."""
        for word in words:
            start, end = begin_s + word.start_s / ratio, begin_s + word.end_s / ratio
            self._words.append(pb.WordTime(word.text, start_ms=round(start * 1000), end_ms=round(end * 1000)))

    def _emit(self, pcm: npt.NDArray[np.int16]) -> Iterator[pb.SynthesizeResponse]:
        self._samples += len(pcm)
        yield from self._heard(self.audio_ms)
        if data := self.encoder.encode(pcm):
            yield pb.SynthesizeResponse(audio=data)

    def _heard(self, until_ms: int | None) -> Iterator[pb.SynthesizeResponse]:
        """Words that begin before `until_ms`, ahead of the audio that holds them; None is all."""
        while self._words and (until_ms is None or self._words[0].start_ms < until_ms):
            yield pb.SynthesizeResponse(word=self._words.popleft())
