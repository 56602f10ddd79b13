"""Long recordings to segments that fit the model: cut at pauses, merged while short. Pure; audio comes in pieces."""

from dataclasses import dataclass

import numpy as np

from asr.live.cut import quietest
from asr.model import MAX_WINDOW_SAMPLES, SAMPLE_RATE_HZ, Pcm
from asr.voice.buffer import AudioBuffer
from asr.voice.endpoint import EndpointConfig, Endpointer, Kind, Signal
from asr.voice.vad import CHUNK_SAMPLES, Floats

SAMPLES_PER_MS = SAMPLE_RATE_HZ // 1000

# Silence that separates two stretches of speech; a segment may be cut there.
REGION_SILENCE_MS = 288
# Length of the pause looked for when a segment is halved.
PAUSE_S = 0.3
# Chunks over which the speech probability is averaged when speech goes on without such silence.
SMOOTH_CHUNKS = 5
# Below this average the cut lies in a short pause; above, it may lie in a word.
CLEAN_PROBABILITY = 0.4


@dataclass(frozen=True, slots=True)
class SegmentLimits:
    """Times in ms."""

    target_ms: int = 25_000  # longest segment
    max_gap_ms: int = 1_500  # longer silence is left out, between segments
    pad_ms: int = 256  # kept before and after speech
    overlap_ms: int = 1_000  # on both sides of a cut without a pause
    min_voiced_ms: int = 96

    def __post_init__(self) -> None:
        longest = self.target_ms + 2 * self.overlap_ms + self.pad_ms
        assert longest * SAMPLES_PER_MS <= MAX_WINDOW_SAMPLES


@dataclass(frozen=True, slots=True)
class Segment:
    """A window of one channel. Positions in samples of the stream.

    `low` and `high` bound the words that belong to it: inside [start, end) when it overlaps a neighbour.
    """

    index: int
    start: int
    end: int
    pcm: Pcm  # [end - start]
    voiced_ms: int
    low: int
    high: int

    def halves(self) -> tuple["Segment", "Segment"]:
        """The segment cut at the quietest moment of its middle, for a model that did not get to its end."""
        seconds = len(self.pcm) / SAMPLE_RATE_HZ
        at = quietest(self.pcm, seconds / 4, seconds * 3 / 4, PAUSE_S)
        share = at / len(self.pcm)
        first = Segment(
            self.index, self.start, self.start + at, self.pcm[:at],
            int(self.voiced_ms * share), self.low, self.start + at,
        )  # fmt: skip
        second = Segment(
            self.index, self.start + at, self.end, self.pcm[at:],
            int(self.voiced_ms * (1 - share)), self.start + at, self.high,
        )  # fmt: skip
        return first, second

    @property
    def overlaps_next(self) -> bool:
        return self.high < self.end

    @property
    def overlaps_previous(self) -> bool:
        return self.low > self.start


