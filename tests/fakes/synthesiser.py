"""A synthesiser without weights: every phoneme id is a stretch of tone, and delays are as scripted."""

import asyncio
from collections.abc import AsyncGenerator, Sequence

import numpy as np

from common.errors import NotFound, VoxmeshError
from tts.model import AudioChunk, Clause, VoiceInfo, WordTime

TONE_HZ = 220.0
SIGNS = "_^$ !'(),-.:;?abcdefhijklmnopqrstuvwxyzæðŋɐɑɒɔəɚɛɜɡɪɫɹɾʃʊʌʒʔˈˌːθβχᵻ̩̃"


def make_voice(name: str = "fake", *, language: str = "en-US", espeak_voice: str = "en-us", rate_hz: int = 16_000,
               speakers: int = 1, max_clause_ids: int = 2_000) -> VoiceInfo:  # fmt: skip
    """A voice with the signs of English."""
    return VoiceInfo(
        name, language, espeak_voice, rate_hz, speakers, "medium", "fake",
        {sign: (i,) for i, sign in enumerate(SIGNS)}, max_clause_ids=max_clause_ids,
    )  # fmt: skip


class FakeSynthesiser:
    """Speaks `ms_per_id` of tone for each phoneme id, in chunks.

    Attributes:
        spoken: every clause asked for, in order, with its voice.
        cancelled: clauses that were not heard to their end.
    """

    def __init__(
        self,
        voices: Sequence[VoiceInfo] | None = None,
        *,
        ms_per_id: int = 5,
        chunk_ms: int = 100,
        delays_s: Sequence[float] = (),
        fails: VoxmeshError | None = None,
        capacity: int = 64,
    ) -> None:
        """`delays_s` are waited before the first, second, ... chunk of the whole life; `fails` ends every clause."""
        self._voices = tuple(voices or (make_voice(),))
        self._ms_per_id, self._chunk_ms, self._delays_s = ms_per_id, chunk_ms, list(delays_s)
        self._fails = fails
        self._capacity = capacity
        self.healthy = True
        self.active = 0
        self.chunks = 0
        self.spoken: list[tuple[str, Clause]] = []
        self.cancelled: list[Clause] = []

    @property
    def voices(self) -> tuple[VoiceInfo, ...]:
        return self._voices

    @property
    def capacity(self) -> int:
        return self._capacity

    async def speak(self, voice: str, clause: Clause) -> AsyncGenerator[AudioChunk, None]:
        info = next((known for known in self._voices if known.name == voice), None)
        if info is None:
            raise NotFound("there is no such voice")
        self.spoken.append((voice, clause))
        self.active += 1
        finished = False
        try:
            pcm, words = self._sound(info, clause)
            step = self._chunk_ms * info.sample_rate_hz // 1000
            for begin in range(0, len(pcm), step):
                await asyncio.sleep(self._delays_s.pop(0) if self._delays_s else 0)
                if self._fails is not None:
                    raise self._fails
                self.chunks += 1
                last = finished = begin + step >= len(pcm)
                yield AudioChunk(pcm[begin : begin + step], words if begin == 0 else [], last)
        finally:
            self.active -= 1
            if not finished:
                self.cancelled.append(clause)

    def _sound(self, info: VoiceInfo, clause: Clause) -> tuple[np.ndarray, list[WordTime]]:
        id_s = self._ms_per_id / 1000 / clause.speed
        samples = round(len(clause.phoneme_ids) * id_s * info.sample_rate_hz)
        tone = 0.5 * np.sin(2 * np.pi * TONE_HZ * np.arange(samples) / info.sample_rate_hz)
        pause = np.zeros(clause.pause_after_ms * info.sample_rate_hz // 1000)
        words = [WordTime(s.text, s.first_id * id_s, (s.last_id + 1) * id_s) for s in clause.word_spans]
        return np.concatenate([tone, pause]).astype(np.float32), words
