"""The audio of one channel that may still be needed, with its speech probabilities."""

import numpy as np

from asr.model import Pcm
from asr.voice.vad import CHUNK_MS, CHUNK_SAMPLES, Floats

FIRST_CAPACITY_CHUNKS = 64  # about 2 s; grows and shrinks with what is kept
DROP_CHUNKS = 32  # dropping moves what is kept, so it waits until about 1 s can go


class AudioBuffer:
    """Samples addressed by their position in the stream; whole chunks in, any slice out."""

    def __init__(self) -> None:
        self._pcm: Pcm = np.empty(FIRST_CAPACITY_CHUNKS * CHUNK_SAMPLES, np.float32)
        self._probabilities: list[float] = []
        self._base = 0  # position of the first sample kept, a whole number of chunks
        self._size = 0  # samples kept

    @property
    def base(self) -> int:
        return self._base

    @property
    def end(self) -> int:
        """Position after the last sample."""
        return self._base + self._size

    def append(self, samples: Pcm, probabilities: Floats) -> None:
        """Float32 [n * 512] and their [n] speech probabilities."""
        assert len(samples) == len(probabilities) * CHUNK_SAMPLES
        needed = self._size + len(samples)
        if needed > len(self._pcm):
            self._resize(max(needed, 2 * len(self._pcm)))
        self._pcm[self._size : needed] = samples
        self._size = needed
        self._probabilities.extend(float(p) for p in probabilities)

    def slice(self, start: int, end: int) -> Pcm:
        """A copy of the samples at positions [start, end); both must be kept still."""
        assert self._base <= start <= end <= self.end, (self._base, start, end, self.end)
        return self._pcm[start - self._base : end - self._base].copy()

    def probabilities(self, start: int, end: int) -> list[float]:
        """Speech probabilities of the chunks that touch [start, end)."""
        first, last = (start - self._base) // CHUNK_SAMPLES, -((self._base - end) // CHUNK_SAMPLES)
        return self._probabilities[max(first, 0) : last]

    def voiced_ms(self, start: int, end: int, threshold: float) -> int:
        """How much of [start, end) is in chunks whose speech probability reaches `threshold`."""
        return sum(p >= threshold for p in self.probabilities(start, end)) * CHUNK_MS

    def drop_before(self, position: int) -> None:
        """Forgets what lies before `position`, now or a little later."""
        chunks = (min(position, self.end) - self._base) // CHUNK_SAMPLES
        if chunks < DROP_CHUNKS:
            return
        dropped = chunks * CHUNK_SAMPLES
        self._size -= dropped
        self._base += dropped
        del self._probabilities[:chunks]
        self._pcm[: self._size] = self._pcm[dropped : dropped + self._size].copy()
        if self._size * 4 < len(self._pcm) and len(self._pcm) > FIRST_CAPACITY_CHUNKS * CHUNK_SAMPLES:
            self._resize(max(2 * self._size, FIRST_CAPACITY_CHUNKS * CHUNK_SAMPLES))

    def _resize(self, capacity: int) -> None:
        grown = np.empty(capacity, np.float32)
        grown[: self._size] = self._pcm[: self._size]
        self._pcm = grown