class Segmenter:
    """Takes chunks with their speech probabilities, gives segments as soon as they are settled."""

    def __init__(self, threshold: float, limits: SegmentLimits | None = None) -> None:
        self._threshold, self._limits = threshold, limits or SegmentLimits()
        self._endpointer = Endpointer(EndpointConfig(threshold, REGION_SILENCE_MS))
        self._buffer = AudioBuffer()
        self._ready: list[Segment] = []
        self._count = 0
        self._floor = 0  # no segment begins before it
        self._low: int | None = None  # where the current segment's own words begin, if not at its start
        self._start: int | None = None  # of the current segment, padding included
        self._speech_end: int | None = None  # of its last region; None while somebody speaks
        self._gaps: list[tuple[int, int]] = []  # silences inside the current segment

    @property
    def pending_ms(self) -> int:
        """Audio kept for the current segment."""
        return 0 if self._start is None else (self._buffer.end - self._start) // SAMPLES_PER_MS

    @property
    def position(self) -> int:
        """No later segment begins before this sample."""
        return self._buffer.end if self._start is None else self._start

    def push(self, samples: Pcm, probabilities: Floats) -> list[Segment]:
        """The next chunks: float32 [n * 512] and their [n] speech probabilities."""
        # Chunk by chunk, so that a window is cut in time however much comes at once.
        for i, probability in enumerate(probabilities):
            self._buffer.append(
                samples[i * CHUNK_SAMPLES : (i + 1) * CHUNK_SAMPLES], probabilities[i : i + 1]
            )
            for signal in self._endpointer.push(float(probability)):
                self._on_signal(signal)
            self._limit()
        self._buffer.drop_before(self._needed())
        return self._take()

    def finish(self, tail: Pcm | None = None) -> list[Segment]:
        """No audio follows; `tail` is what is left after the last whole chunk."""
        if self._start is not None:
            self._close(self._padded_end() if self._speech_end is not None else self._buffer.end, tail)
        return self._take()

    def _on_signal(self, signal: Signal) -> None:
        if signal.kind is Kind.STARTED:
            if self._start is None:
                self._start = max(signal.at - self._limits.pad_ms * SAMPLES_PER_MS, self._floor)
            elif self._speech_end is not None:
                self._gaps.append((self._speech_end, signal.at))
            self._speech_end = None
        elif signal.kind is Kind.ENDPOINT:
            self._speech_end = signal.at

    def _limit(self) -> None:
        if self._start is None:
            return
        if self._speech_end is not None:
            if self._buffer.end - self._speech_end > self._limits.max_gap_ms * SAMPLES_PER_MS:
                self._close(self._padded_end())
        elif self._buffer.end - self._start >= self._limits.target_ms * SAMPLES_PER_MS:
            self._split()

    def _split(self) -> None:
        """The current segment is full and somebody speaks: cut it at a pause, else between words, else anywhere."""
        assert self._start is not None
        earliest = self._start + (self._buffer.end - self._start) * 2 // 5
        gaps = [gap for gap in self._gaps if gap[0] >= earliest]
        if gaps:
            silence_end = max(gaps, key=lambda gap: (gap[1] - gap[0], gap[1]))
            pad = self._limits.pad_ms * SAMPLES_PER_MS
            middle = (silence_end[0] + silence_end[1]) // 2
            end, start = min(silence_end[0] + pad, middle), max(silence_end[1] - pad, middle)
            later = [gap for gap in self._gaps if gap[0] > silence_end[0]]
            self._emit(end)
            self._start, self._gaps = start, later
            return
        at, clean = self._weakest(earliest)
        overlap = 0 if clean else self._limits.overlap_ms * SAMPLES_PER_MS
        self._emit(min(at + overlap, self._buffer.end), high=at)
        self._start, self._low, self._gaps = at - overlap, at if overlap else None, []

    def _weakest(self, earliest: int) -> tuple[int, bool]:
        """Where speech is least likely from `earliest` on, and whether that is a pause."""
        latest = self._buffer.end - self._limits.overlap_ms * SAMPLES_PER_MS
        probabilities = self._buffer.probabilities(earliest, latest)
        smooth = np.convolve(probabilities, np.ones(SMOOTH_CHUNKS) / SMOOTH_CHUNKS, mode="valid")
        best = int(smooth.argmin())
        first = earliest - earliest % CHUNK_SAMPLES + best * CHUNK_SAMPLES
        pcm = self._buffer.slice(first, min(first + SMOOTH_CHUNKS * CHUNK_SAMPLES, self._buffer.end))
        return first + quietest(pcm, 0.0, len(pcm) / SAMPLE_RATE_HZ), float(smooth[best]) < CLEAN_PROBABILITY

    def _padded_end(self) -> int:
        assert self._speech_end is not None
        return min(self._speech_end + self._limits.pad_ms * SAMPLES_PER_MS, self._buffer.end)

    def _close(self, end: int, tail: Pcm | None = None) -> None:
        self._emit(end, tail=tail)
        self._floor = end
        self._start = self._speech_end = None
        self._gaps = []

    def _emit(self, end: int, *, high: int | None = None, tail: Pcm | None = None) -> None:
        assert self._start is not None
        voiced_ms = self._buffer.voiced_ms(self._start, end, self._threshold)
        low, self._low = self._low, None
        if voiced_ms < self._limits.min_voiced_ms:
            return
        pcm = self._buffer.slice(self._start, end)
        if tail is not None and end == self._buffer.end:
            pcm = np.concatenate((pcm, tail))
            end += len(tail)
        self._ready.append(
            Segment(
                self._count, self._start, end, pcm, voiced_ms,
                low=self._start if low is None else low, high=end if high is None else high,
            )
        )  # fmt: skip
        self._count += 1

    def _needed(self) -> int:
        if self._start is not None:
            return self._start
        return max(self._buffer.end - 2 * self._limits.pad_ms * SAMPLES_PER_MS - SAMPLE_RATE_HZ, 0)

    def _take(self) -> list[Segment]:
        ready, self._ready = self._ready, []
        return ready
